"""Whether annotated video can be written to a path."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from maskstream.errors import SinkError
from maskstream.io.output_paths import require_regular_file, require_writable
from maskstream.sinks.containers import CONTAINERS

VIDEO_SUFFIXES: Final = tuple(CONTAINERS)


def require_video_path(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where no annotated video can be written to `path`."""
    _require_video_suffix(path)
    require_writable(path)
    require_regular_file(path, "a video is written in several places at a time")


def require_recording_path(path: str) -> None:
    """Raise `SinkError` where no recording can be made that has this name, or one with a number behind it.

    Files that are there do not matter. No file with a name is made, not for a moment: another program may look for a free one.
    """
    _require_video_suffix(path)
    folder = Path(path).parent
    try:
        with suppress(FileNotFoundError):
            Path(path).lstat()  # is the name too long?
        if not folder.is_dir():
            raise SinkError(f"{path}: cannot be written: there is no folder {folder}; create it or choose another")
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def _require_video_suffix(path: str) -> None:
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise SinkError(f"{path}: annotated video is not written as that; let the name end in {', '.join(VIDEO_SUFFIXES)}")
