"""`coco_resnet50`: torchvision's Keypoint R-CNN on ResNet-50-FPN, trained on COCO: people with 17 keypoints.

Its weights (`COCO_V1`, 226 MB) are not ours to ship: they are fetched on first use, or read from a local file.
"""

import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import torch
from torchvision.models.detection import KeypointRCNN, KeypointRCNN_ResNet50_FPN_Weights, keypointrcnn_resnet50_fpn

from maskstream.errors import ModelError, WeightsError
from maskstream.models.checkpoint import StateDict, load_into
from maskstream.models.keypoint_rcnn import DetectorOptions, KeypointCalibration, KeypointRCNNDetector
from maskstream.types import COCO_KEYPOINTS

NAME = "coco_resnet50"
URL = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.url
CONNECT_TIMEOUT_S = 20.0

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
    state_dict = _read_file(Path(options.weights).expanduser()) if options.weights else _fetch(URL)
    module = build_module()
    load_into(module, state_dict, options.weights or URL)
    return KeypointRCNNDetector(module, COCO_KEYPOINTS, KEYPOINT_CALIBRATION, options)


def _read_file(path: Path) -> StateDict:
    if not os.path.isfile(path):  # noqa: PTH113 (Path raises where nothing may be looked up)
        raise WeightsError(f"{path}: no such weights file; give torchvision's file from {URL}")
    try:
        state_dict = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise WeightsError(f"{path}: not a readable PyTorch weights file; fetch it anew from {URL}") from error
    if not isinstance(state_dict, dict) or not all(isinstance(value, torch.Tensor) for value in state_dict.values()):
        raise WeightsError(f"{path}: not a plain state dict; give torchvision's file from {URL}")
    return state_dict


def _fetch(url: str) -> StateDict:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    name = url.rpartition("/")[2]
    try:
        with _socket_timeout(CONNECT_TIMEOUT_S):
            state_dict: StateDict = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", progress=True, check_hash=True, weights_only=True
            )
    except (URLError, OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(f"{NAME}: cannot fetch {url} ({reason}); put the file {name} into {folder} by hand") from error
    return state_dict


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Bound each wait for the network: `torch.hub` sets no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
