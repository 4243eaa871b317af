"""Write text files that are flushed after each frame, and format numbers, boxes and times for records."""

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
    """Return nested lists, rounded to hundredths of a pixel; None for values that are not finite, which JSON cannot express."""
    if values.ndim:
        return [pixels(value) for value in values]
    return round(float(values), 2) if np.isfinite(values) else None


def rounded(probability: float | None) -> float | None:
    """Return a probability for records; None for a value that is not finite."""
    return None if probability is None or not np.isfinite(probability) else round(probability, 4)


def iso_8601(moment: datetime | None) -> str | None:
    """Return a time for records."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")


class TextSink:
    """A text file, or standard output for `-`, that is flushed after each frame."""

    wants_every_frame = False
    _has_quotes = False
    """Whether an incomplete last line may end within quotes, which would include the next lines."""

    def __init__(self, path: str, mode: Mode = "w") -> None:
        """Open the file. Mode `w` replaces an existing file, mode `a` continues it.

        A pipe (FIFO) is opened once, and waits for its reader.

        Raises:
            SinkError: The file cannot be written.
        """
        self._path = path
        self._stays_open = is_stdout(path)
        require_writable(path)
        self.is_continued = mode == "a" and not self._stays_open and is_file(path) and Path(path).stat().st_size > 0
        """Whether the file has content that is kept."""
        if self._stays_open:
            if isinstance(sys.stdout, io.TextIOWrapper):  # in every language of the system
                sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
            self._file: TextIO = sys.stdout
            return
        try:
            self._file = open(path, mode, encoding="utf-8", errors="surrogateescape", newline="", opener=_opened)  # noqa: SIM115 (closed by close; Path.open takes no opener)
        except OSError as error:
            raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
        tighten(self._file.fileno())
        if self.is_continued:
            logger.info("{}: continued after its {:.1f} kB", path, Path(path).stat().st_size / 1000)
            self.put(_missing_end(path, self._has_quotes))

    def source_ended(self, source_id: str) -> None:
        """Do nothing: each record is complete."""

    def close(self) -> None:
        """Close the file; standard output is only flushed.

        Raises:
            SinkError: The disk reports only now that it is full.
        """
        if not self._stays_open:
            with self._errors():
                self._file.close()

    def put(self, text: str) -> None:
        """Write a text and flush it.

        Raises:
            SinkClosed: The reader closed the output.
            SinkError: The text cannot be written.
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
                raise SinkClosed(f"{self._path}: the reader closed it") from error
            raise SinkError(f"{self._path}: cannot be written: {error.strerror}; make room or choose another place") from error

    def _give_up(self) -> None:
        """Discard the text that could not be written: closing the file or ending the interpreter would write it again."""
        if self._stays_open:
            abandon(self._file)
        else:
            with suppress(OSError):
                self._file.close()


def _opened(path: str, flags: int) -> int:
    """Open a file as `open` does. A pipe waits for its reader; without one, a warning is logged.

    A descriptor that the shell has opened (`/dev/fd/3`, `/dev/stderr`) is used as it is.
    """
    already = _DESCRIPTOR.fullmatch(os.path.abspath(path))  # noqa: PTH100 (`resolve` follows the link)
    if already:
        return os.dup(int(already[1] or 2))
    if not S_ISFIFO(os.stat(path).st_mode if os.path.exists(path) else 0):  # noqa: PTH110, PTH116 (of the name given to `open`)
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
    """Return the text that completes the last line of a killed run: a newline, after a closing quote where one is open."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (as above)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_LINE))
            last = file.read().rpartition(b"\n")[2]
    except PermissionError:  # the file may be written but not read
        return ""
    open_quote = '"' if has_quotes and last.count(b'"') % 2 else ""
    return f"{open_quote}\n" if last else ""
