"""Labelled images, whatever format the labels came in."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from maskstream.errors import SourceError
from maskstream.io.files import one_line
from maskstream.io.images import read_image
from maskstream.types import FACE_KEYPOINTS, BgrImage, Detection, FloatArray, Label


@dataclass(frozen=True, eq=False)
class LabelledFace:
    """One annotated face."""

    box_xyxy: FloatArray
    """(4,) pixels, inside the image."""
    label: Label
    """`unknown` where somebody marked the face and nobody its class."""
    ignore: bool = False
    """Neither a positive nor a negative: difficult, too small, a crowd."""
    keypoints_xy: FloatArray | None = None
    """(3, 2) nose, left eye, right eye; None where they are not all labelled."""

    def as_detection(self) -> Detection:
        """Return the annotation as a perfect detector would report it; `ValueError` without keypoints."""
        if self.keypoints_xy is None:
            raise ValueError("a face without keypoints has no detection")
        return Detection(self.box_xyxy, 1.0, self.keypoints_xy, np.ones(len(FACE_KEYPOINTS), np.float32), FACE_KEYPOINTS)


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image and its faces."""

    path: Path
    name: str
    """Path below the folder of images, with forward slashes: its name in every result."""
    width: int
    """Pixels of the upright image, as `read_image` gives it."""
    height: int
    faces: tuple[LabelledFace, ...]

    def read(self) -> BgrImage:
        """Decode it: (height, width, 3) uint8, blue first.

        Raises:
            SourceError: It cannot be read, or not any more; names it.
        """
        try:
            return read_image(str(self.path))
        except SourceError as error:
            raise SourceError(f"{one_line(self.name)}: {error}") from error


class ProblemKind(StrEnum):
    """What can be wrong with labels."""

    LABEL_WITHOUT_IMAGE = "label without picture"
    IMAGE_WITHOUT_LABEL = "picture without label"
    UNREADABLE_IMAGE = "unreadable picture"
    BROKEN_LABEL = "broken label"
    SIZE_DIFFERS = "labelled size differs from the picture"
    OUTSIDE = "box outside the picture"
    CLIPPED = "box clipped to the picture"
    ZERO_AREA = "box without area"
    DUPLICATE = "face labelled twice"
    MENDED = "label mended"


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with one label or image, and what was done about it."""

    kind: ProblemKind
    where: str
    """Image or label file."""
    detail: str
    """One line, such as the box."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """A set of labelled images."""

    images: tuple[LabelledImage, ...]
    """In natural order of their names; those without any face included."""
    format: str
    """`voc`, `vott`, `coco`, `yolo`; `none` where no image has labels."""
    sha256: str
    """Over names, sizes and faces of all images: two sets with the same sum are the same labels."""
    problems: tuple[Problem, ...] = ()
    names: Mapping[str, int] = field(default_factory=dict)
    """How often each label name of the files occurs."""
    coco_image_ids: Mapping[int, str] = field(default_factory=dict)
    """COCO only: the image's name by its id, for results that speak of ids."""
    coco_categories: Mapping[int, str] = field(default_factory=dict)
    """COCO only: the category's name by its id."""

    def count_problems(self) -> dict[str, int]:
        """Return how many problems of each kind there are."""
        return dict(Counter(problem.kind.value for problem in self.problems))
