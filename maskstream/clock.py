"""Time that passes. What waits for time or measures it over frames is given a clock, so that a test can have its own."""

from threading import Event
from time import monotonic
from typing import Final, Protocol


class Clock(Protocol):
    """Seconds that never run back."""

    def now_s(self) -> float:
        """Return the seconds since some moment."""
        ...

    def wait(self, event: Event, timeout_s: float) -> bool:
        """Wait until an event is set, at most so long; return whether it is."""
        ...


class MonotonicClock:
    """The monotonic clock of the system, in which frames say when they were captured."""

    def now_s(self) -> float:
        """Return the seconds since some moment."""
        return monotonic()

    def wait(self, event: Event, timeout_s: float) -> bool:
        """Wait until an event is set, at most so long; return whether it is."""
        return event.wait(timeout_s)


MONOTONIC: Final[Clock] = MonotonicClock()
