import os
import signal
from contextlib import suppress
from time import sleep

import pytest

from maskstream.cli import interrupts
from maskstream.cli.interrupts import insistent_interrupts
from tests.slowness import promised


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_AGAIN_S", 0.3)


def swallow(times: int) -> None:
    """Do what a library does that takes it for something else."""
    for number in range(times):
        with suppress(KeyboardInterrupt):
            if number == 0:
                os.kill(os.getpid(), signal.SIGINT)
            sleep(60)
    sleep(60)


@insistent_interrupts()
def work() -> None:
    swallow(times=2)


def test_an_interrupt_that_was_swallowed_comes_again() -> None:
    with promised(5), pytest.raises(KeyboardInterrupt):
        work()


def test_afterwards_everything_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)
    with suppress(KeyboardInterrupt), insistent_interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        sleep(5)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_who_ignores_it_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with insistent_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            sleep(0.1)
    finally:
        signal.signal(signal.SIGINT, before)
