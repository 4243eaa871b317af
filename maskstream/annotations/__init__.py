"""Read labels of images in the formats Pascal VOC, VoTT, COCO and YOLO."""

from maskstream.annotations.label_files import LabelFormat
from maskstream.annotations.labelled_images import Annotations, LabelledFace, LabelledImage, Problem, ProblemKind
from maskstream.annotations.reading import ReadOptions, read_annotations

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
