"""The models. A new one is a module with `load` and a line in a dict here."""

from collections.abc import Callable

from maskstream.models import coco_resnet50, face_mobilenet, mask_clip, mask_mobilenet, mask_resnet18
from maskstream.models.crop_classifier import Architecture, ClassifierOptions
from maskstream.models.keypoint_rcnn import DetectorOptions
from maskstream.protocols import Classifier, Detector

DETECTORS: dict[str, Callable[[DetectorOptions], Detector]] = {
    face_mobilenet.NAME: face_mobilenet.load,
    coco_resnet50.NAME: coco_resnet50.load,
}
CROP_ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture for architecture in (mask_resnet18.ARCHITECTURE, mask_mobilenet.ARCHITECTURE)
}
"""The classifiers that can be trained."""
CLASSIFIERS: dict[str, Callable[[ClassifierOptions], Classifier]] = {
    **{name: architecture.load for name, architecture in CROP_ARCHITECTURES.items()},
    mask_clip.NAME: mask_clip.load,
}

__all__ = ["CLASSIFIERS", "CROP_ARCHITECTURES", "DETECTORS", "ClassifierOptions", "DetectorOptions"]
