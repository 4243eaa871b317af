"""The models. A new one is a module with `load` and a line in a dict here."""

from collections.abc import Callable

from maskstream.models import coco_resnet50, face_mobilenet, mask_clip, mask_resnet18
from maskstream.models.keypoint_rcnn import DetectorOptions
from maskstream.models.mask_resnet18 import ClassifierOptions
from maskstream.protocols import Classifier, Detector

DETECTORS: dict[str, Callable[[DetectorOptions], Detector]] = {
    face_mobilenet.NAME: face_mobilenet.load,
    coco_resnet50.NAME: coco_resnet50.load,
}
CLASSIFIERS: dict[str, Callable[[ClassifierOptions], Classifier]] = {
    mask_resnet18.NAME: mask_resnet18.load,
    mask_clip.NAME: mask_clip.load,
}

__all__ = ["CLASSIFIERS", "DETECTORS", "ClassifierOptions", "DetectorOptions"]
