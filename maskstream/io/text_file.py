"""Text files that are flushed after each frame, and how numbers, boxes and times stand in records."""

import errno
import io
import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from stat import S_ISFIFO
from typing import Any, Final, Literal, TextIO

import numpy as np
from loguru import logger

from maskstream.errors import SinkClosed, SinkError
from maskstream.io.files import abandon, tighten
from maskstream.io.output_paths import is_file, is_stdout, require_writable
from maskstream.types import FloatArray

Mode = Literal["w", "a"]
_LONGEST_LINE: Final = 1 << 20
_DESCRIPTOR: Final = re.compile(r"(?:/dev|/proc/self)/(?:fd/(\d+)|stderr)")


def box_record(box_xyxy: FloatArray) -> dict[str, float | None]:
    """Return the record of a box (4,) in pixels."""
    return dict(zip(("x1", "y1", "x2", "y2"), pixels(box_xyxy), strict=True))


def pixels(values: FloatArray) -> Any:
    """Return nested lists, rounded to hundredths of a pixel; what is not finite becomes null, as JSON has no other word."""
    if values.ndim:
        return [pixels(value) for value in values]
    return round(float(values), 2) if np.isfinite(values) else None


def rounded(probability: float | None) -> float | None:
    """Return a probability as records give it; None for what is not finite."""
    return None if probability is None or not np.isfinite(probability) else round(probability, 4)


def iso_8601(moment: datetime | None) -> str | None:
    """Return a time as records give it."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")


class TextSink:
    """A text file, or standard output for `-`, that is flushed after each frame."""

    wants_every_frame = False
    _has_quotes = False
    """Whether a line may be torn within quotes, which would swallow the lines that follow."""

    def __init__(self, path: str, mode: Mode = "w") -> None:
        """Create the file; with mode `w` an existing one is replaced, with `a` it is continued.

        A pipe (FIFO) is opened once, and waits for its reader.

        Raises:
            SinkError: It cannot be written there.
        """
        self._path = path
        self._stays_open = is_stdout(path)
        require_writable(path)
        self.is_continued = mode == "a" and not self._stays_open and is_file(path) and Path(path).stat().st_size > 0
        """Whether there is something in the file that stays."""
        if self._stays_open:
            if isinstance(sys.stdout, io.TextIOWrapper):  # whatever the system's language
                sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
            self._file: TextIO = sys.stdout
            return
        try:
            self._file = open(path, mode, encoding="utf-8", errors="surrogateescape", newline="", opener=_opened)  # noqa: SIM115 (closed by close; Path.open takes no opener)
        except OSError as error:
            raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
        tighten(self._file.fileno())
        if self.is_continued:
            logger.info("{}: continued after the {:.1f} kB that are there", path, Path(path).stat().st_size / 1000)
            self.put(_missing_end(path, self._has_quotes))

    def source_ended(self, source_id: str) -> None:
        """Nothing to finish."""

    def close(self) -> None:
        """Close the file, or leave standard output flushed.

        Raises:
            SinkError: The disk says only now that it is full.
        """
        if not self._stays_open:
            with self._errors():
                self._file.close()

    def put(self, text: str) -> None:
        """Write a text, at once.

        Raises:
            SinkClosed: The reader has left.
            SinkError: It cannot be written.
        """
        with self._errors():
            self._file.write(text)
            self._file.flush()

    @contextmanager
    def _errors(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            self._give_up()
            if isinstance(error, BrokenPipeError):
                raise SinkClosed(f"{self._path}: the reader has left") from error
            raise SinkError(f"{self._path}: cannot be written: {error.strerror}; make room or choose another place") from error

    def _give_up(self) -> None:
        """Drop what could not be written: closing the file, or the interpreter's end, would try to write it again."""
        if self._stays_open:
            abandon(self._file)
        else:
            with suppress(OSError):
                self._file.close()


def _opened(path: str, flags: int) -> int:
    """Open a file as `open` does. A pipe waits for its reader: say so where there is none.

    What the shell has opened already (`/dev/fd/3`, `/dev/stderr`) is written to as the shell wants it, and not opened anew.
    """
    already = _DESCRIPTOR.fullmatch(os.path.abspath(path))  # noqa: PTH100 (`resolve` follows the link)
    if already:
        return os.dup(int(already[1] or 2))
    if not S_ISFIFO(os.stat(path).st_mode if os.path.exists(path) else 0):  # noqa: PTH110, PTH116 (of the name that `open` was given)
        return os.open(path, flags, 0o666)
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        logger.warning("{}: waits for a reader of this pipe", path)
        return os.open(path, flags)
    os.set_blocking(descriptor, True)
    return descriptor


def _missing_end(path: str, has_quotes: bool) -> str:
    """Return what ends the last line of a file that a killed run has torn: a newline, after a quote that is open."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (as above)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_LINE))
            last = file.read().rpartition(b"\n")[2]
    except PermissionError:  # it may be written alone
        return ""
    open_quote = '"' if has_quotes and last.count(b'"') % 2 else ""
    return f"{open_quote}\n" if last else ""
