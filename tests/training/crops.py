"""Small crop sets and recipes, shared by the tests of the classifier's training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskstream.training.crop_set import CropSet
from maskstream.training.crops import stored_size
from maskstream.training.recipe import ClassifierRecipe
from maskstream.training.run import load_classifier_recipe
from maskstream.types import BgrImage

SIZE = 32
STORED = stored_size(SIZE)
CLASSES = ["mask", "no_mask", "incorrect"]
FOLDERS = (*CLASSES, "unlabelled")
UNCHANGED = ("jitter_turn_deg", "jitter_scale", "jitter_shift", "small_share", "photometric")
PLAIN = dict.fromkeys(UNCHANGED, 0.0)


def recipe(**changes: Any) -> ClassifierRecipe:
    """Return the recipe of a classifier that knows no background."""
    ours = {"architecture": "mask_resnet18", "size_px": SIZE, "classes": CLASSES, "folders": {name: name for name in CLASSES}}
    return load_classifier_recipe(None, []).model_copy(update={**ours, **changes})


def noise(count: int = 1, seed: int = 0) -> BgrImage:
    """Return stored crops (count, S, S, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, STORED, STORED, 3), np.uint8)


def crop_set(*labels: int, grey: bool = False, paths: Sequence[str] | None = None) -> CropSet:
    """Return a crop for each label, of noise or of the grey level that its label gives it."""
    pixels = noise(len(labels))
    if grey:
        pixels[:] = np.array(labels, np.uint8)[:, None, None, None] * 100
    names = paths or [f"crops/train/{FOLDERS[label]}/set_{index}.png" for index, label in enumerate(labels)]
    return CropSet(pixels, np.array(labels), tuple(map(Path, names)), "0" * 64, ())
