"""Contain labelled images, their faces, and problems with labels, for labels of any format."""

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
    """`unknown` for a face that was labelled without a class."""
    ignore: bool = False
    """The face does not count: it is difficult, too small, or part of a crowd."""
    keypoints_xy: FloatArray | None = None
    """(3, 2) nose, left eye, right eye; None unless all three are labelled."""

    def as_detection(self) -> Detection:
        """Return the face as a perfect detector would; raise `ValueError` without keypoints."""
        if self.keypoints_xy is None:
            raise ValueError("a face without keypoints has no detection")
        return Detection(self.box_xyxy, 1.0, self.keypoints_xy, np.ones(len(FACE_KEYPOINTS), np.float32), FACE_KEYPOINTS)


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image and its faces."""

    path: Path
    name: str
    """Path relative to the folder of images, with forward slashes; all results use this name."""
    width: int
    """Pixels of the upright image that `read_image` returns."""
    height: int
    faces: tuple[LabelledFace, ...]

    def read(self) -> BgrImage:
        """Decode the image: (height, width, 3) uint8, BGR.

        Raises:
            SourceError: The image cannot be read.
        """
        try:
            return read_image(str(self.path))
        except SourceError as error:
            raise SourceError(f"{one_line(self.name)}: {error}") from error


class ProblemKind(StrEnum):
    """Kinds of problems with labels and images. The values are keys of metrics.json."""

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

    @property
    def text(self) -> str:
        """The kind in messages."""
        return self.value.replace("picture", "image").replace("mended", "corrected")


@dataclass(frozen=True)
class Problem:
    """A problem with one label or image, and how it was handled."""

    kind: ProblemKind
    where: str
    """Name of the image or of the label file."""
    detail: str
    """One line of text."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """A set of labelled images."""

    images: tuple[LabelledImage, ...]
    """In natural order of their names, with the images that have no faces."""
    format: str
    """`voc`, `vott`, `coco`, `yolo`; `none` if no image has labels."""
    sha256: str
    """Hash of the names, sizes and faces of all images; equal for equal labels in any format."""
    problems: tuple[Problem, ...] = ()
    names: Mapping[str, int] = field(default_factory=dict)
    """Number of faces by label name, as written in the files."""
    coco_image_ids: Mapping[int, str] = field(default_factory=dict)
    """COCO only: image names by id, for results with ids."""
    coco_categories: Mapping[int, str] = field(default_factory=dict)
    """COCO only: category names by id."""

    def count_problems(self) -> dict[str, int]:
        """Return the number of problems of each kind."""
        return dict(Counter(problem.kind.value for problem in self.problems))
