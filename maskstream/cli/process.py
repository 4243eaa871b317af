"""The process: its title, its signals, its memory, its log."""

import ctypes
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Final

from maskstream.redaction import redact_text

if TYPE_CHECKING:
    from loguru import Record
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

    warnings.filterwarnings("ignore", module=r"PIL\.")  # on damaged metadata of pictures
    logger.remove()
    logger.add(
        lambda message: console.out(redact_text(message), end="", highlight=False),
        level=level,
        format=line,
        backtrace=False,
        diagnose=False,  # it would show the values of variables, such as URLs with passwords
    )
