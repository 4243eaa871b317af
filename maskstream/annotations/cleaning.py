"""What is wrong with the boxes of a picture, and the faces that are left."""

import math
from collections.abc import Iterator

import numpy as np

from maskstream.annotations.naming import Names
from maskstream.annotations.raw import Box, Entry, Record
from maskstream.annotations.types import LabelledFace, Problem, ProblemKind
from maskstream.files import one_line
from maskstream.types import FloatArray

CLIPPED_FROM_PX = 1.0
"""What reaches less far beyond the edge is rounding."""
SAME_WITHIN_PX = 0.5
"""Two boxes of one picture are the same where no edge differs by more."""


class Cleaner:
    """Turns what is said of one picture into faces, and keeps what is wrong with it."""

    def __init__(self, picture: str, size: tuple[int, int], names: Names) -> None:
        """Begin with a picture.

        Args:
            picture: Its name, for messages.
            size: Its width and height in pixels, upright.
            names: What the names of classes mean.
        """
        self._picture = one_line(picture)
        self._size = size
        self._names = names
        self.problems: list[Problem] = []

    def clean(self, record: Record) -> tuple[LabelledFace, ...]:
        """Return the faces, their boxes inside the picture.

        Raises:
            BrokenLabel: The names of one contradict each other.
        """
        self._compare_sizes(record.stated_size)
        return tuple(self._without_doubles(list(self._faces(record.entries))))

    def _compare_sizes(self, stated: tuple[float, float] | None) -> None:
        if stated is None or stated == self._size:
            return
        turned = "; it is turned by EXIF, its boxes may not be" if stated == self._size[::-1] else ""
        width, height = stated
        detail = f"labelled as {width:g}x{height:g}, it is {self._size[0]}x{self._size[1]}{turned}; the boxes are kept"
        self._add(ProblemKind.SIZE_DIFFERS, detail)

    def _faces(self, entries: tuple[Entry, ...]) -> Iterator[LabelledFace]:
        for entry in entries:
            label, ignore = self._names.label_of(entry)
            box_xyxy = self._fit(_in_pixels(entry, self._size))
            if box_xyxy is not None:
                yield LabelledFace(box_xyxy, label, ignore or entry.ignore, entry.keypoints_xy)

    def _fit(self, box: Box) -> FloatArray | None:
        """Return the part of a box (4,) that is inside the picture; None where there is none."""
        x1, y1, x2, y2 = box
        width, height = self._size
        fault = self._fault(box)
        if fault is not None:
            self._add(fault, f"{self._describe(box)}; left out")
            return None
        if max(-x1, -y1, x2 - width, y2 - height) > CLIPPED_FROM_PX:
            self._add(ProblemKind.CLIPPED, f"{self._describe(box)}; clipped")
        return _clip(box, self._size)

    def _fault(self, box: Box) -> ProblemKind | None:
        x1, y1, x2, y2 = box
        width, height = self._size
        if not all(map(math.isfinite, box)) or x2 <= x1 or y2 <= y1:
            return ProblemKind.ZERO_AREA
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            return ProblemKind.OUTSIDE
        left = _clip(box, self._size)
        return None if (left[2:] > left[:2]).all() else ProblemKind.ZERO_AREA  # what was left was lost in rounding

    def _without_doubles(self, faces: list[LabelledFace]) -> Iterator[LabelledFace]:
        for index, face in enumerate(faces):
            twin = next((other for other in faces[:index] if _is_same(face, other)), None)
            if twin is None:
                yield face
                continue
            contradiction = f" as {face.label.value}, before as {twin.label.value}" if face.label is not twin.label else ""
            x1, y1, x2, y2 = face.box_xyxy.tolist()
            self._add(ProblemKind.DUPLICATE, f"{self._describe((x1, y1, x2, y2))} again{contradiction}; left out")

    def _describe(self, box: Box) -> str:
        return f"box {', '.join(f'{edge:.6g}' for edge in box)} in {self._size[0]}x{self._size[1]}"

    def _add(self, kind: ProblemKind, detail: str) -> None:
        self.problems.append(Problem(kind, self._picture, detail))


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
