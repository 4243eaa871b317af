"""Print the metrics on the terminal, in 80 columns."""

from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskstream.evaluation.headline import of
from maskstream.evaluation.metrics_json import FaceMetrics, Metrics, PaperMetrics, iou_key

_ALWAYS: Final = ("0.30", "0.50")
_PAPER_IOU: Final = "0.30"
_HEADINGS: Final = {
    "found": "found",
    "judged_rightly": "right label",
    "end_to_end_accuracy": "found + right",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "fpr": "FPR",
    "f1": "F1",
    "face_precision": "face precision",
    "unknown_share": "no label",
}
_PAPER_NAMES: Final = {
    "end_to_end_accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "fpr": "fpr",
    "f1": "f1",
}
_UNDEFINED: Final = "-"


def print_summary(metrics: Metrics, console: Console) -> None:
    """Print the metrics at the usual IoU thresholds beside those of the paper's protocol, in percent.

    Args:
        metrics: The content of metrics.json.
        console: Prints plain text if it is not a terminal.
    """
    data, ap = metrics.data, metrics.ap
    by_class = ", ".join(f"{name} {_percent(ap.by_class[f'{name}_50'])}" for name in metrics.classes)
    problems = of(sum(data.problems.values()), "problem")
    console.print(_table(metrics))
    for line in (
        "found + right: of all labelled faces; paper's accuracy: of overlapping pairs.",
        f"AP at IoU 0.50: {by_class}, mean {_percent(ap.map50)}; 0.50 to 0.95: mean {_percent(ap.map50_95)}.",
        f"{of(data.pictures, 'image')}, {of(data.faces, 'face')}, {problems} with labels or images.",
    ):
        console.print(Text(line))  # a system's name may look like markup


def _table(metrics: Metrics) -> Table:
    ious = sorted({*_ALWAYS, iou_key(metrics.settings.iou)})
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("%, with 95% range", no_wrap=True)
    for heading in (*(f"IoU {iou}" for iou in ious), f"paper {_PAPER_IOU}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, heading in _HEADINGS.items():
        cells = [_with_range(metrics.one_to_one[iou], name) for iou in ious]
        theirs = _PAPER_NAMES.get(name)
        table.add_row(heading, *cells, _with_range(metrics.paper[_PAPER_IOU], theirs) if theirs else "")
    table.add_row("false positives", *(f"{metrics.one_to_one[iou].false_faces:,}" for iou in ious), "")
    return table


def _with_range(of_iou: FaceMetrics | PaperMetrics, name: str) -> str:
    value, bounds = getattr(of_iou, name), of_iou.ci95.get(name)
    if value is None:
        return _UNDEFINED
    return f"{100 * value:.1f}" + (f" ({100 * bounds[0]:.0f}-{100 * bounds[1]:.0f})" if bounds else "")


def _percent(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{100 * value:.1f}"
