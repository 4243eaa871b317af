"""When a frame of a live stream is due, and where it lies on the stream's own clock."""

from dataclasses import dataclass
from math import inf
from typing import Final

_LONGEST_GAP_S: Final = 10.0
"""Frames that are further apart, by their timestamps, belong to different clocks."""
_LONGEST_STEP_BACK_S: Final = 0.1
"""So much disorder is none of the clock, but of the encoder."""
_LEAST_STEP_S: Final = 0.001
_USUAL_STEP_S: Final = 0.04
_NEWS: Final = 0.1
_FASTEST: Final = 1.25
"""Frames that are late are caught up with at this speed, not all at once."""
_HASTE: Final = 0.05
"""Share of the time by which a stream is played faster while more of it waits than is needed."""
_BUCKET_S: Final = 60.0
_SILENCES_PER_BUCKET: Final = 4
_LEAST_MARGIN_S: Final = 0.2
_MARGIN: Final = 0.25
"""Of the longest silence between arrivals: what is kept in reserve against a later one."""


@dataclass(frozen=True)
class Turn:
    """What becomes of a frame."""

    time_s: float
    """Its position on the stream's clock, from 0 at the first frame; it never runs back and has no jumps."""
    due_s: float
    """When it is handed out, on the clock of its arrival; in the past: at once."""


class Pacer:
    """Tells when the frames of a stream that arrives in bursts are due.

    A frame is due a constant delay after the moment that its timestamp names. The delay begins with the first frame, which is due
    at once, and follows what comes:

    - A frame that arrives after it was due is handed out at once, and the delay grows by what it was late: the stream goes on
      from there, as a player does after it had to wait.
    - A frame that was there in time, but that nobody took, is late without consequence. Late frames are handed out at 1.25
      times the speed of the stream, so that whoever has no time for all of them does not lose many in a row.
    - Timestamps that run back, or ahead by more than 10 s, are those of another clock: the frame follows the one before it.

    The camera's clock and ours differ. Where the camera is slower, frames come later and later, and the delay grows with them, by
    as little as they are late. Where it is faster, more and more frames wait. Therefore the delay is compared with what was
    needed over the last one or two minutes (or four to eight silences, where those are long). While it is larger than that by
    more than a quarter of the longest silence between two arrivals (at least 0.2 s), the stream is played 5 % faster. In the
    same way a stream that began with much in reserve comes closer to the present.
    """

    def __init__(self) -> None:
        """Begin before the first frame."""
        self._shift_s = 0.0
        """What is added to a timestamp to have `Turn.time_s`."""
        self._time_s = -inf
        self._delay_s = 0.0
        """From `Turn.time_s` to when the frame is due."""
        self._out_s = -inf
        """When the last frame was handed out."""
        self._usual_step_s = _USUAL_STEP_S
        self._arrivals = _Arrivals()

    def turn(self, pts_s: float | None, arrived_s: float, now_s: float) -> Turn:
        """Take in the next frame.

        Args:
            pts_s: Its timestamp; None where it has none: it follows the one before it.
            arrived_s: When it arrived.
            now_s: The present, on the same clock.
        """
        if self._time_s == -inf:
            self._shift_s, self._time_s, self._delay_s = -(pts_s or 0.0), 0.0, now_s
            self._arrivals.note(arrived_s, 0.0)
            self._out_s = now_s
            return Turn(0.0, now_s)
        step_s, is_jump = self._step(pts_s, arrived_s)
        self._time_s += step_s
        self._arrivals.note(arrived_s, self._time_s)
        if is_jump:
            self._delay_s = max(now_s, self._out_s + step_s) - self._time_s
        self._delay_s = max(self._delay_s - self._haste_s(step_s), arrived_s - self._time_s)
        due_s = max(self._time_s + self._delay_s, self._out_s + step_s / _FASTEST)
        self._out_s = max(due_s, now_s)
        return Turn(self._time_s, due_s)

    def _step(self, pts_s: float | None, arrived_s: float) -> tuple[float, bool]:
        """Return how much later a frame is than the one before, and whether that is a guess as its clock is another one."""
        if pts_s is None:
            return self._usual_step_s, False
        step_s = pts_s + self._shift_s - self._time_s
        if -_LONGEST_STEP_BACK_S <= step_s <= _LONGEST_GAP_S:
            if step_s > 0:
                self._usual_step_s += _NEWS * (min(step_s, 1.0) - self._usual_step_s)
            return max(step_s, _LEAST_STEP_S), False
        step_s = max(self._usual_step_s, arrived_s - self._out_s)
        self._shift_s = self._time_s + step_s - pts_s
        return step_s, True

    def _haste_s(self, step_s: float) -> float:
        """Return by how much the delay may shrink at a frame."""
        spare_s = self._delay_s - self._arrivals.needed_s - max(_LEAST_MARGIN_S, _MARGIN * self._arrivals.silence_s)
        return max(0.0, min(spare_s, _HASTE * step_s))


@dataclass
class _Bucket:
    """What was seen of the arrivals of some time."""

    began_s: float
    needed_s: float = -inf
    silence_s: float = 0.0


class _Arrivals:
    """The delay without which a frame would have come too late, and the longest silence, over the last minutes."""

    def __init__(self) -> None:
        """Begin before the first arrival."""
        self._before: _Bucket | None = None
        self._present: _Bucket | None = None
        self._last_s = -inf

    def note(self, arrived_s: float, time_s: float) -> None:
        """Take in when a frame of `time_s` arrived."""
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
        """The least delay that would have done; infinite until enough was seen."""
        return inf if self._before is None or self._present is None else max(self._before.needed_s, self._present.needed_s)

    @property
    def silence_s(self) -> float:
        """The longest time between two arrivals."""
        return max((bucket.silence_s for bucket in (self._before, self._present) if bucket), default=0.0)
