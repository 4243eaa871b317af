"""Metrics of a crop classifier on validation crops."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskstream.evaluation.curves import expected_calibration_error
from maskstream.training.calibration import fit_temperature
from maskstream.training.crop_set import face_crops
from maskstream.types import Label


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
