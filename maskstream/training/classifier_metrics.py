"""Metrics of a crop classifier on validation crops."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from maskstream.evaluation.curves import expected_calibration_error
from maskstream.training.calibration import fit_temperature
from maskstream.training.crop_set import face_crops
from maskstream.training.task import set_of
from maskstream.types import Label

_MIN_FACES_OF_A_SET: Final = 20
"""A set with fewer faces has no metrics of its own."""


def metrics_of_logits(logits: torch.Tensor, labels: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """Fit the temperature, and return the metrics at this temperature.

    Args:
        logits: (N, C) float.
        labels: (N,) index in `classes`.
        classes: C names, `mask` among them, `background` only as the last.

    Returns:
        The metrics of `metrics_of_probabilities`, and `temperature`.
    """
    mask = classes.index(Label.MASK.value)
    is_face, count = face_crops(labels, classes)
    face_logits = logits[torch.from_numpy(is_face)][:, :count]
    temperature = fit_temperature(face_logits, torch.from_numpy(labels[is_face] == mask), mask)
    probabilities = (logits.double() / temperature).softmax(1).numpy()
    return {**metrics_of_probabilities(probabilities, labels, classes), "temperature": temperature}


def metrics_of_probabilities(probabilities: NDArray[Any], labels: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """Return the metrics of class probabilities (N, C) against labels (N,), an index in `classes`.

    Returns:
        Of the faces: `log_likelihood` of the correct answer to the question mask or not, `accuracy`, `mask_recall`,
        `no_mask_recall`, `calibration_error` (15 bins), `class_accuracy`. Where background is a class also `face_recall`,
        and `background_recall` where the labels contain background.
    """
    is_face, count = face_crops(labels, classes)
    of_background = {}
    if count < len(classes):
        accepted = probabilities[:, -1] <= 0.5
        of_background["face_recall"] = float(accepted[is_face].mean())
        if not is_face.all():
            of_background["background_recall"] = float(1 - accepted[~is_face].mean())
    probabilities, labels = probabilities[is_face, :count], labels[is_face]
    probabilities = probabilities / probabilities.sum(1, keepdims=True)
    mask = classes.index(Label.MASK.value)
    is_mask, probability = labels == mask, np.clip(probabilities[:, mask], 1e-7, 1 - 1e-7)
    is_correct = (probability > 0.5) == is_mask
    return {
        "log_likelihood": float(np.log(np.where(is_mask, probability, 1 - probability)).mean()),
        "accuracy": float(is_correct.mean()),
        "mask_recall": float(is_correct[is_mask].mean()),
        "no_mask_recall": float(is_correct[~is_mask].mean()),
        "calibration_error": expected_calibration_error(np.maximum(probability, 1 - probability), is_correct),
        "class_accuracy": float((probabilities.argmax(1) == labels).mean()),
        **of_background,
    }


def metrics_by_set(
    logits: torch.Tensor, labels: NDArray[np.int64], paths: Sequence[Path], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return `accuracy` of mask or not, and the number of `faces`, for each part of the validation crops.

    Parts are the data folders, where there are several, and the sets of images: the name of a file up to its first `_`.
    A part with fewer than 20 faces is left out.

    Args:
        logits: (N, C) float, at their temperature.
        labels: (N,) index in `classes`.
        paths: The N files: DATA/val/FOLDER/NAME.
        classes: C names, as for `metrics_of_logits`.
    """
    is_face, count = face_crops(labels, classes)
    mask = classes.index(Label.MASK.value)
    probability = logits[:, :count].softmax(1)[:, mask].numpy()
    is_correct = (probability > 0.5) == (labels == mask)
    parts: dict[str, list[bool]] = {}
    for names in (_folder_names(paths), [set_of(path.name) for path in paths]):
        for place in np.flatnonzero(is_face):
            parts.setdefault(names[place], []).append(bool(is_correct[place]))
    parts.pop("", None)
    return {
        name: {"accuracy": sum(answers) / len(answers), "faces": float(len(answers))}
        for name, answers in parts.items()
        if len(answers) >= _MIN_FACES_OF_A_SET
    }


def _folder_names(paths: Sequence[Path]) -> list[str]:
    """Return the name of the data folder of each crop; its path where names are equal, and no name where there is one folder."""
    folders = [path.parents[2] for path in paths]
    different = set(folders)
    if len(different) == 1:
        return [""] * len(paths)
    has_equal_names = len({folder.name for folder in different}) < len(different)
    return [str(folder) if has_equal_names else folder.name for folder in folders]
