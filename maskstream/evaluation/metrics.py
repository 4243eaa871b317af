"""Figures from counts, with intervals. Everything works on many tables at once, as the bootstrap needs."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskstream.evaluation.matching import COLUMNS, MASK, MISSED, NOTHING, ROWS, UNKNOWN, IntArray

Floats = NDArray[np.float64]

IOU_THRESHOLDS: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))
INTERVAL: Final = (2.5, 97.5)
_SEED: Final = 20_200_830


def iou_key(iou: float) -> str:
    """Return a threshold as it is written in results: `0.50`."""
    return f"{iou:.2f}"


def counts_of(confusion: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the sums that figures are made of, each (...), of confusion tables (..., 5, 5)."""
    labelled = confusion[..., :NOTHING, :].sum((-2, -1))
    return {
        "labelled": labelled,
        "known_class": confusion[..., :UNKNOWN, :].sum((-2, -1)),
        "found_faces": labelled - confusion[..., :NOTHING, MISSED].sum(-1),
        "right_faces": np.trace(confusion[..., :UNKNOWN, :UNKNOWN], axis1=-2, axis2=-1),
        "false_faces": confusion[..., NOTHING, :].sum(-1),
    }


def one_to_one_figures(confusion: NDArray[Any], images: int) -> dict[str, Floats]:
    """Return the figures of docs/evaluation.md, each (...), NaN where undefined.

    Args:
        confusion: (..., 5, 5), `ROWS` by `COLUMNS`.
        images: In each table.
    """
    count = counts_of(confusion)
    mask, other = confusion[..., MASK, :], confusion[..., MASK + 1 : UNKNOWN, :].sum(-2)
    judged_mask = confusion[..., MASK].sum(-1) - confusion[..., UNKNOWN, MASK]
    other_judged_other = other[..., MASK + 1 : UNKNOWN].sum(-1)
    found_known = count["known_class"] - confusion[..., :UNKNOWN, MISSED].sum(-1)
    recall, specificity = _ratio(mask[..., MASK], mask.sum(-1)), _ratio(other_judged_other, other.sum(-1))
    return {
        "found": _ratio(count["found_faces"], count["labelled"]),
        "judged_rightly": _ratio(count["right_faces"], found_known),
        "end_to_end_accuracy": _ratio(count["right_faces"], count["known_class"]),
        "precision": _ratio(mask[..., MASK], judged_mask),
        "recall": recall,
        "specificity": specificity,
        "fpr": _ratio(other[..., MASK], other.sum(-1)),
        "f1": _ratio(2 * mask[..., MASK], judged_mask + mask.sum(-1)),
        "balanced_accuracy": (recall + specificity) / 2,
        "face_precision": _ratio(count["found_faces"], count["found_faces"] + count["false_faces"]),
        "false_per_image": _ratio(count["false_faces"], np.asarray(images)),
        "unknown_share": _ratio(confusion[..., :NOTHING, UNKNOWN].sum(-1), count["found_faces"]),
    }


def paper_figures(pairs: NDArray[Any]) -> dict[str, Floats]:
    """Return accuracy, precision, recall, F1 and false positive rate, each (...), of pair counts (..., 2, 2)."""
    (tp, fn), (fp, tn) = np.moveaxis(pairs, (-2, -1), (0, 1))
    return {
        "accuracy": _ratio(tp + tn, tp + fn + fp + tn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "fpr": _ratio(fp, fp + tn),
    }


def draw_images(images: int, times: int) -> Floats:
    """Return how often each image is drawn (times, images) when as many as there are are drawn with replacement.

    Efron, "Bootstrap methods" (1979). The same draws for the same number of images, so that runs can be compared in pairs.
    """
    generator = np.random.default_rng(_SEED)
    return generator.multinomial(images, np.full(images, 1 / images), size=times).astype(np.float64)


def resample(draws: Floats, per_image: NDArray[Any]) -> Floats:
    """Return the sums (times, ...) of counts (images, ...) over the drawn images."""
    flat = per_image.reshape(len(per_image), -1)
    return np.asarray((draws @ flat).reshape(len(draws), *per_image.shape[1:]))


def interval(values: Floats) -> list[float] | None:
    """Return the bounds of the middle 95 % of values (times,), None where there are none."""
    defined = values[np.isfinite(values)]
    return [round(float(bound), 6) for bound in np.percentile(defined, INTERVAL)] if defined.size else None


def describe_one_to_one(per_image: IntArray, draws: Floats) -> dict[str, Any]:
    """Return the *figures* of docs/evaluation.md, of one confusion table per image (P, 5, 5)."""
    total, images = per_image.sum(0), len(per_image)
    resampled = one_to_one_figures(resample(draws, per_image), images)
    return {
        "pictures": images,
        **{name: int(count) for name, count in counts_of(total).items()},
        "confusion": {row: dict(zip(COLUMNS, map(int, cells), strict=True)) for row, cells in zip(ROWS, total, strict=True)},
        **with_intervals(one_to_one_figures(total, images), resampled),
    }


def describe_paper(per_image: IntArray, draws: Floats) -> dict[str, Any]:
    """Return counts and figures of the paper's protocol, of pair counts per image (P, 2, 2)."""
    total = per_image.sum(0)
    counts = dict(zip(("tp", "fn", "fp", "tn"), map(int, total.reshape(-1)), strict=True))
    return {**counts, **with_intervals(paper_figures(total), paper_figures(resample(draws, per_image)))}


def with_intervals(figures: Mapping[str, Floats], resampled: Mapping[str, Floats]) -> dict[str, Any]:
    """Return figures as JSON knows them, with `ci95` beside them."""
    return {
        **{name: as_number(value) for name, value in figures.items()},
        "ci95": {name: interval(values) for name, values in resampled.items()},
    }


def as_number(value: Any) -> float | None:
    """Return a number rounded to six digits, None for NaN."""
    return round(float(value), 6) if np.isfinite(value) else None


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.asarray(np.divide(part, whole, out=np.full(shape, np.nan), where=np.asarray(whole) != 0))
