"""Describe the files of an archive as jobs, and what workers get and return. The id of a job changes if its result could."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from maskstream import __version__
from maskstream.config.cameras import Camera
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from maskstream.io.locations import source_name

_WITHOUT_EFFECT: Final[dict[str, set[str] | bool]] = {
    **dict.fromkeys(("webcam", "network", "window", "store", "web", "csv", "evaluation"), True),
    "stream": {"realtime", "max_staleness_s", "health_s"},
    "pictures": {"recursive"},
    "events": {"mqtt", "mqtt_name", "webhooks", "ca_file", "queue", "queue_mb", "unclaimed_days"},
    "privacy": {"readable_by"},
    "video": {"segment_s"},
}
"""Settings that cannot change the result of a file."""
_OF_VIDEO: Final[dict[str, set[str] | bool]] = {"overlay": True, "video": {"segment_s", "crf", "preset"}}
"""Settings that can change the annotated video only."""


@dataclass(frozen=True)
class Job:
    """A video file to analyse with its settings."""

    job_id: str
    """64 hexadecimal digits."""
    path: str
    """Absolute; bytes that are not text are surrogates."""
    name: str
    """The name of the source in records."""
    size_bytes: int
    """0 where the file cannot be read."""
    mtime_ns: int
    """The time of the last change; 0 where the file cannot be read."""
    settings: str = field(repr=False)
    """The settings that can change the result, as JSON. Jobs with the same settings share the text."""

    def has_changed(self) -> bool:
        """Return whether the file is another one now than when the job was made."""
        return _size_and_time(self.path) != (self.size_bytes, self.mtime_ns)


@dataclass(frozen=True)
class Basis:
    """What the results of all files depend on, besides the files and their settings."""

    version: str
    """Of the program."""
    weights: Mapping[str, str]
    """The SHA-256 of each weights file, by its name."""
    videos: bool
    """Whether a result has an annotated video."""


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


def jobs_of(cameras: Sequence[Camera], basis: Basis) -> list[Job]:
    """Return a job for each video file, in order of its path. A file that is given several times has one job.

    Args:
        cameras: Video files, with their settings.
        basis: What all results depend on.

    Raises:
        ConfigError: A file is given twice, with different names or settings.
    """
    texts: dict[int, str] = {}
    """The settings by the id of their `Config`, which thousands of files share."""
    jobs: dict[str, Job] = {}
    for camera in cameras:
        if id(camera.config) not in texts:
            texts[id(camera.config)] = result_settings(camera.config, videos=basis.videos)
        path = os.path.abspath(camera.location)  # noqa: PTH100 (links are kept, as in the names of sources)
        is_named = camera.name != source_name(camera.location)
        job = job_of(path, camera.name if is_named else path, texts[id(camera.config)], basis)
        if jobs.setdefault(path, job) != job:
            raise ConfigError(f"{path}: given twice, with different names or settings; give each file once")
    return [jobs[path] for path in sorted(jobs)]


def job_of(path: str, name: str, settings: str, basis: Basis) -> Job:
    """Return the job of a file as it is now.

    Args:
        path: An absolute path.
        name: The name of the source in records.
        settings: From `result_settings`.
        basis: What all results depend on.
    """
    size_bytes, mtime_ns = _size_and_time(path)
    parts = [path, name, size_bytes, mtime_ns, settings, sorted(basis.weights.items()), basis.version, basis.videos]
    job_id = hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()
    return Job(job_id, path, name, size_bytes, mtime_ns, settings)


def result_settings(config: Config, *, videos: bool) -> str:
    """Return the settings that can change a result, as JSON. The others have their defaults in `settings_of`."""
    left_out = _WITHOUT_EFFECT if videos else {**_WITHOUT_EFFECT, **_OF_VIDEO}
    return config.model_dump_json(exclude=left_out)


def settings_of(text: str) -> Config:
    """Return the configuration of a text of `result_settings`."""
    return Config.model_validate_json(text)


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return 0, 0
    return status.st_size, status.st_mtime_ns
