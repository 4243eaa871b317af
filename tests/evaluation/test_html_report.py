import html
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maskstream.errors import SinkError
from maskstream.evaluation.contact_sheets import write_sheets
from maskstream.evaluation.headline import headline, shares_of
from maskstream.evaluation.html_report import write_report
from maskstream.evaluation.metric_plots import write_plots
from tests.evaluation.made import empty_metrics, full_metrics, image, mistakes, poor_metrics
from tests.slowness import LONGEST_S

Browse = Callable[[Path], tuple[str, list[str]]]
HOSTILE = "<script>throw 'escaped'</script>\"'&.jpg"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all parts; one image has a name that is a script."""
    folder = tmp_path_factory.mktemp("full")
    metrics, first, *others = full_metrics(), *mistakes()
    every = [replace(first, name=HOSTILE), *others]
    sheets = write_sheets(every, lambda _: image(), folder, most=5)
    write_report(metrics, every, sheets, write_plots(metrics, folder), folder / "report.html")
    assert not list(folder.glob(".*"))
    return folder / "report.html"


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poor")
    write_report(poor_metrics(), mistakes()[:1], {}, {}, folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def browse(system_tool: Callable[[str], str], tmp_path: Path) -> Browse:
    """Open a page in Chromium; returns the page as it is then, and what the browser had to say, failed requests included."""

    def browse(page: Path) -> tuple[str, list[str]]:
        command = [system_tool("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=True)
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return browse


def with_script(report: Path, folder: Path, body: str) -> Path:
    """Return a copy of the report that drives itself, as a reader would."""
    page = folder / "driven.html"
    page.write_text(report.read_text(encoding="utf-8").replace("</body>", f"{body}</body>"), encoding="utf-8")
    return page


def test_the_first_screen_is_in_plain_words(full: Path) -> None:
    first_screen = full.read_text(encoding="utf-8").split("<nav")[0].split("<body>")[1]
    words = " ".join(re.sub(r"<[^>]+>", " ", first_screen).split())
    assert "Of 100 faces, 91 were found with the right label." in words
    assert re.search(r"With other images of this kind: (89|90) to 93 of 100", words)
    for outcome in (
        "91.2 found with the right label (1,095 faces)",
        "2.2 found with a wrong label (26 faces)",
        "5.2 missed (62 faces)",
    ):
        assert outcome in words
    for tile in (
        "2.5% 14 of 560 faces without a mask",
        "1.9% 12 of 640 faces with a mask",
        "5.2% 62 of 1,200 faces",
        "10.6 per 100 images (33 in 310 images)",
    ):
        assert tile in words
    assert "310 images with 1,240 labelled faces" in words
    assert "The paper's protocol gives 97.7% where this report gives 91.2%" in words.replace("&#39;", "'")
    assert "40 more faces are labelled without a class" in words
    assert "3 problems" in words


def test_warnings_come_only_where_they_are_due() -> None:
    few = " ".join(headline(poor_metrics()).warnings)
    assert "Only 9 faces are labelled" in few
    assert "No face with a mask is labelled" in few
    assert "No face without" not in few
    assert "problem" not in few
    many = " ".join(headline(full_metrics()).warnings)
    assert "Only" not in many
    assert "No interval" not in many


def test_shares_add_up_and_no_error_is_rounded_to_zero() -> None:
    assert shares_of([1095, 26, 17, 62], 100) == [91, 2, 2, 5]
    assert shares_of([1, 1, 1], 100) == [34, 33, 33]
    metrics = full_metrics()
    table = metrics.reference.confusion
    for row in table.values():
        row.update(dict.fromkeys(row, 0))
    table["mask"].update(mask=2999, missed=1)
    assert headline(metrics).sentence == "Of 10,000 faces, 9,997 were found with the right label."
    table["mask"].update(mask=914, no_mask=22, unknown=2, missed=62)  # 92 would flatter
    assert headline(metrics).sentence == "Of 100 faces, 91 were found with the right label."
    assert [part.share for part in headline(metrics).parts] == [91.4, 2.2, 0.2, 6.2]
    table["mask"].update(mask=3000, no_mask=0, unknown=0, missed=0)
    assert headline(metrics).sentence == "Of 100 faces, 100 were found with the right label."


def test_faces_without_a_class_can_still_be_found() -> None:
    metrics = full_metrics()
    confusion = dict(metrics.reference.confusion)
    for name in ("mask", "no_mask"):
        confusion[name] = dict.fromkeys(confusion[name], 0)
    reference = replace(metrics.reference, labelled=40, known_class=0, end_to_end_accuracy=None, confusion=confusion)
    said = headline(replace(metrics, one_to_one={**metrics.one_to_one, "0.50": reference}))
    assert said.sentence == "Of 40 faces, 35 were found."
    assert [part.share for part in said.parts] == [35, 5]
    assert [tile.number for tile in said.tiles] == ["–", "–", "12.5%", "10.6"]


def test_the_page_asks_for_nothing_from_outside(full: Path) -> None:
    page = full.read_text(encoding="utf-8")
    assert "http://" not in page
    assert "https://" not in page
    sources = re.findall(r"\b(?:src|href|srcset|data|action)\s*=\s*[\"']?([^\"'\s>]{1,12})", page)
    assert len(sources) > 20
    assert {source for source in sources if not source.startswith(("data:", "#"))} == set()
    assert re.findall(r"@import|url\(", page) == []
    assert len(re.findall(r"<img ", page)) == 11 + 4
    assert all('alt="' in shown for shown in re.findall(r"<img [^>]+>", page))


def test_names_of_files_are_no_markup(full: Path) -> None:
    page = full.read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "&lt;script&gt;throw &#39;escaped&#39;&lt;/script&gt;&#34;&#39;&amp;.jpg" in page
    assert page.count("<script>") == 1
    assert "hall &lt;b&gt;2&lt;/b&gt;" in page


def test_published_counts_stand_beside_ours(full: Path) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", full.read_text(encoding="utf-8").split('<section id="paper"')[1]).split())
    assert "0.30 published 1,267 3 54 860 97.4% 95.9% 99.8% 97.8% 5.9%" in text
    assert "at most 90.3% of its labelled faces" in text


def test_what_is_undefined_is_a_dash(poor: Path) -> None:
    page = poor.read_text(encoding="utf-8")
    assert "None" not in page.replace("<p>None.</p>", "")
    assert "nan" not in re.sub(r"<script>.*</script>", "", page, flags=re.DOTALL)
    assert '<td data-sort="">–</td>' in page
    assert 'id="keypoints"' not in page


def test_at_most_500_errors_and_some_of_each_kind(tmp_path: Path) -> None:
    first, *_, last = mistakes()
    write_report(full_metrics(), [first] * 700 + [last] * 3, {}, {}, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count('<tr data-kind="false_mask">') == 497
    assert page.count('<tr data-kind="false_face">') == 3
    assert "203 more errors in mistakes.csv" in page


@pytest.mark.parametrize("variant", ["full", *(pytest.param(variant, marks=pytest.mark.slow) for variant in ("poor", "empty"))])
def test_chromium_has_nothing_to_complain_about(
    variant: str, browse: Browse, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if variant == "empty":
        report = tmp_path / "report.html"
        write_report(empty_metrics(), [], {}, {}, report)
    else:
        report = request.getfixturevalue(variant)
    page, complaints = browse(report)
    assert complaints == []
    assert page.rstrip().endswith("</html>")


def test_chromium_would_complain(full: Path, browse: Browse, tmp_path: Path) -> None:
    body = "<script>throw new Error('on purpose')</script><img src='http://127.0.0.1:9/none.png'>"
    _, complaints = browse(with_script(full, tmp_path, body))
    assert any("on purpose" in line for line in complaints)
    assert any("none.png" in line for line in complaints)


def test_tables_sort_and_errors_are_filtered(full: Path, browse: Browse, tmp_path: Path) -> None:
    body = """<pre id="seen"></pre><script>
      const report = {}, table = document.querySelector("#iou table"), list = document.querySelector("#mistakes-table");
      const column = (table, index) => [...table.tBodies[0].rows].map(row => row.cells[index].dataset.sort);
      const press = (table, index) => table.tHead.rows[0].cells[index].querySelector("button").click();
      press(table, 3);
      report.rising = column(table, 3);
      report.state = table.tHead.rows[0].cells[3].getAttribute("aria-sort");
      press(table, 3);
      report.falling = column(table, 3);
      press(list, 0);
      report.names = column(list, 0);
      const choose = (id, value, event) => {
        document.getElementById(id).value = value;
        document.getElementById(id).dispatchEvent(new Event(event));
        return [...list.tBodies[0].rows].filter(row => row.offsetParent !== null).length;
      };
      report.all = choose("mistake-kind", "", "change");
      report.missed = choose("mistake-kind", "missed", "change");
      report.named = choose("mistake-name", "STREET_006", "input");
      report.images = [...document.images].filter(image => !(image.complete && image.naturalWidth > 100)).length;
      const targets = [...document.querySelectorAll("nav a")].map(link => document.querySelector(link.getAttribute("href")));
      report.targets = targets.filter(target => target === null).length;
      document.querySelector("#seen").textContent = JSON.stringify(report);
    </script>"""
    page, complaints = browse(with_script(full, tmp_path, body))
    assert complaints == []
    written = re.search(r'<pre id="seen">(.*?)</pre>', page, re.DOTALL)
    assert written is not None
    seen: dict[str, Any] = json.loads(html.unescape(written[1]))
    shares = [float(value) for value in seen["rising"] if value]
    assert shares == sorted(shares)
    assert len(set(shares)) > 5
    assert seen["rising"][-1] == seen["falling"][-1] == "", "what is not defined comes last"
    assert [float(value) for value in seen["falling"] if value] == shares[::-1]
    assert seen["state"] == "ascending"
    assert seen["names"][1:4] == ["hall/street_0000.jpg"] * 3
    assert [seen["all"], seen["missed"], seen["named"]] == [126, 67, 7]
    assert [seen["images"], seen["targets"]] == [0, 0]


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"report\.html: cannot be written"):
        write_report(poor_metrics(), [], {}, {}, tmp_path / "none" / "report.html")
    assert list(tmp_path.iterdir()) == []
