"""Merge the results of all files of an archive into tables, one JSON file and one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from maskstream.types import Label

FailedState: TypeAlias = Literal["failed", "quarantined"]
"""`failed`: the file cannot be read; `quarantined`: it ended its worker twice."""


@dataclass(frozen=True)
class MergedJob:
    """A file with a committed result."""

    job_id: str
    """Hex. The result is in `result_folder(archive, job_id)`."""
    path: str
    """The video, as the manifest has it; bytes that are not text as surrogates."""
    size_bytes: int


@dataclass(frozen=True)
class FailedJob:
    """A file without a result.

    How often it was tried depends on workers that were killed, and is in the manifest alone: equal results give equal files.
    """

    path: str
    state: FailedState
    error: str
    """One line: what failed and what to do."""
    last_lines: tuple[str, ...] = ()
    """The last lines of the worker that it ended."""


@dataclass(frozen=True)
class ArchiveTotals:
    """The sums over all files with a result."""

    files: int
    """Files with a result."""
    failed: int
    """Files without a result, including those whose committed result cannot be read."""
    frames: int
    """Analysed frames."""
    video_s: float
    """Seconds from the first to the last analysed frame."""
    size_bytes: int
    people: Mapping[Label, int]
    """A person who is in two files counts twice. Each counts under the label with the longest time."""
    person_s: Mapping[Label, float]
    """Seconds per label, summed over all people."""
    mask_share: float | None
    """The fraction of the known person time with a mask; None without known person time."""
    events: Mapping[Label, int]
    """The number of ended events of each label."""
    event_s: Mapping[Label, float]
    """Their duration in total."""


def result_folder(archive: Path, job_id: str) -> Path:
    """Return the folder of the result of a job."""
    return archive / job_id[:2] / job_id


def merge(folder: Path, jobs: Sequence[MergedJob], failures: Sequence[FailedJob]) -> ArchiveTotals:
    """Write archive.csv, events.csv, failures.csv, archive.json and archive.html.

    The order of `jobs` and `failures` does not change a byte of the files.

    Args:
        folder: The archive; the results are in its `result_folder`s.
        jobs: Files with a result.
        failures: Files without a result.

    Raises:
        SinkError: A file cannot be written. The earlier files remain.
    """
    raise NotImplementedError
