"""The counts of the paper's protocol in the form that the paper's own script writes them."""

from collections.abc import Mapping
from typing import Any, Final

_COUNTS: Final = ("tp", "fn", "fp", "tn")
_FIGURES: Final = ("accuracy", "precision", "recall", "f1", "fpr")


def history(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `eval_history.json` holds.

    `eval_data` holds `[iou, TP, FN, FP, TN]` and `eval_metrics` `[iou, accuracy, precision, recall, f1, fpr]`, a figure that is
    not defined being null.

    Args:
        metrics: As docs/evaluation.md describes them.
    """
    return {"eval_data": _rows(metrics, _COUNTS), "eval_metrics": _rows(metrics, _FIGURES)}


def _rows(metrics: Mapping[str, Any], names: tuple[str, ...]) -> list[list[float | None]]:
    return [[float(iou), *(figures[name] for name in names)] for iou, figures in sorted(metrics["paper"].items())]
