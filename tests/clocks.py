"""Clocks for tests: time that passes when it is told to, or faster."""

from threading import Event
from time import monotonic


class ManualClock:
    """Stands still until it is set forward; a wait sets it forward at once."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []
        """How long was waited, each time."""
        self._now_s = 1000.0

    def now_s(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds

    def wait(self, event: Event, timeout_s: float) -> bool:
        self.waits_s.append(timeout_s)
        if not event.is_set():
            self.advance(timeout_s)
        return event.is_set()


class WaitingClock:
    """Stands still while anything is done, however long that takes; a wait sets it forward, and lasts a part of that really."""

    def __init__(self, speed: float) -> None:
        self.waits_s: list[float] = []
        """How long was waited, each time, by this clock."""
        self._speed = speed
        self._now_s = 1000.0

    def now_s(self) -> float:
        return self._now_s

    def wait(self, event: Event, timeout_s: float) -> bool:
        self.waits_s.append(timeout_s)
        is_set = event.wait(timeout_s / self._speed)
        self._now_s += timeout_s
        return is_set


class HastyClock:
    """Runs faster than time, for threads that must wait for each other really."""

    def __init__(self, speed: float) -> None:
        self.waits_s: list[float] = []
        """How long was waited, each time, by this clock."""
        self._speed = speed

    def now_s(self) -> float:
        return monotonic() * self._speed

    def wait(self, event: Event, timeout_s: float) -> bool:
        self.waits_s.append(timeout_s)
        return event.wait(timeout_s / self._speed)
