"""The manifest of an archive outlasts whatever ends a command, and is found again."""

import os
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from maskstream.errors import ConfigError, SinkError, StoreError
from maskstream.fleet.jobs import Job
from maskstream.fleet.manifest import JobState, Manifest
from tests.disks import files_at_most
from tests.properties import examples


def job(number: int, version: int = 0, path: str | None = None) -> Job:
    return Job(f"{number:032x}{version:032x}", path or f"/nas/{number}.mp4", "name", 100 + number, 1, "{}")


def states(manifest: Manifest) -> dict[str, JobState]:
    return {record.path: record.state for record in manifest.records().values()}


def test_a_job_from_waiting_to_done(tmp_path: Path) -> None:
    with Manifest(tmp_path / "new" / "archive") as manifest:
        assert manifest.begin([job(1)], [], retry_failed=False) == []
        manifest.started(job(1).job_id, "worker-1")
        assert states(manifest) == {"/nas/1.mp4": JobState.RUNNING}
        manifest.done(job(1).job_id, 2.5, 60.0)
    with Manifest(tmp_path / "new" / "archive") as manifest:
        (record,) = manifest.records().values()
        assert (record.state, record.attempts, record.crashes, record.worker) == (JobState.DONE, 1, 0, "worker-1")
        assert (record.seconds, record.video_s, record.size_bytes, record.error) == (2.5, 60.0, 101, "")


def test_what_a_killed_command_has_left(tmp_path: Path) -> None:
    """Running jobs wait again; committed ones are done; done ones whose result is gone wait again."""
    jobs = [job(number) for number in range(4)]
    with Manifest(tmp_path) as manifest:
        manifest.begin(jobs, [], retry_failed=False)
        for each in jobs[:3]:
            manifest.started(each.job_id, "worker-1")
        manifest.done(jobs[2].job_id, 1.0, 1.0)
    with Manifest(tmp_path) as manifest:
        manifest.begin(jobs, [jobs[1].job_id], retry_failed=False)
        waiting = JobState.WAITING
        assert list(states(manifest).values()) == [waiting, JobState.DONE, waiting, waiting]
        assert [record.attempts for record in manifest.records().values()] == [1, 1, 1, 0]


def test_failed_and_quarantined_jobs_are_tried_again_on_request_only(tmp_path: Path) -> None:
    jobs = [job(1), job(2)]
    with Manifest(tmp_path) as manifest:
        manifest.begin(jobs, [], retry_failed=False)
        for each in jobs:
            manifest.started(each.job_id, "worker-1")
        manifest.failed(jobs[0].job_id, "/nas/1.mp4: no video")
        assert manifest.crashed(jobs[1].job_id, "killed", ["one", "two"]) == 1
        assert manifest.crashed(jobs[1].job_id, "killed", ["three"]) == 2
        manifest.quarantined(jobs[1].job_id)
        manifest.begin(jobs, [], retry_failed=False)
        first, second = manifest.records().values()
        assert (first.state, first.error, second.state) == (JobState.FAILED, "/nas/1.mp4: no video", JobState.QUARANTINED)
        assert (second.crashes, second.error, second.last_lines) == (2, "killed", ("three",))
        manifest.begin(jobs, [], retry_failed=True)
        for record in manifest.records().values():
            assert (record.state, record.attempts, record.crashes, record.error) == (JobState.WAITING, 0, 0, "")


def test_a_job_replaces_the_others_of_its_file_and_jobs_of_other_files_are_kept(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin([job(1), job(2)], [job(1).job_id, job(2).job_id], retry_failed=False)
        assert manifest.begin([job(1, 5)], [job(1).job_id, job(2).job_id], retry_failed=False) == [job(1).job_id]
        assert states(manifest) == {"/nas/1.mp4": JobState.WAITING, "/nas/2.mp4": JobState.DONE}


def test_names_that_are_not_text(tmp_path: Path) -> None:
    path = os.fsdecode(b"/nas/\xff.mp4")
    with Manifest(tmp_path) as manifest:
        manifest.begin([job(1, path=path)], [], retry_failed=False)
        manifest.failed(job(1).job_id, f"{path}: cannot be read")
    with Manifest(tmp_path) as manifest:
        assert manifest.begin([job(1, 2, path)], [], retry_failed=False) == [job(1).job_id]
        assert [record.path for record in manifest.records().values()] == [path]


def test_one_command_at_a_time(tmp_path: Path) -> None:
    with (
        Manifest(tmp_path),
        pytest.raises(ConfigError, match="another archive command writes to it; wait until") as refused,
    ):
        Manifest(tmp_path)
    assert refused.value.exit_code == 2
    Manifest(tmp_path).close()


@pytest.mark.parametrize("damage", ["text", "pages", "truncated"])
def test_a_damaged_file_is_put_aside_and_results_are_found_again(tmp_path: Path, damage: str) -> None:
    jobs = [job(number) for number in range(200)]
    with Manifest(tmp_path) as manifest:
        manifest.begin(jobs, [], retry_failed=False)
    file = tmp_path / "archive.db"
    content = file.read_bytes()
    pages = content[:4096] + b"\x07" * 4096 + content[8192:]
    damaged = {"text": b"no database", "pages": pages, "truncated": content[:6000]}[damage]
    file.write_bytes(damaged)
    with Manifest(tmp_path) as manifest:
        manifest.begin(jobs, [job(7).job_id], retry_failed=False)
        assert Counter(states(manifest).values()) == {JobState.WAITING: 199, JobState.DONE: 1}
    assert (tmp_path / "archive.db.damaged-1").read_bytes() == damaged


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "archive.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    content = file.read_bytes()
    with pytest.raises(ConfigError, match=r"archive\.db: is not the manifest of an archive; choose another --output"):
        Manifest(tmp_path)
    assert file.read_bytes() == content
    file.unlink()
    Manifest(tmp_path).close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version=9")
    connection.close()
    with pytest.raises(ConfigError, match="a later version of maskstream has written it"):
        Manifest(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="file/archive: cannot be written: Not a directory; choose another --output"):
        Manifest(tmp_path / "file" / "archive")


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.begin([job(1)], [], retry_failed=False)
        size = (tmp_path / "archive.db").stat().st_size
        with (
            files_at_most(size),
            pytest.raises(StoreError, match=r"the manifest cannot be used: .*; make room") as full,
        ):
            manifest.begin([job(number) for number in range(2000)], [], retry_failed=False)
        assert full.value.exit_code == 5
        assert states(manifest) == {"/nas/1.mp4": JobState.WAITING}
        manifest.done(job(1).job_id, 1.0, 1.0)
        assert states(manifest) == {"/nas/1.mp4": JobState.DONE}


NUMBERS = st.integers(0, 5)


class ManifestMachine(RuleBasedStateMachine):
    """Commands begin, note what happens to jobs, and end in any way; a dictionary does the same."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.manifest = Manifest(Path(self.folder.name))
        self.model: dict[str, tuple[str, JobState, int, int]] = {}
        """Path, state, attempts and crashes by job."""
        self.committed: set[str] = set()

    @rule(given=st.dictionaries(NUMBERS, st.integers(0, 1)), retry_failed=st.booleans())
    def begin(self, given: dict[int, int], retry_failed: bool) -> None:
        self.manifest.close()
        self.manifest = Manifest(Path(self.folder.name))
        jobs = [job(number, version) for number, version in given.items()]
        replaced = self.manifest.begin(jobs, self.committed, retry_failed=retry_failed)
        ids, paths = {each.job_id for each in jobs}, {each.path for each in jobs}
        gone = {job_id for job_id, (path, *_) in self.model.items() if path in paths and job_id not in ids}
        assert set(replaced) == gone
        self.committed -= gone
        for each in jobs:
            self.model.setdefault(each.job_id, (each.path, JobState.WAITING, 0, 0))
        for job_id, (path, state, attempts, crashes) in list(self.model.items()):
            if job_id in gone:
                del self.model[job_id]
                continue
            failed = state in (JobState.FAILED, JobState.QUARANTINED)
            if failed and retry_failed:
                state, attempts, crashes = JobState.WAITING, 0, 0
            elif not failed:
                state = JobState.WAITING
            if job_id in self.committed:
                state = JobState.DONE
            self.model[job_id] = path, state, attempts, crashes

    @rule(number=NUMBERS, version=st.integers(0, 1), what=st.sampled_from(["done", "failed", "crashed", "waits"]))
    def happen(self, number: int, version: int, what: str) -> None:
        job_id = job(number, version).job_id
        if job_id not in self.model or self.model[job_id][1] is not JobState.WAITING:
            return
        path, _, attempts, crashes = self.model[job_id]
        self.manifest.started(job_id, "worker")
        attempts += 1
        if what == "done":
            self.committed.add(job_id)
            self.manifest.done(job_id, 1.0, 1.0)
        elif what == "failed":
            self.manifest.failed(job_id, "why")
        elif what == "waits":
            self.manifest.waits(job_id)
            attempts -= 1
        else:
            crashes += 1
            assert self.manifest.crashed(job_id, "why", []) == crashes
            if crashes > 1:
                self.manifest.quarantined(job_id)
        state = {"done": JobState.DONE, "failed": JobState.FAILED, "waits": JobState.WAITING}.get(what)
        self.model[job_id] = path, state or (JobState.QUARANTINED if crashes > 1 else JobState.WAITING), attempts, crashes

    @rule(number=NUMBERS)
    def lose_the_result(self, number: int) -> None:
        self.committed.discard(job(number).job_id)

    @invariant()
    def it_is_as_it_should_be(self) -> None:
        found = self.manifest.records()
        assert {key: (each.path, each.state, each.attempts, each.crashes) for key, each in found.items()} == self.model

    def teardown(self) -> None:
        self.manifest.close()
        self.folder.cleanup()


TestManifest = ManifestMachine.TestCase
TestManifest.settings = examples(0.3)
