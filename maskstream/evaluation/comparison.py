"""Compare several systems on the same images, and test whether a difference is more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from maskstream.errors import ConfigError
from maskstream.evaluation.metrics import (
    IOU_THRESHOLDS,
    Floats,
    as_number,
    as_numbers,
    draw_images,
    interval,
    one_to_one_ratios,
    resample,
)
from maskstream.evaluation.metrics_json import Interval, JsonRecord, iou_key
from maskstream.evaluation.outputs import Run
from maskstream.io.files import one_line

COMPARED_METRICS: Final = (
    *("end_to_end_accuracy", "found", "judged_rightly", "precision", "recall", "specificity", "fpr", "f1", "balanced_accuracy"),
    *("face_precision", "false_per_image"),
)


@dataclass(frozen=True)
class Difference(JsonRecord):
    """Value of a metric in one run minus its value in the first run."""

    value: float | None
    ci95: Interval | None
    certain: bool
    """True if the interval does not contain 0."""


@dataclass(frozen=True)
class ComparedRun(JsonRecord):
    """The metrics of one run, and their differences from the first run."""

    folder: str
    figures: Mapping[str, Mapping[str, float | None]]
    """By IoU threshold and name."""
    difference: Mapping[str, Mapping[str, Difference]] | None
    """By IoU threshold and name; None for the first run."""
    name: str


@dataclass(frozen=True)
class Comparison(JsonRecord):
    """The content of comparison.json."""

    pictures: int
    """Number of images."""
    bootstrap: int
    runs: tuple[ComparedRun, ...]


def compare(runs: Sequence[Run], ious: Sequence[float], bootstrap: int) -> Comparison:
    """Compare runs with the first run by a paired bootstrap.

    Each draw takes the same images for all runs, so that images that are hard for all systems do not widen the intervals.

    Args:
        runs: Two or more runs on the same labels.
        ious: IoU thresholds.
        bootstrap: Number of draws.

    Raises:
        ConfigError: The runs cannot be compared.
    """
    _require_same(runs)
    draws = draw_images(len(runs[0].names), bootstrap)
    compared = [_compared(run, runs[0], name, ious, draws) for run, name in zip(runs, _unique_names(runs), strict=True)]
    compared[0] = replace(compared[0], difference=None)
    return Comparison(len(runs[0].names), bootstrap, tuple(compared))


def _compared(run: Run, first: Run, name: str, ious: Sequence[float], draws: Floats) -> ComparedRun:
    metrics: dict[str, dict[str, float | None]] = {}
    differences: dict[str, dict[str, Difference]] = {}
    images = len(run.names)
    for iou in ious:
        step = IOU_THRESHOLDS.index(iou)
        tables, first_tables = run.one_to_one[:, step], first.one_to_one[:, step]
        own, base = one_to_one_ratios(tables.sum(0), images), one_to_one_ratios(first_tables.sum(0), images)
        drawn = one_to_one_ratios(resample(draws, tables), images)
        first_drawn = one_to_one_ratios(resample(draws, first_tables), images)
        metrics[iou_key(iou)] = as_numbers({key: own[key] for key in COMPARED_METRICS})
        at_iou: dict[str, Difference] = {}
        for key in COMPARED_METRICS:
            ci95 = interval(drawn[key] - first_drawn[key])
            is_certain = ci95 is not None and not ci95[0] <= 0 <= ci95[1]
            at_iou[key] = Difference(as_number(own[key] - base[key]), ci95, is_certain)
        differences[iou_key(iou)] = at_iou
    return ComparedRun(str(run.folder), metrics, differences, name)


def _require_same(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        for other, what in (
            (run.labels_sha256 != first.labels_sha256, "labels"),
            (run.box != first.box, "kinds of boxes"),
            (run.incorrect_as != first.incorrect_as, "classes"),
        ):
            if other:
                names = [one_line(str(each.folder)) for each in (run, first)]
                raise ConfigError(f"{names[0]}: other {what} than {names[1]}; compare runs on the same labels")
        if run.names != first.names:
            raise ConfigError(f"{one_line(str(run.folder))}: other images than {one_line(str(first.folder))}")


def _unique_names(runs: Sequence[Run]) -> list[str]:
    """Return the last parts of the folders' paths, as many as make the names different."""
    for depth in range(1, 1 + max(len(run.folder.resolve().parts) for run in runs)):
        names = ["/".join(run.folder.resolve().parts[-depth:]) for run in runs]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"{one_line(str(runs[0].folder))}: given twice; compare different runs")
