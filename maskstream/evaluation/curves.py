"""Compute the curves and their summaries: precision and recall, ROC, calibration, keypoint errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from maskstream.evaluation.matching import MASK, NONE, UNKNOWN, BoolArray, IntArray, Matches, Overlaps
from maskstream.evaluation.metrics import Floats, as_number, interval, resample
from maskstream.evaluation.metrics_json import Calibration, CalibrationBin, KeypointErrors, Points, Roc
from maskstream.types import FACE_KEYPOINTS

CALIBRATION_BINS: Final = 15
_MOST_DRAWS: Final = 200  # a draw takes about 5 ms
_MOST_POINTS: Final = 500
"""Points of a curve in metrics.json; a plot does not show more."""


@dataclass(frozen=True, eq=False)
class ClassifiedFaces:
    """The N found faces of known class that have a confidence."""

    image: IntArray
    """(N,) index of the image."""
    is_mask: BoolArray
    """(N,) as labelled."""
    mask_probability: Floats
    """(N,) probability of a mask; the confidence of another answer is that of no mask."""
    is_right: BoolArray
    confidence: Floats


def classified_faces(overlaps: Sequence[Overlaps], matches: Sequence[Matches], min_score: float) -> ClassifiedFaces:
    """Collect the found faces that have a known class and a confidence."""
    rows: list[tuple[float, ...]] = []
    for index, (each, matched) in enumerate(zip(overlaps, matches, strict=True)):
        for prediction, answer, taken in zip(each.predictions, each.answers, matched.taken, strict=True):
            if taken == NONE or prediction.score < min_score or prediction.confidence is None:
                continue
            if each.labels[taken] != UNKNOWN:
                rows.append((index, each.labels[taken], answer, prediction.confidence))
    table = np.array(rows, np.float64).reshape(-1, 4)
    label, answer, confidence = table[:, 1], table[:, 2], table[:, 3]
    return ClassifiedFaces(
        image=table[:, 0].astype(np.int64),
        is_mask=label == MASK,
        mask_probability=np.where(answer == MASK, confidence, 1 - confidence),
        is_right=label == answer,
        confidence=confidence,
    )


def roc(faces: ClassifiedFaces, draws: Floats) -> Roc | None:
    """Return the ROC of mask against no mask; None unless faces of both classes were found."""
    if len(set(faces.is_mask.tolist())) < 2:
        return None
    false_positive_rate, true_positive_rate, _ = roc_curve(faces.is_mask, faces.mask_probability)
    areas = []
    for drawn in draws[:_MOST_DRAWS]:
        weight = drawn[faces.image]
        if weight[faces.is_mask].any() and weight[~faces.is_mask].any():
            areas.append(roc_auc_score(faces.is_mask, faces.mask_probability, sample_weight=weight))
    return Roc(
        faces=len(faces.is_mask),
        auc=as_number(roc_auc_score(faces.is_mask, faces.mask_probability)),
        ci95=interval(np.array(areas)),
        points=_thinned(np.column_stack([false_positive_rate, true_positive_rate])),
    )


def calibration(faces: ClassifiedFaces, draws: Floats) -> Calibration | None:
    """Return the expected calibration error and its bins; None without faces.

    Guo et al., "On Calibration of Modern Neural Networks" (2017).
    """
    if not faces.confidence.size:
        return None
    per_image = _calibration_sums(faces.confidence, faces.is_right, faces.image, draws.shape[1])
    total = per_image.sum(0)
    bins = [
        CalibrationBin(
            low=round(index / CALIBRATION_BINS, 4),
            high=round((index + 1) / CALIBRATION_BINS, 4),
            faces=int(count),
            confidence=as_number(confidence / count) if count else None,
            accuracy=as_number(right / count) if count else None,
        )
        for index, (count, confidence, right) in enumerate(total)
    ]
    return Calibration(
        faces=len(faces.confidence),
        ece=as_number(_calibration_error(total)),
        ci95=interval(_calibration_error(resample(draws, per_image))),
        bins=tuple(bins),
    )


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


def precision_recall(overlaps: Sequence[Overlaps], matches: Sequence[Matches], classes: Sequence[str]) -> dict[str, Points]:
    """Return recall, precision and score, from the highest score down, of `face` (any class) and of each class.

    Predictions of a class are ranked by score times confidence, as for average precision; those of `face` by the score.
    """
    curves = {"face": _precision_recall(overlaps, matches, None)}
    for index, name in enumerate(classes):
        curves[name] = _precision_recall(overlaps, matches, index)
    return curves


def _precision_recall(overlaps: Sequence[Overlaps], matches: Sequence[Matches], wanted: int | None) -> Points:
    labelled = 0
    ranked: list[tuple[float, bool]] = []
    for each, matched in zip(overlaps, matches, strict=True):
        labelled += len(each.labels) if wanted is None else int((each.labels == wanted).sum())
        ranked += _ranked(each, matched, wanted)
    if not labelled or not ranked:
        return ()
    table = np.array(ranked, np.float64)
    ordered = table[np.argsort(-table[:, 0], kind="stable")]
    right = ordered[:, 1].cumsum()
    return _thinned(np.column_stack([right / labelled, right / np.arange(1, len(right) + 1), ordered[:, 0]]))


def _ranked(overlaps: Overlaps, matches: Matches, wanted: int | None) -> Iterator[tuple[float, bool]]:
    """Yield the score of each prediction that counts, of a class or of any, and whether it matches a label of this class."""
    rows = zip(overlaps.predictions, overlaps.answers, matches.taken, matches.excused, strict=True)
    for prediction, answer, taken, excused in rows:
        if excused:
            continue
        label = overlaps.labels[taken] if taken != NONE else NONE
        if wanted is None:
            yield prediction.score, label != NONE
        elif answer == wanted and label != UNKNOWN:
            confidence = 1.0 if prediction.confidence is None else prediction.confidence
            yield prediction.score * confidence, label == wanted


def keypoint_errors(
    overlaps: Sequence[Overlaps], matches: Sequence[Matches], min_score: float, draws: Floats
) -> KeypointErrors | None:
    """Return the errors of keypoints, in distances of the labelled eyes; None without labelled keypoints."""
    images: list[int] = []
    by_face: list[Floats] = []
    for index, (each, matched) in enumerate(zip(overlaps, matches, strict=True)):
        found = list(_keypoint_errors(each, matched, min_score))
        images += [index] * len(found)
        by_face += found
    if not by_face:
        return None
    errors = np.array(by_face, np.float64)
    mean = errors.mean(1)
    per_image = np.zeros((draws.shape[1], 2))
    np.add.at(per_image, images, np.column_stack([mean, np.ones_like(mean)]))
    sums = resample(draws, per_image)
    return KeypointErrors(
        faces=len(by_face),
        mean=as_number(mean.mean()),
        median=as_number(np.median(mean)),
        p95=as_number(np.percentile(mean, 95)),
        ci95=interval(np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)),
        by_name=dict(zip(FACE_KEYPOINTS, map(as_number, errors.mean(0)), strict=True)),
    )


def _keypoint_errors(overlaps: Overlaps, matches: Matches, min_score: float) -> Iterator[Floats]:
    """Yield the errors (3,) of each found face that has labelled and predicted keypoints."""
    for prediction, taken in zip(overlaps.predictions, matches.taken, strict=True):
        if taken == NONE or prediction.score < min_score or not set(FACE_KEYPOINTS) <= set(prediction.keypoints):
            continue
        labelled = overlaps.faces[taken].keypoints_xy
        if labelled is not None:
            found = np.array([prediction.keypoints[name][:2] for name in FACE_KEYPOINTS])
            eye_distance = np.hypot(*(labelled[1] - labelled[2]))
            if eye_distance > 0 and np.isfinite(found).all():
                yield np.hypot(*(found - labelled).T) / eye_distance


def _thinned(points: Floats) -> Points:
    """Return at most `_MOST_POINTS` of the points (N, K), with the first and the last."""
    picks = np.unique(np.linspace(0, len(points) - 1, min(len(points), _MOST_POINTS)).round().astype(int))
    return tuple(tuple(round(value, 5) for value in point) for point in points[picks].tolist())
