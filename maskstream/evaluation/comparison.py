"""Several systems on the same images: figures side by side, and whether a difference is more than chance."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from maskstream.errors import ConfigError
from maskstream.evaluation.metrics import (
    IOU_THRESHOLDS,
    as_number,
    draw_images,
    interval,
    iou_key,
    one_to_one_figures,
    resample,
)
from maskstream.evaluation.outputs import COMPARED, Run
from maskstream.io.files import one_line

FIGURES: Final = (
    *("end_to_end_accuracy", "found", "judged_rightly", "precision", "recall", "specificity", "fpr", "f1", "balanced_accuracy"),
    *("face_precision", "false_per_image"),
)
_SAME: Final = dict(zip(COMPARED, ("labels", "kinds of boxes", "classes"), strict=True))


def compare(runs: Sequence[Run], ious: Sequence[float], bootstrap: int) -> dict[str, Any]:
    """Compare runs with the first of them.

    The images are drawn once for all runs, so that what is hard for every system cancels out: a paired bootstrap.

    Args:
        runs: At least two, on the same labels.
        ious: Thresholds at which to compare.
        bootstrap: How often the images are drawn.

    Returns:
        `runs`: `[{name, folder, figures {iou: {figure: value}}, difference {iou: {figure: {value, ci95, certain}}}}]`; the
        difference is this run minus the first, null for the first; `certain` where the interval leaves out zero.

    Raises:
        ConfigError: The runs cannot be compared.
    """
    _require_same(runs)
    draws = draw_images(len(runs[0].names), bootstrap)
    described = [_describe(run, runs[0], ious, draws) for run in runs]
    for name, each in zip(_unique_names(runs), described, strict=True):
        each["name"] = name
    return {"pictures": len(runs[0].names), "bootstrap": bootstrap, "runs": described}


def _describe(run: Run, first: Run, ious: Sequence[float], draws: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    figures: dict[str, dict[str, float | None]] = {}
    differences: dict[str, dict[str, Any]] = {}
    for iou in ious:
        step, images = IOU_THRESHOLDS.index(iou), len(run.names)
        own, base = (one_to_one_figures(each.one_to_one[:, step].sum(0), images) for each in (run, first))
        drawn, base_drawn = (one_to_one_figures(resample(draws, each.one_to_one[:, step]), images) for each in (run, first))
        figures[iou_key(iou)] = {name: as_number(own[name]) for name in FIGURES}
        differences[iou_key(iou)] = {
            name: _difference(own[name] - base[name], interval(drawn[name] - base_drawn[name])) for name in FIGURES
        }
    return {"folder": str(run.folder), "figures": figures, "difference": None if run is first else differences}


def _difference(value: Any, ci95: list[float] | None) -> dict[str, Any]:
    return {"value": as_number(value), "ci95": ci95, "certain": ci95 is not None and not ci95[0] <= 0 <= ci95[1]}


def _require_same(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        for (section, key), what in _SAME.items():
            if run.metrics[section][key] != first.metrics[section][key]:
                names = [one_line(str(each.folder)) for each in (run, first)]
                raise ConfigError(f"{names[0]}: other {what} than {names[1]}; compare runs on the same labels")
        if run.names != first.names:
            raise ConfigError(f"{one_line(str(run.folder))}: other pictures than {one_line(str(first.folder))}")


def _unique_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of the folders, as much of them as tells the runs apart."""
    for depth in range(1, 1 + max(len(run.folder.resolve().parts) for run in runs)):
        names = ["/".join(run.folder.resolve().parts[-depth:]) for run in runs]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"{one_line(str(runs[0].folder))}: given twice; compare different runs")
