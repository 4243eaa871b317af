"""Check the labelled boxes of an image: correct, clip or refuse them, and list the problems."""

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
"""A box that reaches less far beyond the edge of the image is not reported as clipped: this is rounding."""
SAME_WITHIN_PX = 0.5
"""Two boxes of one image are the same if no edge differs by more."""
SMALLEST_PX = 1.0
"""A box with a shorter side contains no face: it was drawn by mistake or has another unit."""
_OUT = "the image is left out"


class Cleaner:
    """Turn the labels of one image into faces, and collect the problems."""

    def __init__(self, image: str, shape: ImageShape, names: Names) -> None:
        """Create a cleaner for one image.

        Args:
            image: Name of the image, for messages.
            shape: Size of the image.
            names: Meanings of the class names.
        """
        self._image = one_line(image)
        self._shape = shape
        self._size = (shape.width, shape.height)
        self._names = names
        self.problems: list[Problem] = []

    def clean(self, record: Record) -> tuple[LabelledFace, ...] | None:
        """Return the faces with boxes inside the image; None if a box cannot be used, and so the image cannot be used.

        Raises:
            BrokenLabel: The class names of a face contradict each other.
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
        faces: list[LabelledFace] = []
        is_complete = True
        for entry in entries:
            label, ignore = self._names.label_of(entry)
            box_xyxy = self._fit(entry)
            if box_xyxy is None:
                is_complete = False
            else:
                faces.append(LabelledFace(box_xyxy, label, ignore or entry.ignore, entry.keypoints_xy))
        return tuple(self._without_duplicates(faces)) if is_complete else None

    def _ordered(self, entries: tuple[Entry, ...]) -> Iterator[Entry]:
        """Yield entries whose first corner is the upper left one: some tools write the corners in the order of drawing."""
        swapped = 0
        for entry in entries:
            x1, y1, x2, y2 = entry.box_xyxy
            if x2 < x1 or y2 < y1:
                swapped += 1
                entry = replace(entry, box_xyxy=(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))
            yield entry
        if swapped:
            self._add(ProblemKind.MENDED, f"corners of {swapped} of {len(entries)} boxes are in the wrong order; corrected")

    def _fit(self, entry: Entry) -> FloatArray | None:
        """Return the part of a box (4,) inside the image, in pixels; None if the box cannot be used."""
        x1, y1, x2, y2 = entry.box_xyxy
        width, height = self._size
        if entry.relative:
            x1, y1, x2, y2 = x1 * width, y1 * height, x2 * width, y2 * height
        box = (x1, y1, x2, y2)
        fault = self._fault(box)
        if fault is not None:
            is_fraction = 0 < min(x2 - x1, y2 - y1) < SMALLEST_PX and max(map(abs, box)) <= 1
            remark = " (fractions of the image, where pixels are expected?)" if is_fraction else ""
            self._add(fault, f"{self._describe(box)}{remark}; {_OUT}")
            return None
        if max(-x1, -y1, x2 - width, y2 - height) > CLIPPED_FROM_PX:
            self._add(ProblemKind.CLIPPED, f"{self._describe(box)}; clipped")
        return _clip(box, self._size)

    def _fault(self, box: Box) -> ProblemKind | None:
        """Return why a box cannot be used; None if it can."""
        x1, y1, x2, y2 = box
        width, height = self._size
        if not all(map(math.isfinite, box)) or min(x2 - x1, y2 - y1) < SMALLEST_PX:
            return ProblemKind.ZERO_AREA
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            return ProblemKind.OUTSIDE
        clipped = _clip(box, self._size)
        if not (clipped[2:] > clipped[:2]).all():  # the rest inside the image is rounded to nothing
            return ProblemKind.ZERO_AREA
        return None

    def _without_duplicates(self, faces: list[LabelledFace]) -> list[LabelledFace]:
        """Leave out the second of two equal boxes; refuse it if it has another class."""
        single: list[LabelledFace] = []
        for face in faces:
            distances = [float(np.abs(face.box_xyxy - other.box_xyxy).max()) for other in single]
            index = next((index for index, distance in enumerate(distances) if distance <= SAME_WITHIN_PX), None)
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
