"""Time workloads in turns on the same frames, so that other work on the machine affects all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Workload:
    """A function to time."""

    name: str
    what: str
    """Description for the report."""
    run: Callable[[], int]
    """Processes the frames once and returns their number."""


@dataclass
class Times:
    """Times of a workload, one for each round."""

    workload: Workload
    seconds: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    @property
    def fps(self) -> list[float]:
        """Frames per second of each round."""
        return [count / seconds for count, seconds in zip(self.frames, self.seconds, strict=True)]

    def record(self) -> dict[str, Any]:
        """Return median, minimum and maximum over the rounds."""
        return {
            "what": self.workload.what,
            "fps": round(median(self.fps), 3),
            "fps_spread": [round(min(self.fps), 3), round(max(self.fps), 3)],
            "ms_per_frame": round(1000 / median(self.fps), 3),
            "rounds": len(self.seconds),
            "frames": self.frames[0],
        }


def take_turns(workloads: Sequence[Workload], rounds: int, progress: Callable[[str], None]) -> dict[str, Times]:
    """Run each workload once to warm up, then all of them in turns: A B C A B C.

    Args:
        workloads: In the order of their turns.
        rounds: Number of timed turns of each workload.
        progress: Called with a line of progress.
    """
    times = {workload.name: Times(workload) for workload in workloads}
    for workload in workloads:
        progress(f"{workload.name}: warming up")
        workload.run()
    for number in range(rounds):
        for workload in workloads:
            progress(f"{workload.name}: round {number + 1} of {rounds}")
            started_s = perf_counter()
            frames = workload.run()
            times[workload.name].seconds.append(perf_counter() - started_s)
            times[workload.name].frames.append(frames)
    return times


def ratio(of: Times, to: Times) -> list[float]:
    """Return the ratio of two speeds within each round: median, minimum and maximum over the rounds."""
    ratios = sorted(one / other for one, other in zip(of.fps, to.fps, strict=True))
    return [round(value, 4) for value in (median(ratios), ratios[0], ratios[-1])]


def percentiles(values_ms: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99."""
    ordered = sorted(values_ms)
    return {f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 2) for share in (50, 95, 99)}
