"""Write report.html: one HTML file with a first screen in plain words and all metrics below it.

`headline` makes the text of the first screen, `report.html.j2` is the page.
"""

import base64
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from maskstream.annotations.labelled_images import ProblemKind
from maskstream.evaluation import paper
from maskstream.evaluation.contact_sheets import TITLES
from maskstream.evaluation.error_analysis import Mistake, MistakeKind
from maskstream.evaluation.headline import headline, of
from maskstream.evaluation.metrics_json import Metrics, iou_key
from maskstream.io.files import one_line, replace_file
from maskstream.rendering.palette import LABEL_TEXT

Style = Literal["percent", "count", "number", "short"]

MOST_ROWS: Final = 500
"""Maximum number of errors, and of problems, in the page."""
_TEMPLATE: Final = "report.html.j2"
_DASH: Final = "–"
_FORMATS: Final[dict[Style, str]] = {"percent": ".1%", "count": ",", "number": ".3f", "short": ".2f"}
_MEDIA_TYPES: Final = {".png": "image/png", ".jpg": "image/jpeg"}
_LABEL_TEXT: Final = {label.value: text for label, text in LABEL_TEXT.items()}


@dataclass(frozen=True)
class MetricText:
    """A metric's heading and definition in the page."""

    key: str
    """Field of `FaceMetrics`, or of `SetFaces`."""
    heading: str
    meaning: str
    style: Style = "percent"


METRIC_TEXTS: Final = (
    MetricText("found", "found", "found faces / labelled faces"),
    MetricText(
        "judged_rightly",
        "right label",
        "found faces with the right label / found faces, of faces of known class; the label “unknown” is not right",
    ),
    MetricText(
        "end_to_end_accuracy",
        "found with the right label",
        "found faces with the right label / labelled faces, of faces of known class",
    ),
    MetricText("precision", "precision", "labelled mask and classified mask / all classified mask, false positives included"),
    MetricText("recall", "recall", "labelled mask and classified mask / all labelled mask, missed faces included"),
    MetricText(
        "specificity",
        "specificity",
        "labelled not mask, found and classified not mask / all labelled not mask, missed faces included",
    ),
    MetricText(
        "fpr",
        "false positive rate",
        "labelled not mask and classified mask / all labelled not mask: the fraction without an alarm",
    ),
    MetricText("f1", "F1", "harmonic mean of precision and recall"),
    MetricText("balanced_accuracy", "balanced accuracy", "mean of recall and specificity"),
    MetricText("face_precision", "face precision", "predictions that match a label / all predictions"),
    MetricText("false_per_image", "false positives per image", "false positives / images", "short"),
    MetricText("unknown_share", "without a label", "found faces with the label “unknown” / found faces"),
)
_PAPER_HEADINGS: Final = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1", "fpr": "FPR"}
_PLOT_TEXT: Final = {
    "metrics_vs_iou": "Metrics over the IoU threshold, by the paper's protocol and one to one, with 95% bands.",
    "fp_fn_vs_iou": "Errors over the IoU threshold: the paper's false positives and negatives; missed faces and false positives.",
    "precision_recall": "Precision over recall, a line for each class.",
    "roc": "True positive rate over false positive rate of mask against no mask, on found faces.",
    "calibration": "Fraction of right labels by confidence, above the number of faces.",
}


def write_report(
    metrics: Metrics, mistakes: Sequence[Mistake], sheets: Mapping[MistakeKind, Path], plots: Mapping[str, Path], out: Path
) -> None:
    """Write the report; a reader finds the previous file or the complete new one.

    Args:
        metrics: The content of metrics.json.
        mistakes: Errors at the reference IoU, by kind, the worst first.
        sheets: JPEG files, from `write_sheets`.
        plots: PNG files by name, from `write_plots`.
        out: The HTML file.

    Raises:
        SinkError: The file cannot be written.
    """
    page = (
        templates()
        .get_template(_TEMPLATE)
        .render(
            m=metrics,
            first=headline(metrics),
            reference_key=iou_key(metrics.settings.iou),
            metric_texts=METRIC_TEXTS,
            paper=paper,
            paper_headings=_PAPER_HEADINGS,
            confusion=_confusion(metrics),
            plots={name: _data_uri(path) for name, path in plots.items()},
            plot_text=_PLOT_TEXT,
            matrices=[iou for iou in paper.PUBLISHED if f"confusion_matrix_iou_{iou}" in plots],
            sheets={kind: _data_uri(path) for kind, path in sheets.items()},
            titles=TITLES,
            rows=list(_rows(_worst(mistakes, MOST_ROWS))),
            mistake_count=len(mistakes),
            most_rows=MOST_ROWS,
        )
    )
    replace_file(out, page.encode(errors="xmlcharrefreplace"))  # a path may contain bytes that are not text


def templates() -> Environment:
    """Return the templates of this folder, with their filters."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "bare": bare, "words": lambda name: _LABEL_TEXT.get(name, name), "plural": of}
    environment.filters["problem"] = lambda kind: ProblemKind(kind).text
    return environment


def shown(value: float | None, style: Style = "percent") -> str:
    """Return a number as text, an en dash if it is not defined."""
    return _DASH if value is None else format(value, _FORMATS[style])


def bare(value: float, style: Style = "percent") -> str:
    """Return a bound of an interval as `shown` does, without the unit."""
    return shown(value, style).removesuffix("%")


def _data_uri(path: Path) -> str:
    return f"data:{_MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _confusion(metrics: Metrics) -> dict[str, dict[str, int]]:
    """Return the confusion table at the reference IoU; without `incorrect` if no face is labelled or classified so."""
    table = {row: dict(cells) for row, cells in metrics.reference.confusion.items()}
    occurs = any(table["incorrect"].values()) or any(cells["incorrect"] for cells in table.values())
    if occurs or "incorrect" in metrics.classes:
        return table
    del table["incorrect"]
    for cells in table.values():
        del cells["incorrect"]
    return table


def _worst(mistakes: Sequence[Mistake], most: int) -> list[Mistake]:
    """Return the worst errors of each kind in their order, so that the table has errors of every kind."""
    count: dict[MistakeKind, int] = defaultdict(int)
    ranked = []
    for index, mistake in enumerate(mistakes):
        ranked.append((count[mistake.kind], index))
        count[mistake.kind] += 1
    return [mistakes[index] for index in sorted(index for _, index in sorted(ranked)[:most])]


def _rows(mistakes: Sequence[Mistake]) -> Iterator[dict[str, Any]]:
    for mistake in mistakes:
        found = mistake.prediction
        yield {
            "kind": mistake.kind,
            "image": one_line(mistake.name),
            "labelled": _DASH if mistake.label is None else LABEL_TEXT[mistake.label],
            "classified": _DASH if found is None else LABEL_TEXT[found.label],
            "confidence": None if found is None else found.confidence,
            "score": None if found is None else found.score,
            "size_px": round(mistake.size_px),
        }
