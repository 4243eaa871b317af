"""How slow the machine is just now: promises in seconds are made for a machine that has time for the program."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from threading import Event, Thread
from time import perf_counter
from typing import Final

LONGEST_S: Final = 600.0
"""After which something is taken for hanging; no promise."""
_EVERY_S: Final = 2.0
"""After each of which a longer block is measured."""
_TURNS: Final = 1_500_000
_NOMINAL_S: Final = 0.085
"""What `_work` takes on a core of its own of the machine that the promises were made on, an AMD EPYC."""


def slowness() -> float:
    """Return how many times longer a fixed piece of work takes now than nominally; 1 where it takes less."""
    began_s = perf_counter()
    _work()
    return max(1.0, (perf_counter() - began_s) / _NOMINAL_S)


@contextmanager
def measured_slowness() -> Iterator[Callable[[], float]]:
    """Measure the slowness before a block and again and again during it. Yields what returns the worst of it.

    A single value in the middle of a block does not count, but the mean of two in a row: nothing else may have been held up then.
    """
    samples = [slowness()]
    over = Event()

    def measure() -> None:
        while not over.wait(_EVERY_S):
            samples.append(slowness())

    def worst() -> float:
        both = [*samples, slowness()]
        return max(both[0], both[-1], *((one + next_) / 2 for one, next_ in pairwise(both)))

    thread = Thread(target=measure, daemon=True)
    thread.start()
    try:
        yield worst
    finally:
        over.set()
        thread.join()


@contextmanager
def promised(within_s: float) -> Iterator[None]:
    """Assert that a block takes no longer than promised, times the slowness of the machine before, during or after the block."""
    with measured_slowness() as worst:
        began_s = perf_counter()
        yield
        took_s = perf_counter() - began_s
        allowed_s = within_s * worst()
    assert took_s < allowed_s, (
        f"took {took_s:.2f} s; promised: {within_s:g} s, on this machine, as busy as it is, {allowed_s:.2f} s"
    )


def _work() -> int:
    return sum(number * number % 7 for number in range(_TURNS))
