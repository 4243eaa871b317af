"""One HTML file with everything: a first screen that anybody understands, and below it all figures.

The words of the first screen are made in `headline`, the page in `report.html.j2`; here is what lies between.
"""

import base64
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from maskstream.evaluation import paper
from maskstream.evaluation.contact_sheets import TITLES
from maskstream.evaluation.headline import at_reference, headline, of
from maskstream.evaluation.metrics import iou_key
from maskstream.evaluation.types import Mistake, MistakeKind
from maskstream.io.files import one_line, replace_file
from maskstream.rendering.palette import LABEL_TEXT

Metrics = Mapping[str, Any]
Style = Literal["percent", "count", "number", "short"]

MOST_ROWS: Final = 500
"""Of mistakes and of problems in the page."""
_TEMPLATE: Final = "report.html.j2"
_DASH: Final = "–"
_FORMATS: Final[dict[Style, str]] = {"percent": ".1%", "count": ",", "number": ".3f", "short": ".2f"}
_MEDIA_TYPES: Final = {".png": "image/png", ".jpg": "image/jpeg"}
_WORDS: Final = {**{label.value: text for label, text in LABEL_TEXT.items()}, "nothing": "nothing", "missed": "missed"}


@dataclass(frozen=True)
class Figure:
    """A figure of docs/evaluation.md, as the page shows it."""

    key: str
    heading: str
    meaning: str
    style: Style = "percent"


FIGURES: Final = (
    Figure("found", "found", "labelled faces that were found / all labelled faces"),
    Figure(
        "judged_rightly", "judged rightly", "judged as labelled / found, of faces whose class is labelled; “unknown” is not right"
    ),
    Figure("end_to_end_accuracy", "found and judged rightly", "found and judged as labelled / all labelled faces of known class"),
    Figure("precision", "precision", "labelled mask and judged mask / all judged mask, false faces included"),
    Figure("recall", "recall", "labelled mask and judged mask / all labelled mask, missed ones included"),
    Figure(
        "specificity", "specificity", "labelled not mask, found and judged not mask / all labelled not mask, missed ones included"
    ),
    Figure("fpr", "false positive rate", "labelled not mask and judged mask / all labelled not mask: what escapes the alarm"),
    Figure("f1", "F1", "harmonic mean of precision and recall"),
    Figure("balanced_accuracy", "balanced accuracy", "mean of recall and specificity"),
    Figure("face_precision", "face precision", "predictions that took a label / all predictions"),
    Figure("false_per_image", "false faces per picture", "false faces / pictures", "short"),
    Figure("unknown_share", "not judged", "found but not judged / found"),
)
_PAPER_FIGURES: Final = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1", "fpr": "FPR"}
_PLOT_TEXT: Final = {
    "metrics_vs_iou": "Figures over the IoU threshold, by the paper's counting and one to one, with 95% bands.",
    "fp_fn_vs_iou": "Mistakes over the IoU threshold: the paper's false positives and negatives, and missed and false faces.",
    "precision_recall": "Precision over recall, a line for each class.",
    "roc": "True over false positive rate of mask against no mask, on faces that were found.",
    "calibration": "How often answers are right by how certain they were, above the number of faces.",
}


def write_report(
    metrics: Metrics, mistakes: Sequence[Mistake], sheets: Mapping[MistakeKind, Path], plots: Mapping[str, Path], out: Path
) -> None:
    """Write the report; whoever looks finds the old file or the whole new one.

    Args:
        metrics: As docs/evaluation.md describes them.
        mistakes: At the reference IoU, by kind, the worst first.
        sheets: JPEG files, from `write_sheets`.
        plots: PNG files by name, from `write_plots`.
        out: The HTML file.

    Raises:
        SinkError: It cannot be written.
    """
    page = _page(metrics, mistakes, sheets, plots)
    replace_file(out, page.encode(errors="xmlcharrefreplace"))  # paths may hold what is no text


def _page(metrics: Metrics, mistakes: Sequence[Mistake], sheets: Mapping[MistakeKind, Path], plots: Mapping[str, Path]) -> str:
    template = templates().get_template(_TEMPLATE)
    return template.render(
        m=metrics,
        first=headline(metrics),
        reference=at_reference(metrics),
        reference_key=iou_key(metrics["settings"]["iou"]),
        figures=FIGURES,
        paper=paper,
        paper_figures=_PAPER_FIGURES,
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


def templates() -> Environment:
    """Return the templates of this folder, with the filters that they use."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "bare": bare, "words": lambda name: _WORDS.get(name, name), "plural": of}
    return environment


def shown(value: float | None, style: Style = "percent") -> str:
    """Return a number as people read it, an en dash for what is not defined."""
    return _DASH if value is None else format(value, _FORMATS[style])


def bare(value: float, style: Style = "percent") -> str:
    """Return a bound of an interval: as `shown`, without the unit, which stands above."""
    return shown(value, style).removesuffix("%")


def _data_uri(path: Path) -> str:
    return f"data:{_MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _confusion(metrics: Metrics) -> dict[str, dict[str, int]]:
    """Return the confusion table at the reference IoU without the rows and columns of classes that do not occur."""
    table = at_reference(metrics)["confusion"]
    occurs = {
        name: name != "incorrect"
        or name in metrics["classes"]
        or any(table[name].values())
        or any(row[name] for row in table.values())
        for name in _WORDS
        if name not in ("nothing", "missed")
    }
    return {
        row: {column: count for column, count in cells.items() if occurs.get(column, True)}
        for row, cells in table.items()
        if occurs.get(row, True)
    }


def _worst(mistakes: Sequence[Mistake], most: int) -> list[Mistake]:
    """Return the worst of each kind, so that many of one kind do not crowd out the others; their order stays."""
    seen: dict[MistakeKind, int] = defaultdict(int)
    ranked = []
    for index, mistake in enumerate(mistakes):
        ranked.append((seen[mistake.kind], index))
        seen[mistake.kind] += 1
    return [mistakes[index] for index in sorted(index for _, index in sorted(ranked)[:most])]


def _rows(mistakes: Sequence[Mistake]) -> Iterator[dict[str, Any]]:
    for mistake in mistakes:
        found = mistake.prediction
        yield {
            "kind": mistake.kind,
            "picture": one_line(mistake.name),
            "labelled": _DASH if mistake.label is None else LABEL_TEXT[mistake.label],
            "judged": _DASH if found is None else LABEL_TEXT[found.label],
            "confidence": None if found is None else found.confidence,
            "score": None if found is None else found.score,
            "size_px": round(mistake.size_px),
        }
