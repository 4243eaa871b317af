"""`coco_resnet50`: torchvision's Keypoint R-CNN on ResNet-50-FPN, trained on COCO: people with 17 keypoints.

Its weights (`COCO_V1`, 226 MB) are not shipped. They are downloaded on first use, or read from a local file.
"""

from copy import deepcopy
from functools import partial
from pathlib import Path

from torchvision.models.detection import KeypointRCNN, KeypointRCNN_ResNet50_FPN_Weights, keypointrcnn_resnet50_fpn

from maskstream.errors import ConfigError
from maskstream.io.user_folders import expand_home
from maskstream.models.backends import INT8, cached_graph, choose_backend
from maskstream.models.checkpoint import load_into, require_finite
from maskstream.models.detections import KeypointCalibration
from maskstream.models.graph_detector import GraphDetector
from maskstream.models.keypoint_rcnn import KeypointRCNNDetector, scaling_of
from maskstream.models.keypoint_rcnn_graph import KeypointRCNNGraph, graph_signature
from maskstream.models.onnx_export import export, network_key
from maskstream.models.options import DetectorOptions
from maskstream.models.runtimes import Graph
from maskstream.models.torchvision_weights import read_or_fetch
from maskstream.protocols import Detector
from maskstream.types import COCO_KEYPOINTS

NAME = "coco_resnet50"
URL = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.url

# Most heatmap peaks of visible COCO keypoints are above 2, those of hidden keypoints below. Set manually, not fitted.
KEYPOINT_CALIBRATION = KeypointCalibration(scale=1.0, bias=-2.0)


def build_module() -> KeypointRCNN:
    """Return torchvision's untrained module."""
    return keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None)


def load(options: DetectorOptions) -> Detector:
    """Return the detector with `COCO_V1`, or with the state dict of the local file `options.weights`.

    Raises:
        ConfigError: The backend cannot run the network on this device.
        ModelError: The weights cannot be downloaded; the message has the URL and the folder for a manual download.
        WeightsError: The file is missing, damaged or of another model.
    """
    backend = choose_backend("detector.backend", options.backend, options.device, options.precision)
    if options.precision == INT8:
        raise ConfigError(
            "precision: int8 is not possible with coco_resnet50; choose precision auto, or the detector face_mobilenet"
        )
    state_dict = read_or_fetch(Path(expand_home(options.weights)) if options.weights else None, URL)
    module = build_module()
    load_into(module, state_dict, options.weights or URL)
    require_finite(state_dict, options.weights or URL)
    if backend == "torch":
        return KeypointRCNNDetector(module, COCO_KEYPOINTS, KEYPOINT_CALIBRATION, options)

    def graph_for(max_faces: int) -> Graph:
        network, (example, signature) = KeypointRCNNGraph(deepcopy(module), max_faces), graph_signature()
        key, make = network_key(network, signature), partial(export, network, example, signature)
        return cached_graph(key, backend, make, several=options.several, threads=options.threads)

    scaling = scaling_of(module, options.short_side)
    return GraphDetector(graph_for, scaling, COCO_KEYPOINTS, KEYPOINT_CALIBRATION, options.min_score, options.max_faces)
