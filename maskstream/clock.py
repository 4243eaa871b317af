"""Define the clock of everything that waits or measures time over frames. Tests pass a clock of their own."""

from threading import Event
from time import monotonic
from typing import Final, Protocol


class Clock(Protocol):
    """A clock whose seconds never decrease."""

    def now_s(self) -> float:
        """Return the seconds since an arbitrary moment."""
        ...

    def wait(self, event: Event, timeout_s: float) -> bool:
        """Wait until an event is set, for at most `timeout_s`; return whether it is set."""
        ...


class MonotonicClock:
    """The monotonic clock of the system: the clock of `Frame.captured_at_s`."""

    def now_s(self) -> float:
        """Return the seconds since an arbitrary moment."""
        return monotonic()

    def wait(self, event: Event, timeout_s: float) -> bool:
        """Wait until an event is set, for at most `timeout_s`; return whether it is set."""
        return event.wait(timeout_s)


MONOTONIC: Final[Clock] = MonotonicClock()
