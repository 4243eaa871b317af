"""Labels of images, in the formats that people keep them in."""

from maskstream.annotations.files import LabelFormat
from maskstream.annotations.reading import ReadOptions, read_annotations
from maskstream.annotations.types import Annotations, LabelledFace, LabelledImage, Problem, ProblemKind

__all__ = [
    "Annotations",
    "LabelFormat",
    "LabelledFace",
    "LabelledImage",
    "Problem",
    "ProblemKind",
    "ReadOptions",
    "read_annotations",
]
