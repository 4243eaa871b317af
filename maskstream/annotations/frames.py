"""Transform labelled boxes to pixels of the upright image if the image was rotated or scaled after labelling.

A label file states the size of the image. If the image has another size now, the boxes are rotated by the EXIF orientation or
scaled, unless only the unchanged boxes fit into the image.
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
"""Sizes that differ by no more than this are the same; a box may reach this far beyond its image."""
_MIRRORED = frozenset({2, 4, 5, 7})


@dataclass(frozen=True)
class Frame:
    """The transformation from the boxes of a label to pixels of the upright image."""

    remark: str
    """The difference between label and image, and how the boxes are handled."""
    usable: bool = True
    """False if the places of the boxes are not known."""
    move: Move | None = None
    """Maps points (N, 2) of the label to points (N, 2) of the upright image; None if they are equal."""
    mirrored: bool = False
    """Left and right are exchanged."""

    def apply(self, entry: Entry) -> Entry:
        """Return a face in pixels of the upright image."""
        if self.move is None or entry.relative:
            return entry
        keypoints_xy = entry.keypoints_xy
        if keypoints_xy is not None:
            keypoints_xy = keypoints_xy[[0, 2, 1]] if self.mirrored else keypoints_xy  # left and right eye
            keypoints_xy = self.move(keypoints_xy.astype(np.float64)).astype(np.float32)
        corners = self.move(np.array(entry.box_xyxy, np.float64).reshape(2, 2))
        (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return replace(entry, box_xyxy=(x1, y1, x2, y2), keypoints_xy=keypoints_xy)


def find_frame(stated: Size, shape: ImageShape, entries: tuple[Entry, ...]) -> Frame | None:
    """Return the transformation for a label whose stated size is not the size of the image; None if the sizes are equal.

    Args:
        stated: Width and height that the label states.
        shape: Size and orientation of the image.
        entries: The faces, with their corners in order. Boxes in fractions need no transformation.
    """
    upright, stored = (float(shape.width), float(shape.height)), shape.stored_size
    if stated == upright:
        return None
    differs = f"labelled as {stated[0]:g}x{stated[1]:g}, it is {shape.width}x{shape.height}"
    if max(abs(stated[0] - upright[0]), abs(stated[1] - upright[1])) <= ROUNDING_PX:
        return Frame(f"{differs}; the boxes are kept")
    boxes = [entry.box_xyxy for entry in entries if not entry.relative and np.isfinite(entry.box_xyxy).all()]
    fits_unchanged = _fit(boxes, upright)
    is_rotated = stored != upright and _is_in_proportion(stated, stored)
    if is_rotated or _is_in_proportion(stated, upright):
        differs += ", rotated by EXIF" if is_rotated else ""
        if fits_unchanged and not _fit(boxes, stated):
            return Frame(f"{differs}; the boxes fit unchanged and are kept")
        if not is_rotated:
            return Frame(f"{differs}; the boxes are scaled", move=_scaling(stated, upright))
        move = _rotation(stated, stored, shape.orientation)
        return Frame(f"{differs}; the boxes are rotated too", move=move, mirrored=shape.orientation in _MIRRORED)
    if fits_unchanged:
        return Frame(f"{differs}, of another aspect ratio; the boxes fit unchanged and are kept")
    return Frame(f"{differs}, of another aspect ratio, and a box does not fit", usable=False)


def _is_in_proportion(size: Size, other: Size) -> bool:
    """Return whether two sizes have the same aspect ratio, except for rounding to integers."""
    scale = other[0] / size[0]
    return abs(size[1] * scale - other[1]) <= max(1.0, scale)


def _fit(boxes: list[Box], size: Size) -> bool:
    return all(
        min(x1, y1) >= -ROUNDING_PX and x2 <= size[0] + ROUNDING_PX and y2 <= size[1] + ROUNDING_PX for x1, y1, x2, y2 in boxes
    )


def _scaling(stated: Size, size: Size) -> Move:
    factors = np.array(size) / stated
    return lambda points: points * factors


def _rotation(stated: Size, stored: Size, orientation: int) -> Move:
    """Return the map that scales points to the stored image and rotates them upright, for EXIF orientations 5 to 8."""
    to_stored, (width, height) = _scaling(stated, stored), stored

    def rotate(points: Points) -> Points:
        x, y = to_stored(points).T
        upright_x = height - y if orientation in {6, 7} else y
        upright_y = width - x if orientation in {7, 8} else x
        return np.stack([upright_x, upright_y], axis=1)

    return rotate
