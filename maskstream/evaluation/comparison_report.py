"""Show a comparison of runs: one HTML page, and the same on the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskstream.evaluation.comparison import ComparedRun, Comparison, Difference
from maskstream.evaluation.headline import of
from maskstream.evaluation.html_report import METRIC_TEXTS, shown, templates
from maskstream.io.files import one_line, replace_file

Verdict = Literal["better", "worse", "uncertain"]

SMALLER_IS_BETTER: Final = frozenset({"fpr", "false_per_image"})
_TEMPLATE: Final = "comparison.html.j2"
_SUMMARY_IOU: Final = "0.50"
_SIDE_BY_SIDE: Final = 3
"""Runs that fit into 80 columns."""
_METRIC_TEXTS: Final = {text.key: text for text in METRIC_TEXTS}
_SHORT: Final = {
    "end_to_end_accuracy": "found + right",
    "fpr": "FPR",
    "balanced_accuracy": "balanced acc.",
    "false_per_image": "FP per image",
}
_MARKS: Final[dict[Verdict, str]] = {"better": "^", "worse": "v", "uncertain": " "}
_STYLES: Final[dict[Verdict, str]] = {"better": "green", "worse": "red", "uncertain": ""}
_UNDEFINED: Final = "-"


@dataclass(frozen=True)
class RunSummary:
    """The difference between a run and the first run in words."""

    verdict: Verdict
    title: str
    sentence: str


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write one HTML file that needs no other file; a reader finds the previous file or the complete new one.

    Args:
        comparison: The result of `compare`.
        out: The HTML file.

    Raises:
        SinkError: The file cannot be written.
    """
    first, *others = runs = _with_plain_names(comparison)
    template = templates().get_template(_TEMPLATE)
    page = template.render(
        comparison=comparison,
        first=first,
        runs=runs,
        summary_iou=_summary_iou(first),
        summaries=[summarise(run, first) for run in others],
        metric_texts=[_METRIC_TEXTS[key] for key in next(iter(first.figures.values()))],
        smaller_is_better=SMALLER_IS_BETTER,
        verdict_of=verdict_of,
        signed=signed,
    )
    replace_file(out, page.encode())


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison: up to three runs side by side; each of more runs beside the first run.

    Args:
        comparison: The result of `compare`.
        console: Prints plain text if it is not a terminal.
    """
    first, *others = runs = _with_plain_names(comparison)
    groups = [runs] if len(runs) <= _SIDE_BY_SIDE else [[first, run] for run in others]
    for group in groups:
        for letter, run in zip("ABC", group, strict=False):
            console.print(Text(f"{letter}  {run.name}"))
        for run in group[1:]:
            console.print(Text(summarise(run, first).sentence))
        for iou in first.figures:
            console.print(Text(), _table(group, iou))
        console.print()
    for line in _lines(comparison):
        console.print(Text(line))


def summarise(run: ComparedRun, first: ComparedRun) -> RunSummary:
    """Describe the difference in faces found with the right label; in faces found if no class is known."""
    iou = _summary_iou(first)
    key = "found" if first.figures[iou]["end_to_end_accuracy"] is None else "end_to_end_accuracy"
    difference = (run.difference or {})[iou][key]
    if difference.value is None:
        return RunSummary("uncertain", f"{run.name} and {first.name}: nothing to compare", "No face is labelled.")
    verdict = verdict_of(key, difference)
    if verdict == "uncertain":
        title = f"No certain difference between {run.name} and {first.name}"
    else:
        title = f"{run.name} is {verdict} than {first.name}"
    return RunSummary(verdict, title, _sentence(run.name, first.name, key, difference.value, difference))


def _sentence(name: str, first: str, key: str, value: float, difference: Difference) -> str:
    bounds = difference.ci95
    digits = _digits(value, *(bounds or ()))
    goal = "faces" if key == "found" else "faces with the right label"
    found = f"{name} finds {_amount(value, digits)} of 100 {goal} {'than' if value else 'as'} {first}"
    if bounds is None:
        return f"{found}. No interval was computed, so the influence of chance is not known."
    if not any((value, *bounds)):
        return f"{found}, whichever of these images are drawn."
    if bounds[0] < 0 < bounds[1]:
        between = f"{_amount(bounds[0], digits)} to {_amount(bounds[1], digits)}"  # 0.5 fewer to 1.1 more
    else:
        least, most = sorted(abs(100 * bound) for bound in bounds)
        between = f"{least:.{digits}f} to {most:.{digits}f} {'more' if bounds[1] > 0 else 'fewer'}"
    chance = "this is more than chance" if difference.certain else "this may be chance"
    return f"{found} ({between}); {chance}."


def verdict_of(key: str, difference: Difference) -> Verdict:
    """Return whether a run is better or worse than the first run in a metric, or whether this is not certain."""
    if not difference.certain or difference.ci95 is None:
        return "uncertain"
    return "better" if (difference.ci95[0] > 0) != (key in SMALLER_IS_BETTER) else "worse"


def signed(value: float | None, key: str) -> str:
    """Return a difference with its sign, fractions in percentage points; an en dash if it is not defined."""
    if value is None:
        return shown(None)
    scaled, digits = (value, 2) if _METRIC_TEXTS[key].style == "short" else (100 * value, 1)
    text = f"{scaled:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _summary_iou(first: ComparedRun) -> str:
    return _SUMMARY_IOU if _SUMMARY_IOU in first.figures else next(iter(first.figures))


def _with_plain_names(comparison: Comparison) -> list[ComparedRun]:
    """Return the runs with names of one line: the name of a folder may have control characters."""
    return [replace(run, name=one_line(run.name), folder=one_line(run.folder)) for run in comparison.runs]


def _digits(*fractions: float) -> int:
    """Return the digits that a percentage needs so that only zero is shown as zero, at most four."""
    for digits in range(1, 4):
        if all(round(100 * fraction, digits) for fraction in fractions if fraction):
            return digits
    return 4


def _amount(fraction: float, digits: int) -> str:
    if not fraction:
        return "as many"
    return f"{abs(100 * fraction):.{digits}f} {'more' if fraction > 0 else 'fewer'}"


def _table(runs: Sequence[ComparedRun], iou: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column(f"IoU {iou}, %", no_wrap=True)
    table.add_column("A", justify="right", no_wrap=True)
    for letter in "BC"[: len(runs) - 1]:
        table.add_column(f"{letter:>5} {letter + '-A':>6} 95% range", no_wrap=True)
    for key, value in runs[0].figures[iou].items():
        heading = _SHORT.get(key, _METRIC_TEXTS[key].heading)
        cells = []
        for run in runs[1:]:
            difference = (run.difference or {})[iou][key]
            verdict, bounds = verdict_of(key, difference), difference.ci95
            between = "" if bounds is None else "..".join(_ascii(signed(bound, key)) for bound in bounds)
            text = f"{_plain(run.figures[iou][key], key):>5} {_ascii(signed(difference.value, key)):>6}"
            cells.append(Text(f"{text} {between:<14} {_MARKS[verdict]}", _STYLES[verdict]))
        table.add_row(heading, _plain(value, key), *cells)
    return table


def _plain(value: float | None, key: str) -> str:
    return _ascii(shown(value, _METRIC_TEXTS[key].style).removesuffix("%"))


def _ascii(text: str) -> str:
    return text.replace("−", "-").replace("–", _UNDEFINED)


def _lines(comparison: Comparison) -> Iterator[str]:
    yield "^ better, v worse: more than chance, because the 95% range does not contain 0."
    images = of(comparison.pictures, "image")
    if comparison.bootstrap:
        yield f"Paired bootstrap: {images} drawn {comparison.bootstrap:,} times, the same for all runs."
    else:
        yield f"{images}; evaluation.bootstrap is 0, so there are no ranges."
