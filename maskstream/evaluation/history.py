"""Write the counts of the paper's protocol in the format of the paper's own script."""

from typing import Any, Final

from maskstream.evaluation.metrics_json import Metrics

_COUNTS: Final = ("tp", "fn", "fp", "tn")
_RATIOS: Final = ("accuracy", "precision", "recall", "f1", "fpr")


def history(metrics: Metrics) -> dict[str, Any]:
    """Return the content of `eval_history.json`.

    `eval_data` has rows of `[iou, TP, FN, FP, TN]`, `eval_metrics` rows of `[iou, accuracy, precision, recall, f1, fpr]`. A ratio
    that is not defined is null.
    """
    counts: list[list[float | None]] = []
    ratios: list[list[float | None]] = []
    for iou, pairs in sorted(metrics.paper.items()):
        counts.append([float(iou), *(getattr(pairs, name) for name in _COUNTS)])
        ratios.append([float(iou), *(getattr(pairs, name) for name in _RATIOS)])
    return {"eval_data": counts, "eval_metrics": ratios}
