"""Draw the plots of an evaluation as PNG files: those of the paper, and the curves.

The colours are those of Okabe and Ito, as in the overlay; lines on white have darker ones.
"""

from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskstream.evaluation.metrics_json import FaceMetrics, Metrics, PaperMetrics
from maskstream.io.files import replace_file

ByIou = Mapping[str, FaceMetrics] | Mapping[str, PaperMetrics]

PAPER_IOUS: Final = ("0.05", "0.10", "0.15", "0.20", "0.25", "0.30")
"""IoU thresholds of the paper's confusion matrices."""

_BLUE, _VERMILION, _GREEN, _ORANGE, _PURPLE, _BLACK = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#000000"
_GREY: Final = "#767676"
_PAPER_LINES: Final = {
    "accuracy": ("accuracy", _BLUE, "o"),
    "precision": ("precision", _GREEN, "s"),
    "recall": ("recall", _ORANGE, "^"),
    "f1": ("F1", _PURPLE, "D"),
    "fpr": ("false positive rate", _VERMILION, "v"),
}
_ONE_TO_ONE_LINES: Final = {
    "end_to_end_accuracy": ("found with the right label", _BLUE, "o"),
    "found": ("found", _BLACK, "s"),
}
_CURVES: Final = {
    "face": ("face of any class", _BLACK, "-"),
    "mask": ("mask", _BLUE, "-"),
    "no_mask": ("no mask", _VERMILION, "--"),
    "incorrect": ("incorrect", _ORANGE, "-."),
}
_DPI: Final = 110
_WIDE_INCHES: Final = (11, 4.6)
_SQUARE_INCHES: Final = (6, 5.4)


def write_plots(metrics: Metrics, folder: Path) -> dict[str, Path]:
    """Write the plots that have data; remove the files of those that have none.

    Args:
        metrics: The content of metrics.json.
        folder: Existing folder for the PNG files.

    Returns:
        Files by their names without suffix.

    Raises:
        SinkError: A file cannot be written.
    """
    drawn: dict[str, Callable[[], Figure | None]] = {
        **{f"confusion_matrix_iou_{iou}": partial(confusion_matrix, metrics, iou) for iou in PAPER_IOUS},
        **{draw.__name__: partial(draw, metrics) for draw in (metrics_vs_iou, fp_fn_vs_iou, precision_recall, roc, calibration)},
    }
    written = {}
    for name, draw in drawn.items():
        path = folder / f"{name}.png"
        if _write(path, draw()):
            written[name] = path
    return written


def _write(path: Path, figure: Figure | None) -> bool:
    """Write a figure and return True; remove the file of an earlier run if there is no figure."""
    if figure is None:
        path.unlink(missing_ok=True)
        return False
    encoded = BytesIO()
    figure.savefig(encoded, format="png", dpi=_DPI)
    replace_file(path, encoded.getbuffer())
    return True


def confusion_matrix(metrics: Metrics, iou: str) -> Figure | None:
    """Draw the paper's table of pairs at a threshold such as `0.05`; None without pairs."""
    pairs_at = metrics.paper[iou]
    rows = [[pairs_at.tp, pairs_at.fn], [pairs_at.fp, pairs_at.tn]]
    if not sum(map(sum, rows)):
        return None
    shares = [[count / sum(row) if sum(row) else 0.0 for count in row] for row in rows]
    title = f"Pairs of label and prediction that overlap by IoU > {iou}\n(the paper's protocol)"
    figure, (axes,) = _figure(_SQUARE_INCHES, 1, title)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            text = f"{rows[row][column]:,}\n{shares[row][column]:.1%}" if sum(rows[row]) else "0\n–"
            colour = "white" if shares[row][column] > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=17)
    axes.set_xticks([0, 1], ["mask", "no mask"], fontsize=12)
    axes.set_yticks([0, 1], ["mask", "no mask"], fontsize=12, rotation=90, va="center")
    axes.set(xlabel="classified as", ylabel="labelled as")
    figure.colorbar(image, ax=axes, label="fraction of the row", format=lambda share, _: f"{share:.0%}", shrink=0.8)
    return figure


def metrics_vs_iou(metrics: Metrics) -> Figure | None:
    """Draw the paper's metrics over IoU beside the one-to-one metrics; None if none is defined."""
    paper, one_to_one = metrics.paper, metrics.one_to_one
    if not _any_number(paper, _PAPER_LINES) and not _any_number(one_to_one, _ONE_TO_ONE_LINES):
        return None
    figure, (left, right) = _figure(_WIDE_INCHES, 2, "Metrics over the overlap that a prediction needs with its label")
    _over_iou(left, paper, _PAPER_LINES)
    _over_iou(right, one_to_one, _ONE_TO_ONE_LINES)
    left.set_title("the paper's protocol: overlapping pairs only", fontsize=11)
    right.set_title("one to one: missed faces count as wrong", fontsize=11)
    ious = sorted(paper)
    accuracies = [_number(paper[iou].accuracy) for iou in ious]
    right.plot([float(iou) for iou in ious], accuracies, color=_GREY, ls=":", label="the paper's accuracy, for comparison")
    for axes in (left, right):
        _label(axes, "IoU threshold", "fraction", legend=True)
        _as_percent(axes)
    return figure


def fp_fn_vs_iou(metrics: Metrics) -> Figure | None:
    """Draw counts of errors over IoU in both protocols; None without pairs and without faces."""
    paper, one_to_one = metrics.paper, metrics.one_to_one
    ious = sorted(paper)
    counts = {
        "fp": [paper[iou].fp for iou in ious],
        "fn": [paper[iou].fn for iou in ious],
        "missed": [one_to_one[iou].labelled - one_to_one[iou].found_faces for iou in ious],
        "false": [one_to_one[iou].false_faces for iou in ious],
    }
    if not any(map(any, counts.values())):
        return None
    figure, (left, right) = _figure(_WIDE_INCHES, 2, "Errors over the overlap that a prediction needs with its label")
    thresholds = [float(iou) for iou in ious]
    left.plot(thresholds, counts["fp"], color=_VERMILION, marker="v", label="false positive: no mask classified as mask")
    left.plot(thresholds, counts["fn"], color=_BLUE, marker="^", label="false negative: mask classified as no mask")
    left.set_title("the paper's protocol: overlapping pairs only", fontsize=11)
    right.plot(thresholds, counts["missed"], color=_BLACK, marker="s", label="missed faces")
    right.plot(thresholds, counts["false"], color=_ORANGE, marker="D", label="false positives of the detector")
    right.set_title("one to one: errors that the paper's protocol does not count", fontsize=11)
    _label(left, "IoU threshold", "pairs", legend=True)
    _label(right, "IoU threshold", "faces", legend=True)
    for axes in (left, right):
        axes.set_ylim(bottom=0)
    return figure


def precision_recall(metrics: Metrics) -> Figure | None:
    """Draw precision over recall, a line for each class; None without a curve."""
    curves = {name: points for name, points in metrics.precision_recall.items() if points}
    if not curves:
        return None
    figure, (axes,) = _figure(_SQUARE_INCHES, 1, f"Precision and recall at IoU {metrics.settings.iou:.2f}")
    for name, points in curves.items():
        text, colour, style = _CURVES.get(name, (name, _GREY, "-"))
        recall, precision = [point[0] for point in points], [point[1] for point in points]
        axes.plot(recall, precision, color=colour, ls=style, lw=2, marker="o" if len(points) == 1 else "", label=text)
    _label(axes, "recall: found / labelled", "precision: right / found", legend=True)
    _unit_square(axes)
    return figure


def roc(metrics: Metrics) -> Figure | None:
    """Draw the receiver operating characteristic of mask against no mask; None if `metrics.roc` is None."""
    curve = metrics.roc
    if curve is None or not curve.points:
        return None
    figure, (axes,) = _figure(_SQUARE_INCHES, 1, f"Mask against no mask, {curve.faces:,} found faces")
    area = "–" if curve.auc is None else f"{curve.auc:.3f}"
    bounds = curve.ci95
    interval = f" (95%: {bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
    false_positive, true_positive = zip(*curve.points, strict=True)
    axes.plot(false_positive, true_positive, color=_BLUE, lw=2, label=f"area {area}{interval}")
    axes.plot([0, 1], [0, 1], color=_GREY, ls="--", label="random answers")
    _label(axes, "no mask classified as mask (false positive rate)", "mask classified as mask (recall)", legend=True)
    _unit_square(axes)
    return figure


def calibration(metrics: Metrics) -> Figure | None:
    """Draw the fraction of right labels by confidence, above the number of faces; None if `metrics.calibration` is None."""
    if metrics.calibration is None:
        return None
    bins = [each for each in metrics.calibration.bins if each.faces]
    error = "–" if metrics.calibration.ece is None else f"{metrics.calibration.ece:.1%}"
    figure = Figure(figsize=_SQUARE_INCHES, layout="constrained")
    figure.suptitle(f"Confidence and accuracy, expected calibration error {error}", fontsize=13)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    middle = [(each.low + each.high) / 2 for each in bins]
    width = [0.9 * (each.high - each.low) for each in bins]
    upper.plot([0, 1], [0, 1], color=_GREY, ls="--", label="perfect calibration")
    confidence, accuracy = [_number(each.confidence) for each in bins], [_number(each.accuracy) for each in bins]
    upper.plot(confidence, accuracy, color=_BLUE, marker="o", lw=2, label="measured")
    lower.bar(middle, [each.faces for each in bins], width=width, color=_GREY)
    _label(upper, "", "fraction with the right label", legend=True)
    _label(lower, "confidence", "faces")
    _unit_square(upper)
    upper.set_aspect("auto")
    return figure


def _figure(inches: tuple[float, float], panels: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=inches, layout="constrained")
    figure.suptitle(title, fontsize=13)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _over_iou(axes: Axes, by_iou: ByIou, names: Mapping[str, tuple[str, str, str]]) -> None:
    """Draw metrics over IoU, with their intervals as bands."""
    ious = sorted(by_iou)
    thresholds = [float(iou) for iou in ious]
    for name, (text, colour, marker) in names.items():
        axes.plot(
            thresholds, [_number(getattr(by_iou[iou], name)) for iou in ious], color=colour, marker=marker, ms=4, label=text
        )
        bounds = [by_iou[iou].ci95.get(name) or (None, None) for iou in ious]
        low, high = zip(*bounds, strict=True)
        axes.fill_between(thresholds, [*map(_number, low)], [*map(_number, high)], color=colour, alpha=0.18, lw=0)


def _label(axes: Axes, across: str, up: str, *, legend: bool = False) -> None:
    axes.set_xlabel(across, fontsize=11)
    axes.set_ylabel(up, fontsize=11)
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    if legend:
        axes.legend(fontsize=9.5, framealpha=0.9)


def _as_percent(axes: Axes) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")


def _unit_square(axes: Axes) -> None:
    _as_percent(axes)
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_aspect("equal")


def _any_number(by_iou: ByIou, names: Mapping[str, object]) -> bool:
    return any(getattr(at_iou, name) is not None for at_iou in by_iou.values() for name in names)


def _number(value: float | None) -> float:
    """Return NaN, which is a gap in a plot, for a value that is not defined."""
    return float("nan") if value is None else value
