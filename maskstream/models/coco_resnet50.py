"""`coco_resnet50`: torchvision's Keypoint R-CNN on ResNet-50-FPN, trained on COCO: people with 17 keypoints.

Its weights (`COCO_V1`, 226 MB) are not ours to ship: they are fetched on first use, or read from a local file.
"""

from pathlib import Path

from torchvision.models.detection import KeypointRCNN, KeypointRCNN_ResNet50_FPN_Weights, keypointrcnn_resnet50_fpn

from maskstream.models.checkpoint import load_into
from maskstream.models.foreign import read_or_fetch
from maskstream.models.keypoint_rcnn import DetectorOptions, KeypointCalibration, KeypointRCNNDetector
from maskstream.types import COCO_KEYPOINTS

NAME = "coco_resnet50"
URL = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.url

# Peaks of visible COCO keypoints lie mostly above 2 and hidden ones below. Set by hand: the weights that
# a calibration would need could not be had where this was written.
KEYPOINT_CALIBRATION = KeypointCalibration(scale=1.0, bias=-2.0)


def build_module() -> KeypointRCNN:
    """Return the untrained module in torchvision's own shape."""
    return keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None)


def load(options: DetectorOptions) -> KeypointRCNNDetector:
    """Return the detector with `COCO_V1`, or with the state dict of the local file `options.weights`.

    Raises:
        ModelError: The weights cannot be fetched; says from where, and where to put the file by hand.
        WeightsError: The file is missing, damaged or of another model.
    """
    state_dict = read_or_fetch(Path(options.weights).expanduser() if options.weights else None, URL)
    module = build_module()
    load_into(module, state_dict, options.weights or URL)
    return KeypointRCNNDetector(module, COCO_KEYPOINTS, KEYPOINT_CALIBRATION, options)
