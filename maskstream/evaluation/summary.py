"""The result on the terminal, in 80 columns."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskstream.evaluation.headline import of
from maskstream.evaluation.metrics import iou_key

Metrics = Mapping[str, Any]
_ALWAYS: Final = ("0.30", "0.50")
_PAPER_IOU: Final = "0.30"
_FIGURES: Final = {
    "found": "found",
    "judged_rightly": "judged rightly",
    "end_to_end_accuracy": "found + right",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "fpr": "FPR",
    "f1": "F1",
    "face_precision": "face precision",
    "unknown_share": "not judged",
}
_PAPER_NAMES: Final = {"end_to_end_accuracy": "accuracy", **{name: name for name in ("precision", "recall", "fpr", "f1")}}
_UNDEFINED: Final = "-"


def print_summary(metrics: Metrics, console: Console) -> None:
    """Print the figures at the usual IoU thresholds beside those of the paper's counting, all in percent.

    Args:
        metrics: As docs/evaluation.md describes them.
        console: Where to; what is no terminal gets plain text.
    """
    console.print(_table(metrics))
    for line in _lines(metrics):
        console.print(Text(line))  # names of systems are no markup


def _table(metrics: Metrics) -> Table:
    ious = sorted({*_ALWAYS, iou_key(metrics["settings"]["iou"])})
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("%, with 95% range", no_wrap=True)
    for heading in (*(f"IoU {iou}" for iou in ious), f"paper {_PAPER_IOU}"):
        table.add_column(heading, justify="right", no_wrap=True)
    paper = metrics["paper"][_PAPER_IOU]
    for name, text in _FIGURES.items():
        theirs = _PAPER_NAMES.get(name)
        cells = [_with_range(metrics["one_to_one"][iou], name) for iou in ious]
        table.add_row(text, *cells, _with_range(paper, theirs) if theirs else "")
    table.add_row("false faces", *(f"{metrics['one_to_one'][iou]['false_faces']:,}" for iou in ious), "")
    return table


def _with_range(figures: Metrics, name: str) -> str:
    value, bounds = figures[name], (figures["ci95"] or {}).get(name)
    if value is None:
        return _UNDEFINED
    return f"{100 * value:.1f}" + (f" ({100 * bounds[0]:.0f}-{100 * bounds[1]:.0f})" if bounds else "")


def _lines(metrics: Metrics) -> Iterator[str]:
    data, ap = metrics["data"], metrics["ap"]
    yield "found + right: of all labelled faces; paper's accuracy: of overlapping pairs."
    by_class = ", ".join(f"{name} {_percent(ap[f'{name}_50'])}" for name in metrics["classes"])
    yield f"AP at IoU 0.50: {by_class}, mean {_percent(ap['map50'])}; 0.50 to 0.95: mean {_percent(ap['map50_95'])}."
    problems = of(sum(data["problems"].values()), "problem")
    yield f"{of(data['pictures'], 'picture')}, {of(data['faces'], 'face')}, {problems} with labels or pictures."


def _percent(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{100 * value:.1f}"
