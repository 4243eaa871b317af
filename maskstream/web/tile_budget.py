"""Limit the processor time for tiles, so that tiles become fewer before the analysis becomes slower."""

import os
from collections.abc import Mapping
from typing import Final

OVERLOADED_SHARE: Final = 0.02
"""Fraction of all processors for tiles while frames are dropped, or while files are read as fast as possible."""
_LARGEST_SHARE: Final = 0.25
_GROWTH: Final = 1.5
"""Factor of the share after each quiet period."""
_QUIET_S: Final = 5.0
_MAX_INTERVAL_S: Final = 2.0
_UPDATE_S: Final = 0.5
_NEW_WEIGHT: Final = 0.3


def usable_cpus() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


class TileBudget:
    """Finds the shortest interval between two tiles of one camera, from the measured cost of a tile.

    The cost is the processor time for painting, encoding and sending. One thread calls `update`, any thread reads `interval_s`.
    """

    def __init__(self, cpus: int | None = None) -> None:
        """Begin without limit, with the number of processors of this machine."""
        self.interval_s = 0.0
        self._cpus = cpus or usable_cpus()
        self._share = OVERLOADED_SHARE
        self._cost_s = 0.0
        self._updated_at_s: float | None = None
        self._changed_at_s = 0.0
        self._spent_s = 0.0
        self._painted = 0

    def update(self, now_s: float, *, overloaded_at_s: float, spent_s: float, painted: int, cameras: int) -> None:
        """Measure again; does nothing within 0.5 s of the last time.

        Args:
            now_s: The monotonic clock.
            overloaded_at_s: When a frame was last dropped because of overload.
            spent_s: Processor seconds for tiles since the start.
            painted: Frames that were painted for tiles since the start.
            cameras: The cameras that are watched now.
        """
        if self._updated_at_s is not None and now_s - self._updated_at_s < _UPDATE_S:
            return
        if self._updated_at_s is not None and painted > self._painted:
            cost_s = (spent_s - self._spent_s) / (painted - self._painted)
            self._cost_s += (_NEW_WEIGHT if self._cost_s else 1.0) * (cost_s - self._cost_s)
        self._updated_at_s, self._spent_s, self._painted = now_s, spent_s, painted
        if now_s - overloaded_at_s < _QUIET_S:
            self._share, self._changed_at_s = OVERLOADED_SHARE, now_s
        elif now_s - self._changed_at_s >= _QUIET_S:
            self._share, self._changed_at_s = min(_LARGEST_SHARE, self._share * _GROWTH), now_s
        self.interval_s = min(_MAX_INTERVAL_S, cameras * self._cost_s / (self._share * self._cpus))

    def values(self) -> Mapping[str, float]:
        """Return the cost, the share and the interval, for logs and tests."""
        return {"cost_s": self._cost_s, "share": self._share, "interval_s": self.interval_s}
