"""The same figures by size, class, group and score: where a system is good and where it is not."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from maskstream.evaluation.matching import NONE, ROWS, UNKNOWN, IntArray, Matches, Outcomes, Overlaps, outcomes, tabulate
from maskstream.evaluation.metrics import (
    Floats,
    as_number,
    counts_of,
    describe_one_to_one,
    draw_images,
    one_to_one_figures,
    resample,
    with_intervals,
)

SIZE_EDGES_PX: Final = (0, 16, 32, 64, 128, np.inf)
_SCORE_BINS: Final = 10
_SCORE_STEP: Final = 0.05
_OPERATING_FIGURES: Final = ("found", "end_to_end_accuracy", "precision", "recall", "fpr", "false_per_image")
_CLASS_FIGURES: Final = ("found", "judged_rightly", "end_to_end_accuracy")
_CLASS_COUNTS: Final = ("labelled", "found_faces", "right_faces")


@dataclass(frozen=True, eq=False)
class Reference:
    """All P images at the reference IoU."""

    overlaps: Sequence[Overlaps]
    matches: Sequence[Matches]
    outcomes: Sequence[Outcomes]
    """At the operating threshold."""


def breakdowns(reference: Reference, score_floor: float, group_by: re.Pattern[str] | None, draws: Floats) -> dict[str, Any]:
    """Return `sizes, by_class, groups, scores, operating_points` of docs/evaluation.md."""
    tables = np.array([tabulate(each) for each in reference.outcomes])
    return {
        "sizes": dict(_by_size(reference.outcomes, draws)),
        "by_class": dict(_by_class(tables, draws)),
        "groups": dict(_by_group(reference.overlaps, tables, group_by, len(draws))),
        "scores": list(_by_score(reference)),
        "operating_points": list(_operating_points(reference, score_floor)),
    }


def _by_size(found: Sequence[Outcomes], draws: Floats) -> Iterator[tuple[str, dict[str, Any]]]:
    for low, high in pairwise(SIZE_EDGES_PX):
        name = f"<{high:.0f}" if not low else f"{low:.0f}-{high:.0f}" if np.isfinite(high) else f">{low:.0f}"
        tables = np.array([tabulate(each, (each.size_px >= low) & (each.size_px < high)) for each in found])
        yield name, describe_one_to_one(tables, draws)


def _by_class(tables: IntArray, draws: Floats) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in range(UNKNOWN + 1):
        of_class = np.zeros_like(tables)
        of_class[:, row] = tables[:, row]
        counts = counts_of(of_class.sum(0))
        if counts["labelled"]:
            figures, resampled = (
                {name: values[name] for name in _CLASS_FIGURES}
                for values in (
                    one_to_one_figures(of_class.sum(0), len(tables)),
                    one_to_one_figures(resample(draws, of_class), len(tables)),
                )
            )
            yield ROWS[row], {**{name: int(counts[name]) for name in _CLASS_COUNTS}, **with_intervals(figures, resampled)}


def _by_group(
    overlaps: Sequence[Overlaps], tables: IntArray, group_by: re.Pattern[str] | None, times: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    if group_by is None:
        return
    names = np.array([group_of(each.image.name, group_by) for each in overlaps])
    for name in sorted(set(names.tolist())):
        of_group = tables[names == name]
        yield name, describe_one_to_one(of_group, draw_images(len(of_group), times))


def group_of(name: str, group_by: re.Pattern[str]) -> str:
    """Return what the pattern finds in an image's name: its first group, else the whole match; `other` for nothing."""
    found = group_by.search(name)
    return "other" if found is None else (found[1] if group_by.groups else found[0]) or "other"


def _by_score(reference: Reference) -> Iterator[dict[str, float]]:
    rows = [row for pair in zip(reference.overlaps, reference.matches, strict=True) for row in _scored(*pair)]
    table = np.array(rows, np.float64).reshape(-1, 3)
    bins = (table[:, 0] * _SCORE_BINS).astype(int).clip(0, _SCORE_BINS - 1)
    for index in range(_SCORE_BINS):
        inside = table[bins == index]
        counts = {"predictions": len(inside), "labelled": int(inside[:, 1].sum()), "right": int(inside[:, 2].sum())}
        yield {"low": index / _SCORE_BINS, "high": (index + 1) / _SCORE_BINS, **counts}


def _scored(overlaps: Overlaps, matches: Matches) -> Iterator[tuple[float, bool, bool]]:
    """Yield score, whether it took a label, and whether that was judged rightly, of each prediction that counts."""
    for score, answer, taken, excused in zip(overlaps.scores, overlaps.answers, matches.taken, matches.excused, strict=True):
        if not excused:
            is_right = taken != NONE and answer == overlaps.labels[taken] and answer != UNKNOWN
            yield float(score), bool(taken != NONE), bool(is_right)


def _operating_points(reference: Reference, score_floor: float) -> Iterator[dict[str, float | None]]:
    first = max(1, int(np.ceil(round(score_floor / _SCORE_STEP, 6))))
    for step in range(first, round(1 / _SCORE_STEP)):
        min_score = round(step * _SCORE_STEP, 2)
        pairs = zip(reference.overlaps, reference.matches, strict=True)
        total = np.sum([tabulate(outcomes(*pair, min_score)) for pair in pairs], axis=0)
        figures = one_to_one_figures(total, len(reference.overlaps))
        yield {"min_score": min_score, **{name: as_number(figures[name]) for name in _OPERATING_FIGURES}}
