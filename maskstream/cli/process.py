"""The process: its title, its signals, its memory, its log."""

import ctypes
import io
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, TextIO

from maskstream.errors import SinkClosed, SinkError
from maskstream.io.files import abandon, one_line
from maskstream.io.user_folders import lend_folders
from maskstream.redaction import redact_text

if TYPE_CHECKING:
    from loguru import Message, Record
    from rich.console import Console

    from maskstream.stream.engine import Engine

_MAY_BE_SECRET: Final = re.compile(r"@|://|secret|password|token", re.IGNORECASE)
MALLOC_OPTIONS: Final = {"M_MMAP_THRESHOLD": (-3, 2**30), "M_TRIM_THRESHOLD": (-1, 2**30), "M_ARENA_MAX": (-8, 1)}
"""Numbers of mallopt(3) and what they are set to."""


def hide_arguments(program: str) -> None:
    """Keep passwords and tokens out of the list of processes; to be called before anything that takes time.

    Every argument that may hold one counts: a URL anywhere in it, an @, or the name of a secret as in `--set`.
    """
    if any(_MAY_BE_SECRET.search(argument) for argument in sys.argv):
        from setproctitle import setproctitle

        setproctitle(f"{program} --source ***")


def hide_secrets_of_mistakes() -> None:
    """Print the traceback of a mistake in this program without the passwords in its text, from whatever thread it comes.

    Whoever has hooks of their own keeps them.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _say_mistake
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _say_mistake_of_thread


def _say_mistake(kind: type[BaseException], mistake: BaseException | None, trace: TracebackType | None) -> None:
    sys.stderr.write(redact_text("".join(traceback.format_exception(kind, mistake, trace))))


def _say_mistake_of_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_type is not SystemExit:
        _say_mistake(failed.exc_type, failed.exc_value, failed.exc_traceback)


class Stopper:
    """Turns SIGINT and SIGTERM into a clean end; a second signal ends the program at once."""

    def __init__(self) -> None:
        """Take the signals."""
        self.received = 0
        self.engine: Engine | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.engine is None or self.received:
            os._exit(128 + number)
        self.received = number
        self.engine.stop()


def mend_streams() -> None:
    """Let the program run where standard input, output or error are closed (`>&-`), are none (pythonw), or break later.

    A closed descriptor would be given to the next file that is opened, and what a library prints would be written into it.
    To write to a closed standard output is an error. A log that cannot be written to standard error is lost, and no error.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):  # standard output cannot be written to
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free, which is this one
    if sys.stdout is None or (sys.stdout is sys.__stdout__ and not isinstance(sys.stdout, _Answers)):
        sys.stdout = _Answers(**_like(1, sys.stdout))
    if sys.stderr is None or (sys.stderr is sys.__stderr__ and not isinstance(sys.stderr, _Log)):
        sys.stderr = _Log(**_like(2, sys.stderr))


def _like(number: int, stream: TextIO | None) -> dict[str, Any]:
    """Return what makes a text stream of a descriptor that is like another stream."""
    if not isinstance(stream, io.TextIOWrapper):
        return {"buffer": open(number, "wb", closefd=False), "encoding": "utf-8", "errors": "backslashreplace"}
    buffer = open(number, "wb", 0 if stream.write_through else -1, closefd=False)  # noqa: SIM115 (open as long as the process)
    options = {name: getattr(stream, name) for name in ("encoding", "errors", "line_buffering", "write_through")}
    return {"buffer": buffer, **options}


class _Answers(io.TextIOWrapper):
    """Standard output whose errors are ours: argparse and rich make something else of those of the system."""

    def write(self, text: str, /) -> int:
        with self._ours():
            return super().write(text)

    def flush(self) -> None:
        with self._ours():
            super().flush()

    @contextmanager
    def _ours(self) -> Generator[None, None, None]:
        try:
            yield
        except BrokenPipeError as error:
            abandon(self)
            raise SinkClosed("standard output: the reader has left") from error
        except OSError as error:
            abandon(self)
            raise SinkError(f"standard output: cannot be written: {error.strerror}; open it, or make room") from error


class _Log(io.TextIOWrapper):
    """Standard error of a program that goes on where nobody reads it, or the disk that it is written to is full."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def keep_freed_memory() -> None:
    """Let glibc keep the models' large buffers for the next frame: fresh pages cost about a fifth of the frame rate on a CPU."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in MALLOC_OPTIONS.values():
            libc.mallopt(option, value)


def start_log(console: "Console", level: str) -> None:
    """Write the log through the console, so that it does not tear a progress bar; without passwords, whoever wrote them."""
    from loguru import logger

    def line(record: "Record") -> str:
        return f"{record['time']:HH:mm:ss} {record['level'].name:<7} {{message}}\n{{exception}}"

    def write(message: "Message") -> None:
        console.out(redact_text(message), end="", highlight=False)

    warnings.filterwarnings("ignore", module=r"PIL\.")  # on damaged metadata of pictures
    logger.remove()
    logger.configure(patcher=_in_one_line)
    # Values of variables in tracebacks (`diagnose`) may be URLs with passwords.
    logger.add(write, level=level, format=line, backtrace=False, diagnose=False)
    lend_folders()


def _in_one_line(record: "Record") -> None:
    """Escape newlines and other control characters, which names of files and cameras may hold: a message is one line."""
    record["message"] = one_line(record["message"])
