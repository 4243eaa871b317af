"""The coordinate frame of labels: that of the image as it was labelled, which may have been turned or scaled since.

A label file states the size of the image that its boxes are pixels of. Where the image has another size today, the boxes are
turned by its EXIF orientation or scaled to it, unless they themselves show that they are right as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maskstream.annotations.raw_labels import Box, Entry
from maskstream.io.images import ImageShape

Size = tuple[float, float]
Points = NDArray[np.float64]
Move = Callable[[Points], Points]

ROUNDING_PX = 2.0
"""Sizes that differ by no more are the same; so much may a box reach beyond its image."""
_MIRRORED = frozenset({2, 4, 5, 7})


@dataclass(frozen=True)
class Frame:
    """How the boxes of a label become pixels of the upright image."""

    remark: str
    """What is different about the label, and what becomes of its boxes."""
    usable: bool = True
    """False where nobody can tell where its boxes lie."""
    move: Move | None = None
    """From points (N, 2) of the label to points (N, 2) of the upright image; None: they are the same."""
    mirrored: bool = False
    """Left and right change places."""

    def apply(self, entry: Entry) -> Entry:
        """Return a face in pixels of the upright image."""
        if self.move is None or entry.relative:
            return entry
        keypoints_xy = entry.keypoints_xy
        if keypoints_xy is not None:
            keypoints_xy = keypoints_xy[[0, 2, 1]] if self.mirrored else keypoints_xy  # left and right eye
            keypoints_xy = self.move(keypoints_xy.astype(np.float64)).astype(np.float32)
        return replace(entry, box_xyxy=_moved(entry.box_xyxy, self.move), keypoints_xy=keypoints_xy)


def find_frame(stated: Size, shape: ImageShape, entries: tuple[Entry, ...]) -> Frame | None:
    """Return the frame of a label whose stated size is not that of its image; None where they agree.

    Args:
        stated: Width and height that the label states.
        shape: Of the image.
        entries: Its faces, corners in order; those in shares of the image are of no frame.
    """
    upright, stored = (float(shape.width), float(shape.height)), shape.stored_size
    if stated == upright:
        return None
    differs = f"labelled as {stated[0]:g}x{stated[1]:g}, it is {shape.width}x{shape.height}"
    boxes = [entry.box_xyxy for entry in entries if not entry.relative and np.isfinite(entry.box_xyxy).all()]
    if _are_alike(stated, upright):
        return Frame(f"{differs}; the boxes are kept")
    is_turned = stored != upright and _is_in_proportion(stated, stored)
    if not is_turned and not _is_in_proportion(stated, upright):
        if _fit(boxes, upright):
            return Frame(f"{differs}, of other proportions; the boxes fit as they are and are kept")
        return Frame(f"{differs}, of other proportions, and a box does not fit", usable=False)
    if _fit(boxes, upright) and not _fit(boxes, stated):
        return Frame(f"{differs}{', turned by EXIF' if is_turned else ''}; the boxes fit as they are and are kept")
    if is_turned:
        move = _turning(stated, stored, shape.orientation)
        return Frame(f"{differs}, turned by EXIF; the boxes are turned too", move=move, mirrored=shape.orientation in _MIRRORED)
    return Frame(f"{differs}; the boxes are scaled", move=_scaling(stated, upright))


def _are_alike(size: Size, other: Size) -> bool:
    return max(abs(size[0] - other[0]), abs(size[1] - other[1])) <= ROUNDING_PX


def _is_in_proportion(size: Size, other: Size) -> bool:
    """Return whether one is the other, scaled, but for rounding to whole pixels."""
    scale = other[0] / size[0]
    return abs(size[1] * scale - other[1]) <= max(1.0, scale)


def _fit(boxes: list[Box], size: Size) -> bool:
    return all(
        min(x1, y1) >= -ROUNDING_PX and x2 <= size[0] + ROUNDING_PX and y2 <= size[1] + ROUNDING_PX for x1, y1, x2, y2 in boxes
    )


def _scaling(stated: Size, size: Size) -> Move:
    factors = np.array(size) / stated
    return lambda points: points * factors


def _turning(stated: Size, stored: Size, orientation: int) -> Move:
    """Return what scales points to the stored image and turns them upright; orientations 5 to 8 of EXIF."""
    to_stored, (width, height) = _scaling(stated, stored), stored

    def turn(points: Points) -> Points:
        x, y = to_stored(points).T
        return np.stack([height - y if orientation in {6, 7} else y, width - x if orientation in {7, 8} else x], axis=1)

    return turn


def _moved(box: Box, move: Move) -> Box:
    corners = move(np.array(box, np.float64).reshape(2, 2))
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return x1, y1, x2, y2
