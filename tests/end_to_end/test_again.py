"""The same command a second time: what was recorded yesterday is still there, unless that was not wanted."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskstream.io.images import write_image
from maskstream.types import BgrImage
from tests.conftest import DEMO
from tests.end_to_end.test_run_stream import run
from tests.servers import content, http_server

TEXTS = ("faces.jsonl", "faces.csv", "status.jsonl", "events.jsonl")


@pytest.fixture(scope="module")
def camera() -> Iterator[str]:
    """An address that is opened again where it is lost, as that of a camera."""
    with http_server({"/cam.mp4": content(DEMO.read_bytes(), "video/mp4")}) as address:
        yield f"{address}/cam.mp4"


def outputs(folder: Path) -> list[str]:
    return [
        *("--jsonl", f"{folder}/faces.jsonl", "--csv", f"{folder}/faces.csv", "--status", f"{folder}/status.jsonl"),
        *("--events", f"{folder}/events.jsonl", "--summary", f"{folder}/day.json", "--max-frames", "3"),
    ]


def frames(folder: Path) -> list[int]:
    return [json.loads(line)["frame"] for line in (folder / "faces.jsonl").read_text().splitlines()]


def test_records_of_a_camera_are_continued_and_its_summary_kept(camera: str, tmp_path: Path) -> None:
    for _ in range(2):
        done = run("--source", camera, *outputs(tmp_path))
        assert done.returncode == 0, done.stderr
    assert frames(tmp_path) == [0, 1, 2] * 2
    with (tmp_path / "faces.csv").open(newline="") as file:
        assert [int(row["frame"]) for row in csv.DictReader(file)] == sorted([0, 1, 2] * 3) * 2
    assert sorted(path.name for path in tmp_path.glob("day*")) == ["day.json", "day.png", "day_002.json", "day_002.png"]
    for name in TEXTS[:3]:
        assert f"{tmp_path}/{name}: continued after" in done.stderr
    assert f"the summary goes to {tmp_path}/day_002.json" in done.stderr
    states = [json.loads(line)["state"] for line in (tmp_path / "status.jsonl").read_text().splitlines()]
    assert states.count("ended") == 2


def test_a_camera_may_begin_anew(camera: str, tmp_path: Path) -> None:
    for name in (*TEXTS, "day.json"):
        (tmp_path / name).write_text("of yesterday\n")
    done = run("--source", camera, *outputs(tmp_path), "--overwrite")
    assert done.returncode == 0, done.stderr
    assert frames(tmp_path) == [0, 1, 2]
    assert "of yesterday" not in "".join(path.read_text(errors="replace") for path in tmp_path.iterdir())
    assert "day_002.json" not in {path.name for path in tmp_path.iterdir()}


def test_outputs_of_a_file_are_replaced_and_its_events_continued(tmp_path: Path) -> None:
    for name in (*TEXTS, "day.json"):
        (tmp_path / name).write_text("{}\n")
    done = run("--source", DEMO, *outputs(tmp_path))
    assert done.returncode == 0, done.stderr
    assert frames(tmp_path) == [0, 1, 2]
    assert (tmp_path / "events.jsonl").read_text().startswith("{}\n")
    assert sorted(path.name for path in tmp_path.glob("day*")) == ["day.json", "day.png"]


@pytest.mark.parametrize("there", [*TEXTS, "day.png", "out.mp4"])
def test_what_is_there_can_be_kept(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("of yesterday")
    done = run("--source", DEMO, *outputs(tmp_path), "--output", tmp_path / "out.mp4", "--no-overwrite", "--quiet")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith(f"{tmp_path / there}: already exists, and --no-overwrite is given")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {there: "of yesterday"}


def test_images_that_are_there_can_be_kept(tmp_path: Path, face_bgr: BgrImage) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "judged").mkdir()
    write_image(tmp_path / "photos" / "a.png", face_bgr)
    (tmp_path / "judged" / "a.png").write_text("of yesterday")
    arguments = ("--source", tmp_path / "photos", "--output", tmp_path / "judged")
    kept = run(*arguments, "--no-overwrite", "--quiet")
    assert (kept.returncode, kept.stderr.count("\n")) == (5, 1)
    assert (tmp_path / "judged" / "a.png").read_text() == "of yesterday"
    assert run(*arguments, "--quiet").returncode == 0
    assert (tmp_path / "judged" / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_copies_that_the_next_run_would_read_are_pointed_out(tmp_path: Path, face_bgr: BgrImage) -> None:
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", face_bgr)
    source, inside = ("--source", tmp_path / "photos"), ("--output", tmp_path / "photos" / "judged")
    said = "judged: is in the folder of the source: the next run reads the copies too"
    assert said not in run(*source, *inside).stderr
    (tmp_path / "photos" / "judged" / "a.png").unlink()
    done = run(*source, *inside, "--recursive")
    assert (done.returncode, done.stderr.count(said)) == (0, 1)
