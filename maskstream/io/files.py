"""Write files completely or not at all, restrict who may read them, and format names and CSV."""

import csv
import io
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final, Literal, Self

from maskstream.errors import SinkError
from maskstream.redaction import one_line as one_line

_PART: Final = (".maskstream-", ".part")
_ABANDONED_S: Final = 86_400
"""A temporary file that is older was left by a killed run. No file takes this long to write."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def plain_text(name: str) -> str:
    """Return a name for an image or a terminal, with `?` for bytes of a file name that are not text."""
    return name.encode(errors="replace").decode()


_HIDDEN: Final[dict[str, int]] = {"owner": 0o077, "group": 0o007, "everyone": 0}
"""Permissions that are removed from written files."""

_withheld = 0
"""The permissions that `readable_by` removes now. Like the umask, they hold for the complete process."""


@contextmanager
def readable_by(who: Literal["owner", "group", "everyone"]) -> Iterator[None]:
    """Restrict the files that are written in this context to readers `who`. The umask of the process still applies.

    The restriction holds for the complete process: also for files that libraries and other threads write.
    """
    global _withheld
    before = os.umask(0o077), _withheld
    _withheld = _HIDDEN[who]
    os.umask(before[0] | _withheld)
    try:
        yield
    finally:
        os.umask(before[0])
        _withheld = before[1]


def tighten(path: str | int) -> None:
    """Remove from an existing file the permissions that `readable_by` removes from written files.

    Args:
        path: The file, or its descriptor.
    """
    with suppress(OSError):  # the file of another user, which this process may write
        state = os.stat(path)  # noqa: PTH116 (also of descriptors)
        if stat.S_ISREG(state.st_mode) and stat.S_IMODE(state.st_mode) & _withheld:
            os.chmod(path, stat.S_IMODE(state.st_mode) & ~_withheld)  # noqa: PTH101 (as above)


def make_folder(path: str, *, like_parent: bool = False) -> None:
    """Make a folder and its parents, or raise `SinkError`. With `like_parent` it has the permissions of its parent."""
    try:
        is_made = like_parent and not Path(path).exists()
        Path(path).mkdir(parents=True, exist_ok=True)
        if is_made:
            Path(path).chmod(stat.S_IMODE(Path(path).parent.stat().st_mode) & 0o777)
    except OSError as error:
        raise SinkError(f"{path}: cannot be made a folder: {error.strerror}; choose another place") from error


def csv_text(rows: Iterable[Iterable[Any]], *, bom: bool = False) -> str:
    """Return rows as CSV.

    A text that a spreadsheet would read as a formula gets an apostrophe before it
    (https://owasp.org/www-community/attacks/CSV_Injection).

    Args:
        rows: Texts, numbers, and None for an empty cell.
        bom: Whether to begin with a byte order mark, which Excel needs to read UTF-8.
    """
    lines = ["\ufeff" if bom else ""]
    for row in rows:
        cells = [f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value for value in row]
        buffer = io.StringIO()
        csv.writer(buffer).writerow(cells)  # with its default line end it also quotes carriage returns
        lines.append(buffer.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def abandon(stream: IO[Any]) -> None:
    """Discard the unwritten and all later output of a stream whose reader closed it."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def replace_file(path: Path, content: bytes | memoryview, *, like_folder: bool = False) -> None:
    """Write a file so that a reader finds either the earlier or the complete content. Links and the mode of a file are kept.

    A path that is not a file, such as a pipe or `/dev/stdout`, is written directly.

    Args:
        path: The file.
        content: The complete content.
        like_folder: Whether to use the permissions of the folder instead of `readable_by`, for a cache without faces.

    Raises:
        SinkError: The file cannot be written. No partial file remains.
    """
    with _errors_of(path):
        is_new = not os.path.lexists(path) or not path.exists()
        if is_new or path.is_file() or path.is_dir():
            with FileReplacement(path, like_folder=like_folder) as file:
                file.write(content)
                file.commit()
        else:
            with path.open("wb") as device:
                device.write(content)


class FileReplacement:
    """A file that is written in pieces; a reader finds either the earlier or the complete content.

    All methods raise `SinkError` where the file cannot be written. Without `commit`, the earlier file remains.
    """

    def __init__(self, path: Path, *, like_folder: bool = False) -> None:
        """Begin a temporary file beside the target.

        Args:
            path: A file, or a link to one, which is kept.
            like_folder: As in `replace_file`.
        """
        self._path = path
        with _errors_of(path):
            self._target = Path(os.path.realpath(path))
            self._part = part_beside(self._target)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
            self._file = os.fdopen(os.open(self._part, flags, 0o666), "wb")  # minus the umask
            try:
                self._set_mode(like_folder)
            except OSError:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, content: bytes | memoryview) -> None:
        """Add to the content."""
        with _errors_of(self._path):
            self._file.write(content)

    def complete(self) -> None:
        """Hand all content to the system: a later `commit` does not fail on a full disk."""
        with _errors_of(self._path):
            self._file.close()

    def commit(self) -> None:
        """Replace the file."""
        self.complete()
        with _errors_of(self._path):
            self._part.replace(self._target)

    def close(self) -> None:
        """Remove what was not committed. A second call does nothing."""
        with suppress(OSError):  # the disk is full
            self._file.close()
        self._part.unlink(missing_ok=True)

    def _set_mode(self, like_folder: bool) -> None:
        if like_folder:
            self._part.chmod(stat.S_IMODE(self._target.parent.stat().st_mode) & 0o666)
        elif self._target.is_file():
            self._part.chmod(stat.S_IMODE(self._target.stat().st_mode) & ~_withheld)


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn an error of the system into one line about the file."""
    try:
        yield
    except OSError as error:
        raise SinkError(
            f"{one_line(str(path))}: cannot be written: {error.strerror}; make room or choose another place"
        ) from error


def part_beside(target: Path) -> Path:
    """Return the path for a temporary file in the folder of a file. Those of killed runs are removed.

    The random name is unique: processes in containers may share process id and folder.
    """
    _remove_abandoned(str(target.parent))
    return target.with_name(os.urandom(8).hex().join(_PART))  # short: the name of the target may have the maximum length


@lru_cache
def _remove_abandoned(folder: str) -> None:
    """Remove temporary files of killed runs, once for each folder."""
    begin, end = _PART
    with suppress(OSError):
        for each in os.scandir(folder):
            if each.name.startswith(begin) and each.name.endswith(end):
                with suppress(OSError):  # another process removed it
                    if time.time() - each.stat(follow_symlinks=False).st_mtime > _ABANDONED_S:
                        Path(each.path).unlink()
