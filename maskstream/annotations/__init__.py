"""Labels of pictures, in the formats that people keep them in."""

from maskstream.annotations.files import LabelFormat
from maskstream.annotations.reading import ReadOptions, read_annotations
from maskstream.annotations.types import Annotations, LabelledFace, LabelledPicture, Problem, ProblemKind

__all__ = [
    "Annotations",
    "LabelFormat",
    "LabelledFace",
    "LabelledPicture",
    "Problem",
    "ProblemKind",
    "ReadOptions",
    "read_annotations",
]
