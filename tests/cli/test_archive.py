"""`maskstream archive` as a user calls it: the same results with any number of workers and after any interruption."""

import csv
import json
import random
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import psutil
import pytest

from maskstream.cli.archive_worker import finished_frames
from maskstream.cli.main import main
from maskstream.fleet.commits import committed_ids, is_committed
from maskstream.fleet.job_progress import FOLDER, JobProgress, read_progress
from maskstream.fleet.manifest import JobState, Manifest
from maskstream.sources import FileSource
from maskstream.stream.report import RunReport
from maskstream.types import Frame
from tests.command_lines import ROOT, Forked, run
from tests.disks import files_at_most
from tests.slowness import LONGEST_S, promised
from tests.video_files import every, write_video

PROGRAM = "import sys; from maskstream.cli.main import main; sys.exit(main())"
CLIPS, FRAMES = 3, 12
QUICK = ("--set", "events.min_seconds=0.3", "--set", "events.min_evidence=0")
NOT_MERGED = ("archive.db", "archive.lock", FOLDER)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, demo_frames: list[Frame]) -> Path:
    """A folder with short files of people with and without masks."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(CLIPS):
        write_clip(folder / f"{number}.mp4", demo_frames[number * FRAMES :][: FRAMES - 2 * number])
    return folder


def write_clip(path: Path, frames: Sequence[Frame]) -> None:
    write_video(path, every(0.1, len(frames)), size=(frames[0].width, frames[0].height), image=lambda index: frames[index].bgr)


@pytest.fixture(scope="module")
def reference(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results with one worker."""
    output = tmp_path_factory.mktemp("reference") / "results"
    done = archive("--input", clips, "--output", output, "--workers", 1, *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    return output


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "archive", "--quiet", *map(str, arguments)]


def archive(*arguments: object) -> "CompletedProcess[str]":
    return run(command(*arguments), cwd=ROOT, text=True)


def contents(output: Path) -> dict[str, bytes]:
    """Return all files of an archive that do not depend on when a file was analysed."""
    files = [path for path in output.rglob("*") if path.is_file() and path.relative_to(output).parts[0] not in NOT_MERGED]
    found = {}
    for path in files:
        content = path.read_bytes()
        if path.name == "faces.jsonl":
            content = re.sub(rb'"timing_ms": \{.*?\}', b"", content)
        found[str(path.relative_to(output))] = content
    return found


def same(output: Path, reference: Path) -> bool:
    one, other = contents(output), contents(reference)
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []
    return True


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def attempts(output: Path) -> list[int]:
    with Manifest(output) as manifest:
        return [record.attempts for record in sorted(manifest.records().values(), key=lambda record: record.path)]


class Running:
    """A command that runs, and its workers."""

    def __init__(self, process: Any, output: Path) -> None:
        self.process = process
        self.output = output

    def errors(self) -> str:
        """Return what the command has written to standard error."""
        return _errors_file(self.output).read_text()

    def beats(self) -> list[tuple[str, JobProgress]]:
        """Return which file each worker analyses."""
        names = [path.stem for path in (self.output / FOLDER).glob("*.json")]
        found = [(name, read_progress(self.output, name)) for name in names]
        return [(name, progress) for name, progress in found if progress is not None]

    def worker(self, name: str) -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children():
                with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    if name in process.cmdline():
                        return process
        return None

    def hold(self, name: str) -> tuple[psutil.Process, str] | None:
        """Stop a worker; return it and the file that it analyses. Between two files it goes on.

        A worker that names an unreadable file may be done with it, and wait for its next one: nothing shows which.
        """
        worker = self.worker(name)
        with suppress(psutil.NoSuchProcess):
            if worker is not None and has_stopped(worker):
                beat = read_progress(self.output, name)
                if beat is not None and not is_committed(self.output, beat.job_id):
                    return worker, beat.job_id
                worker.resume()
        return None

    def held(self, is_wanted: Callable[[], object] = lambda: True) -> psutil.Process:
        """Wait until a worker is stopped in the middle of a file while something is so."""
        found: list[psutil.Process] = []

        def hold_one() -> bool:
            for worker, _ in filter(None, (self.hold(name) for name, _ in self.beats())):
                if is_wanted() and not found:
                    found.append(worker)
                else:
                    worker.resume()
            return bool(found)

        assert self.when(hold_one), "the command has ended before"
        return found[0]

    def when(self, condition: Callable[[], object]) -> bool:
        """Wait until something is so, or the command has ended; return whether it is so."""
        waiting = threading.Event()
        while not condition():
            if self.process.poll() is not None:
                return False
            waiting.wait(0.01)
        return True


def has_stopped(process: psutil.Process) -> bool:
    """Stop a process, which takes a moment where it runs on another core; return False where it has ended instead."""
    process.suspend()
    while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
        threading.Event().wait(0.001)
    return process.status() == psutil.STATUS_STOPPED


def _errors_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.stderr")


@contextmanager
def running(output: Path, *arguments: object) -> Iterator[Running]:
    with (
        _errors_file(output).open("wb") as errors,
        Forked(command("--output", output, *arguments), cwd=ROOT, stderr=errors) as process,
    ):
        try:
            yield Running(process, output)
        finally:
            process.kill()


def test_the_results_of_all_files_are_merged(clips: Path, reference: Path) -> None:
    files = rows(reference / "archive.csv")
    assert [Path(row["path"]).name for row in files] == ["0.mp4", "1.mp4", "2.mp4"]
    assert [int(row["frames"]) for row in files] == [12, 10, 8]
    events = rows(reference / "events.csv")
    assert {row["label"] for row in events} == {"no_mask"}
    assert len({row["event_id"] for row in events}) == len(events) >= 3
    assert rows(reference / "failures.csv") == []
    assert json.loads((reference / "archive.json").read_text())
    assert "0.mp4" in (reference / "archive.html").read_text()
    for row in files:
        assert {path.name for path in (reference / row["folder"]).iterdir()} >= {"faces.jsonl", "events.jsonl", "summary.json"}
    assert (attempts(reference), list((reference / FOLDER).glob("*"))) == ([1, 1, 1], [])
    assert reference.joinpath("events.csv").stat().st_mode & 0o077 == 0


def test_two_workers_of_which_one_is_killed_give_the_same_bytes(clips: Path, reference: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    with running(output, "--input", clips, "--workers", 2, *QUICK) as archive:
        archive.held().kill()
        assert archive.process.wait(LONGEST_S) == 0
    assert sum(attempts(output)) == CLIPS + 1
    assert same(output, reference)


def test_the_same_command_analyses_nothing_again(clips: Path, reference: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(reference, tmp_path / "results"))
    (output / "archive.csv").unlink()
    assert archive("--input", clips, "--output", output, *QUICK).returncode == 0
    assert (attempts(output), same(output, reference)) == ([1, 1, 1], True)


def test_a_lost_manifest_analyses_nothing_again(clips: Path, reference: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(reference, tmp_path / "results"))
    (output / "archive.db").write_text("damaged")
    assert archive("--input", clips, "--output", output, *QUICK).returncode == 0
    assert attempts(output) == [0, 0, 0]
    (output / "archive.db.damaged-1").unlink()
    assert same(output, reference)


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_command_that_is_stopped_goes_on_later(clips: Path, reference: Path, tmp_path: Path, how: signal.Signals) -> None:
    output = tmp_path / "results"
    with running(output, "--input", clips, "--workers", 1, *QUICK) as archive_:
        worker = archive_.held(lambda: committed_ids(output))
        with promised(within_s=2.0):
            archive_.process.send_signal(how)
            code = archive_.process.wait(LONGEST_S)
        with suppress(psutil.NoSuchProcess):
            worker.resume()  # after SIGKILL, to see that its command is gone
    assert code == (-how if how is signal.SIGKILL else 128 + how)
    committed = len(committed_ids(output))
    assert 1 <= committed < CLIPS
    if how is not signal.SIGKILL:
        assert (list(output.glob("??/.*")), (output / FOLDER).exists()) == ([], False)
    assert archive("--input", clips, "--output", output, "--workers", 1, *QUICK).returncode == 0
    assert attempts(output).count(1) >= committed
    assert same(output, reference)


def test_files_that_cannot_be_read_among_others(clips: Path, reference: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "clips", tmp_path / "results"
    folder.mkdir()
    shutil.copy(clips / "2.mp4", folder / "good.mp4")
    (folder / "empty.mp4").write_text("")
    (folder / "gone.mp4").symlink_to("nowhere")
    (folder / "text.mp4").write_text("not a video")
    done = archive("--input", folder, "--output", output, *QUICK)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 3
    failures = rows(output / "failures.csv")
    assert [(Path(row["path"]).name, row["state"]) for row in failures] == [
        ("empty.mp4", "failed"),
        ("gone.mp4", "failed"),
        ("text.mp4", "failed"),
    ]
    assert [row["error"].rpartition(": ")[2] for row in failures] == [
        "the file is empty; give a video file",
        "no such file; check the path",
        "Invalid data found when processing input; convert it with ffmpeg",
    ]
    assert [Path(row["path"]).name for row in rows(output / "archive.csv")] == ["good.mp4"]
    again = archive("--input", folder, "--output", output, *QUICK)
    assert (again.returncode, again.stderr, attempts(output)) == (3, "", [1, 1, 1, 1])
    for name in ("empty.mp4", "gone.mp4"):
        (folder / name).unlink()
    shutil.copy(clips / "1.mp4", folder / "text.mp4")
    assert archive("--input", folder, "--output", output, *QUICK).returncode == 0
    assert [Path(row["path"]).name for row in rows(output / "archive.csv")] == ["good.mp4", "text.mp4"]
    assert rows(output / "failures.csv") == []


def test_a_full_disk(clips: Path, reference: Path, tmp_path: Path, signals: None, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "results"
    arguments = [*map(str, ("archive", "--quiet", "--input", clips, "--output", output, "--workers", 1)), *QUICK]
    with files_at_most(18_000):
        assert main(arguments) == 5
    assert "cannot be written: File too large; make room" in capsys.readouterr().err.splitlines()[-1]
    assert list(output.glob("??/.*")) == []
    committed = committed_ids(output)
    with Manifest(output) as manifest:
        for job_id, record in manifest.records().items():
            assert record.state is (JobState.DONE if job_id in committed else JobState.WAITING)
        assert len(committed) < CLIPS
    assert archive(*arguments[2:]).returncode == 0
    assert same(output, reference)


def test_settings_of_single_files_and_videos(clips: Path, tmp_path: Path) -> None:
    """With other settings a file has another job, which replaces its former result; videos of results are no inputs."""
    output = clips / "results"
    door = {"name": "door", "url": str(clips / "*.mp4"), "zones": {"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}}
    (tmp_path / "list.yaml").write_text(json.dumps([door]))
    try:
        first = ("--input", tmp_path / "list.yaml", "--output", output, "--max-frames", 4, *QUICK)
        assert archive(*first, "--videos").returncode == 0
        folders = [output / row["folder"] for row in rows(output / "archive.csv")]
        assert [row["source"] for row in rows(output / "archive.csv")] == ["door/0.mp4", "door/1.mp4", "door/2.mp4"]
        faces = [json.loads(line) for line in (folders[0] / "faces.jsonl").read_text().splitlines()]
        assert {face["zone"] for record in faces for face in record["faces"]} == {"left"}
        video = FileSource(str(folders[0] / "out.mp4"))
        assert (sum(1 for _ in video), video.info.width) == (4, 640)
        video.close()
        assert archive("--input", clips, "--recursive", "--output", output, "--max-frames", 2, *QUICK).returncode == 0
        assert [row["source"] for row in rows(output / "archive.csv")] == [str(clips / f"{number}.mp4") for number in range(3)]
        assert [folder.exists() for folder in folders] == [False] * 3
    finally:
        shutil.rmtree(output)


def test_weights_that_do_not_exist(clips: Path, tmp_path: Path) -> None:
    done = archive("--input", clips, "--output", tmp_path / "results", "--classifier", "nowhere.safetensors")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert "nowhere.safetensors: no such weights file" in done.stderr


IMAGE = str(ROOT / "assets" / "window.jpg")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "--input is missing; see --help"),
        (["--input", "."], 2, "--output is missing; see --help"),
        (["--input", ".", "--output", "out", "--gpus-per-worker", "-1"], 2, "--gpus-per-worker -1: not allowed; give 0 or more"),
        (["--input", "nowhere.mp4", "--output", "out"], 3, "nowhere.mp4: no such file; check the path"),
        (["--input", "none/*.mp4", "--output", "out"], 3, "none/*.mp4: no file matches; check the path"),
        (["--input", "pictures", "--output", "out"], 3, "pictures: no video; give video files, or a folder or pattern"),
        (["--input", "list.yaml", "--output", "out"], 2, "door: is a camera, a stream or a pipe, and an archive has video"),
        (["--input", "rtsp://user:secret@nowhere/1", "--output", "out"], 2, "is a camera, a stream or a pipe"),
        (["--input", IMAGE, "--output", "out"], 2, "is an image, and an archive has video files; maskstream run reads it"),
        (["--input", "a.mp4", "--output", "a.mp4"], 5, "a.mp4: cannot be written: File exists; choose another --output"),
        (["--input", "a.mp4", "--output", "locked"], 2, "locked: another archive command writes to it"),
        (["--input", "a.mp4", "--output", "out", "--set", "tracking.enabled=false"], 2, "need tracking; set it to true"),
        (["--input", "a.mp4", "--output", "out", "--set", "detector.name=none"], 2, "detector.name: 'none' is not known"),
        (["--input", "a.mp4", "--input", "*.mp4", "--output", "out"], 2, "a.mp4: given twice; give each source once"),
    ],
)  # fmt: skip
def test_commands_that_are_wrong(
    folder: Path, signals: None, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], code: int, said: str
) -> None:
    """Nothing is loaded and nothing is written."""
    (folder / "pictures").mkdir()
    shutil.copy(IMAGE, folder / "pictures")
    (folder / "a.mp4").write_text("video")
    (folder / "list.yaml").write_text("- {name: door, url: 'rtsp://user:secret@nowhere/1'}\n")
    with Manifest(folder / "locked"):
        assert main(["archive", "--quiet", *arguments]) == code
    err = capsys.readouterr().err
    assert said in err
    assert (err.count("\n"), "secret" in err) == (1, False)
    assert not (folder / "out").exists()


@pytest.mark.slow
def test_workers_of_ray_give_the_same_bytes(clips: Path, reference: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is missing: pip install 'maskstream[fleet]'")
    output = tmp_path / "results"
    assert archive("--input", clips, "--output", output, "--workers", 2, "--ray", "local", *QUICK).returncode == 0
    assert same(output, reference)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_random_kills_change_no_byte(demo_frames: list[Frame], tmp_path: Path, workers: int) -> None:
    """Workers are killed at random moments, each file at most once; the results are those of one worker without kills."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(8):
        write_clip(clips / f"{number}.mp4", demo_frames[number * 3 :][: 25 - number])
    shutil.copy(ROOT / "assets" / "demo.mp4", clips)
    (clips / "broken.mp4").write_text("not a video")
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "results"
    assert archive("--input", clips, "--output", undisturbed, "--workers", 1, *QUICK).returncode == 3
    with Manifest(undisturbed) as manifest:
        unreadable = {record.job_id for record in manifest.records().values() if record.state is JobState.FAILED}
    assert len(unreadable) == 1
    with running(output, "--input", clips, "--workers", workers, *QUICK) as archive_:
        killed = kill_at_random(archive_, random.Random(workers), 6, unreadable)
        assert archive_.process.wait(LONGEST_S) == 3
    assert killed
    with Manifest(output) as manifest:
        assert {record.job_id for record in manifest.records().values() if record.crashes} == killed
    assert same(output, undisturbed)


def kill_at_random(archive_: Running, chance: random.Random, most: int, unreadable: set[str]) -> set[str]:
    """Kill workers at random moments in the middle of a file; return the files."""
    spared = set(unreadable)
    waiting = threading.Event()
    while len(spared - unreadable) < most and archive_.when(
        lambda: any(beat.job_id not in spared for _, beat in archive_.beats())
    ):
        waiting.wait(chance.uniform(0.0, 0.4))
        beats = archive_.beats()
        if not beats:
            continue
        held = archive_.hold(chance.choice(beats)[0])
        if held is not None and held[1] not in spared:
            spared.add(held[1])
            held[0].kill()
        elif held is not None:
            held[0].resume()
    return spared - unreadable


@pytest.mark.parametrize(
    ("written", "analysed", "stride", "finished"),
    [(0, 0, 1, 0), (7, 7, 1, 7), (7, 7, 5, 35), (31, 7, 5, 35)],
)
def test_only_frames_that_are_analysed_and_written_count_as_finished(
    written: int, analysed: int, stride: int, finished: int
) -> None:
    """The last frames of a short file are read long before they are analysed."""
    assert finished_frames(RunReport(frames=written, analysed=analysed), stride) == finished
