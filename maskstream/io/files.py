"""Names of files in messages, files that are there as a whole or not at all, and who may read them."""

import csv
import io
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final, Literal
from unicodedata import category

from maskstream.errors import SinkError

_PART: Final = (".maskstream-", ".part")
_ABANDONED_S: Final = 86_400
"""A part that is older was left behind by a run that was killed; no file takes so long to write."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def one_line(path: str) -> str:
    """Return a path fit for a line of text: newlines and bytes that are no text are escaped."""
    return path if path.isprintable() else repr(path)[1:-1]


def printable(message: str) -> str:
    """Return a message in one line: newlines, other control characters and bytes that are no text are escaped."""
    if message.isprintable():
        return message
    return "".join(sign if sign.isprintable() or category(sign) == "Zs" else repr(sign)[1:-1] for sign in message)


def plain_text(name: str) -> str:
    """Return a name fit for a picture or a terminal: the bytes of a file name need not be text."""
    return name.encode(errors="replace").decode()


_HIDDEN: Final[dict[str, int]] = {"owner": 0o077, "group": 0o007, "everyone": 0}
"""Permissions that are taken from whatever is written."""


_withheld = 0
"""Those that `readable_by` takes now: like the umask, it is one for the whole process."""


@contextmanager
def readable_by(who: Literal["owner", "group", "everyone"]) -> Iterator[None]:
    """Let what is written within be readable by `who` at most, and never by more than the umask of the process allows.

    It holds for the whole process, so that files that libraries write are included, and those of all threads.
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
    """Take from a file that was there before what `readable_by` takes from those that are written now.

    Args:
        path: The file, or its descriptor.
    """
    with suppress(OSError):  # somebody else's, who has let us write it
        state = os.stat(path)  # noqa: PTH116 (of descriptors too)
        if stat.S_ISREG(state.st_mode) and stat.S_IMODE(state.st_mode) & _withheld:
            os.chmod(path, stat.S_IMODE(state.st_mode) & ~_withheld)  # noqa: PTH101 (as above)


def make_folder(path: str, *, like_parent: bool = False) -> None:
    """Make a folder and those above it, or raise `SinkError`; with `like_parent` it is as readable as the folder above it."""
    try:
        is_made = like_parent and not Path(path).exists()
        Path(path).mkdir(parents=True, exist_ok=True)
        if is_made:
            Path(path).chmod(stat.S_IMODE(Path(path).parent.stat().st_mode) & 0o777)
    except OSError as error:
        raise SinkError(f"{path}: cannot be made a folder: {error.strerror}; choose another place") from error


def csv_text(rows: Iterable[Iterable[Any]], *, bom: bool = False) -> str:
    """Return rows as CSV.

    A text that a spreadsheet would take for a formula is written with an apostrophe before it, which makes it text
    (https://owasp.org/www-community/attacks/CSV_Injection).

    Args:
        rows: Texts, numbers, and None for an empty cell.
        bom: Whether it begins with a byte order mark, without which Excel does not read UTF-8.
    """
    return ("\ufeff" if bom else "") + "".join(map(_csv_row, rows))


def _csv_row(row: Iterable[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_cell(value) for value in row])  # its own end of a row lets it quote carriage returns too
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def abandon(stream: IO[Any]) -> None:
    """Let what a stream has not written yet, and all that follows, go nowhere: nobody is there to read it."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def replace_file(path: Path, content: bytes | memoryview, *, like_folder: bool = False) -> None:
    """Write a file; whoever looks finds the old one or the whole new one. A link stays one, and so does the mode of a file.

    What is no file, such as a pipe or `/dev/stdout`, is written to as it is.

    Args:
        path: Where it goes.
        content: All of it.
        like_folder: Whether it is as readable as its folder, whatever `readable_by` says: a cache, which holds no face.

    Raises:
        SinkError: It cannot be written; nothing is left behind.
    """
    try:
        if _takes_the_place_of_a_file(path):
            _replace(Path(os.path.realpath(path)), content, like_folder=like_folder)
        else:
            with path.open("wb") as device:
                device.write(content)
    except OSError as error:
        raise SinkError(
            f"{one_line(str(path))}: cannot be written: {error.strerror}; make room or choose another place"
        ) from error


def _takes_the_place_of_a_file(path: Path) -> bool:
    return not os.path.lexists(path) or not path.exists() or path.is_file() or path.is_dir()


def _replace(target: Path, content: bytes | memoryview, *, like_folder: bool) -> None:
    """Write beside the target under a name that no other process has: those of containers may share number and folder."""
    _remove_abandoned(str(target.parent))
    part = target.with_name(os.urandom(8).hex().join(_PART))  # short: the name itself may be as long as names can be
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)  # less the umask
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like_folder:
                part.chmod(stat.S_IMODE(target.parent.stat().st_mode) & 0o666)
            elif target.is_file():
                part.chmod(stat.S_IMODE(target.stat().st_mode) & ~_withheld)
            file.write(content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@lru_cache
def _remove_abandoned(folder: str) -> None:
    """Remove what runs that were killed have left of files that were being written; once for each folder."""
    begin, end = _PART
    with suppress(OSError):
        for each in os.scandir(folder):
            if each.name.startswith(begin) and each.name.endswith(end):
                with suppress(OSError):  # another process removes it as well
                    if time.time() - each.stat(follow_symlinks=False).st_mtime > _ABANDONED_S:
                        Path(each.path).unlink()
