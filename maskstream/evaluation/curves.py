"""Curves and what they sum up to: precision and recall, ROC, calibration, keypoint errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from maskstream.evaluation.matching import MASK, NONE, UNKNOWN, BoolArray, IntArray, Matches, Overlaps
from maskstream.evaluation.metrics import Floats, as_number, interval, resample
from maskstream.types import FACE_KEYPOINTS

CALIBRATION_BINS: Final = 15
_MOST_DRAWS: Final = 200  # one takes some 5 ms
_MOST_POINTS: Final = 500
"""Of a curve in a file; more cannot be seen."""


@dataclass(frozen=True, eq=False)
class JudgedFaces:
    """The N found faces of known class that were judged, with a confidence."""

    image: IntArray
    """(N,) which image they are in."""
    is_mask: BoolArray
    """(N,) as labelled."""
    mask_probability: Floats
    """(N,) where mask or not is the question."""
    is_right: BoolArray
    confidence: Floats


def judged_faces(overlaps: Sequence[Overlaps], matches: Sequence[Matches], min_score: float) -> JudgedFaces:
    """Collect the faces that confidence can be checked on."""
    rows = [row for index, pair in enumerate(zip(overlaps, matches, strict=True)) for row in _judged(index, *pair, min_score)]
    table = np.array(rows, np.float64).reshape(-1, 4)
    label, answer, confidence = table[:, 1], table[:, 2], table[:, 3]
    return JudgedFaces(
        image=table[:, 0].astype(np.int64),
        is_mask=label == MASK,
        mask_probability=np.where(answer == MASK, confidence, 1 - confidence),
        is_right=label == answer,
        confidence=confidence,
    )


def _judged(image: int, overlaps: Overlaps, matches: Matches, min_score: float) -> Iterator[tuple[float, ...]]:
    for prediction, answer, taken in zip(overlaps.predictions, overlaps.answers, matches.taken, strict=True):
        if taken == NONE or prediction.score < min_score or prediction.confidence is None:
            continue
        if overlaps.labels[taken] != UNKNOWN:
            yield image, overlaps.labels[taken], answer, prediction.confidence


def roc(faces: JudgedFaces, draws: Floats) -> dict[str, Any] | None:
    """Return the `roc` of docs/evaluation.md, None without both classes."""
    if len(set(faces.is_mask.tolist())) < 2:
        return None
    false_positive_rate, true_positive_rate, _ = roc_curve(faces.is_mask, faces.mask_probability)
    areas = []
    for drawn in draws[:_MOST_DRAWS]:
        weight = drawn[faces.image]
        if weight[faces.is_mask].any() and weight[~faces.is_mask].any():
            areas.append(roc_auc_score(faces.is_mask, faces.mask_probability, sample_weight=weight))
    return {
        "faces": len(faces.is_mask),
        "auc": as_number(roc_auc_score(faces.is_mask, faces.mask_probability)),
        "ci95": interval(np.array(areas)),
        "points": _thinned(np.column_stack([false_positive_rate, true_positive_rate])),
    }


def calibration(faces: JudgedFaces, draws: Floats) -> dict[str, Any] | None:
    """Return the `calibration` of docs/evaluation.md: expected calibration error and its bins; None without faces.

    Guo et al., "On Calibration of Modern Neural Networks" (2017).
    """
    if not faces.confidence.size:
        return None
    per_image = _calibration_sums(faces.confidence, faces.is_right, faces.image, draws.shape[1])
    total = per_image.sum(0)
    return {
        "faces": len(faces.confidence),
        "ece": as_number(_calibration_error(total)),
        "ci95": interval(_calibration_error(resample(draws, per_image))),
        "bins": [
            {
                "low": round(index / CALIBRATION_BINS, 4),
                "high": round((index + 1) / CALIBRATION_BINS, 4),
                "faces": int(count),
                "confidence": as_number(confidence / count) if count else None,
                "accuracy": as_number(right / count) if count else None,
            }
            for index, (count, confidence, right) in enumerate(total)
        ],
    }


def expected_calibration_error(confidence: Floats, is_right: BoolArray) -> float:
    """Return the mean gap between confidence (N,) and accuracy over 15 equal bins, weighted by their faces."""
    return float(_calibration_error(_calibration_sums(confidence, is_right, np.zeros(len(confidence), np.int64), 1)[0]))


def _calibration_sums(confidence: Floats, is_right: BoolArray, image: IntArray, images: int) -> Floats:
    """Return the sums (images, bins, 3) of faces, confidence and right answers."""
    sums = np.zeros((images, CALIBRATION_BINS, 3))
    bins = (confidence * CALIBRATION_BINS).astype(int).clip(0, CALIBRATION_BINS - 1)
    np.add.at(sums, (image, bins), np.column_stack([np.ones_like(confidence), confidence, is_right]))
    return sums


def _calibration_error(sums: Floats) -> Floats:
    """Return the error (...) of sums (..., bins, 3) of faces, confidence and right answers."""
    count, gap = sums[..., 0].sum(-1), np.abs(sums[..., 1] - sums[..., 2]).sum(-1)
    return np.asarray(np.divide(gap, count, out=np.full(count.shape, np.nan), where=count > 0))


def precision_recall(
    overlaps: Sequence[Overlaps], matches: Sequence[Matches], classes: Sequence[str]
) -> dict[str, list[list[float]]]:
    """Return [recall, precision, score] for `face`, whatever its class, and for each class, from the highest score down.

    A class is ranked by score times confidence, as average precision is; `face` by the score.
    """
    curves = {"face": _precision_recall(overlaps, matches, None)}
    return {**curves, **{name: _precision_recall(overlaps, matches, index) for index, name in enumerate(classes)}}


def _precision_recall(overlaps: Sequence[Overlaps], matches: Sequence[Matches], wanted: int | None) -> list[list[float]]:
    ranks, hits, labelled = [], [], 0
    for each, matched in zip(overlaps, matches, strict=True):
        labelled += len(each.labels) if wanted is None else int((each.labels == wanted).sum())
        for prediction, answer, taken, excused in zip(
            each.predictions, each.answers, matched.taken, matched.excused, strict=True
        ):
            label = each.labels[taken] if taken != NONE else NONE
            if excused or (wanted is not None and (answer != wanted or label == UNKNOWN)):
                continue
            of_class = 1.0 if wanted is None or prediction.confidence is None else prediction.confidence
            ranks.append(prediction.score * of_class)
            hits.append(label != NONE if wanted is None else label == wanted)
    if not labelled or not ranks:
        return []
    order = np.argsort(-np.array(ranks), kind="stable")
    right = np.array(hits)[order].cumsum()
    return _thinned(np.column_stack([right / labelled, right / np.arange(1, len(right) + 1), np.array(ranks)[order]]))


def keypoint_errors(
    overlaps: Sequence[Overlaps], matches: Sequence[Matches], min_score: float, draws: Floats
) -> dict[str, Any] | None:
    """Return the `keypoints` of docs/evaluation.md, in distances of the labelled eyes; None without labelled points."""
    rows = [
        (index, *errors)
        for index, (each, matched) in enumerate(zip(overlaps, matches, strict=True))
        for errors in _keypoint_errors(each, matched, min_score)
    ]
    if not rows:
        return None
    table = np.array(rows, np.float64)
    errors, mean = table[:, 1:], table[:, 1:].mean(1)
    per_image = np.zeros((draws.shape[1], 2))
    np.add.at(per_image, table[:, 0].astype(int), np.column_stack([mean, np.ones_like(mean)]))
    sums = resample(draws, per_image)
    return {
        "faces": len(rows),
        "mean": as_number(mean.mean()),
        "median": as_number(np.median(mean)),
        "p95": as_number(np.percentile(mean, 95)),
        "ci95": interval(np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)),
        "by_name": dict(zip(FACE_KEYPOINTS, map(as_number, errors.mean(0)), strict=True)),
    }


def _keypoint_errors(overlaps: Overlaps, matches: Matches, min_score: float) -> Iterator[Floats]:
    """Yield the errors (3,) of each found face with points on both sides."""
    for prediction, taken in zip(overlaps.predictions, matches.taken, strict=True):
        if taken == NONE or prediction.score < min_score or not set(FACE_KEYPOINTS) <= set(prediction.keypoints):
            continue
        labelled = overlaps.faces[taken].keypoints_xy
        if labelled is not None:
            found = np.array([prediction.keypoints[name][:2] for name in FACE_KEYPOINTS])
            eye_distance = np.hypot(*(labelled[1] - labelled[2]))
            if eye_distance > 0 and np.isfinite(found).all():
                yield np.hypot(*(found - labelled).T) / eye_distance


def _thinned(points: Floats) -> list[list[float]]:
    """Return at most `_MOST_POINTS` of the points (N, K), first and last among them."""
    picks = np.unique(np.linspace(0, len(points) - 1, min(len(points), _MOST_POINTS)).round().astype(int))
    return [[round(value, 5) for value in point] for point in points[picks].tolist()]
