import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from maskstream.evaluation.sets_json import SetsMetrics
from maskstream.evaluation.sets_report import print_sets, write_sets_report
from tests.evaluation.sets import HOSTILE, two_sets
from tests.schemas import validator


@pytest.fixture
def metrics() -> SetsMetrics:
    return two_sets()


def test_the_file_has_its_schema(metrics: SetsMetrics) -> None:
    validator("metrics_sets").validate(metrics.to_json())


def test_the_page_has_one_row_for_each_set_and_links_to_its_sheets(metrics: SetsMetrics, tmp_path: Path) -> None:
    write_sets_report(metrics, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "2 sets, 3 images, 4 labelled faces" in page
    assert HOSTILE not in page
    first = page[page.index('<h2 id="h-1">') : page.index('<h2 id="h-2">')]
    cells = [re.findall(r"<td>([^<]*)", row) for row in first.split("<tr>")[2:]]
    assert [row[:6] for row in cells] == [["2", "4", "100.0%", "75.0%", "0.000", "0.0%"], ["1", "0", "–", "–", "1.000", "–"]]
    links = re.findall(r'<a href="([^"]+)"', page)
    assert set(links) == {
        *("keypoints_paper/report.html", "keypoints_paper/false_no_mask.jpg", "no_people/report.html", "no_people/false_face.jpg")
    }


def test_the_summary_fits_into_80_columns(metrics: SetsMetrics) -> None:
    console = Console(file=io.StringIO(), width=80)
    print_sets(metrics, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith("keypoints_paper")).split()
    assert row == ["keypoints_paper", "2", "4", "75.0", "75.0", "100.0", "0.000", "0.000", "0.0", "33.3", "90.0"]
