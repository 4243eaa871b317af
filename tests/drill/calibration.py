"""How busy the machine is: what the drill promises in seconds holds for a machine that has time for the program."""

from dataclasses import dataclass

from tests.slowness import slowness


@dataclass(frozen=True)
class Calibration:
    """How many times longer things take here than they should."""

    cpu: float = 1.0
    """A fixed piece of work."""
    start: float = 1.0
    """The program, from its start to its first record."""

    def keeps(self, took_s: float, promised_s: float) -> bool:
        """Return whether something was done in time: as promised, times the slowness before the drill, or that of now."""
        return took_s < promised_s * max(self.cpu, self.start) or took_s < promised_s * slowness()

    def __str__(self) -> str:
        """Return it as words of the report."""
        return f"a piece of work took {self.cpu:.1f} times as long as it should, the start of the program {self.start:.1f} times"
