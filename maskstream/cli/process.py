"""The process: its title, its signals, its memory, its log."""

import ctypes
import os
import signal
import sys
import warnings
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from loguru import Record
    from rich.console import Console

    from maskstream.stream.engine import Engine

MALLOC_OPTIONS: Final = {"M_MMAP_THRESHOLD": (-3, 2**30), "M_TRIM_THRESHOLD": (-1, 2**30), "M_ARENA_MAX": (-8, 1)}
"""Numbers of mallopt(3) and what they are set to."""


def hide_arguments(program: str) -> None:
    """Keep passwords and tokens in URLs out of the list of processes; to be called before anything that takes time."""
    if any("@" in argument or "://" in argument for argument in sys.argv):
        from setproctitle import setproctitle

        setproctitle(f"{program} --source ***")


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
    """Write the log through the console, so that it does not tear a progress bar."""
    from loguru import logger

    def line(record: "Record") -> str:
        return f"{record['time']:HH:mm:ss} {record['level'].name:<7} {{message}}\n{{exception}}"

    warnings.filterwarnings("ignore", module=r"PIL\.")  # on damaged metadata of pictures
    logger.remove()
    write = partial(console.out, end="", highlight=False)
    logger.add(write, level=level, format=line, backtrace=False, diagnose=False)  # values of variables may be passwords
