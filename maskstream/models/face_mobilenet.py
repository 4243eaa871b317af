"""`face_mobilenet`: Keypoint R-CNN on MobileNetV2-FPN with slim heads, made to find faces on a CPU.

3.6 million parameters. Sandler et al., "MobileNetV2" (2018); Lin et al., "Feature Pyramid Networks" (2017).
"""

from torch import nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from maskstream.models.checkpoint import load_checkpoint, load_into
from maskstream.models.exported import is_exported, load_exported
from maskstream.models.files import weights_path
from maskstream.models.foreign import imagenet_weights
from maskstream.models.keypoint_rcnn import DetectorOptions, KeypointCalibration, KeypointRCNNDetector
from maskstream.types import FACE_KEYPOINTS

NAME = "face_mobilenet"
SHORT_SIDE = 384
LONGEST_SIDE = 1024

_CHANNELS = 96
_LEVELS = ("0", "1", "2")
_ANCHOR_SIZES = ((12, 20), (32, 52), (84, 132), (200, 300))
_FACE_HEIGHT_PER_WIDTH = 1.25
_LEAST_OBJECTNESS = 0.01
"""Proposals that are less likely to be a face become none: most of them, and the second stage looks at each."""


def build_module() -> KeypointRCNN:
    """Return the untrained module: strides 8, 16, 32 and a pooled level; background and face; nose, left eye, right eye."""
    features = mobilenet_v2(weights=None, norm_layer=FrozenBatchNorm2d).features[:18]
    backbone = BackboneWithFPN(features, {"6": "0", "13": "1", "17": "2"}, [32, 96, 320], _CHANNELS)
    return KeypointRCNN(
        backbone,
        num_classes=None,
        num_keypoints=None,
        min_size=SHORT_SIDE,
        max_size=LONGEST_SIDE,
        rpn_anchor_generator=AnchorGenerator(_ANCHOR_SIZES, ((_FACE_HEIGHT_PER_WIDTH,),) * len(_ANCHOR_SIZES)),
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=100,
        box_roi_pool=MultiScaleRoIAlign(_LEVELS, 7, 2),
        box_head=TwoMLPHead(_CHANNELS * 7 * 7, 256),
        box_predictor=FastRCNNPredictor(256, 2),
        box_nms_thresh=0.4,
        keypoint_roi_pool=MultiScaleRoIAlign(_LEVELS, 14, 2),
        keypoint_head=KeypointRCNNHeads(_CHANNELS, (64,) * 4),
        keypoint_predictor=KeypointRCNNPredictor(64, len(FACE_KEYPOINTS)),
    )


def build_for_training(backbone_weights: str | None) -> KeypointRCNN:
    """Return the module with the backbone of torchvision's MobileNetV2; see `imagenet_weights` for the choice.

    Raises:
        ModelError: The weights cannot be fetched.
        WeightsError: The file is missing, damaged or of another model.
    """
    module = build_module()
    weights = imagenet_weights(backbone_weights, MobileNet_V2_Weights.IMAGENET1K_V1.url)
    if weights is not None:
        wanted = {f"features.{name}": name for name in module.backbone.body.state_dict()}
        found = {wanted[name]: tensor for name, tensor in weights.items() if name in wanted}
        load_into(module.backbone.body, found, backbone_weights or "ImageNet weights")
    return module


def backbone_blocks(module: KeypointRCNN) -> list[nn.Module]:
    """Return the blocks of MobileNetV2 from the picture upwards."""
    return list(module.backbone.body.children())


def load(options: DetectorOptions) -> KeypointRCNNDetector:
    """Return the detector with our weights, or those of `options.weights`, which may be a network that was exported.

    Raises:
        ConfigError: The backend cannot run it here.
        WeightsError: The weights are missing, damaged or of another model.
    """
    path = weights_path(options.weights, f"{NAME}.safetensors")
    graph, state_dict = None, None
    if is_exported(path):
        graph, metadata = load_exported(path, NAME, options.backend, options.device)
    else:
        state_dict, metadata = load_checkpoint(path, NAME)
    module = build_module()
    module.rpn.score_thresh = _LEAST_OBJECTNESS
    module.transform.min_size = (metadata.input_size,)
    module.transform.image_mean, module.transform.image_std = list(metadata.mean), list(metadata.std)
    if state_dict is not None:
        load_into(module, state_dict, str(path))
    calibration = KeypointCalibration(*(metadata.keypoint_calibration or (1.0, 0.0)))
    return KeypointRCNNDetector(module, metadata.keypoint_names, calibration, options, graph)
