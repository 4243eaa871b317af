"""Show the metrics of several sets of images: one table as HTML page, and the same on the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskstream.evaluation.contact_sheets import TITLES
from maskstream.evaluation.error_analysis import MistakeKind
from maskstream.evaluation.html_report import MetricText, Style, templates
from maskstream.evaluation.metrics_json import Interval, Intervals
from maskstream.evaluation.sets_json import SetFaces, SetMetrics, SetsMetrics
from maskstream.io.files import replace_file

_TEMPLATE: Final = "sets.html.j2"
_UNDEFINED: Final = "-"


@dataclass(frozen=True)
class Cell:
    """A number with its interval; `value` is None where it is not defined."""

    value: float | None
    ci95: Interval | None = None
    style: Style = "percent"


AT_IOU: Final = (
    MetricText("found", "found", "found faces / labelled faces"),
    MetricText(
        "right",
        "found and right",
        "faces of known class that are found with the right label / labelled faces of known class; a mask worn incorrectly "
        "counts as no mask",
    ),
    MetricText("false_per_image", "false faces per image", "predictions without a labelled face / images", "number"),
    MetricText(
        "bare_as_mask", "bare as mask", "faces labelled as no mask and classified as mask / found faces labelled as no mask"
    ),
    MetricText("mask_as_bare", "mask as bare", "faces labelled as mask and classified as no mask / found faces labelled as mask"),
    MetricText(
        "incorrect_right",
        "incorrect as no mask",
        "faces labelled as incorrect that are found and classified as no mask / labelled faces of this class",
    ),
    MetricText(
        "calibration_error",
        "calibration error",
        "expected calibration error of the confidence, on found faces of known class",
        "number",
    ),
)
OWN_CLASS: Final = (
    MetricText(
        "recall",
        "incorrect, recall",
        "incorrect as a class of its own: faces labelled and classified as incorrect / labelled faces of this class; "
        "only if the classifier has this class and the set has such faces",
    ),
    MetricText(
        "precision",
        "incorrect, precision",
        "faces labelled and classified as incorrect / predictions classified as incorrect, false faces included",
    ),
)
MAP50: Final = MetricText("map50", "mAP50", "mean average precision at IoU 0.50, by the rules of COCO")
_TERMINAL: Final = (
    *(("0.30", "right", "right\n.3"), ("0.50", "right", "right\n.5"), ("0.30", "found", "found\n.3")),
    *(("0.30", "false_per_image", "false\n.3"), ("0.50", "false_per_image", "false\n.5")),
    *(("0.30", "bare_as_mask", "bare>\nmask"), ("0.30", "mask_as_bare", "mask>\nbare")),
)


def write_sets_report(metrics: SetsMetrics, out: Path) -> None:
    """Write report.html, which links to the reports and contact sheets of the sets in the folders beside it.

    Args:
        metrics: The content of metrics.json.
        out: Folder of the report; the folder of each set is in it.

    Raises:
        SinkError: The file cannot be written.
    """
    page = (
        templates()
        .get_template(_TEMPLATE)
        .render(
            m=metrics,
            columns=[*AT_IOU, *OWN_CLASS],
            map50=MAP50,
            titles=TITLES,
            tables={iou: {name: list(cells_at(each, iou)) for name, each in metrics.sets.items()} for iou in _ious(metrics)},
            sheets={name: dict(_sheets(each)) for name, each in metrics.sets.items()},
        )
    )
    replace_file(out / "report.html", page.encode(errors="xmlcharrefreplace"))


def cells_at(metrics: SetMetrics, iou: str) -> Iterator[Cell]:
    """Yield the cells of a set, in the order of `AT_IOU` and `OWN_CLASS`, at an IoU threshold."""
    faces = metrics.at_iou[iou]
    yield from _cells(faces, faces.ci95, AT_IOU)
    if faces.incorrect is None or not faces.incorrect.labelled:
        yield from (Cell(None) for _ in OWN_CLASS)
    else:
        yield from _cells(faces.incorrect, faces.incorrect.ci95, OWN_CLASS)


def _cells(numbers: object, ci95: Intervals, columns: tuple[MetricText, ...]) -> Iterator[Cell]:
    for column in columns:
        value = getattr(numbers, column.key)
        yield Cell(value, None if value is None else ci95.get(column.key), column.style)


def _ious(metrics: SetsMetrics) -> list[str]:
    return list(next(iter(metrics.sets.values())).at_iou)


def _sheets(metrics: SetMetrics) -> Iterator[tuple[str, tuple[MistakeKind, int]]]:
    """Yield file name, kind and number of errors of each contact sheet of a set."""
    for kind in TITLES:
        count = getattr(metrics.mistakes, kind.value)
        if count:
            yield f"{kind.value}.jpg", (kind, count)


def print_sets(metrics: SetsMetrics, console: Console) -> None:
    """Print one line for each set, in 80 columns; fractions are percentages."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("set", no_wrap=True)
    for heading in ("images", "faces", *(heading for _, _, heading in _TERMINAL), "mAP50"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, each in metrics.sets.items():
        cells = [_plain(each.at_iou[iou], key) for iou, key, _ in _TERMINAL]
        map50 = _UNDEFINED if each.map50 is None else f"{100 * each.map50:.1f}"
        table.add_row(Text(name), f"{each.pictures:,}", f"{each.faces:,}", *cells, map50)
    console.print(table)
    console.print(
        Text("In percent. .3, .5: IoU. right: found with the right label. false: false faces\nper image, not in percent.")
    )


def _plain(faces: SetFaces, key: str) -> str:
    value: float | None = getattr(faces, key)
    if value is None:
        return _UNDEFINED
    return f"{value:.3f}" if key == "false_per_image" else f"{100 * value:.1f}"
