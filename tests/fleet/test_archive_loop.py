"""Each file of an archive gets one result, whatever happens to the workers."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maskstream.errors import ConfigError, ModelError, SinkError
from maskstream.fleet.archive_loop import ArchiveLoop, Limits, Team
from maskstream.fleet.archive_progress import ArchiveProgress
from maskstream.fleet.commits import committed_ids
from maskstream.fleet.jobs import Job
from maskstream.fleet.local_placement import LocalPlacement
from maskstream.fleet.manifest import JobRecord, JobState, Manifest
from tests.slowness import promised, slowness

TARGET = "tests.fleet.archive_targets:ScriptedWorker"
DONE, FAILED, QUARANTINED, WAITING = JobState.DONE, JobState.FAILED, JobState.QUARANTINED, JobState.WAITING


class Archive:
    """A folder with files that say what happens to their workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "results"
        self.jobs: list[Job] = []

    def file(self, act: str = "", size_bytes: int = 1) -> Path:
        number = len(self.jobs)
        path = self.folder / f"{number}.mp4"
        path.write_text(act)
        self.jobs.append(Job(f"{number:064x}", str(path), path.name, size_bytes, 1, "{}"))
        return path

    @contextmanager
    def loop(self, size: int = 1, start: str = "", limits: Limits | None = None) -> Iterator[ArchiveLoop]:
        team = Team(size, TARGET, {"archive": str(self.output), "start": start}, limits=limits or Limits())
        with LocalPlacement(self.folder / "workers") as placement, Manifest(self.output) as manifest:
            manifest.begin(self.jobs, committed_ids(self.output), retry_failed=False)
            yield ArchiveLoop(placement, manifest, team, ArchiveProgress(None, len(self.jobs), 1, is_silent=True))

    def run(self, size: int = 1, start: str = "", limits: Limits | None = None) -> bool:
        with self.loop(size, start, limits) as loop:
            return loop.run(self.jobs)

    def records(self) -> list[JobRecord]:
        """Return the records in the order of the files."""
        with Manifest(self.output) as manifest:
            found = manifest.records()
        return [found[job.job_id] for job in self.jobs]

    def states(self) -> list[JobState]:
        return [record.state for record in self.records()]

    def tried(self) -> list[int]:
        return [len(self.tried_by(number)) for number in range(len(self.jobs))]

    def tried_by(self, number: int) -> list[str]:
        log = self.folder / f"{number}.mp4.tried"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


@pytest.mark.parametrize("size", [1, 3])
def test_each_file_is_analysed_once(archive: Archive, size: int) -> None:
    for _ in range(10):
        archive.file()
    assert archive.run(size)
    assert (archive.states(), archive.tried()) == ([DONE] * 10, [1] * 10)
    assert [(record.attempts, record.seconds, record.video_s) for record in archive.records()] == [(1, 0.5, 1.0)] * 10
    assert committed_ids(archive.output) == {job.job_id for job in archive.jobs}


def test_a_file_that_cannot_be_read_fails_at_once_and_the_others_go_on(archive: Archive) -> None:
    for act in ("", "unreadable", ""):
        archive.file(act)
    assert archive.run()
    assert (archive.states(), archive.tried()) == ([DONE, FAILED, DONE], [1, 1, 1])
    assert archive.records()[1].error == "a.mp4: no video; give another file"
    assert len({archive.tried_by(number)[0] for number in range(3)}) == 1  # by the same worker


def test_a_file_that_ends_its_worker_once_is_tried_again(archive: Archive) -> None:
    for act in ("", "once die", ""):
        archive.file(act)
    assert archive.run()
    assert (archive.states(), archive.tried()) == ([DONE] * 3, [1, 2, 1])
    assert [(record.attempts, record.crashes) for record in archive.records()] == [(1, 0), (2, 1), (1, 0)]


def test_a_file_that_ends_its_worker_twice_is_quarantined_with_the_last_lines(archive: Archive) -> None:
    for act in ("", "die", "", ""):
        archive.file(act)
    assert archive.run(size=2)
    assert (archive.states(), archive.tried()) == ([DONE, QUARANTINED, DONE, DONE], [1, 2, 1, 1])
    record = archive.records()[1]
    assert (record.crashes, record.last_lines[-1]) == (2, "last words")
    assert "SIGKILL" in record.error


@pytest.mark.parametrize(
    ("act", "error"), [("internal", "ZeroDivisionError: a mistake"), ("memory", "the GPU has too little memory")]
)
def test_an_internal_error_quarantines_the_file_after_the_second_time(archive: Archive, act: str, error: str) -> None:
    for each in (act, ""):
        archive.file(each)
    assert archive.run()
    assert (archive.states(), archive.tried()) == ([QUARANTINED, DONE], [2, 1])
    assert archive.records()[0].error == error
    assert 'getattr(self, f"_{act}")()' in "\n".join(archive.records()[0].last_lines)


def test_a_worker_that_does_not_advance_is_replaced(archive: Archive) -> None:
    limits = Limits(still_s=round(1 + slowness()))  # more than the others need on a busy machine
    for act in ("once hang", ""):
        archive.file(act)
    assert archive.run(limits=limits)
    assert (archive.states(), archive.tried()) == ([DONE, DONE], [2, 1])
    archive.file("hang")
    assert archive.run(limits=limits)
    assert archive.records()[2].error == f"it has not advanced for {limits.still_s:.0f} s"
    assert archive.states()[2] is QUARANTINED


def test_a_worker_that_ends_after_the_commit_has_no_crash(archive: Archive) -> None:
    archive.file("die after")
    archive.file()
    assert archive.run()
    assert (archive.states(), archive.tried()) == ([DONE, DONE], [1, 1])


def test_a_full_disk_ends_the_command_and_loses_nothing(archive: Archive) -> None:
    for size_bytes, act in enumerate(("", "full", "", "")):
        archive.file(act, size_bytes=10 - size_bytes)
    with pytest.raises(SinkError, match="results: cannot be written: No space left on device; make room"):
        archive.run()
    assert archive.states()[0] is DONE
    assert archive.jobs[0].job_id in committed_ids(archive.output)
    assert archive.jobs[1].job_id not in committed_ids(archive.output)
    (archive.folder / "1.mp4").write_text("")
    assert archive.run()
    assert (archive.states(), archive.tried()[:2]) == ([DONE] * 4, [1, 2])


def test_a_machine_that_does_not_fit_ends_the_command(archive: Archive) -> None:
    archive.file()
    with pytest.raises(ConfigError, match="this machine has another version"):
        archive.run(start="refuse")
    assert (archive.states(), archive.records()[0].attempts) == ([WAITING], 0)


def test_workers_that_end_while_they_load_the_models_end_the_command(archive: Archive) -> None:
    """No file is at fault, and none is quarantined."""
    for _ in range(5):
        archive.file()
    with pytest.raises(ModelError, match=r"workers end while they load the models: .*SIGKILL.*; the last .*: last words"):
        archive.run(start="die", limits=Limits(again_s=0.01))
    assert (archive.states(), [record.crashes for record in archive.records()]) == ([WAITING] * 5, [0] * 5)


def test_the_largest_files_come_first(archive: Archive) -> None:
    for size_bytes in (5, 1, 9, 3):
        archive.file(size_bytes=size_bytes)
    order: list[str] = []
    with archive.loop() as loop:
        started = loop._manifest.started
        loop._manifest.started = lambda job_id, worker: (order.append(job_id), started(job_id, worker))[1]  # type: ignore[method-assign]
        loop.run(archive.jobs)
    assert [int(job_id, 16) for job_id in order] == [2, 0, 3, 1]


def test_a_stopped_loop_returns_soon_and_goes_on_later(archive: Archive) -> None:
    go_on = archive.folder / "go on"
    archive.file("", size_bytes=9)
    archive.file(f"wait for {go_on}")
    with archive.loop() as loop:
        seen = whenever(lambda: len(archive.tried_by(1)) == 1, loop.stop)
        with promised(within_s=5.0):
            assert not loop.run(archive.jobs)
        seen.join()
    assert archive.states() == [DONE, JobState.RUNNING]
    go_on.touch()
    assert archive.run()
    assert (archive.states(), archive.tried()) == ([DONE, DONE], [1, 2])


@pytest.mark.parametrize("size", [1, 2])
def test_a_worker_that_is_killed_from_outside_changes_no_result(archive: Archive, size: int) -> None:
    go_on = archive.folder / "go on"
    for number in range(7):
        archive.file(f"wait for {go_on}" if number == 3 else "")

    def kill() -> None:
        (name,) = archive.tried_by(3)
        os.kill(int((archive.folder / "workers" / f"{name}.lock").read_text()), signal.SIGKILL)
        go_on.touch()

    killer = whenever(lambda: bool(archive.tried_by(3)), kill)
    assert archive.run(size)
    killer.join()
    assert (archive.states(), archive.tried()) == ([DONE] * 7, [1, 1, 1, 2, 1, 1, 1])
    assert [record.crashes for record in archive.records()] == [0, 0, 0, 1, 0, 0, 0]
    assert committed_ids(archive.output) == {job.job_id for job in archive.jobs}


def whenever(condition: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Do something in another thread as soon as a condition holds."""

    def watch() -> None:
        waiting = threading.Event()
        while not condition():
            waiting.wait(0.01)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_process_that_cannot_be_started_is_one_line(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.file()
    monkeypatch.setattr("sys.executable", str(archive.folder / "no-python"))
    with pytest.raises(SinkError, match=r"^worker \S+ cannot be started: No such file or directory; "):
        archive.run()
    assert archive.states() == [WAITING]
