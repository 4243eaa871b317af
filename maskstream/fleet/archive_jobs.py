"""What the command of an archive and its workers exchange, besides jobs. Plain values, which another machine can read."""

from collections.abc import Mapping
from dataclasses import dataclass

from maskstream import __version__


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is created with."""

    archive: str
    """The folder of the archive, an absolute path that all machines share."""
    settings: tuple[str, ...]
    """The settings of all files, as `result_settings` returns them; first those of files without settings of their own."""
    weights: Mapping[str, str]
    """The SHA-256 of the weights files of the machine of the command, by their names."""
    videos: bool
    """Whether annotated videos are written."""
    readable_by: str
    """`privacy.readable_by`."""
    log_level: str
    version: str = __version__


@dataclass(frozen=True)
class JobOutcome:
    """The committed result of a job."""

    job_id: str
    seconds: float
    """The time that the analysis took; 0 where the result was there already."""
    video_s: float
    """Seconds from the first to the last analysed frame."""
