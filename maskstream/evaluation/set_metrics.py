"""Compute the metrics of one set of images for the table of several sets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskstream.annotations.labelled_images import LabelledImage
from maskstream.config.schema import IncorrectAs
from maskstream.evaluation.curves import calibration, classified_faces
from maskstream.evaluation.matching import (
    MASK,
    MISSED,
    NOTHING,
    UNKNOWN,
    IntArray,
    Overlaps,
    class_index,
    match,
    outcomes,
    tabulate,
)
from maskstream.evaluation.metrics import Floats, as_integers, as_numbers, counts_of, draw_images, intervals, ratio, resample
from maskstream.evaluation.metrics_json import Intervals, iou_key
from maskstream.evaluation.predictions import ImagePredictions
from maskstream.evaluation.run import Measurement
from maskstream.evaluation.scoring import ScoreSettings, placed
from maskstream.evaluation.sets_json import IncorrectMetrics, SetFaces, SetMetrics

SET_IOUS: Final = (0.3, 0.5)
_NO_MASK: Final = MASK + 1
_INCORRECT: Final = MASK + 2


def set_metrics(measured: Measurement) -> SetMetrics:
    """Return the metrics of a set at `SET_IOUS`."""
    metrics, settings = measured.metrics, measured.settings
    return SetMetrics(
        images=metrics.data.images,
        labels=metrics.data.labels,
        box=metrics.settings.box,
        pictures=metrics.data.pictures,
        faces=metrics.data.faces,
        ignored=metrics.data.ignored,
        by_class=metrics.data.by_class,
        problems=sum(metrics.data.problems.values()),
        min_score=settings.min_score,
        iou=settings.iou,
        at_iou={iou_key(iou): faces_at(iou, measured.annotations.images, measured.predictions, settings) for iou in SET_IOUS},
        map50=metrics.ap.map50,
        map50_ci95=metrics.ap.ci95.get("map50"),
        mistakes=metrics.mistakes,
    )


def faces_at(
    iou: float, images: Sequence[LabelledImage], predictions: Mapping[str, ImagePredictions], settings: ScoreSettings
) -> SetFaces:
    """Return the metrics of labelled images at an IoU threshold, of predictions by image name."""
    predictions = {image.name: placed(image, predictions, settings) for image in images}
    draws = draw_images(len(images), settings.bootstrap)
    merged = [_overlaps(image, predictions[image.name], "no_mask") for image in images]
    matches = [match(each, iou) for each in merged]
    error = calibration(classified_faces(merged, matches, settings.min_score), draws)
    by_label = [replace(each, labels=_own_labels(each)) for each in merged]  # what an incorrect mask is classified as
    tables = _tables(by_label, iou, settings.min_score)
    total = tables.sum(0)
    ratios = _ratios(total, len(images))
    return SetFaces(
        **as_integers(_counts(total)),
        **as_numbers(ratios),
        calibration_error=None if error is None else error.ece,
        ci95={
            **intervals(_ratios(resample(draws, tables), len(images))),
            "calibration_error": None if error is None else error.ci95,
        },
        incorrect=_incorrect_at(iou, images, predictions, settings, draws),
    )


def _overlaps(image: LabelledImage, predicted: ImagePredictions, incorrect_as: IncorrectAs) -> Overlaps:
    faces = tuple(face.with_incorrect_as(incorrect_as) for face in predicted.faces)
    return Overlaps.of(image, replace(predicted, faces=faces), incorrect_as)


def _own_labels(overlaps: Overlaps) -> IntArray:
    return np.array([class_index(face.label, "incorrect") for face in overlaps.faces], np.int64)


def _tables(overlaps: Sequence[Overlaps], iou: float, min_score: float) -> IntArray:
    """Return the confusion tables (P, 5, 5) of the images at an IoU threshold."""
    return np.array([tabulate(outcomes(each, match(each, iou), min_score)) for each in overlaps])


def _counts(confusion: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the sums, each (...), of confusion tables (..., 5, 5): rows as labelled, columns with `incorrect` as `no_mask`."""
    bare, masked, incorrect = confusion[..., _NO_MASK, :], confusion[..., MASK, :], confusion[..., _INCORRECT, :]
    counts = counts_of(confusion)
    return {
        "labelled": counts["labelled"],
        "known_class": counts["known_class"],
        "found_faces": counts["found_faces"],
        "right_faces": masked[..., MASK] + bare[..., _NO_MASK] + incorrect[..., _NO_MASK],
        "false_faces": counts["false_faces"],
        "found_bare": bare[..., :MISSED].sum(-1),
        "bare_as_mask_faces": bare[..., MASK],
        "found_masked": masked[..., :MISSED].sum(-1),
        "mask_as_bare_faces": masked[..., _NO_MASK],
        "labelled_incorrect": incorrect.sum(-1),
    }


def _ratios(confusion: NDArray[Any], images: int) -> dict[str, Floats]:
    count = _counts(confusion)
    return {
        "found": ratio(count["found_faces"], count["labelled"]),
        "right": ratio(count["right_faces"], count["known_class"]),
        "false_per_image": ratio(count["false_faces"], np.asarray(images)),
        "bare_as_mask": ratio(count["bare_as_mask_faces"], count["found_bare"]),
        "mask_as_bare": ratio(count["mask_as_bare_faces"], count["found_masked"]),
        "incorrect_right": ratio(confusion[..., _INCORRECT, _NO_MASK], count["labelled_incorrect"]),
    }


def _incorrect_at(
    iou: float,
    images: Sequence[LabelledImage],
    predictions: Mapping[str, ImagePredictions],
    settings: ScoreSettings,
    draws: Floats,
) -> IncorrectMetrics | None:
    """Return the metrics of `incorrect` as a class of its own; None unless the predictions have this class."""
    if not any(face.knows_incorrect for predicted in predictions.values() for face in predicted.faces):
        return None
    overlaps = [_overlaps(image, predictions[image.name], "incorrect") for image in images]
    tables = _tables(overlaps, iou, settings.min_score)
    total = tables.sum(0)
    labelled, classified, right = _incorrect_counts(total)
    return IncorrectMetrics(
        labelled=int(labelled),
        classified=int(classified),
        right=int(right),
        **as_numbers({"recall": ratio(right, labelled), "precision": ratio(right, classified)}),
        ci95=_incorrect_intervals(resample(draws, tables)),
    )


def _incorrect_counts(confusion: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the labelled, the classified and the right faces, each (...), of confusion tables (..., 5, 5)."""
    classified = confusion[..., : NOTHING + 1, _INCORRECT].sum(-1) - confusion[..., UNKNOWN, _INCORRECT]
    return confusion[..., _INCORRECT, :].sum(-1), classified, confusion[..., _INCORRECT, _INCORRECT]


def _incorrect_intervals(resampled: Floats) -> Intervals:
    labelled, classified, right = _incorrect_counts(resampled)
    return intervals({"recall": ratio(right, labelled), "precision": ratio(right, classified)})
