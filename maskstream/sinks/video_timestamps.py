"""Assign timestamps to the frames of an annotated video, also where the clock of the source stops, jumps or is damaged."""

from fractions import Fraction
from math import inf
from typing import Final

from maskstream.stream.rates import CLOCK_TOLERANCE_S

LONGEST_STILL_S: Final = 3600.0
"""One frame is shown for at most this time."""

_LONGEST_JUMP_S: Final = 10.0
"""A longer step is checked against the next frame; after the end that the source states it is treated as damage."""
_USUAL_STEPS: Final = 2.0
"""A frame of a slow source may be shown for this many average intervals, even where that exceeds `LONGEST_STILL_S`."""
_NOMINAL_S: Final = 0.04


class VideoTimestamps:
    """Assigns a pts to each frame of a source: its own time where possible, and always later than the previous frame.

    Where the clock runs back by more than `CLOCK_TOLERANCE_S`, or jumps by more than `LONGEST_STILL_S`, the video continues
    without the gap, and later frames keep their distances. A single frame with a wrong time does not move the others.
    """

    def __init__(self, unit_s: Fraction, longest_units: int, end_s: float = inf, average_fps: float | None = None) -> None:
        """Begin before the first frame.

        Args:
            unit_s: The time base.
            longest_units: The longest duration of a frame in the container.
            end_s: Where the source ends, as far as it states that.
            average_fps: Of the source, as far as it states that.
        """
        self.unit_s = unit_s
        """The time base."""
        self.last: int | None = None
        """The pts of the latest frame."""
        self.late_s = 0.0
        """The delay of the latest frame where frames arrive faster than the time base can express."""
        self.jumped_s = 0.0
        """The largest jump forward that was left out."""
        self._end_s = end_s
        usual_s = _USUAL_STEPS / average_fps if average_fps else 0.0
        self._longest_still = int(max(LONGEST_STILL_S, usual_s) / unit_s)
        self._longest = longest_units
        self._offset = 0
        """pts minus own time, since the source last began again."""
        self._own = 0
        self._duration = 1
        self._step = max(1, round(_NOMINAL_S / unit_s))

    @property
    def next(self) -> int:
        """Where the latest frame ends, by its own duration."""
        return (self.last or 0) + self._duration

    @property
    def next_s(self) -> float:
        """`next` in seconds."""
        return float(self.next * self.unit_s)

    @property
    def own_s(self) -> float:
        """The own time of the latest frame, corrected where it was wrong."""
        return float(self._own * self.unit_s)

    def jumps(self, time_s: float) -> bool:
        """Return whether a frame is far from the latest one, so that only the next frame shows which clock is right."""
        step_s = time_s - self.own_s
        return self.last is not None and not -CLOCK_TOLERANCE_S <= step_s <= _LONGEST_JUMP_S

    def pts(self, time_s: float, duration_s: float, next_s: float | None = None) -> int:
        """Return the pts of a frame, in units of the time base.

        Args:
            time_s: Its own time.
            duration_s: Its own duration.
            next_s: The own time of the next frame, where it is known; it distinguishes a jump from a single wrong time.
        """
        own = round(time_s / self.unit_s)
        if self.last is None:
            pts = own
        elif (
            next_s is not None and self.jumps(time_s) and not self.jumps(next_s) and abs(next_s - time_s) > CLOCK_TOLERANCE_S
        ):  # a single wrong time: the next frame continues the clock that this frame leaves
            half_way = round((next_s - self.own_s) / self.unit_s / 2)
            pts = self.last + min(self._duration, self._step, max(1, half_way))
            own = self._own + pts - self.last
        else:
            pts = self._after(self.last, own)
        duration = max(1, round(duration_s / self.unit_s))
        if duration > self._longest_still:
            duration = self._step
        self._duration = min(duration, self._longest)
        self.last, self._own = pts, own
        return pts

    def _after(self, last: int, own: int) -> int:
        """Return the pts of a frame after the latest one, and update offset, delay and usual step."""
        with_offset = own + self._offset
        catches_up = last < own and abs(own - self.next) <= abs(with_offset - self.next)
        wanted = own if catches_up else with_offset
        runs_back = (last - wanted) * self.unit_s > CLOCK_TOLERANCE_S
        jumps_too_far = wanted > self.next + self._longest_still
        is_clock_kept = not runs_back and not jumps_too_far and self._is_likely(last, wanted)
        allowed = wanted if is_clock_kept else self.next
        pts = min(max(allowed, last + 1), last + self._longest)
        if allowed != wanted or pts < wanted:
            self.jumped_s = max(self.jumped_s, float((wanted - pts) * self.unit_s))
            self._offset = pts - own
        faster_s = float((pts - last - max(0, own - self._own)) * self.unit_s)  # than the time base can express
        self.late_s = max(0.0, self.late_s + faster_s) if pts > allowed else 0.0
        if (pts - last) * self.unit_s <= _LONGEST_JUMP_S and pts == wanted:
            self._step = pts - last
        return pts

    def _is_likely(self, last: int, pts: int) -> bool:
        """Return whether a time is near the previous frame, or before the end that the source states."""
        return (pts - last) * self.unit_s <= _LONGEST_JUMP_S or pts * self.unit_s <= self._end_s + _LONGEST_JUMP_S
