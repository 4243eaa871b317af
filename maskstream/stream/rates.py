"""How often something happens, and when the clock of a source is another one."""

from collections.abc import Sequence
from typing import Final

_PATIENT_STEPS: Final = 2.5
_LONGEST_STEP_S: Final = 5.0
_NEWS: Final = 0.2
BEGINS_ANEW_S: Final = 1.0
"""A source whose time runs back by more than this is another stream."""


def per_second(at_s: Sequence[float], now_s: float) -> float:
    """Return the rate of what happened at these times, in order; it falls once the next time is overdue, 0 before the second."""
    intervals = len(at_s) - 1
    if intervals < 1:
        return 0.0
    span_s = at_s[-1] - at_s[0]
    overdue_s = max(0.0, now_s - at_s[-1] - span_s / intervals)
    return intervals / max(span_s + overdue_s, 1e-3)


class Pace:
    """How far apart the analysed frames of a source usually are: a slow machine must not look like an absence."""

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._time_s: float | None = None
        self._usual_s: float | None = None
        self._step_s = 0.0

    def step(self, time_s: float) -> None:
        """Take note of the next frame; time that runs back stands still."""
        self._take_in(self._step_s)
        self._step_s = 0.0 if self._time_s is None else max(0.0, time_s - self._time_s)
        self._time_s = time_s

    def _take_in(self, step_s: float) -> None:
        step_s = min(step_s, _LONGEST_STEP_S)
        if step_s > 0:
            self._usual_s = step_s if self._usual_s is None else self._usual_s + _NEWS * (step_s - self._usual_s)

    def patience(self, least_s: float) -> float:
        """Return for how long nobody is missed: `least_s`, or some steps as they were before this one."""
        usual_s = min(self._step_s, _LONGEST_STEP_S) if self._usual_s is None else self._usual_s
        return max(least_s, _PATIENT_STEPS * usual_s)
