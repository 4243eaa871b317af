"""Whether a file can be written, before anything that is there is touched."""

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
    """Return whether an output is standard output, under any of its names."""
    return path == STDOUT or os.path.abspath(path) in _NAMES_OF_STDOUT  # noqa: PTH100 (Path raises where no folder is)


def is_file(path: str | Path) -> bool:
    """Return whether there is a file that is neither a folder nor a pipe, device or socket, as far as anybody may look."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 (as above)
    except (OSError, ValueError):
        return False


def require_writable(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where a file cannot be created, replaced or written to at `path`."""
    with _tried(path):
        pass


def require_distinct(paths: Sequence[str]) -> None:
    """Leave everything as it is, or raise where outputs cannot be written, or two of them are one file.

    What is not there is created for a moment: only the file system knows which names are those of one file, by links or by case.

    Raises:
        ConfigError: Two are one file.
        SinkError: One cannot be written.
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
    """Yield what is the same for all names of what an output is written to, None where two outputs may share it, as /dev/null.

    Raises:
        SinkError: It cannot be written to.
    """
    if is_stdout(path):
        yield _tried_stdout(path)
        return
    created = None
    try:
        if not Path(path).parent.is_dir():
            folder = Path(path).parent
            raise SinkError(f"{path}: cannot be written: there is no folder {folder}; create it or choose another")
        if os.path.exists(path):  # noqa: PTH110 (Path raises where nothing may be looked up)
            status = _tried_existing(path)
        else:
            created = os.path.realpath(path)  # a link that leads nowhere stays
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
    """Open a file for writing; of a pipe or a device, which notices that, only ask whether it may be opened."""
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
            raise OSError(errno.EBADF, "there is no standard output")
        descriptor = sys.stdout.fileno()
        if sys.platform != "win32":
            from fcntl import F_GETFL, fcntl

            if fcntl(descriptor, F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "standard output is closed")
        return _identity(os.fstat(descriptor)) or STDOUT
    except ValueError:  # a program that has ours in it has put something else in its place
        return STDOUT
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def _identity(status: os.stat_result) -> Hashable:
    is_one = stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)
    return (status.st_dev, status.st_ino) if is_one else None


def require_not_read(outputs: Iterable[str], read: Mapping[str, str]) -> None:
    """Refuse an output that would replace what the run reads, under whatever name.

    Args:
        outputs: Files and folders, which need not be there.
        read: What is read, and what that is, for the message.

    Raises:
        SinkError: One would.
    """
    known = {place: what for path, what in read.items() if (place := _place(path)) is not None}
    for output in outputs:
        place = None if is_stdout(output) else _place(output)
        if place in known:
            raise SinkError(f"{output}: the output would replace {known[place]}; choose another name")


def _place(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (Path raises where nothing may be looked up)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino)


def require_new(outputs: Iterable[str]) -> None:
    """Raise `SinkError` where an output is a file that is there already."""
    there = next((path for path in outputs if not is_stdout(path) and is_file(path)), None)
    if there is not None:
        raise SinkError(f"{there}: is there already, and --no-overwrite is given; choose another name or move it away")


def next_free(path: str, *suffixes: str) -> str:
    """Return a path, or the first of `NAME_002`, `NAME_003` and so on, where nothing is there yet.

    Args:
        path: What is wanted.
        suffixes: Of files that go beside it with its name; they must be free as well.
    """
    for number in count(1):
        free = numbered(path, number)
        beside: list[str | Path] = [Path(free).with_suffix(suffix) for suffix in suffixes]
        if not any(os.path.lexists(each) for each in [free, *beside]):
            break
    return free


def require_folder(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where no folder at `path` can be written to or made."""
    folder = Path(path)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not os.path.isdir(existing):  # noqa: PTH112 (Path raises where nothing may be looked up)
        raise SinkError(f"{path}: cannot be a folder: {existing} is a file; choose another name")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SinkError(f"{path}: cannot be written: no permission in {existing}; choose another place")


def require_summary_path(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where no summary can be written to `path`."""
    require_writable(path)
    require_regular_file(path, "the summary is written anew each minute, with a picture beside it")


def require_regular_file(path: str, why: str) -> None:
    """Raise `SinkError` where `path` is a pipe or a device, and say why it cannot be one."""
    if os.path.exists(path) and not is_file(path):  # noqa: PTH110 (as above)
        raise SinkError(f"{path}: is no file but a pipe or device, and {why}; give the name of a file")


def image_beside(path: str) -> Path:
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
