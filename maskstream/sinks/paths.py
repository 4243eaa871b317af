"""Whether a file can be written, before anything that is there is touched."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from maskstream.errors import SinkError
from maskstream.sinks.names import FileNames, plain_name
from maskstream.types import SourceInfo

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov")


def require_writable(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where a file cannot be created or replaced at `path`."""
    target = Path(path)
    try:
        if not target.parent.is_dir():
            raise SinkError(f"{path}: cannot be written: there is no folder {target.parent}; create it or choose another")
        existed = target.exists()
        with target.open("ab"):
            pass
        if not existed:
            target.unlink()
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def require_folder(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where no folder at `path` can be written to or made."""
    folder = Path(path)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not os.path.isdir(existing):  # noqa: PTH112 (Path raises where nothing may be looked up)
        raise SinkError(f"{path}: cannot be a folder: {existing} is a file; choose another name")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SinkError(f"{path}: cannot be written: no permission in {existing}; choose another place")


def require_video_path(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where no annotated video can be written to `path`."""
    _require_video_suffix(path)
    require_writable(path)


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
        raise SinkError(f"{path}: annotated video is written as MP4; let the name end in {', '.join(VIDEO_SUFFIXES)}")


def picture_beside(path: str) -> Path:
    """Return where the picture of a summary goes.

    Raises:
        SinkError: The summary itself would be there.
    """
    if Path(path).suffix.lower() == ".png":
        raise SinkError(f"{path}: the summary is JSON, with a picture beside it; let the name end in .json")
    return Path(path).with_suffix(".png")


def output_paths(
    output: str, infos: Sequence[SourceInfo], into_folder: bool = False, names: FileNames | None = None
) -> list[str]:
    """Return where the pictures of each source go: the output itself, or files and folders in it, named after the sources.

    Args:
        output: A file, or a folder.
        infos: The sources; several always go into a folder.
        into_folder: Whether the output is a folder for one source too.
        names: Those that other sources have; None for none.
    """
    if len(infos) == 1 and not into_folder and (infos[0].pictures or not os.path.isdir(output)):  # noqa: PTH112 (as above)
        return [output]
    given = names or FileNames()
    return [str(Path(output) / given.of(info.source_id, _file_name(info))) for info in infos]


def _file_name(info: SourceInfo) -> str:
    is_named = info.source_id != info.path
    name = info.source_id if is_named else Path(info.path or "").name
    if not info.pictures:
        return plain_name(name if is_named else Path(name).stem) + ".mp4"
    if len(info.pictures) == 1 and not is_named:
        return name
    return plain_name(name.removesuffix(Path(info.pictures[0]).suffix))  # of a pattern
