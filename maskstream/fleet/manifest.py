"""Keep on the disk which file of an archive is waiting, running, done, failed or quarantined."""

import os
import sqlite3
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from maskstream.errors import StoreError
from maskstream.fleet.jobs import Job
from maskstream.fleet.manifest_file import locked, opened
from maskstream.store.schema import open_problem

FILE_NAME: Final = "archive.db"


class JobState(StrEnum):
    """The state of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    """It was sent to a worker."""
    DONE = "done"
    """Its result is committed."""
    FAILED = "failed"
    """The file cannot be read."""
    QUARANTINED = "quarantined"
    """The file has ended its worker twice."""


@dataclass(frozen=True)
class JobRecord:
    """What the manifest knows of a job."""

    job_id: str
    path: str
    size_bytes: int
    state: JobState
    attempts: int
    """How often a worker began with it."""
    crashes: int
    """How often its worker ended, or did not advance, meanwhile."""
    worker: str | None
    """The last one."""
    seconds: float | None
    """The time that the analysis took."""
    video_s: float | None
    """The length of the analysed video."""
    error: str
    """Why there is no result, in one line."""
    last_lines: tuple[str, ...]
    """What the worker that it ended wrote last."""


class Manifest:
    """The jobs of an archive. One process at a time may have it open. What a method writes is on the disk when it returns.

    The results themselves do not depend on it: where the file is lost, finished jobs are found by their folders.
    """

    def __init__(self, folder: Path) -> None:
        """Lock the folder of the archive, and open or create the file in it.

        Raises:
            ConfigError: Another command uses the folder, or the file belongs to a later version or to another program.
            SinkError: The folder cannot be written.
        """
        self.path = folder / FILE_NAME
        self._lock = locked(folder)
        try:
            self._connection = opened(self.path)
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the folder. A second call does nothing."""
        if self._lock >= 0:
            self._connection.close()
            os.close(self._lock)
            self._lock = -1

    def begin(self, jobs: Sequence[Job], results: Iterable[str], *, retry_failed: bool) -> list[str]:
        """Take over the jobs of a command. A job replaces the others of its file. Jobs of files that are not given are kept.

        Afterwards a job with a result is done, and no job is running.

        Args:
            jobs: The jobs, one for each file.
            results: The ids of the jobs with a committed result.
            retry_failed: Whether failed and quarantined jobs wait again.

        Returns:
            The ids of the replaced jobs.
        """
        committed = set(results)
        again = (JobState.FAILED, JobState.QUARANTINED) if retry_failed else ()
        with self._changing() as connection:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS given (job_id TEXT PRIMARY KEY, path NOT NULL)")
            connection.execute("DELETE FROM given")
            connection.executemany("INSERT INTO given VALUES (?, ?)", [(job.job_id, _stored(job.path)) for job in jobs])
            replaced = connection.execute(
                "SELECT job_id FROM jobs WHERE path IN (SELECT path FROM given) AND job_id NOT IN (SELECT job_id FROM given)"
            ).fetchall()
            connection.executemany("DELETE FROM jobs WHERE job_id = ?", replaced)
            connection.executemany(
                "INSERT OR IGNORE INTO jobs (job_id, path, size_bytes, state) VALUES (?, ?, ?, ?)",
                [(job.job_id, _stored(job.path), job.size_bytes, JobState.WAITING) for job in jobs],
            )
            for state in (JobState.RUNNING, JobState.DONE, *again):
                clean = ", attempts = 0, crashes = 0, error = '', last_lines = ''" if state in again else ""
                connection.execute(f"UPDATE jobs SET state = ?{clean} WHERE state = ?", (JobState.WAITING, state))  # noqa: S608
            connection.executemany(
                "UPDATE jobs SET state = ?, error = '', last_lines = '' WHERE job_id = ?",
                [(JobState.DONE, job_id) for job_id in committed],
            )
        return [job_id for (job_id,) in replaced]

    def started(self, job_id: str, worker: str) -> None:
        """Note that a worker begins with a job."""
        self._set(job_id, "state = ?, attempts = attempts + 1, worker = ?", JobState.RUNNING, worker)

    def waits(self, job_id: str) -> None:
        """Note that a job waits again: its worker ended before it began with it."""
        self._set(job_id, "state = ?, attempts = attempts - 1", JobState.WAITING)

    def stopped(self) -> None:
        """Note that no worker runs: what was running waits again."""
        with self._changing() as connection:
            connection.execute("UPDATE jobs SET state = ? WHERE state = ?", (JobState.WAITING, JobState.RUNNING))

    def done(self, job_id: str, seconds: float, video_s: float) -> None:
        """Note that the result of a job is committed.

        Args:
            job_id: The job.
            seconds: The time that the analysis took.
            video_s: The length of the analysed video.
        """
        self._set(job_id, "state = ?, seconds = ?, video_s = ?, error = ''", JobState.DONE, seconds, video_s)

    def failed(self, job_id: str, error: str) -> None:
        """Note that the file of a job cannot be read, and why."""
        self._set(job_id, "state = ?, error = ?, last_lines = ''", JobState.FAILED, _stored(error))

    def crashed(self, job_id: str, error: str, last_lines: Sequence[str]) -> int:
        """Note that a job has ended its worker, and that it waits again; return how often it has done so."""
        lines = _stored("\n".join(last_lines))
        self._set(job_id, "state = ?, crashes = crashes + 1, error = ?, last_lines = ?", JobState.WAITING, _stored(error), lines)
        ((crashes,),) = self._read("SELECT crashes FROM jobs WHERE job_id = ?", job_id)
        return int(crashes)

    def quarantined(self, job_id: str) -> None:
        """Note that a job is not tried again."""
        self._set(job_id, "state = ?", JobState.QUARANTINED)

    def records(self) -> dict[str, JobRecord]:
        """Return all jobs by their ids, also those of files that the command does not name."""
        rows = self._read(
            "SELECT job_id, path, size_bytes, state, attempts, crashes, worker, seconds, video_s, error, last_lines FROM jobs"
        )
        return {row[0]: _record(row) for row in rows}

    def _set(self, job_id: str, assignments: str, *values: object) -> None:
        with self._changing() as connection:
            connection.execute(f"UPDATE jobs SET {assignments} WHERE job_id = ?", (*values, job_id))  # noqa: S608 (our texts)

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    @contextmanager
    def _changing(self) -> Generator[sqlite3.Connection, None, None]:
        """Yield the connection within a transaction.

        Raises:
            StoreError: The disk is full or fails, or the file is damaged; nothing was changed.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> StoreError:
        return StoreError(
            f"{self.path}: the manifest cannot be used: {open_problem(error)}; make room, and run the same command again"
        )


def _record(row: Sequence[Any]) -> JobRecord:
    job_id, path, size_bytes, state, attempts, crashes, worker, seconds, video_s, error, last_lines = row
    return JobRecord(
        job_id=job_id,
        path=_text(path),
        size_bytes=size_bytes,
        state=JobState(state),
        attempts=attempts,
        crashes=crashes,
        worker=worker,
        seconds=seconds,
        video_s=video_s,
        error=_text(error),
        last_lines=tuple(_text(last_lines).splitlines()),
    )


def _stored(text: str) -> str | bytes:
    """Return a text for SQLite: as it is where it is text, as bytes where the name of a file is none."""
    encoded = text.encode(errors="surrogateescape")
    try:
        encoded.decode()
    except UnicodeDecodeError:
        return encoded
    return text


def _text(value: str | bytes) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def states_of(records: Mapping[str, JobRecord], jobs: Iterable[Job]) -> dict[JobState, list[JobRecord]]:
    """Return the records of jobs by their states."""
    found: dict[JobState, list[JobRecord]] = {state: [] for state in JobState}
    for job in jobs:
        record = records[job.job_id]
        found[record.state].append(record)
    return found
