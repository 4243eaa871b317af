"""Compute the metrics by size, class, group and score."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from maskstream.evaluation.matching import NONE, ROWS, UNKNOWN, IntArray, Matches, Outcomes, Overlaps, outcomes, tabulate
from maskstream.evaluation.metrics import (
    Floats,
    as_integers,
    as_numbers,
    counts_of,
    draw_images,
    intervals,
    one_to_one_metrics,
    one_to_one_ratios,
    resample,
)
from maskstream.evaluation.metrics_json import ClassMetrics, FaceMetrics, OperatingPoint, ScoreBin

SIZE_EDGES_PX: Final = (0, 16, 32, 64, 128, np.inf)
_SCORE_BINS: Final = 10
_SCORE_STEP: Final = 0.05
_OPERATING_RATIOS: Final = ("found", "end_to_end_accuracy", "precision", "recall", "fpr", "false_per_image")
_CLASS_RATIOS: Final = ("found", "judged_rightly", "end_to_end_accuracy")
_CLASS_COUNTS: Final = ("labelled", "found_faces", "right_faces")


@dataclass(frozen=True, eq=False)
class Reference:
    """All P images at the reference IoU."""

    overlaps: Sequence[Overlaps]
    matches: Sequence[Matches]
    outcomes: Sequence[Outcomes]
    """At the operating threshold."""
    tables: IntArray
    """(P, 5, 5) confusion tables of the outcomes."""


def by_size(reference: Reference, draws: Floats) -> dict[str, FaceMetrics]:
    """Return the metrics by the shorter side of the labelled box; for a false face, of its own box."""
    found: dict[str, FaceMetrics] = {}
    for low, high in pairwise(SIZE_EDGES_PX):
        tables = [tabulate(each, (each.size_px >= low) & (each.size_px < high)) for each in reference.outcomes]
        name = f"{low:.0f}-{high:.0f}"
        if low == 0:
            name = f"<{high:.0f}"
        elif np.isinf(high):
            name = f">{low:.0f}"
        found[name] = one_to_one_metrics(np.array(tables), draws)
    return found


def by_class(tables: IntArray, draws: Floats) -> dict[str, ClassMetrics]:
    """Return the metrics of each label that occurs in confusion tables (P, 5, 5)."""
    found: dict[str, ClassMetrics] = {}
    images = len(tables)
    for row in range(UNKNOWN + 1):
        of_class = np.zeros_like(tables)
        of_class[:, row] = tables[:, row]
        total = of_class.sum(0)
        counts = counts_of(total)
        if counts["labelled"]:
            ratios, resampled = one_to_one_ratios(total, images), one_to_one_ratios(resample(draws, of_class), images)
            found[ROWS[row]] = ClassMetrics(
                **as_integers({name: counts[name] for name in _CLASS_COUNTS}),
                **as_numbers({name: ratios[name] for name in _CLASS_RATIOS}),
                ci95=intervals({name: resampled[name] for name in _CLASS_RATIOS}),
            )
    return found


def by_group(reference: Reference, group_by: re.Pattern[str] | None, bootstrap: int) -> dict[str, FaceMetrics]:
    """Return the metrics of each group of images, by `--group-by`; empty without it."""
    if group_by is None:
        return {}
    groups = np.array([group_of(each.image.name, group_by) for each in reference.overlaps])
    found: dict[str, FaceMetrics] = {}
    for group in sorted(set(groups.tolist())):
        tables = reference.tables[groups == group]
        found[group] = one_to_one_metrics(tables, draw_images(len(tables), bootstrap))
    return found


def group_of(name: str, group_by: re.Pattern[str]) -> str:
    """Return the first group of the pattern's match in an image's name, or the complete match; `other` without one."""
    found = group_by.search(name)
    if found is None:
        return "other"
    return (found[1] if group_by.groups else found[0]) or "other"


def by_score(reference: Reference) -> tuple[ScoreBin, ...]:
    """Return how many predictions of each score match a label, and how many of these have the right label."""
    # of each prediction that counts: its score, whether it matches a label, and whether its own label is right
    rows: list[tuple[float, bool, bool]] = []
    for overlaps, matches in zip(reference.overlaps, reference.matches, strict=True):
        for score, answer, taken, excused in zip(overlaps.scores, overlaps.answers, matches.taken, matches.excused, strict=True):
            if not excused:
                is_right = taken != NONE and answer == overlaps.labels[taken] and answer != UNKNOWN
                rows.append((float(score), bool(taken != NONE), bool(is_right)))
    table = np.array(rows, np.float64).reshape(-1, 3)
    bins = (table[:, 0] * _SCORE_BINS).astype(int).clip(0, _SCORE_BINS - 1)
    found = []
    for index in range(_SCORE_BINS):
        inside = table[bins == index]
        matched, right = int(inside[:, 1].sum()), int(inside[:, 2].sum())
        low, high = index / _SCORE_BINS, (index + 1) / _SCORE_BINS
        found.append(ScoreBin(low=low, high=high, predictions=len(inside), labelled=matched, right=right))
    return tuple(found)


def operating_points(reference: Reference, score_floor: float) -> tuple[OperatingPoint, ...]:
    """Return the metrics at other thresholds of the score, from `score_floor` up."""
    images = len(reference.overlaps)
    first = max(1, int(np.ceil(round(score_floor / _SCORE_STEP, 6))))
    found = []
    for step in range(first, round(1 / _SCORE_STEP)):
        min_score = round(step * _SCORE_STEP, 2)
        total = np.zeros((len(ROWS), len(ROWS)), np.int64)
        for overlaps, matches in zip(reference.overlaps, reference.matches, strict=True):
            total += tabulate(outcomes(overlaps, matches, min_score))
        ratios = one_to_one_ratios(total, images)
        found.append(OperatingPoint(min_score=min_score, **as_numbers({name: ratios[name] for name in _OPERATING_RATIOS})))
    return tuple(found)
