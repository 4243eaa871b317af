"""Set up the process: its title, signals, standard streams, memory and log."""

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
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

from maskstream.errors import SinkClosed, SinkError
from maskstream.io.files import abandon, one_line
from maskstream.io.user_folders import lend_folders
from maskstream.redaction import redact_text

if TYPE_CHECKING:
    from loguru import Message, Record
    from rich.console import Console

_MAY_BE_SECRET: Final = re.compile(r"@|://|secret|password|token", re.IGNORECASE)
MALLOC_OPTIONS: Final = {"M_MMAP_THRESHOLD": (-3, 2**30), "M_TRIM_THRESHOLD": (-1, 2**30), "M_ARENA_MAX": (-8, 1)}
"""Options of mallopt(3): their numbers and values."""


def hide_arguments(program: str) -> None:
    """Hide the arguments in the list of processes if one may contain a password or token. Call it first.

    An argument may contain one if it contains a URL, an @, or the name of a secret as in `--set`.
    """
    if any(_MAY_BE_SECRET.search(argument) for argument in sys.argv):
        from setproctitle import setproctitle

        setproctitle(f"{program} --source ***")


def redact_tracebacks() -> None:
    """Print tracebacks of internal errors, in any thread, without the passwords in their text.

    Hooks that another program has set are kept.
    """

    def print_redacted(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        sys.stderr.write(redact_text("".join(traceback.format_exception(kind, error, trace))))

    def print_redacted_of_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_type is not SystemExit:
            print_redacted(failed.exc_type, failed.exc_value, failed.exc_traceback)

    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = print_redacted
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = print_redacted_of_thread


class Stoppable(Protocol):
    """Ends soon after it is asked to."""

    def stop(self) -> None:
        """Ask to end. Called by a signal handler."""
        ...


class Stopper:
    """Stops the engine on SIGINT or SIGTERM. A second signal ends the process at once."""

    def __init__(self) -> None:
        """Install the signal handlers."""
        self.received = 0
        self.engine: Stoppable | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.engine is None or self.received:
            os._exit(128 + number)
        self.received = number
        self.engine.stop()


def mend_streams() -> None:
    """Make standard input, output and error usable where they are closed (`>&-`) or None (pythonw), or break later.

    The system gives the number of a closed descriptor to the next file that is opened: what a library prints would be written
    into this file. Writing to a closed standard output is an error. Log lines that cannot be written to standard error are lost.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):  # standard output cannot be written to
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # it gets the lowest free number, which is this one
    if sys.stdout is None or (sys.stdout is sys.__stdout__ and not isinstance(sys.stdout, _Output)):
        sys.stdout = _Output(**_options_like(1, sys.stdout))
    if sys.stderr is None or (sys.stderr is sys.__stderr__ and not isinstance(sys.stderr, _Log)):
        sys.stderr = _Log(**_options_like(2, sys.stderr))


def _options_like(number: int, stream: TextIO | None) -> dict[str, Any]:
    """Return the options of a text stream for a descriptor, with the encoding and buffering of another stream."""
    if not isinstance(stream, io.TextIOWrapper):
        return {"buffer": open(number, "wb", closefd=False), "encoding": "utf-8", "errors": "backslashreplace"}
    buffer = open(number, "wb", 0 if stream.write_through else -1, closefd=False)  # noqa: SIM115 (open as long as the process)
    options = {name: getattr(stream, name) for name in ("encoding", "errors", "line_buffering", "write_through")}
    return {"buffer": buffer, **options}


class _Output(io.TextIOWrapper):
    """Standard output that raises our own errors: argparse and rich hide or change an `OSError`."""

    def write(self, text: str, /) -> int:
        with self._own_errors():
            return super().write(text)

    def flush(self) -> None:
        with self._own_errors():
            super().flush()

    @contextmanager
    def _own_errors(self) -> Generator[None, None, None]:
        try:
            yield
        except BrokenPipeError as error:
            abandon(self)
            raise SinkClosed("standard output: the reader has left") from error
        except OSError as error:
            abandon(self)
            raise SinkError(f"standard output: cannot be written: {error.strerror}; open it, or make room") from error


class _Log(io.TextIOWrapper):
    """Standard error that drops text which cannot be written, because the reader has left or the disk is full."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def keep_freed_memory() -> None:
    """Let glibc keep the large buffers of the models for the next frame. New pages cost a fifth of the frame rate on a CPU."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in MALLOC_OPTIONS.values():
            libc.mallopt(option, value)


def start_log(console: "Console", level: str) -> None:
    """Write the log through the console, which keeps a progress bar intact, and redact passwords in all lines."""
    from loguru import logger

    def in_one_line(record: "Record") -> None:
        # Names of files and cameras may contain newlines and other control characters.
        record["message"] = one_line(record["message"])

    def line(record: "Record") -> str:
        return f"{record['time']:HH:mm:ss} {record['level'].name:<7} {{message}}\n{{exception}}"

    def write(message: "Message") -> None:
        console.out(redact_text(message), end="", highlight=False)

    warnings.filterwarnings("ignore", module=r"PIL\.")  # on damaged metadata of images
    logger.remove()
    logger.configure(patcher=in_one_line)
    # With `diagnose` tracebacks would show values of variables, which may be URLs with passwords.
    logger.add(write, level=level, format=line, backtrace=False, diagnose=False)
    lend_folders()
