import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from maskstream.evaluation.metrics_json import ErrorCounts, SystemInfo
from maskstream.evaluation.set_metrics import faces_at
from maskstream.evaluation.sets_json import SetMetrics, SetsMetrics
from maskstream.evaluation.sets_report import print_sets, write_sets_report
from maskstream.types import Label
from tests.evaluation.sets import SETTINGS, face, found, labels, predictions
from tests.schemas import validator

A, B, FAR = (0, 0, 40, 40), (100, 0, 140, 40), (60, 60, 80, 80)
NO_ERRORS = ErrorCounts(false_mask=0, false_no_mask=0, missed=0, false_face=0, missed_near=0, false_face_near=0)
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def metrics() -> SetsMetrics:
    """Three of four faces of the first set are right; the second set has no faces, and one false face."""
    street = labels((face(A), face(B, Label.NO_MASK)), (face(A), face(B)))
    answers = predictions((found(A), found(B, Label.NO_MASK)), (found(A), found(B, Label.NO_MASK)))
    of_street = SetMetrics(
        images=HOSTILE,
        labels="labels.json",
        box="head",
        pictures=2,
        faces=4,
        ignored=1,
        by_class={"mask": 3, "no_mask": 1, "incorrect": 0, "unknown": 0},
        problems=0,
        min_score=0.15,
        iou=0.3,
        at_iou={iou: faces_at(float(iou), street.images, answers, SETTINGS) for iou in ("0.30", "0.50")},
        map50=0.9,
        map50_ci95=(0.8, 1.0),
        mistakes=replace(NO_ERRORS, false_no_mask=1),
    )
    nobody = {iou: faces_at(float(iou), labels(()).images, predictions((found(FAR),)), SETTINGS) for iou in ("0.30", "0.50")}
    of_nobody = replace(of_street, labels=None, pictures=1, faces=0, by_class={}, at_iou=nobody, map50=None, map50_ci95=None)
    return SetsMetrics(
        maskstream="0.1.0",
        created_utc="2026-03-14T09:26:53+00:00",
        system=SystemInfo(name="maskstream", description=HOSTILE, weights={"a.safetensors": "5f" * 32}, device="cpu"),
        sets={"keypoints_paper": of_street, "no_people": replace(of_nobody, mistakes=replace(NO_ERRORS, false_face=1))},
        pictures_analysed=3,
        elapsed_s=1.5,
    )


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
