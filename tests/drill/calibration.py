"""Measure how busy the machine is: the time limits of the drill are for an idle machine."""

from dataclasses import dataclass

from tests.slowness import slowness


@dataclass(frozen=True)
class Calibration:
    """How many times longer work takes on this machine than on an idle one."""

    cpu: float = 1.0
    """For a fixed computation."""
    start: float = 1.0
    """For the program, from its start to its first record."""

    def keeps(self, took_s: float, limit_s: float) -> bool:
        """Return whether `took_s` is below the limit, multiplied by the slowness before the drill, or by that of now."""
        return took_s < limit_s * max(self.cpu, self.start) or took_s < limit_s * slowness()

    def __str__(self) -> str:
        """Return the sentence of the report."""
        return f"a fixed computation took {self.cpu:.1f} times as long as on an idle machine, a start {self.start:.1f} times"
