"""When the frames of a source are shown in its video: clocks that stand still, run back, jump, or are damaged."""

from fractions import Fraction
from math import inf
from typing import Final

from maskstream.stream.rates import CLOCK_TOLERANCE_S

LONGEST_STILL_S: Final = 3600.0
"""A picture stands still for no longer."""

_LONGEST_JUMP_S: Final = 10.0
"""What jumps by more than this is looked at twice; beyond the end that the source states it is damage."""
_USUAL_STEPS: Final = 2.0
"""A source with a frame every two hours, on average, may show one for so many times as long."""
_NOMINAL_S: Final = 0.04


class VideoTimestamps:
    """Gives each frame of a source its pts: its own time where that can be, always later than the frame before.

    A clock that runs back by more than `CLOCK_TOLERANCE_S`, or jumps by more than `LONGEST_STILL_S`, is another clock: the video
    goes on at once, and later frames keep their distances. A single frame with a wrong time moves no other.
    """

    def __init__(self, unit_s: Fraction, longest_units: int, end_s: float = inf, average_fps: float | None = None) -> None:
        """Begin before the first frame.

        Args:
            unit_s: The time base.
            longest_units: How long the container may show a frame.
            end_s: Where the source says that it ends.
            average_fps: Of the source, where it says so.
        """
        self.unit_s = unit_s
        """The time base."""
        self.last: int | None = None
        """The pts of the latest frame."""
        self.late_s = 0.0
        """How much later frames are shown than they should be, since they come faster than the time base can say."""
        self.jumped_s = 0.0
        """The largest jump forward that is not shown."""
        self._end_s = end_s
        usual_s = _USUAL_STEPS / average_fps if average_fps else 0.0
        self._longest_still = int(max(LONGEST_STILL_S, usual_s) / unit_s)
        self._longest = longest_units
        self._moved = 0
        """How much later frames are shown than their own time says, since it began anew."""
        self._own = 0
        self._duration = 1
        self._step = max(1, round(_NOMINAL_S / unit_s))

    @property
    def next(self) -> int:
        """Where the latest frame ends, by what its source says."""
        return (self.last or 0) + self._duration

    @property
    def next_s(self) -> float:
        """The same in seconds."""
        return float(self.next * self.unit_s)

    @property
    def own_s(self) -> float:
        """The own time of the latest frame; of one whose time is wrong, what it should have been."""
        return float(self._own * self.unit_s)

    def jumps(self, time_s: float) -> bool:
        """Return whether a frame is far from the latest one, so that it is not known yet which of the two clocks goes on."""
        step_s = time_s - self.own_s
        return self.last is not None and not -CLOCK_TOLERANCE_S <= step_s <= _LONGEST_JUMP_S

    def pts(self, time_s: float, duration_s: float, next_s: float | None = None) -> int:
        """Return when a frame is shown, in units of the time base.

        Args:
            time_s: Its own time.
            duration_s: How long it lasts by what its source says.
            next_s: The time of the frame after it, where that is known; needed to tell a jump from a single wrong time.
        """
        own = round(time_s / self.unit_s)
        if self.last is None:
            pts = own
        elif next_s is not None and self.jumps(time_s) and not self.jumps(next_s) and abs(next_s - time_s) > CLOCK_TOLERANCE_S:
            pts = self.last + min(self._duration, self._step, max(1, round((next_s - self.own_s) / self.unit_s / 2)))
            own = self._own + pts - self.last
        else:
            pts = self._after(self.last, own)
        duration = max(1, round(duration_s / self.unit_s))
        self._duration = min(duration if duration <= self._longest_still else self._step, self._longest)
        self.last, self._own = pts, own
        return pts

    def _after(self, last: int, own: int) -> int:
        latest = self.next + self._longest_still
        moved = own + self._moved
        wished = own if last < own and abs(own - self.next) <= abs(moved - self.next) else moved
        reached = wished
        if (last - wished) * self.unit_s > CLOCK_TOLERANCE_S or wished > latest or not self._is_likely(last, wished):
            reached = self.next
        pts = min(max(reached, last + 1), last + self._longest)
        if reached != wished or pts < wished:
            self.jumped_s = max(self.jumped_s, float((wished - pts) * self.unit_s))
            self._moved = pts - own
        self._be_late(own, pts - last, is_pushed=pts > reached)
        if (pts - last) * self.unit_s <= _LONGEST_JUMP_S and pts == wished:
            self._step = pts - last
        return pts

    def _be_late(self, own: int, step: int, is_pushed: bool) -> None:
        """Add up what frames are shown later by, that come faster than the time base can say."""
        faster_s = float((step - max(0, own - self._own)) * self.unit_s)
        self.late_s = max(0.0, self.late_s + faster_s) if is_pushed else 0.0

    def _is_likely(self, last: int, pts: int) -> bool:
        """Return whether a time is near to the frame before, or the source lasts so long."""
        return (pts - last) * self.unit_s <= _LONGEST_JUMP_S or pts * self.unit_s <= self._end_s + _LONGEST_JUMP_S
