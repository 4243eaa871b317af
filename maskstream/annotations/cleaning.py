"""What is wrong with the boxes of an image, and the faces that are left."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from maskstream.annotations.frames import find_frame
from maskstream.annotations.labelled_images import LabelledFace, Problem, ProblemKind
from maskstream.annotations.naming import Names
from maskstream.annotations.raw_labels import Box, BrokenLabel, Entry, Record
from maskstream.io.files import one_line
from maskstream.io.images import ImageShape
from maskstream.types import FloatArray, Label

CLIPPED_FROM_PX = 1.0
"""What reaches less far beyond the edge is rounding."""
SAME_WITHIN_PX = 0.5
"""Two boxes of one image are the same where no edge differs by more."""
SMALLEST_PX = 1.0
"""A box with a shorter side shows no face: it is a slip of the mouse, or in another unit."""
_OUT = "the picture is left out"


class Cleaner:
    """Turns what is said of one image into faces, and keeps what is wrong with it."""

    def __init__(self, image: str, shape: ImageShape, names: Names) -> None:
        """Begin with an image.

        Args:
            image: Its name, for messages.
            shape: Its size.
            names: What the names of classes mean.
        """
        self._image = one_line(image)
        self._shape = shape
        self._size = (shape.width, shape.height)
        self._names = names
        self.problems: list[Problem] = []

    def clean(self, record: Record) -> tuple[LabelledFace, ...] | None:
        """Return the faces, their boxes inside the image; None where one cannot be told, and so the image cannot be used.

        Raises:
            BrokenLabel: The names of one contradict each other.
        """
        entries = tuple(self._ordered(record.entries))
        if record.stated_size is not None:
            frame = find_frame(record.stated_size, self._shape, entries)
            if frame is not None:
                if not frame.usable:
                    self._add(ProblemKind.BROKEN_LABEL, f"{frame.remark}; {_OUT}")
                    return None
                self._add(ProblemKind.SIZE_DIFFERS, frame.remark)
                entries = tuple(map(frame.apply, entries))
        faces = list(self._faces(entries))
        return None if None in faces else tuple(self._without_doubles([face for face in faces if face is not None]))

    def _ordered(self, entries: tuple[Entry, ...]) -> Iterator[Entry]:
        """Yield faces whose first corner is the upper left one: tools write others where a box is drawn from below."""
        swapped = 0
        for entry in entries:
            x1, y1, x2, y2 = entry.box_xyxy
            if x2 < x1 or y2 < y1:
                swapped += 1
                entry = replace(entry, box_xyxy=(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))
            yield entry
        if swapped:
            self._add(ProblemKind.MENDED, f"corners of {swapped} of {len(entries)} boxes in the wrong order; put in order")

    def _faces(self, entries: tuple[Entry, ...]) -> Iterator[LabelledFace | None]:
        for entry in entries:
            label, ignore = self._names.label_of(entry)
            box_xyxy = self._fit(_in_pixels(entry, self._size))
            yield None if box_xyxy is None else LabelledFace(box_xyxy, label, ignore or entry.ignore, entry.keypoints_xy)

    def _fit(self, box: Box) -> FloatArray | None:
        """Return the part of a box (4,) that is inside the image; None where there is none."""
        x1, y1, x2, y2 = box
        width, height = self._size
        fault = self._fault(box)
        if fault is not None:
            kind, why = fault
            self._add(kind, f"{self._describe(box)}{why}; {_OUT}")
            return None
        if max(-x1, -y1, x2 - width, y2 - height) > CLIPPED_FROM_PX:
            self._add(ProblemKind.CLIPPED, f"{self._describe(box)}; clipped")
        return _clip(box, self._size)

    def _fault(self, box: Box) -> tuple[ProblemKind, str] | None:
        """Return what is wrong with a box that cannot be used, and a remark."""
        x1, y1, x2, y2 = box
        width, height = self._size
        if not all(map(math.isfinite, box)) or x2 <= x1 or y2 <= y1:
            return ProblemKind.ZERO_AREA, ""
        if min(x2 - x1, y2 - y1) < SMALLEST_PX:
            shares = " (shares of the picture, where pixels are expected?)" if max(map(abs, box)) <= 1 else ""
            return ProblemKind.ZERO_AREA, shares
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            return ProblemKind.OUTSIDE, ""
        left = _clip(box, self._size)
        return None if (left[2:] > left[:2]).all() else (ProblemKind.ZERO_AREA, "")  # what was left was lost in rounding

    def _without_doubles(self, faces: list[LabelledFace]) -> list[LabelledFace]:
        single: list[LabelledFace] = []
        for face in faces:
            index = next((index for index, other in enumerate(single) if _is_same(face, other)), None)
            if index is None:
                single.append(face)
                continue
            x1, y1, x2, y2 = face.box_xyxy.tolist()
            again = f"{self._describe((x1, y1, x2, y2))} again"
            if single[index].label is Label.UNKNOWN:
                single[index] = replace(single[index], label=face.label)
            elif face.label not in (single[index].label, Label.UNKNOWN):
                raise BrokenLabel(f"{again} as {face.label.value}, before as {single[index].label.value}")
            self._add(ProblemKind.DUPLICATE, f"{again}; left out")
        return single

    def _describe(self, box: Box) -> str:
        return f"box {', '.join(f'{edge:.6g}' for edge in box)} in {self._size[0]}x{self._size[1]}"

    def _add(self, kind: ProblemKind, detail: str) -> None:
        self.problems.append(Problem(kind, self._image, detail))


def _clip(box: Box, size: tuple[int, int]) -> FloatArray:
    x1, y1, x2, y2 = box
    width, height = size
    return np.array([max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)], np.float32)


def _in_pixels(entry: Entry, size: tuple[int, int]) -> Box:
    if not entry.relative:
        return entry.box_xyxy
    x1, y1, x2, y2 = entry.box_xyxy
    width, height = size
    return x1 * width, y1 * height, x2 * width, y2 * height


def _is_same(face: LabelledFace, other: LabelledFace) -> bool:
    return float(np.abs(face.box_xyxy - other.box_xyxy).max()) <= SAME_WITHIN_PX
