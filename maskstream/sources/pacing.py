"""Compute when each frame of a live stream is due, and its time on the clock of the stream."""

from dataclasses import dataclass
from math import inf
from typing import Final

_MAX_GAP_S: Final = 10.0
"""Timestamps that are further apart belong to different clocks."""
_MAX_STEP_BACK_S: Final = 0.1
"""A smaller step back is disorder of the encoder, not a different clock."""
_MIN_STEP_S: Final = 0.001
_INITIAL_STEP_S: Final = 0.04
_STEP_SMOOTHING: Final = 0.1
_MAX_SPEED: Final = 1.25
"""Late frames are yielded at this speed at most, not all at once."""
_SPEED_UP: Final = 0.05
"""Fraction by which a stream plays faster while its delay is larger than needed."""
_BUCKET_S: Final = 60.0
_SILENCES_PER_BUCKET: Final = 4
_MIN_MARGIN_S: Final = 0.2
_MARGIN: Final = 0.25
"""Fraction of the longest silence between arrivals that is kept as a reserve."""


@dataclass(frozen=True)
class Schedule:
    """The times of a frame."""

    time_s: float
    """On the clock of the stream, from 0 at the first frame; it never goes back and has no jumps."""
    due_s: float
    """When to yield the frame, on the clock of its arrival; a time in the past means at once."""


class Pacer:
    """Schedule the frames of a stream that arrives in bursts.

    A frame is due at its timestamp plus a delay. The first frame is due at once. Then the delay changes by these rules:

    - If a frame arrives after it was due, it is yielded at once, and the delay grows by its lateness. The stream continues from
      there, as in a player that had to wait for data.
    - If a frame arrived in time but was read late, the delay does not change. Late frames are yielded at 1.25 times the speed of
      the stream, so that a slow reader does not lose many frames in a row.
    - If timestamps go back, or forward by more than 10 s, they belong to another clock: the frame follows the one before it.

    The clocks of the camera and of this machine differ. With a slower camera, frames arrive later and later, and the delay grows
    with them. With a faster camera, more and more frames wait. Therefore the delay is compared with the delay that was needed in
    the last one or two minutes (or four to eight silences, if these are long). While it is larger by more than a quarter of the
    longest silence between two arrivals (at least 0.2 s), the stream plays 5 % faster. In the same way, the delay of a stream
    that began with a large buffer becomes smaller.
    """

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._shift_s = 0.0
        """Added to a timestamp to get `Schedule.time_s`."""
        self._time_s = -inf
        self._delay_s = 0.0
        """Added to `Schedule.time_s` to get the time at which a frame is due."""
        self._out_s = -inf
        """When the last frame was yielded."""
        self._usual_step_s = _INITIAL_STEP_S
        self._arrivals = _Arrivals()

    def schedule(self, pts_s: float | None, arrived_s: float, now_s: float) -> Schedule:
        """Add the next frame and return its times.

        Args:
            pts_s: Its timestamp; None if it has none: then it follows the frame before it.
            arrived_s: When it arrived.
            now_s: Current time of the same clock.
        """
        if self._time_s == -inf:
            self._shift_s, self._time_s, self._delay_s = -(pts_s or 0.0), 0.0, now_s
            self._arrivals.add(arrived_s, 0.0)
            self._out_s = now_s
            return Schedule(0.0, now_s)
        step_s, is_other_clock = self._step(pts_s, arrived_s)
        self._time_s += step_s
        self._arrivals.add(arrived_s, self._time_s)
        if is_other_clock:
            self._delay_s = max(now_s, self._out_s + step_s) - self._time_s
        margin_s = max(_MIN_MARGIN_S, _MARGIN * self._arrivals.silence_s)
        spare_s = self._delay_s - self._arrivals.needed_s - margin_s
        reduction_s = max(0.0, min(spare_s, _SPEED_UP * step_s))
        self._delay_s = max(self._delay_s - reduction_s, arrived_s - self._time_s)
        due_s = max(self._time_s + self._delay_s, self._out_s + step_s / _MAX_SPEED)
        self._out_s = max(due_s, now_s)
        return Schedule(self._time_s, due_s)

    def _step(self, pts_s: float | None, arrived_s: float) -> tuple[float, bool]:
        """Return the time since the frame before, and whether it is estimated because the timestamp is of another clock."""
        if pts_s is None:
            return self._usual_step_s, False
        step_s = pts_s + self._shift_s - self._time_s
        if -_MAX_STEP_BACK_S <= step_s <= _MAX_GAP_S:
            if step_s > 0:
                self._usual_step_s += _STEP_SMOOTHING * (min(step_s, 1.0) - self._usual_step_s)
            return max(step_s, _MIN_STEP_S), False
        step_s = max(self._usual_step_s, arrived_s - self._out_s)
        self._shift_s = self._time_s + step_s - pts_s
        return step_s, True


@dataclass
class _Bucket:
    """The arrivals of a period."""

    began_s: float
    needed_s: float = -inf
    silence_s: float = 0.0


class _Arrivals:
    """The delay that was needed, and the longest silence, in the last minutes."""

    def __init__(self) -> None:
        """Begin before the first arrival."""
        self._before: _Bucket | None = None
        self._present: _Bucket | None = None
        self._last_s = -inf

    def add(self, arrived_s: float, time_s: float) -> None:
        """Add the arrival of a frame of `time_s`."""
        present = self._present or _Bucket(arrived_s)
        lasts_s = max(_BUCKET_S, _SILENCES_PER_BUCKET * present.silence_s)
        if arrived_s - present.began_s > lasts_s:
            self._before, present = present, _Bucket(arrived_s)
        if self._last_s > -inf:
            present.silence_s = max(present.silence_s, arrived_s - self._last_s)
        present.needed_s = max(present.needed_s, arrived_s - time_s)
        self._present, self._last_s = present, arrived_s

    @property
    def needed_s(self) -> float:
        """The smallest delay with which no frame would have been late; infinite until two periods have passed."""
        return inf if self._before is None or self._present is None else max(self._before.needed_s, self._present.needed_s)

    @property
    def silence_s(self) -> float:
        """The longest time between two arrivals."""
        return max((bucket.silence_s for bucket in (self._before, self._present) if bucket), default=0.0)
