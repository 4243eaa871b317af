import copy
import io
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from maskstream.errors import SinkError
from maskstream.evaluation.comparison import COMPARED_METRICS, ComparedRun, Comparison, Difference
from maskstream.evaluation.comparison_report import print_comparison, signed, summarise, verdict_of, write_comparison
from tests.conftest import ROOT
from tests.slowness import LONGEST_S

HOSTILE = "<script>throw 'escaped'</script>\"'&{{ 7 * 7 }}"


def change(value: float | None, ci95: tuple[float, float] | None) -> Difference:
    return Difference(value, ci95, certain=ci95 is not None and not ci95[0] <= 0 <= ci95[1])


def run(name: str, value: float, by: Difference | None) -> ComparedRun:
    """Return a run whose metrics all have the same value, and whose differences are all the same."""
    shares = {"0.30": dict.fromkeys(COMPARED_METRICS, value + 0.01), "0.50": dict.fromkeys(COMPARED_METRICS, value)}
    differences = None if by is None else {iou: dict.fromkeys(COMPARED_METRICS, by) for iou in shares}
    return ComparedRun(f"runs/{name}", shares, differences, name)


def comparison(*others: ComparedRun, first: str = "first") -> Comparison:
    """Return a result of `compare`, whose parts are not shared with another result."""
    return copy.deepcopy(Comparison(1310, 2000, (run(first, 0.8, None), *others)))


BETTER = run("more", 0.841, change(0.041, (0.02, 0.0623)))
WORSE = run("less", 0.75, change(-0.05, (-0.071, -0.031)))
UNCERTAIN = run("alike", 0.803, change(0.003, (-0.005, 0.011)))


def written(content: Comparison, folder: Path) -> str:
    write_comparison(content, folder / "comparison.html")
    return (folder / "comparison.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.split("<body>")[1]).split())


def printed(content: Comparison, encoding: str = "utf-8", **options: Any) -> str:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, write_through=True) as file:
        print_comparison(content, Console(file=file, width=80, **options))
        return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("difference", "title", "sentence"),
    [
        (
            change(0.041, (0.02, 0.0623)),
            "B is better than A",
            "B finds 4.1 more of 100 faces with the right label than A (2.0 to 6.2 more); this is more than chance.",
        ),
        (
            change(-0.041, (-0.0623, -0.02)),
            "B is worse than A",
            "B finds 4.1 fewer of 100 faces with the right label than A (2.0 to 6.2 fewer); this is more than chance.",
        ),
        (
            change(0.003, (-0.005, 0.011)),
            "No certain difference between B and A",
            "B finds 0.3 more of 100 faces with the right label than A (0.5 fewer to 1.1 more); this may be chance.",
        ),
        (
            change(-0.0125, (-0.0375, 0)),
            "No certain difference between B and A",
            "B finds 1.2 fewer of 100 faces with the right label than A (0.0 to 3.8 fewer); this may be chance.",
        ),
        (
            change(0.0009, (0.0002, 0.002)),
            "B is better than A",
            "B finds 0.09 more of 100 faces with the right label than A (0.02 to 0.20 more); this is more than chance.",
        ),
        (
            change(0, (0, 0)),
            "No certain difference between B and A",
            "B finds as many of 100 faces with the right label as A, whichever of these images are drawn.",
        ),
        (
            change(0, (-0.01, 0.01)),
            "No certain difference between B and A",
            "B finds as many of 100 faces with the right label as A (1.0 fewer to 1.0 more); this may be chance.",
        ),
        (
            change(0.041, None),
            "No certain difference between B and A",
            "B finds 4.1 more of 100 faces with the right label than A. "
            "No interval was computed, so the influence of chance is not known.",
        ),
        (change(None, None), "B and A: nothing to compare", "No face is labelled."),
    ],
)
def test_a_difference_in_plain_words(difference: Difference, title: str, sentence: str) -> None:
    said = summarise(run("B", 0.8, difference), run("A", 0.8, None))
    assert (said.title, said.sentence) == (title, sentence)


def test_the_verdict_is_of_iou_50_and_of_found_faces_where_no_class_is_known() -> None:
    first, other = comparison(BETTER).runs
    other.difference["0.30"]["end_to_end_accuracy"] = change(-0.5, (-0.6, -0.4))
    assert summarise(other, first).verdict == "better"
    first.figures["0.50"]["end_to_end_accuracy"] = None
    assert summarise(other, first).sentence.startswith("more finds 4.1 more of 100 faces than first (")


@pytest.mark.parametrize("figure", COMPARED_METRICS)
def test_more_errors_are_worse(figure: str) -> None:
    more, less = change(0.1, (0.05, 0.15)), change(-0.1, (-0.15, -0.05))
    words = [verdict_of(figure, each) for each in (more, less, change(0.1, (-0.1, 0.3)), change(None, None))]
    is_rate_of_mistakes = figure in ("fpr", "false_per_image")
    assert words == [*(("worse", "better") if is_rate_of_mistakes else ("better", "worse")), "uncertain", "uncertain"]


def test_signs() -> None:
    assert [signed(value, "found") for value in (0.0414, -0.0414, 0, -0.0001, None)] == ["+4.1", "−4.1", "0.0", "0.0", "–"]
    assert signed(-0.0414, "false_per_image") == "−0.04"


def test_the_page_says_it_all(tmp_path: Path) -> None:
    page = written(comparison(BETTER, WORSE, UNCERTAIN), tmp_path)
    text = text_of(page)
    assert "4 runs on the same 1,310 images" in text
    assert "more finds 4.1 more of 100 faces with the right label than first (2.0 to 6.2 more); this is more than chance." in text
    assert "less finds 5.0 fewer of 100 faces with" in text
    assert "No certain difference between alike and first" in text
    assert "Paired bootstrap: 1,310 images were drawn from these 1,310 images with replacement, 2,000 times" in text
    good, bad, either = "84.1% +4.1 (+2.0 to +6.2)", "75.0% −5.0 (−7.1 to −3.1)", "80.3% +0.3 (−0.5 to +1.1) not certain"
    assert f"recall 80.0% {good} ▲ better {bad} ▼ worse {either}" in text
    assert f"false positive rate smaller is better 80.0% {good} ▼ worse {bad} ▲ better {either}" in text
    assert "false positives per image smaller is better 0.80 0.84 +0.04 (+0.02 to +0.06) ▼ worse" in text
    assert page.count("<table>") == 2
    assert page.count('<td class="better">') == page.count('<td class="worse">') == 2 * len(COMPARED_METRICS)


def test_without_intervals_no_difference_is_certain(tmp_path: Path) -> None:
    content = replace(comparison(run("more", 0.9, change(0.1, None))), bootstrap=0)
    page = written(content, tmp_path)
    assert "the influence of chance is not known" in text_of(page)
    assert "Paired bootstrap" not in page
    assert 'class="better"' not in page
    assert "evaluation.bootstrap is 0, so there are no ranges" in printed(content)


def test_what_is_undefined_is_a_dash(tmp_path: Path) -> None:
    content = comparison(BETTER)
    content.runs[0].figures["0.50"]["recall"] = None
    content.runs[1].difference["0.50"]["recall"] = change(None, None)
    content.runs[1].figures["0.50"]["fpr"] = None
    content.runs[1].difference["0.50"]["fpr"] = change(None, None)
    text = text_of(written(content, tmp_path)).split("IoU 0.50")[1]
    assert "recall – 84.1% specificity" in text
    assert "smaller is better 80.0% – F1" in text
    assert "None" not in text
    rows = [line.split() for line in printed(content).split("IoU 0.50")[1].splitlines()]
    assert ["recall", "-", "84.1", "-"] in rows
    assert ["FPR", "80.0", "-", "-"] in rows


def test_names_are_no_markup_and_nothing_comes_from_outside(tmp_path: Path) -> None:
    odd = "line\nbreak \udcff"
    page = written(comparison(replace(BETTER, name=odd, folder=odd), first=HOSTILE), tmp_path)
    assert "<script" not in page
    assert "&lt;script&gt;throw &#39;escaped&#39;&lt;/script&gt;&#34;&#39;&amp;{{ 7 * 7 }}" in page
    assert "line\\nbreak \\udcff" in page
    assert "default-src 'none'" in page
    assert re.findall(r"https?://|@import|url\(|\bsrc=", page) == []
    assert re.findall(r"href=\"(.*?)\"", page) == ["data:,"]


def test_the_look_is_that_of_the_report(tmp_path: Path) -> None:
    look = (ROOT / "maskstream/evaluation/report.css.j2").read_text(encoding="utf-8").splitlines()[1:]
    assert "\n".join(look) in written(comparison(BETTER), tmp_path)


def test_chromium_has_nothing_to_complain_about(system_tool: Callable[[str], str], tmp_path: Path) -> None:
    written(comparison(BETTER, WORSE, UNCERTAIN, first=HOSTILE), tmp_path)
    command = [system_tool("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    page = (tmp_path / "comparison.html").as_uri()
    done = subprocess.run([*command, page], capture_output=True, text=True, timeout=LONGEST_S, check=True)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert done.stdout.rstrip().endswith("</html>")
    assert done.stdout.count("<td") == 2 * 4 * len(COMPARED_METRICS)


def test_an_old_page_stays_where_no_new_one_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"comparison\.html: cannot be written"):
        write_comparison(comparison(BETTER), tmp_path / "none" / "comparison.html")
    assert list(tmp_path.iterdir()) == []


def test_three_runs_fit_side_by_side_with_any_metrics() -> None:
    widest = change(-1.0, (-1.0, 1.0))
    lines = printed(comparison(run("n" * 100, 1.0, widest), run("c", 1.0, widest), first="[bold]x")).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert [line.split() for line in lines if line.startswith("recall ")] == [
        ["recall", "81.0", *["101.0", "-100.0", "-100.0..+100.0"] * 2],
        ["recall", "80.0", *["100.0", "-100.0", "-100.0..+100.0"] * 2],
    ]
    assert lines[0] == "A  [bold]x"


def test_marks_on_the_terminal() -> None:
    lines = printed(comparison(BETTER, UNCERTAIN)).splitlines()
    rows = {line[:14].strip(): line.split()[-7:] for line in lines if "80.0" in line}
    uncertain = ["80.3", "+0.3", "-0.5..+1.1"]
    assert rows["recall"] == ["84.1", "+4.1", "+2.0..+6.2", "^", *uncertain]
    assert rows["FPR"] == ["84.1", "+4.1", "+2.0..+6.2", "v", *uncertain]
    assert rows["found + right"][3] == "^"
    assert len(rows) == len(COMPARED_METRICS) - 1, "false positives per image are no fraction"
    assert "Paired bootstrap: 1,310 images drawn 2,000 times, the same for all runs." in lines
    assert "more finds 4.1 more of 100 faces with the right label than first" in " ".join(lines)


def test_more_runs_come_one_after_the_other() -> None:
    lines = printed(comparison(BETTER, WORSE, UNCERTAIN)).splitlines()
    assert [line for line in lines if line.startswith(("A  ", "B  ", "C  "))] == [
        *("A  first", "B  more"),
        *("A  first", "B  less"),
        *("A  first", "B  alike"),
    ]
    assert max(map(len, lines)) <= 80


def test_plain_where_it_is_no_terminal() -> None:
    assert "\x1b" not in printed(comparison(BETTER))
    assert printed(comparison(BETTER, WORSE), "ascii").isascii()
    assert "\x1b[32m" in printed(comparison(BETTER), force_terminal=True, color_system="standard")
