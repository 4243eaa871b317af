"""Draw outlines, keypoints and skeletons with lines whose thickness depends on the size of the frame alone."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskstream.types import BgrImage, Detection, FloatArray

Colour = tuple[int, int, int]

BLACK: Final = (0, 0, 0)
_SKELETON: Final = [
    ("left_ankle", "left_knee", "left_hip", "right_hip", "right_knee", "right_ankle"),
    ("left_wrist", "left_elbow", "left_shoulder", "right_shoulder", "right_elbow", "right_wrist"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_ear", "left_eye", "nose", "right_eye", "right_ear"),
]
_POINT_BGR: Final = (80, 200, 0)
_BONE_BGR: Final = (167, 121, 204)  # reddish purple
_MIN_SCORE: Final = 0.3
_SUBPIXEL_BITS: Final = 4
_DASHES_PER_SIDE: Final = 4


@dataclass(frozen=True)
class DrawingScale:
    """Sizes in pixels that fit a frame; the same for all faces in it."""

    line: int
    """Thickness of a coloured line."""
    edge: int
    """Thickness of the black edge on both sides of it."""
    text: float
    """Height of a capital."""
    stroke: int
    """Thickness of the lines of characters."""
    pad: int
    """Space around text."""

    @classmethod
    def of(cls, bgr: BgrImage) -> "DrawingScale":
        """Return the sizes for a frame (H, W, 3)."""
        short_side = min(bgr.shape[:2])
        line = max(2, round(short_side / 220))
        text = max(11.0, short_side * 0.024)
        return cls(line, max(1, round(line / 3)), text, max(2, round(text / 10)), max(3, round(text * 0.4)))


def draw_outline(bgr: BgrImage, corners_xy: FloatArray, colour: Colour, scale: DrawingScale, *, is_dashed: bool = False) -> None:
    """Draw a closed polygon (N, 2) with a black edge, solid or dashed; all its corners must be finite."""
    strokes = _dashes(corners_xy) if is_dashed else [corners_xy]
    for ink, thickness in ((BLACK, scale.line + 2 * scale.edge), (colour, scale.line)):
        points = [_fixed_point(stroke) for stroke in strokes]
        cv2.polylines(bgr, points, not is_dashed, ink, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dashes(corners_xy: FloatArray) -> list[NDArray[np.float64]]:
    """Return the dashes (2, 2) of a closed polygon, the same number on each side: a dash at each corner, and gaps between."""
    dashes = []
    stops = (np.arange(2 * _DASHES_PER_SIDE) + 0.25) / (2 * _DASHES_PER_SIDE)
    for start, end in pairwise(np.vstack([corners_xy, corners_xy[:1]])):
        for first, last in zip(stops[::2], stops[1::2], strict=True):
            dashes.append(np.array([start + (end - start) * first, start + (end - start) * last]))
    return dashes


def draw_keypoints(bgr: BgrImage, detection: Detection, scale: DrawingScale) -> None:
    """Draw the keypoints with a score of at least 0.3."""
    for point, score in zip(detection.keypoints_xy, detection.keypoint_scores, strict=True):
        if score >= _MIN_SCORE and np.isfinite(point).all():
            x, y = _fixed_point(point).tolist()
            for radius, colour in ((scale.line + 2, BLACK), (scale.line + 1, _POINT_BGR)):
                cv2.circle(bgr, (x, y), radius << _SUBPIXEL_BITS, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def draw_skeleton(bgr: BgrImage, detection: Detection, scale: DrawingScale) -> None:
    """Draw lines between the keypoints of a person (COCO's 17) with a score of at least 0.3."""
    for chain in _SKELETON:
        for (start, start_score), (end, end_score) in pairwise(map(detection.keypoint, chain)):
            if min(start_score, end_score) >= _MIN_SCORE and np.isfinite([start, end]).all():
                draw_lines(bgr, [start, end], _BONE_BGR, scale.line)


def draw_lines(bgr: BgrImage, points_xy: Sequence[FloatArray] | NDArray[np.floating], colour: Colour, thickness: int) -> None:
    """Draw lines from each point (x, y) to the next one."""
    cv2.polylines(bgr, [_fixed_point(np.asarray(points_xy))], False, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def fill_rounded(bgr: BgrImage, box: tuple[int, int, int, int], radius: int, colour: Colour) -> None:
    """Fill a rectangle (left, top, right, bottom; the last two excluded) with round corners. It must be within the frame."""
    left, top, right, bottom = box
    radius = min(radius, (right - left) // 2, (bottom - top) // 2)
    upper = _rounded_corner(radius)
    corners = (
        (bgr[top : top + radius, left : left + radius], upper),
        (bgr[top : top + radius, right - radius : right], upper[:, ::-1]),
        (bgr[bottom - radius : bottom, left : left + radius], upper[::-1]),
        (bgr[bottom - radius : bottom, right - radius : right], upper[::-1, ::-1]),
    )
    rounded = [(corner + (np.array(colour, np.float32) - corner) * share).round() for corner, share in corners]
    cv2.rectangle(bgr, (left, top), (right - 1, bottom - 1), colour, cv2.FILLED)
    for (corner, _), blended in zip(corners, rounded, strict=True):
        corner[:] = blended


@lru_cache(maxsize=64)
def _rounded_corner(radius: int) -> FloatArray:
    """Return how much of each pixel (radius, radius, 1), 0 to 1, the upper left corner of a rounded rectangle covers."""
    away = radius - 0.5 - np.arange(radius)
    share: FloatArray = np.clip(radius + 0.5 - np.hypot(away[:, None], away), 0, 1).astype(np.float32)
    return share[..., None]


@contextmanager
def faded(bgr: BgrImage, opacity: float, box: tuple[int, int, int, int]) -> Generator[None, None, None]:
    """Blend what is drawn in this context with this opacity. It must stay in the box (left, top, right, bottom)."""
    left, top = max(box[0], 0), max(box[1], 0)
    area = bgr[top : max(box[3], top), left : max(box[2], left)]
    if opacity >= 1 or area.size == 0:
        yield
        return
    before = area.copy()
    yield
    area[:] = cv2.addWeighted(area, opacity, before, 1 - opacity, 0)


def _fixed_point(points_xy: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return pixels as cv2 counts them: from pixel centres, in fractions of 2**-_SUBPIXEL_BITS; far-off points are clamped."""
    scaled = (np.asarray(points_xy, np.float64) - 0.5) * (1 << _SUBPIXEL_BITS)
    return np.clip(scaled, -1e6, 1e6).round().astype(np.int32)
