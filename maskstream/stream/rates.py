"""Measure rates and the usual interval between the analysed frames of a source."""

from collections.abc import Sequence
from typing import Final

_ABSENT_STEPS: Final = 2.5
_LONGEST_STEP_S: Final = 5.0
_NEW_WEIGHT: Final = 0.2
CLOCK_TOLERANCE_S: Final = 1.0
"""A source whose time runs back by more than this has restarted: it is another stream."""


def per_second(at_s: Sequence[float], now_s: float) -> float:
    """Return the rate of times in ascending order. It falls when the next time is overdue, and is 0 before the second time."""
    intervals = len(at_s) - 1
    if intervals < 1:
        return 0.0
    span_s = at_s[-1] - at_s[0]
    overdue_s = max(0.0, now_s - at_s[-1] - span_s / intervals)
    return intervals / max(span_s + overdue_s, 1e-3)


class Pace:
    """The usual interval between the analysed frames of a source. On a slow machine a long interval is no absence."""

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._time_s: float | None = None
        self._usual_s: float | None = None
        self._step_s = 0.0

    def step(self, time_s: float) -> None:
        """Add the next frame. A time that runs back counts as no step."""
        step_s = min(self._step_s, _LONGEST_STEP_S)
        self._step_s = 0.0 if self._time_s is None else max(0.0, time_s - self._time_s)
        self._time_s = time_s
        if step_s > 0:
            self._usual_s = step_s if self._usual_s is None else self._usual_s + _NEW_WEIGHT * (step_s - self._usual_s)

    def patience(self, least_s: float) -> float:
        """Return how long a person may be absent: `least_s`, or 2.5 usual intervals if that is longer."""
        usual_s = min(self._step_s, _LONGEST_STEP_S) if self._usual_s is None else self._usual_s
        return max(least_s, _ABSENT_STEPS * usual_s)
