"""Limit the processor time for tiles, so that tiles become fewer before the analysis becomes slower."""

from collections.abc import Callable
from time import process_time
from typing import Final

from maskstream.io.processors import usable_cpus

OVERLOADED_SHARE: Final = 0.015
"""Fraction of the processor time of the program for tiles, while frames are dropped or files are read as fast as possible."""
_LARGEST_SHARE: Final = 0.25
"""Fraction of all processors for tiles at any time."""
_GROWTH: Final = 2.0
"""Factor of the limit after each period without overload."""
_QUIET_S: Final = 5.0
_LEAST_RATE: Final = 1e-3
_MAX_INTERVAL_S: Final = 5.0
_UPDATE_S: Final = 0.5
_NEW_WEIGHT: Final = 0.3


class TileBudget:
    """Finds the shortest interval between two tiles of one camera, from the measured cost of a tile.

    The cost is the processor time for painting, encoding and sending. On overload, tiles get a fraction of the processor time of
    the program; afterwards the limit rises again step by step. One thread calls `update`, any thread reads `interval_s`.
    """

    def __init__(self, used_s: Callable[[], float] = process_time, cpus: int | None = None) -> None:
        """Begin without overload.

        Args:
            used_s: Returns the processor time of the program since its start, of all threads.
            cpus: The number of processors; None: those that this process may use.
        """
        self.interval_s = 0.0
        self._used_s = used_s
        self._largest_rate = _LARGEST_SHARE * (cpus or usable_cpus())
        self._allowed_rate = self._largest_rate
        """Processor seconds for tiles per second."""
        self._tile_s = 0.0
        """Mean cost of a painted frame with all its tiles."""
        self._program_rate = 0.0
        """Processor seconds of the program per second, tiles left out."""
        self._last: tuple[float, float, float, int] | None = None
        """Time, time of the program, time of tiles, painted frames."""
        self._changed_at_s = 0.0

    def update(self, now_s: float, *, overloaded_at_s: float, spent_s: float, painted: int, cameras: int) -> None:
        """Measure again; does nothing within 0.5 s of the last time.

        Args:
            now_s: The monotonic clock.
            overloaded_at_s: When a frame was last dropped because of overload.
            spent_s: Processor seconds for tiles since the start.
            painted: Frames that were painted for tiles since the start.
            cameras: The cameras that are watched now.
        """
        if self._last is not None and now_s - self._last[0] < _UPDATE_S:
            return
        used_s = self._used_s()
        if self._last is not None:
            at_s, used_before_s, spent_before_s, painted_before = self._last
            tiles_s, number = spent_s - spent_before_s, painted - painted_before
            rate = max(0.0, used_s - used_before_s - tiles_s) / (now_s - at_s)
            self._program_rate = _mean(self._program_rate, rate)
            if number:
                self._tile_s = _mean(self._tile_s, tiles_s / number)
        self._last = now_s, used_s, spent_s, painted
        if now_s - overloaded_at_s < _QUIET_S:
            self._allowed_rate, self._changed_at_s = max(OVERLOADED_SHARE * self._program_rate, _LEAST_RATE), now_s
        elif now_s - self._changed_at_s >= _QUIET_S:
            self._allowed_rate, self._changed_at_s = min(self._largest_rate, self._allowed_rate * _GROWTH), now_s
        self.interval_s = min(_MAX_INTERVAL_S, cameras * self._tile_s / self._allowed_rate)


def _mean(before: float, value: float) -> float:
    """Return the running mean; the first value counts alone."""
    return before + (_NEW_WEIGHT if before else 1.0) * (value - before)
