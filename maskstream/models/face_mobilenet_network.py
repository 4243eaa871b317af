"""The PyTorch network of `face_mobilenet`: build, restore, export."""

from pathlib import Path

from torch import nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from maskstream.models.checkpoint import StateDict, load_checkpoint, load_into, require_finite
from maskstream.models.conv_bn_fusion import fold_batch_norm
from maskstream.models.face_mobilenet import LONGEST_SIDE, NAME, SHORT_SIDE
from maskstream.models.face_mobilenet_widths import FULL, Widths
from maskstream.models.keypoint_rcnn_graph import KeypointRCNNGraph, graph_signature
from maskstream.models.metadata import Metadata
from maskstream.models.onnx_export import export
from maskstream.models.torchvision_weights import imagenet_weights
from maskstream.types import FACE_KEYPOINTS

_LEVELS = ("0", "1", "2")
_ANCHOR_SIZES = ((12, 20), (32, 52), (84, 132), (200, 300))
_FACE_HEIGHT_PER_WIDTH = 1.25
_MIN_OBJECTNESS = 0.01
"""Proposals with a lower probability are dropped. These are most of them, and the second stage costs time for each."""


def build_module(widths: Widths = FULL) -> KeypointRCNN:
    """Return the untrained module: strides 8, 16, 32 and a pooled level; background and face; nose, left eye, right eye."""
    features = mobilenet_v2(weights=None, inverted_residual_setting=widths.blocks(), norm_layer=FrozenBatchNorm2d).features[:18]
    channels = widths.pyramid
    backbone = BackboneWithFPN(features, {"6": "0", "13": "1", "17": "2"}, [32, 96, 320], channels)
    module = KeypointRCNN(
        backbone,
        num_classes=None,
        num_keypoints=None,
        min_size=SHORT_SIDE,
        max_size=LONGEST_SIDE,
        rpn_anchor_generator=AnchorGenerator(_ANCHOR_SIZES, ((_FACE_HEIGHT_PER_WIDTH,),) * len(_ANCHOR_SIZES)),
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=100,
        box_roi_pool=MultiScaleRoIAlign(_LEVELS, 7, 2),
        box_head=TwoMLPHead(channels * 7 * 7, 256),
        box_predictor=FastRCNNPredictor(256, 2),
        box_nms_thresh=0.4,
        keypoint_roi_pool=MultiScaleRoIAlign(_LEVELS, 14, 2),
        keypoint_head=KeypointRCNNHeads(channels, (64,) * 4),
        keypoint_predictor=KeypointRCNNPredictor(64, len(FACE_KEYPOINTS)),
    )
    if widths.is_folded:
        fold_batch_norm(module)
        module.requires_grad_(requires_grad=True)  # the biases of a folded network are trained; those of frozen norms are not
    return module


def build_for_training(backbone_weights: str | None) -> KeypointRCNN:
    """Return the module with torchvision's MobileNetV2 as backbone; `imagenet_weights` explains `backbone_weights`.

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


def build_like(state_dict: StateDict, origin: str) -> KeypointRCNN:
    """Return the untrained module with the widths of a state dict.

    Raises:
        WeightsError: It is of another architecture.
    """
    return build_module(Widths.of(state_dict, origin))


def backbone_blocks(module: KeypointRCNN) -> list[nn.Module]:
    """Return the blocks of MobileNetV2, the one next to the image first."""
    return list(module.backbone.body.children())


def restore(state_dict: StateDict, metadata: Metadata, origin: str) -> KeypointRCNN:
    """Return the module of a checkpoint, with its widths.

    Raises:
        WeightsError: Names or shapes differ from the architecture, or a weight is not finite.
    """
    module = build_like(state_dict, origin)
    module.rpn.score_thresh = _MIN_OBJECTNESS
    module.transform.min_size = (metadata.input_size,)
    module.transform.image_mean, module.transform.image_std = list(metadata.mean), list(metadata.std)
    load_into(module, state_dict, origin)
    require_finite(state_dict, origin)
    return module


def as_onnx(weights: Path, max_faces: int) -> bytes:
    """Return the network of a checkpoint as an ONNX graph that finds up to `max_faces` faces per image.

    Raises:
        WeightsError: The file is missing, damaged or of another model.
    """
    state_dict, metadata = load_checkpoint(weights, NAME)
    network = KeypointRCNNGraph(restore(state_dict, metadata, str(weights)), max_faces)
    example, signature = graph_signature()
    return export(network, example, signature)
