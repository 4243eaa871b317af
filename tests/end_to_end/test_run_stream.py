"""The command line itself, as a user runs it."""

import csv
import functools
import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from maskstream.sinks.records import CSV_COLUMNS
from maskstream.types import FACE_KEYPOINTS
from tests import command_lines
from tests.command_lines import ROOT, Forked
from tests.conftest import DEMO
from tests.slowness import LONGEST_S, promised
from tests.video_files import every, repeated, write_video

LEAVES_WITHIN_S = 3.0


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, str(ROOT / "run_stream.py"), *map(str, arguments)]


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return command_lines.run(command(*arguments), text=True, env={**os.environ, **environment})


def run_cold(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it as a user does, from the start of the interpreter."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=LONGEST_S, check=False)


def decode(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The main job on the whole demo clip, every third frame analysed; a cold start."""
    out = tmp_path_factory.mktemp("main_job")
    done = run_cold(
        *("--source", DEMO, "--stride", "3"),
        *("--output", out / "out.mp4", "--jsonl", out / "faces.jsonl", "--csv", out / "faces.csv"),
    )
    return done, out


def test_the_main_job_ends_well_and_says_what_it_did(main_job: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = main_job
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "frames" in done.stderr.splitlines()[-1]
    assert "fps" in done.stderr.splitlines()[-1]
    assert "\x1b" not in done.stderr  # no colours and no progress bar in a pipe
    assert sorted(path.name for path in out.iterdir()) == ["faces.csv", "faces.jsonl", "out.mp4"]


def test_the_video_has_every_frame_at_its_time_and_the_sound(main_job: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = main_job
    assert decode(out / "out.mp4") == pytest.approx(decode(DEMO), abs=1e-4)
    with av.open(str(out / "out.mp4")) as made, av.open(str(DEMO)) as given:
        assert made.duration / av.time_base == pytest.approx(given.duration / av.time_base, abs=0.05)
        assert [stream.codec_context.name for stream in made.streams.audio] == ["aac"]
        assert made.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_a_record_for_each_analysed_frame(main_job: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = main_job
    times = decode(DEMO)
    records = [json.loads(line) for line in (out / "faces.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == list(range(0, len(times), 3))
    for record in records:
        assert record["time_s"] == pytest.approx(times[record["frame"]], abs=1e-4)
        assert record["source"] == str(DEMO)
        for face in record["faces"]:
            assert set(face["keypoints"]) == set(FACE_KEYPOINTS)
            assert face["label"] in {"mask", "no_mask", "unknown"}


def test_the_right_faces_with_the_right_labels(main_job: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """Three prints hang side by side: the left one bare, the middle one masked from frame 65 on, the right one masked."""
    _, out = main_job
    records = [json.loads(line) for line in (out / "faces.jsonl").read_text().splitlines()]
    for record in records:
        faces = sorted(record["faces"], key=lambda face: face["box"]["x1"])
        assert [round((face["box"]["x1"] + face["box"]["x2"]) / 2) // 215 for face in faces] == [0, 1, 2]
        middle = "no_mask" if record["frame"] <= 60 else "mask"
        if not 60 < record["frame"] < 65:  # it is being put on
            assert [face["label"] for face in faces] == ["no_mask", middle, "mask"]


def test_a_row_for_each_face(main_job: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = main_job
    with (out / "faces.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == CSV_COLUMNS
    records = [json.loads(line) for line in (out / "faces.jsonl").read_text().splitlines()]
    assert len(rows) == sum(len(record["faces"]) for record in records)
    assert rows[0][CSV_COLUMNS.index("label")] == records[0]["faces"][0]["label"]


@pytest.mark.slow
def test_two_files_go_into_a_folder(tmp_path: Path) -> None:
    second = tmp_path / "second.mp4"
    second.write_bytes(DEMO.read_bytes())
    done = run("--source", DEMO, "--source", second, "--output", tmp_path / "out", "--jsonl", "-", "--max-frames", "3")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["demo.mp4", "second.mp4"]
    assert [len(decode(path)) for path in (tmp_path / "out").iterdir()] == [3, 3]
    assert {json.loads(line)["source"] for line in done.stdout.splitlines()} == {str(DEMO), str(second)}


def test_a_closed_pipe_ends_the_run_quietly() -> None:
    asked = command("--source", DEMO, "--jsonl", "-", "--quiet")
    with Forked(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        assert process.wait(LONGEST_S) == 0
        assert process.stderr.read() == ""


@contextmanager
def recording(out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that has already written some records, of two minutes of video."""
    records, clip = out.with_suffix(".jsonl"), repeated(DEMO, 20, out.with_name("clip.mp4"))
    arguments = command("--source", clip, "--output", out, "--jsonl", records, "--quiet")
    with Forked(arguments, stderr=subprocess.PIPE) as process:
        try:
            wait_for_records(process, records, 20)
            yield process
        finally:
            process.kill()


def wait_for_records(process: subprocess.Popen[bytes], records: Path, count: int) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not records.exists() or records.read_text().count("\n") < count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("name", "number", "code"),
    [
        ("out.mp4", signal.SIGINT, 130),
        pytest.param("out.webm", signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param("out.avi", signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_finishes_the_files_in_time(tmp_path: Path, name: str, number: signal.Signals, code: int) -> None:
    with recording(tmp_path / name) as process, promised(LEAVES_WITHIN_S):
        process.send_signal(number)
        _, errors = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, errors) == (code, b"")
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(decode(tmp_path / name)) == len(records) >= 20


@pytest.mark.slow
def test_a_killed_run_leaves_a_video_up_to_a_second_before(tmp_path: Path) -> None:
    with recording(tmp_path / "out.mp4") as process:
        wait_for_records(process, tmp_path / "out.jsonl", 40)
        process.kill()
    *records, _ = (tmp_path / "out.jsonl").read_text().split("\n")
    assert decode(tmp_path / "out.mp4")[-1] >= json.loads(records[-1])["time_s"] - 1.0


def played(video: Path, chromium: str, folder: Path) -> list[float]:
    """Return width, height and duration of a video as Chromium says them once it has played a second of it, in a new folder."""
    folder.mkdir()
    (folder / video.name).symlink_to(video)
    (folder / "page.html").write_text(
        """<video muted src="NAME"></video><script>
      const video = document.querySelector("video");
      const report = text => fetch("/report?" + text);
      video.ontimeupdate = () => video.currentTime > 1 && report(`${video.videoWidth},${video.videoHeight},${video.duration}`);
      video.onerror = () => report(video.error.message);
      video.play();
    </script>""".replace("NAME", video.name)
    )
    reports: queue.Queue[str] = queue.Queue()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base)
            if "/report?" in (line := format % args):
                reports.put(line.split("/report?")[1].split(" ")[0])

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
                *("--no-first-run", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0"),
                *("--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder / 'profile'}"),
                f"http://127.0.0.1:{server.server_port}/page.html",
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            return [float(value) for value in reports.get(timeout=LONGEST_S).split(",")]
        finally:
            browser.terminate()
            browser.wait(LONGEST_S)
            server.shutdown()


def test_chromium_plays_the_video(
    main_job: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path, system_tool: Callable[[str], str]
) -> None:
    width, height, duration = played(main_job[1] / "out.mp4", system_tool("chromium"), tmp_path / "site")
    assert (width, height) == (640, 360)
    assert duration == pytest.approx(6.0, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out.webm", "out.mov"])
def test_chromium_plays_what_else_browsers_know(tmp_path: Path, name: str, system_tool: Callable[[str], str]) -> None:
    spoken = write_video(tmp_path / "clip.mkv", every(0.04, 60), audio=("pcm_s16le", 0.0, 2.4))
    assert run("--source", spoken, "--output", tmp_path / name, "--quiet").returncode == 0
    width, height, duration = played(tmp_path / name, system_tool("chromium"), tmp_path / "site")
    assert (width, height) == (64, 48)
    assert duration == pytest.approx(2.4, abs=0.1)


def test_nothing_is_left_where_the_run_could_not_start(tmp_path: Path) -> None:
    done = run(
        *("--source", DEMO, "--output", tmp_path / "out.mp4", "--jsonl", tmp_path / "out.jsonl"),
        *("--classifier", tmp_path / "none.safetensors"),
    )
    assert done.returncode == 4
    assert list(tmp_path.iterdir()) == []


def test_version_and_help() -> None:
    assert run_cold("--version").stdout.startswith("maskstream 0.")
    shown = run("--help").stdout
    options = ["--source", "--config", "--set", "--output", "--jsonl", "--csv", "--show", "--no-show", "--device", "--detector"]
    options += [
        "--classifier",
        "--min-score",
        "--stride",
        "--max-frames",
        "--realtime",
        "--recursive",
        "--mirror",
        "--log-level",
        "--quiet",
        "--version",
    ]
    assert [option for option in options if option not in shown] == []
