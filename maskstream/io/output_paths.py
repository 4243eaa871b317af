"""Check that outputs can be written before an existing file is changed, and choose their paths."""

import errno
import os
import stat
import sys
from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from maskstream.errors import ConfigError, SinkError
from maskstream.io.file_names import FileNames, numbered, plain_name
from maskstream.io.image_formats import WRITABLE_SUFFIXES
from maskstream.types import SourceInfo

STDOUT: Final = "-"
_NAMES_OF_STDOUT: Final = (STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def is_stdout(path: str) -> bool:
    """Return whether an output is standard output, by any of its names."""
    return path == STDOUT or os.path.abspath(path) in _NAMES_OF_STDOUT  # noqa: PTH100 (Path raises where the working folder does not exist)


def is_file(path: str | Path) -> bool:
    """Return whether a regular file exists: not a folder, pipe, device or socket."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 (as above)
    except (OSError, ValueError):
        return False


def require_writable(path: str) -> None:
    """Raise `SinkError` where a file cannot be created, replaced or written at `path`. Nothing is changed."""
    with _tried(path):
        pass


def require_distinct(paths: Sequence[str]) -> None:
    """Raise where an output cannot be written, or two outputs are one file. Nothing is changed.

    A missing file is created for a moment: only the file system knows which names belong to one file, by links or by case.

    Raises:
        ConfigError: Two outputs are one file.
        SinkError: An output cannot be written.
    """
    seen: dict[Hashable, str] = {}
    with ExitStack() as tried:
        for path in paths:
            identity = tried.enter_context(_tried(path))
            if identity in seen:
                also = "" if seen[identity] == path else f", the other time as {seen[identity]}"
                raise ConfigError(f"{path}: given for two outputs{also}; give each output a name of its own")
            if identity is not None:
                seen[identity] = path


@contextmanager
def _tried(path: str) -> Generator[Hashable, None, None]:
    """Yield an identity that is equal for all names of an output; None where two outputs may share it, such as /dev/null.

    Raises:
        SinkError: The output cannot be written.
    """
    if is_stdout(path):
        yield _tried_stdout(path)
        return
    created = None
    try:
        if not Path(path).parent.is_dir():
            folder = Path(path).parent
            raise SinkError(f"{path}: cannot be written: the folder {folder} does not exist; create it or choose another")
        if os.path.exists(path):  # noqa: PTH110 (Path raises without permission)
            status = _tried_existing(path)
        else:
            created = os.path.realpath(path)  # a broken link is kept
            descriptor = os.open(created, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            status = os.fstat(descriptor)
            os.close(descriptor)
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
    try:
        yield _identity(status)
    finally:
        if created is not None:
            os.unlink(created)  # noqa: PTH108 (as above)


def _tried_existing(path: str) -> os.stat_result:
    """Open a file for writing. For a pipe or device, which would notice that, only check the permission."""
    status = os.stat(path)  # noqa: PTH116 (as above)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISREG(status.st_mode):
        os.close(os.open(path, os.O_WRONLY))
    elif stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.ENXIO, "it is a socket")
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return status


def _tried_stdout(path: str) -> Hashable:
    try:
        if sys.stdout is None:  # a program without a console
            raise OSError(errno.EBADF, "standard output does not exist")
        descriptor = sys.stdout.fileno()
        if sys.platform != "win32":
            from fcntl import F_GETFL, fcntl

            if fcntl(descriptor, F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "standard output is closed")
        return _identity(os.fstat(descriptor)) or STDOUT
    except ValueError:  # a program that uses this package has replaced sys.stdout
        return STDOUT
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def _identity(status: os.stat_result) -> Hashable:
    is_one = stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)
    return (status.st_dev, status.st_ino) if is_one else None


def require_not_read(outputs: Iterable[str], read: Mapping[str, str]) -> None:
    """Refuse an output that would replace a file that the run reads, by any of its names.

    Args:
        outputs: Files and folders. They may not exist.
        read: The files that are read, with a description for the message.

    Raises:
        SinkError: An output would replace one of them.
    """
    known = {place: what for path, what in read.items() if (place := _place(path)) is not None}
    for output in outputs:
        place = None if is_stdout(output) else _place(output)
        if place in known:
            raise SinkError(f"{output}: the output would replace {known[place]}; choose another name")


def _place(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (Path raises without permission)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino)


def require_new(outputs: Iterable[str]) -> None:
    """Raise `SinkError` where an output is an existing file."""
    existing = next((path for path in outputs if not is_stdout(path) and is_file(path)), None)
    if existing is not None:
        raise SinkError(f"{existing}: already exists, and --no-overwrite is given; choose another name or move it away")


def next_free(path: str, *suffixes: str) -> str:
    """Return the first path that does not exist: the path itself, `NAME_002`, `NAME_003` and so on.

    Args:
        path: The requested path.
        suffixes: Suffixes of files with the same name beside it. They must not exist either.
    """
    for number in count(1):
        free = numbered(path, number)
        beside: list[str | Path] = [Path(free).with_suffix(suffix) for suffix in suffixes]
        if not any(os.path.lexists(each) for each in [free, *beside]):
            break
    return free


def require_folder(path: str) -> None:
    """Raise `SinkError` where a folder at `path` cannot be written to or made. Nothing is changed."""
    folder = Path(path)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not os.path.isdir(existing):  # noqa: PTH112 (Path raises without permission)
        raise SinkError(f"{path}: cannot be a folder: {existing} is a file; choose another name")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SinkError(f"{path}: cannot be written: no permission in {existing}; choose another place")


def require_summary_path(path: str) -> None:
    """Raise `SinkError` where a summary cannot be written to `path`. Nothing is changed."""
    require_writable(path)
    require_regular_file(path, "the summary is written again each minute, with an image beside it")


def require_regular_file(path: str, why: str) -> None:
    """Raise `SinkError` with a reason where `path` is a pipe or device."""
    if os.path.exists(path) and not is_file(path):  # noqa: PTH110 (as above)
        raise SinkError(f"{path}: is a pipe or device, not a file, and {why}; give the name of a file")


def image_beside(path: str) -> Path:
    """Return the path of the image of a summary.

    Raises:
        SinkError: It is the path of the summary itself.
    """
    if Path(path).suffix.lower() == ".png":
        raise SinkError(f"{path}: the summary is JSON, with an image beside it; let the name end in .json")
    return Path(path).with_suffix(".png")


def output_paths(
    output: str, infos: Sequence[SourceInfo], into_folder: bool = False, names: FileNames | None = None
) -> list[str]:
    """Return the path for the video or images of each source: the output itself, or a file or folder in it with its name.

    Args:
        output: A file, or a folder.
        infos: The sources. For several sources the output is a folder.
        into_folder: Whether the output is also a folder for one source.
        names: The names of other sources; None without other sources.
    """
    if len(infos) == 1 and not into_folder and (infos[0].images or not os.path.isdir(output)):  # noqa: PTH112 (as above)
        return [output]
    given = names or FileNames()
    return [str(Path(output) / given.of(info.source_id, _file_name(info))) for info in infos]


def _file_name(info: SourceInfo) -> str:
    is_named = info.source_id != info.path
    name = info.source_id if is_named else Path(info.path or "").name
    if info.images and "://" in info.images[0]:
        name = plain_name(name)
        return name if Path(name).suffix.lower() in WRITABLE_SUFFIXES else f"{name}.jpg"
    if not info.images:
        return plain_name(name if is_named else Path(name).stem) + ".mp4"
    if len(info.images) == 1 and not is_named:
        return name
    return plain_name(name.removesuffix(Path(info.images[0]).suffix))  # of a pattern
