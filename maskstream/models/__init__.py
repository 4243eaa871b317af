"""The registries of models. To add a model, write a module with `load` and add a line to a dict here.

A model's module is imported when the model is loaded.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from maskstream.models import face_mobilenet, mask_mobilenet, mask_resnet18
from maskstream.models.architecture import Architecture
from maskstream.models.options import ClassifierOptions, DetectorOptions
from maskstream.protocols import Classifier, Detector


def _lazy_load(name: str) -> Callable[[Any], Any]:
    return lambda options: import_module(f"maskstream.models.{name}").load(options)


DETECTORS: dict[str, Callable[[DetectorOptions], Detector]] = {
    face_mobilenet.NAME: face_mobilenet.load,
    "coco_resnet50": _lazy_load("coco_resnet50"),
}
CROP_ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture for architecture in (mask_resnet18.ARCHITECTURE, mask_mobilenet.ARCHITECTURE)
}
"""The classifiers that can be trained."""
CLASSIFIERS: dict[str, Callable[[ClassifierOptions], Classifier]] = {
    **{name: architecture.load for name, architecture in CROP_ARCHITECTURES.items()},
    "clip": _lazy_load("mask_clip"),
}

__all__ = ["CLASSIFIERS", "CROP_ARCHITECTURES", "DETECTORS", "ClassifierOptions", "DetectorOptions"]
