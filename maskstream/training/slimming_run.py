"""Make a narrower detector from files. Called by the command line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch

from maskstream.errors import SourceOpenError
from maskstream.io.folders import find_files
from maskstream.io.images import read_image
from maskstream.models import face_mobilenet
from maskstream.models.checkpoint import load_checkpoint, save_checkpoint
from maskstream.models.face_mobilenet_network import restore
from maskstream.models.face_mobilenet_widths import SLIM, Widths
from maskstream.models.keypoint_rcnn import to_rgb_tensor
from maskstream.models.metadata import Metadata
from maskstream.training.slimming import slim

_IMAGES: Final = 220
_SCALES: Final = (0.6, 1.1)
"""Of an image, relative to the scale of inference."""
_LONGEST_PX: Final = 352
_STRIDE: Final = 32


def slim_file(weights: Path, folders: Sequence[Path], out: Path, seed: int, command: str, widths: Widths = SLIM) -> None:
    """Write a narrower detector.

    Args:
        weights: A checkpoint of `face_mobilenet`.
        folders: Folders of images like those of the training; subfolders are read.
        out: The file to write.
        seed: Of the choice of images, of their scales and of the places in them.
        command: The command line; stored in the file.
        widths: Of the written detector.

    Raises:
        WeightsError: The weights are missing, damaged, of another model, or not wider.
        SourceError: A folder has no images, or an image cannot be read.
        SinkError: The file cannot be written.
    """
    state_dict, metadata = load_checkpoint(weights, face_mobilenet.NAME)
    Widths.of(state_dict, str(weights)).require_wider(widths, str(weights))
    module = restore(state_dict, metadata, str(weights))
    narrow = slim(module, widths, list(_samples(folders, metadata, np.random.default_rng(seed))), seed)
    about: dict[str, Any] = {"training_command": command, "figures": {}, "keypoint_calibration": metadata.keypoint_calibration}
    save_checkpoint(out, narrow.state_dict(), metadata.model_copy(update=about))


def _samples(folders: Sequence[Path], metadata: Metadata, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    """Yield parts of random images (1, 3, H, W), normalised, with sides that are multiples of the largest stride."""
    paths: list[str] = []
    for folder in folders:
        found = find_files(str(folder), recursive=True)
        if found is None or not found.images:
            raise SourceOpenError(f"--images: {folder} is not a folder with images; give images like those of the training")
        paths += found.images
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (metadata.mean, metadata.std))
    for number in rng.permutation(len(paths))[:_IMAGES]:
        image = read_image(paths[number])
        factor = metadata.input_size / min(image.shape[:2]) * rng.uniform(*_SCALES)
        sides = [max(round(side * factor), _STRIDE) for side in image.shape[:2]]
        scaled = cv2.resize(image, (sides[1], sides[0]), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        height, width = (min(side, _LONGEST_PX) // _STRIDE * _STRIDE for side in sides)
        y, x = int(rng.integers(sides[0] - height + 1)), int(rng.integers(sides[1] - width + 1))
        part = np.ascontiguousarray(scaled[y : y + height, x : x + width], np.uint8)
        yield ((to_rgb_tensor(part, "cpu") - mean) / std)[None]
