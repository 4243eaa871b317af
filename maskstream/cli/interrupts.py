"""Repeat `KeyboardInterrupt` until the program has handled it."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Final, NoReturn

_AGAIN_S: Final = 2.0


@contextmanager
def insistent_interrupts() -> Generator[None, None, None]:
    """Raise `KeyboardInterrupt` on SIGINT, and again every two seconds until the block has ended.

    Some libraries take a `KeyboardInterrupt` during the conversion of their arguments for a failed conversion, and drop it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or current_thread() is not main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        raise KeyboardInterrupt

    alarm_before = signal.signal(signal.SIGALRM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # first: a pending alarm raises nothing any more
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGALRM, alarm_before)
