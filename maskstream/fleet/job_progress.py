"""Tell the command of an archive how far its workers are, by a small file for each worker in the folder of the archive.

The calls of a worker run one after the other, so that none could answer while a file is analysed.
"""

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkError
from maskstream.io.files import make_folder, replace_file

FOLDER: Final = ".progress"
_EVERY_S: Final = 1.0


@dataclass(frozen=True)
class JobProgress:
    """How far a worker is."""

    job_id: str
    """The file that it analyses, or has analysed last."""
    frames: int
    """Of this file that were analysed."""
    video_s: float
    """The seconds of video in these frames, estimated."""
    share: float
    """The fraction of the file, estimated, 0 to 1."""


class JobProgressFile:
    """Writes the progress of a worker when it has changed, at most once a second."""

    def __init__(self, archive: Path, worker: str, clock: Clock = MONOTONIC) -> None:
        """Write nothing yet."""
        self._path = _path(archive, worker)
        self._clock = clock
        self._written: JobProgress | None = None
        self._written_at_s = -_EVERY_S

    def write(self, progress: JobProgress) -> None:
        """Write it, unless it is the last one or the last one is younger than a second. A full disk is of no effect here."""
        now_s = self._clock.now_s()
        is_same_job = self._written is not None and progress.job_id == self._written.job_id
        if progress == self._written or (is_same_job and now_s - self._written_at_s < _EVERY_S):
            return
        with suppress(SinkError):
            make_folder(str(self._path.parent))
            replace_file(self._path, json.dumps(asdict(progress)).encode())
            self._written, self._written_at_s = progress, now_s


def read_progress(archive: Path, worker: str) -> JobProgress | None:
    """Return the last progress of a worker; None where it has written none."""
    try:
        return JobProgress(**json.loads(_path(archive, worker).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def remove_progress(archive: Path) -> None:
    """Remove the progress of all workers, which have ended."""
    shutil.rmtree(archive / FOLDER, ignore_errors=True)


def _path(archive: Path, worker: str) -> Path:
    return archive / FOLDER / f"{worker}.json"
