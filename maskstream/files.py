"""Names of files in messages, and files that are there as a whole or not at all."""

import os
from pathlib import Path

from maskstream.errors import SinkError


def one_line(path: str) -> str:
    """Return a path fit for a line of text: newlines and bytes that are no text are escaped."""
    return path if path.isprintable() else repr(path)[1:-1]


def plain_text(name: str) -> str:
    """Return a name fit for a picture or a terminal: the bytes of a file name need not be text."""
    return name.encode(errors="replace").decode()


def make_folder(path: str) -> None:
    """Make a folder and those above it, or raise `SinkError`."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{path}: cannot be made a folder: {error.strerror}; choose another place") from error


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file; whoever looks finds the old one or the whole new one. A link stays one.

    Raises:
        SinkError: It cannot be written; nothing is left behind.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{os.getpid()}.part")  # short: the name itself may be as long as names can be
    try:
        try:
            part.write_bytes(content)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(
            f"{one_line(str(path))}: cannot be written: {error.strerror}; make room or choose another place"
        ) from error
