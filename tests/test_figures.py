"""The figures of the README are those of the pages that it links."""

import re
from collections.abc import Sequence

import pytest

from tests.conftest import ROOT

MODEL_CARD = "weights/MODEL_CARD.md"
PERFORMANCE = "docs/performance.md"


def text(name: str) -> str:
    return " ".join((ROOT / name).read_text().split())


def row(page: str, start: str) -> list[str]:
    """Return the cells of the one row of a page whose first cell begins with a text, without emphasis."""
    rows = [line for line in (ROOT / page).read_text().splitlines() if line.startswith(f"| {start}")]
    assert len(rows) == 1, (page, start, rows)
    return [cell.strip().replace("**", "") for cell in rows[0].strip("|").split(" | ")]


def test_accuracy_is_that_of_the_model_card() -> None:
    name, correct, _, _, false_faces, *_ = row(MODEL_CARD, "keypoints_paper, run 16")
    images, faces = re.findall(r"[\d,]*\d", name.partition("(")[2])
    share, low, high, _ = map(float, re.findall(r"[\d.]+", correct))
    claimed = text("README.md")
    assert f"On {images} images ({faces} faces)" in claimed
    assert f"**{share:.1f} %** of the faces are found and classified correctly" in claimed
    assert f"(95 % interval {low:.0f} to {high:.0f} %)" in claimed
    assert f"**{float(false_faces.split()[0])} false faces per image**" in claimed
    others = [
        re.findall(r"[\d.]+", row(MODEL_CARD, f"{other}, run 16")[1])[0] for other in ("street", "staff", "factory", "wild")
    ]
    assert "It is {} % in streets, {} % in wards and offices, {} % in factories, and {} % in crowds".format(*others) in claimed


@pytest.mark.parametrize(
    ("claim", "place", "cells"),
    [
        (
            "default settings | {0} fps, {1} times real time |",
            ("the complete program, default", "speed / real time, default"),
            (1, 3),
        ),
        ("(`--set detector.every=1`) | {0} fps |", ("the complete program, every frame, without video output",), (1,)),
        ("start of the program to the first record | {0} s |", ("process start to first result",), (3,)),
    ],
)
def test_speed_is_that_of_the_measurements(claim: str, place: Sequence[str], cells: Sequence[int]) -> None:
    figures = [re.findall(r"[\d.]+", row(PERFORMANCE, start)[cell])[0] for start, cell in zip(place, cells, strict=True)]
    assert claim.format(*figures) in text("README.md")


def test_speed_of_a_gpu_is_that_of_the_measurements() -> None:
    batch_of_32 = row(PERFORMANCE, "`face_mobilenet` 480 px and classifier, float32")[3]
    frames_a_second = re.findall(r"\((\d+)\)", batch_of_32)[0]
    assert f"float32, batches of 32 | {frames_a_second} fps |" in text("README.md")
