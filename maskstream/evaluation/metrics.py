"""Compute metrics from counts, with bootstrap intervals. All functions take many tables at once, as the bootstrap needs."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskstream.evaluation.matching import COLUMNS, MASK, MISSED, NOTHING, ROWS, UNKNOWN, IntArray
from maskstream.evaluation.metrics_json import FaceMetrics, Interval, PaperMetrics

Floats = NDArray[np.float64]

IOU_THRESHOLDS: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))
INTERVAL: Final = (2.5, 97.5)
_SEED: Final = 20_200_830


def counts_of(confusion: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the sums that ratios are computed from, each (...), of confusion tables (..., 5, 5)."""
    labelled = confusion[..., :NOTHING, :].sum((-2, -1))
    return {
        "labelled": labelled,
        "known_class": confusion[..., :UNKNOWN, :].sum((-2, -1)),
        "found_faces": labelled - confusion[..., :NOTHING, MISSED].sum(-1),
        "right_faces": np.trace(confusion[..., :UNKNOWN, :UNKNOWN], axis1=-2, axis2=-1),
        "false_faces": confusion[..., NOTHING, :].sum(-1),
    }


def one_to_one_ratios(confusion: NDArray[Any], images: int) -> dict[str, Floats]:
    """Return the ratios of `FaceMetrics`, each (...), NaN where one is not defined.

    Args:
        confusion: (..., 5, 5), `ROWS` by `COLUMNS`.
        images: Number of images in each table.
    """
    count = counts_of(confusion)
    mask, other = confusion[..., MASK, :], confusion[..., MASK + 1 : UNKNOWN, :].sum(-2)
    classified_mask = confusion[..., MASK].sum(-1) - confusion[..., UNKNOWN, MASK]
    other_classified_other = other[..., MASK + 1 : UNKNOWN].sum(-1)
    found_known = count["known_class"] - confusion[..., :UNKNOWN, MISSED].sum(-1)
    recall, specificity = ratio(mask[..., MASK], mask.sum(-1)), ratio(other_classified_other, other.sum(-1))
    return {
        "found": ratio(count["found_faces"], count["labelled"]),
        "judged_rightly": ratio(count["right_faces"], found_known),
        "end_to_end_accuracy": ratio(count["right_faces"], count["known_class"]),
        "precision": ratio(mask[..., MASK], classified_mask),
        "recall": recall,
        "specificity": specificity,
        "fpr": ratio(other[..., MASK], other.sum(-1)),
        "f1": ratio(2 * mask[..., MASK], classified_mask + mask.sum(-1)),
        "balanced_accuracy": (recall + specificity) / 2,
        "face_precision": ratio(count["found_faces"], count["found_faces"] + count["false_faces"]),
        "false_per_image": ratio(count["false_faces"], np.asarray(images)),
        "unknown_share": ratio(confusion[..., :NOTHING, UNKNOWN].sum(-1), count["found_faces"]),
    }


def paper_ratios(pairs: NDArray[Any]) -> dict[str, Floats]:
    """Return accuracy, precision, recall, F1 and false positive rate, each (...), of pair counts (..., 2, 2)."""
    (tp, fn), (fp, tn) = np.moveaxis(pairs, (-2, -1), (0, 1))
    return {
        "accuracy": ratio(tp + tn, tp + fn + fp + tn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "fpr": ratio(fp, fp + tn),
    }


def draw_images(images: int, times: int) -> Floats:
    """Return how often each of `images` is drawn (times, images), with replacement; each draw has the same number of images.

    Efron, "Bootstrap methods" (1979). The draws depend on the number of images only, so that runs can be compared in pairs.
    """
    generator = np.random.default_rng(_SEED)
    return generator.multinomial(images, np.full(images, 1 / images), size=times).astype(np.float64)


def resample(draws: Floats, per_image: NDArray[Any]) -> Floats:
    """Return the sums (times, ...) of counts (images, ...) over the drawn images."""
    flat = per_image.reshape(len(per_image), -1)
    return np.asarray((draws @ flat).reshape(len(draws), *per_image.shape[1:]))


def interval(values: Floats) -> Interval | None:
    """Return the bounds of the middle 95 % of values (times,); None if no value is defined."""
    defined = values[np.isfinite(values)]
    if not defined.size:
        return None
    low, high = np.percentile(defined, INTERVAL)
    return round(float(low), 6), round(float(high), 6)


def intervals(resampled: Mapping[str, Floats]) -> dict[str, Interval | None]:
    """Return the interval of each ratio (times,), by its name."""
    return {name: interval(values) for name, values in resampled.items()}


def one_to_one_metrics(per_image: IntArray, draws: Floats) -> FaceMetrics:
    """Return the metrics of one confusion table for each image, (P, 5, 5)."""
    total, images = per_image.sum(0), len(per_image)
    return FaceMetrics(
        pictures=images,
        confusion={row: dict(zip(COLUMNS, map(int, cells), strict=True)) for row, cells in zip(ROWS, total, strict=True)},
        **as_integers(counts_of(total)),
        **as_numbers(one_to_one_ratios(total, images)),
        ci95=intervals(one_to_one_ratios(resample(draws, per_image), images)),
    )


def paper_metrics(per_image: IntArray, draws: Floats) -> PaperMetrics:
    """Return counts and ratios of the paper's protocol, of pair counts for each image, (P, 2, 2)."""
    total = per_image.sum(0)
    (tp, fn), (fp, tn) = total.tolist()
    ratios = as_numbers(paper_ratios(total))
    return PaperMetrics(tp=tp, fn=fn, fp=fp, tn=tn, **ratios, ci95=intervals(paper_ratios(resample(draws, per_image))))


def as_integers(counts: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return counts as plain integers."""
    return {name: int(count) for name, count in counts.items()}


def as_numbers(ratios: Mapping[str, Floats | float]) -> dict[str, Any]:
    """Return ratios as `as_number` does."""
    return {name: as_number(value) for name, value in ratios.items()}


def as_number(value: Any) -> float | None:
    """Return a number rounded to six digits, None for NaN."""
    return round(float(value), 6) if np.isfinite(value) else None


def ratio(part: NDArray[Any], total: NDArray[Any]) -> Floats:
    """Return `part / total`, NaN where the total is 0."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(total))
    return np.asarray(np.divide(part, total, out=np.full(shape, np.nan), where=np.asarray(total) != 0))
