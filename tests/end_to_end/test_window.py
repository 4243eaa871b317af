"""The window of the program, with real keys on a real X server. What it looks like is tested in tests/sinks/test_window.py."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest

from tests.command_lines import Forked
from tests.conftest import DEMO, ROOT
from tests.displays import Display
from tests.end_to_end.test_run_stream import LEAVES_WITHIN_S, command, run, wait_for_records
from tests.slowness import LONGEST_S, promised
from tests.video_files import repeated

TIMES, FRAMES = 20, 150
"""Of the demo clip: two minutes, so that no run ends before its keys are pressed."""


@contextmanager
def running(asked: list[str], display: Display, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**display.environment, "PYTHONPATH": str(ROOT)}
    with Forked(asked, env=environment, cwd=folder, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[bytes], word: str) -> str:
    """Return what the program says up to the line with a word: of keys that come together, the window sees the last."""
    assert process.stderr is not None
    said = ""
    while word not in said:
        line = process.stderr.readline().decode()
        assert line, said
        said += line
    return said


def finish(process: subprocess.Popen[bytes]) -> str:
    with promised(LEAVES_WITHIN_S):
        _, said = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0, said
    return said.decode()


@pytest.mark.slow
def test_a_webcam_opens_a_window_by_itself(display: Display, tmp_path: Path) -> None:
    child = [sys.executable, str(ROOT / "tests" / "end_to_end" / "webcam_child.py"), str(DEMO)]
    with running([*child, "--source", "0", "--mirror", "--jsonl", "faces.jsonl"], display, tmp_path) as process:
        wait_for_records(process, tmp_path / "faces.jsonl", 3)
        display.press("space")
        said = read_until(process, "a live source cannot be paused")
        display.press("s")
        said += read_until(process, "saved")
        wait_for_records(process, tmp_path / "faces.jsonl", 6)
        display.press("q")
        said += finish(process)
    assert "dropped" in said
    (saved,) = tmp_path.glob("maskstream-0-*.png")
    assert f"saved {saved.name}" in said
    assert cv2.imread(str(saved)).shape == (360, 640, 3)
    records = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    assert all(record["source"] == "0" and record["time_utc"].endswith("+00:00") for record in records)
    third_of_three = max(records[0]["faces"], key=lambda face: face["box"]["x1"])
    assert third_of_three["label"] == "no_mask"  # the left one of the clip: this is the mirror


@pytest.mark.slow
def test_space_pauses_a_file_and_ctrl_c_ends_it_meanwhile(display: Display, tmp_path: Path) -> None:
    clip = repeated(DEMO, TIMES, tmp_path / "clip.mp4")
    asked = command("--source", clip, "--show", "--jsonl", "faces.jsonl", "--output", "out.mp4")
    with running(asked, display, tmp_path) as process:
        wait_for_records(process, tmp_path / "faces.jsonl", 3)
        display.press("space")
        before = ""
        while (now := (tmp_path / "faces.jsonl").read_text()) != before:  # until what is on its way has arrived
            before = now
            time.sleep(1)
        assert process.poll() is None
        assert before.count("\n") < TIMES * FRAMES
        display.press("space")
        wait_for_records(process, tmp_path / "faces.jsonl", before.count("\n") + 3)
        display.press("space")
        with promised(LEAVES_WITHIN_S):
            process.terminate()
            assert process.wait(LONGEST_S) == 143


@pytest.mark.slow
def test_several_sources_share_the_window(display: Display, tmp_path: Path) -> None:
    cameras, clip = tmp_path / "cameras.yaml", repeated(DEMO, TIMES, tmp_path / "clip.mp4")
    cameras.write_text(f"- {{name: one, url: {clip}}}\n- {{name: two, url: {clip}}}\n")
    with running(command("--source", cameras, "--show", "--jsonl", "faces.jsonl"), display, tmp_path) as process:
        wait_for_records(process, tmp_path / "faces.jsonl", 6)
        width, height = display.size()
        display.press("s")
        read_until(process, "saved")
        read_until(process, "saved")
        display.press("Escape")
        finish(process)
    assert width > 1.5 * height  # two beside each other
    saved = sorted(tmp_path.glob("maskstream-*.png"))
    assert [path.name.split("-")[1] for path in saved] == ["one", "two"]
    assert all(cv2.imread(str(path)).shape == (360, 640, 3) for path in saved)


@pytest.mark.parametrize(
    ("name", "reason"), [("", "neither DISPLAY nor WAYLAND_DISPLAY is set"), (":4711", "could not connect to display :4711")]
)
def test_a_window_without_a_display_is_a_word_in_the_log(name: str, reason: str) -> None:
    done = run("--source", DEMO, "--show", "--max-frames", "1", DISPLAY=name, WAYLAND_DISPLAY="")
    assert done.returncode == 0, done.stderr
    (word,) = (line for line in done.stderr.splitlines() if "continuing without a window" in line)
    assert word.endswith(reason)
    assert "1 frame," in done.stderr
