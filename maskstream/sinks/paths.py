"""Whether a file can be written, before anything that is there is touched."""

from pathlib import Path

from maskstream.errors import SinkError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov")


def require_writable(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where a file cannot be created or replaced at `path`."""
    target = Path(path)
    if not target.parent.is_dir():
        raise SinkError(f"{path}: cannot be written: there is no folder {target.parent}; create it or choose another")
    existed = target.exists()
    try:
        with target.open("ab"):
            pass
        if not existed:
            target.unlink()
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def require_video_path(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where no annotated video can be written to `path`."""
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise SinkError(f"{path}: annotated video is written as MP4; let the name end in {', '.join(VIDEO_SUFFIXES)}")
    require_writable(path)
