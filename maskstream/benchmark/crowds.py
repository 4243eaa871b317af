"""Create images with a given number of faces."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from maskstream.types import BgrImage, Face, Frame, FrameResult

_CANVAS_HW: Final = (720, 1280)
_BACKGROUND: Final = 110
_MARGIN: Final = 0.4
"""Margin around a pasted face, in sides of its box; the detector does not find a face without a margin."""


def most_certain_face(frames: Sequence[Frame], results: Sequence[FrameResult]) -> tuple[Frame, Face] | None:
    """Return the face with the highest score and its frame; None without faces."""
    found = [(frame, face) for frame, result in zip(frames, results, strict=True) for face in result.faces]
    return max(found, key=lambda pair: pair[1].detection.score, default=None)


def crowd(frame: Frame, face: Face, count: int) -> BgrImage:
    """Return a grey image with `count` copies of the face and a margin around each."""
    height, width = _CANVAS_HW
    canvas = np.full((height, width, 3), _BACKGROUND, np.uint8)
    cut = _with_margin(frame, face)
    columns = int(np.ceil(np.sqrt(count * width / height)))
    cell_w, cell_h = width // columns, height // int(np.ceil(count / columns))
    scale = min(cell_w / cut.shape[1], cell_h / cut.shape[0], 1.0)
    small = _resized(cut, scale)
    for number in range(count):
        top, left = number // columns * cell_h, number % columns * cell_w
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def _with_margin(frame: Frame, face: Face) -> BgrImage:
    x1, y1, x2, y2 = face.face_box_xyxy
    dx, dy = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
    left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
    return frame.bgr[top : int(y2 + dy) + 1, left : int(x2 + dx) + 1]


def _resized(image: BgrImage, scale: float) -> BgrImage:
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
