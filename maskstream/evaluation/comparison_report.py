"""Runs side by side, for people: one HTML page, and the same on the terminal. What is said of them comes from `comparison`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maskstream.evaluation.headline import of
from maskstream.evaluation.report import FIGURES, shown, templates
from maskstream.io.files import one_line, replace_file

Comparison = Mapping[str, Any]
Run = Mapping[str, Any]
Judgement = Literal["better", "worse", "uncertain"]

SMALLER_IS_BETTER: Final = frozenset({"fpr", "false_per_image"})
_TEMPLATE: Final = "comparison.html.j2"
_VERDICT_IOU: Final = "0.50"
_SIDE_BY_SIDE: Final = 3
"""Runs that fit into 80 columns."""
_FIGURES: Final = {figure.key: figure for figure in FIGURES}
_SHORT: Final = {
    "end_to_end_accuracy": "found + right",
    "fpr": "FPR",
    "balanced_accuracy": "balanced acc.",
    "false_per_image": "false/picture",
}
_MARKS: Final[dict[Judgement, str]] = {"better": "^", "worse": "v", "uncertain": " "}
_STYLES: Final[dict[Judgement, str]] = {"better": "green", "worse": "red", "uncertain": ""}
_UNDEFINED: Final = "-"


@dataclass(frozen=True)
class Verdict:
    """What is said of a run beside the first."""

    judgement: Judgement
    title: str
    sentence: str


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write one HTML file that needs no other; whoever looks finds the old file or the whole new one.

    Args:
        comparison: As `compare` returns it.
        out: The HTML file.

    Raises:
        SinkError: It cannot be written.
    """
    first, *others = runs = _with_plain_names(comparison)
    template = templates().get_template(_TEMPLATE)
    page = template.render(
        comparison=comparison,
        first=first,
        runs=runs,
        verdict_iou=_verdict_iou(first),
        verdicts=[verdict(run, first) for run in others],
        figures=[_FIGURES[key] for key in next(iter(first["figures"].values()))],
        smaller_is_better=SMALLER_IS_BETTER,
        judgement_of=judgement_of,
        signed=signed,
    )
    replace_file(out, page.encode())


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the same on the terminal, up to three runs side by side, of more each with the first.

    Args:
        comparison: As `compare` returns it.
        console: Where to; what is no terminal gets plain text.
    """
    first, *others = runs = _with_plain_names(comparison)
    for group in [runs] if len(runs) <= _SIDE_BY_SIDE else [[first, run] for run in others]:
        for letter, run in zip("ABC", group, strict=False):
            console.print(Text(f"{letter}  {run['name']}"))
        for run in group[1:]:
            console.print(Text(verdict(run, first).sentence))
        for iou in first["figures"]:
            console.print(Text(), _table(group, iou))
        console.print()
    for line in _lines(comparison):
        console.print(Text(line))


def verdict(run: Run, first: Run) -> Verdict:
    """Put the difference that matters most into words: of faces found and judged rightly, or found where no class is known."""
    iou, name, base = _verdict_iou(first), run["name"], first["name"]
    figure = "found" if first["figures"][iou]["end_to_end_accuracy"] is None else "end_to_end_accuracy"
    finds = "finds {} of 100 faces" if figure == "found" else "finds and judges {} of 100 faces rightly"
    difference = run["difference"][iou][figure]
    if difference["value"] is None:
        return Verdict("uncertain", f"{name} and {base}: nothing to compare", "No face is labelled.")
    judgement, value, bounds = judgement_of(figure, difference), difference["value"], difference["ci95"]
    digits = _digits(value, *(bounds or ()))
    said = f"{name} {finds.format(_amount(value, digits))} {'than' if value else 'as'} {base}"
    is_certain = judgement != "uncertain"
    title = f"{name} is {judgement} than {base}" if is_certain else f"No certain difference between {name} and {base}"
    if bounds is None:
        return Verdict(judgement, title, f"{said}. No interval was computed: whether this is chance cannot be said.")
    if not any((value, *bounds)):
        return Verdict(judgement, title, f"{said}, whichever of these pictures are drawn.")
    chance = "this is more than chance" if is_certain else "this may be chance"
    return Verdict(judgement, title, f"{said} ({_between(bounds[0], bounds[1], digits)}); {chance}.")


def judgement_of(figure: str, difference: Mapping[str, Any]) -> Judgement:
    """Return whether a difference of the run from the first is certain, and good or bad."""
    if not difference["certain"]:
        return "uncertain"
    return "better" if (difference["ci95"][0] > 0) != (figure in SMALLER_IS_BETTER) else "worse"


def signed(value: float | None, figure: str) -> str:
    """Return a difference with its sign, shares in percentage points; an en dash for what is not defined."""
    if value is None:
        return shown(None)
    scaled, digits = (value, 2) if _FIGURES[figure].style == "short" else (100 * value, 1)
    text = f"{scaled:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _verdict_iou(first: Run) -> str:
    return _VERDICT_IOU if _VERDICT_IOU in first["figures"] else next(iter(first["figures"]))


def _with_plain_names(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the runs, whose names are those of folders: anything."""
    return [{**run, **{key: one_line(run[key]) for key in ("name", "folder")}} for run in comparison["runs"]]


def _digits(*shares: float) -> int:
    """Return how many digits of a percentage it takes so that nothing but zero is shown as zero; four are known."""
    return next(digits for digits in range(1, 5) if digits == 4 or all(round(100 * share, digits) for share in shares if share))


def _amount(share: float, digits: int) -> str:
    return f"{abs(100 * share):.{digits}f} {'more' if share > 0 else 'fewer'}" if share else "as many"


def _between(low: float, high: float, digits: int) -> str:
    """Return an interval of the difference: `2.0 to 6.2 more`, `2.0 to 6.2 fewer`, `0.5 fewer to 1.1 more`."""
    if low < 0 < high:
        return f"{_amount(low, digits)} to {_amount(high, digits)}"
    least, most = sorted((abs(100 * low), abs(100 * high)))
    return f"{least:.{digits}f} to {most:.{digits}f} {'more' if high > 0 else 'fewer'}"


def _table(runs: Sequence[Run], iou: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column(f"IoU {iou}, %", no_wrap=True)
    table.add_column("A", justify="right", no_wrap=True)
    for letter in "BC"[: len(runs) - 1]:
        table.add_column(f"{letter:>5} {letter + '-A':>6} 95% range", no_wrap=True)
    for figure in runs[0]["figures"][iou]:
        heading = _SHORT.get(figure, _FIGURES[figure].heading)
        table.add_row(heading, _plain(runs[0]["figures"][iou][figure], figure), *(_cell(run, iou, figure) for run in runs[1:]))
    return table


def _cell(run: Run, iou: str, figure: str) -> Text:
    difference = run["difference"][iou][figure]
    judgement, bounds = judgement_of(figure, difference), difference["ci95"]
    between = "" if bounds is None else "..".join(_ascii(signed(bound, figure)) for bound in bounds)
    text = f"{_plain(run['figures'][iou][figure], figure):>5} {_ascii(signed(difference['value'], figure)):>6}"
    return Text(f"{text} {between:<14} {_MARKS[judgement]}", _STYLES[judgement])


def _plain(value: float | None, figure: str) -> str:
    return _ascii(shown(value, _FIGURES[figure].style).removesuffix("%"))


def _ascii(text: str) -> str:
    """Any terminal can show this."""
    return text.replace("−", "-").replace("–", _UNDEFINED)


def _lines(comparison: Comparison) -> Iterator[str]:
    yield "^ better, v worse: more than chance, as the 95% range leaves out 0."
    if times := comparison["bootstrap"]:
        yield f"Paired bootstrap: {of(comparison['pictures'], 'picture')} drawn {times:,} times, the same for all runs."
    else:
        yield f"{of(comparison['pictures'], 'picture')}; no bootstrap, so no ranges."
