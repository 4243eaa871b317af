"""Names of files in messages, files that are there as a whole or not at all, and who may read them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE, S_ISREG
from typing import Final, Literal

from maskstream.errors import SinkError


def one_line(path: str) -> str:
    """Return a path fit for a line of text: newlines and bytes that are no text are escaped."""
    return path if path.isprintable() else repr(path)[1:-1]


def plain_text(name: str) -> str:
    """Return a name fit for a picture or a terminal: the bytes of a file name need not be text."""
    return name.encode(errors="replace").decode()


_HIDDEN: Final[dict[str, int]] = {"owner": 0o077, "group": 0o007, "everyone": 0}
"""Permissions that are taken from whatever is written."""
_OTHERS_READ: Final = 0o044


@contextmanager
def readable_by(who: Literal["owner", "group", "everyone"]) -> Iterator[None]:
    """Let what is written within be readable by `who` at most, and never by more than the umask of the process allows.

    It holds for the whole process, so that files that libraries write are included, and those of all threads.
    """
    before = os.umask(0o077)
    os.umask(before | _HIDDEN[who])
    try:
        yield
    finally:
        os.umask(before)


def tighten(path: str) -> None:
    """Take from a file that was there before what one that is written now would not have, where others may not read that one."""
    hidden = os.umask(0o077)
    os.umask(hidden)
    if not hidden & _OTHERS_READ:
        return
    with suppress(OSError):  # somebody else's, who has let us write it
        state = os.stat(path)  # noqa: PTH116
        if S_ISREG(state.st_mode) and S_IMODE(state.st_mode) & hidden:
            os.chmod(path, S_IMODE(state.st_mode) & ~hidden)  # noqa: PTH101


def make_folder(path: str, *, like_parent: bool = False) -> None:
    """Make a folder and those above it, or raise `SinkError`; with `like_parent` it is as readable as the folder above it."""
    try:
        is_made = like_parent and not Path(path).exists()
        Path(path).mkdir(parents=True, exist_ok=True)
        if is_made:
            Path(path).chmod(S_IMODE(Path(path).parent.stat().st_mode) & 0o777)
    except OSError as error:
        raise SinkError(f"{path}: cannot be made a folder: {error.strerror}; choose another place") from error


def replace_file(path: Path, content: bytes | memoryview, *, like_folder: bool = False) -> None:
    """Write a file; whoever looks finds the old one or the whole new one. A link stays one.

    Args:
        path: Where it goes.
        content: All of it.
        like_folder: Whether it is as readable as its folder, whatever `readable_by` says: a cache, which holds no face.

    Raises:
        SinkError: It cannot be written; nothing is left behind.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{os.getpid()}.part")  # short: the name itself may be as long as names can be
    try:
        try:
            part.write_bytes(content)
            if like_folder:
                part.chmod(S_IMODE(target.parent.stat().st_mode) & 0o666)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(
            f"{one_line(str(path))}: cannot be written: {error.strerror}; make room or choose another place"
        ) from error
