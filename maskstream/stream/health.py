"""Measure the health of each source: rates, dropped frames, times."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from maskstream.clock import MONOTONIC, Clock
from maskstream.stream.rates import per_second
from maskstream.stream.states import SourceState
from maskstream.types import Frame, FrameResult

_REMEMBERED: Final = 64
"""The number of frames for averages of rates and times."""
_RATE_OVER_S: Final = 10.0


@dataclass(frozen=True)
class SourceHealth:
    """The health of a source at one moment."""

    source_id: str
    state: SourceState
    state_s: float
    """The time since the source is in this state."""
    cause: str
    """The cause of the state."""
    fps_in: float
    """Captured frames per second, over the last 10 s or 64 frames."""
    fps_out: float
    """Analysed frames per second."""
    dropped: Mapping[str, int]
    """Number of dropped frames since the start, by cause: `overload` (a newer frame arrived before it was analysed), `stale`
    (older than `stream.max_staleness_s`), `decode` (damaged in transit)."""
    frame_age_s: float | None
    """The time since the last frame arrived; None before the first."""
    reconnects_last_hour: int
    stage_ms: Mapping[str, float]
    """Mean time of `capture, detect, align, classify` per frame."""
    unusable: int = 0
    """Detections and classifications with numbers that are not finite, since the start."""
    rested: float = 0.0
    """Fraction of the last 64 analysed frames on which the detector rested (`detector.motion`)."""

    def __str__(self) -> str:
        """Return the health as one line."""
        dropped = ", ".join(f"{count} {cause}" for cause, count in self.dropped.items())
        age = "none yet" if self.frame_age_s is None else f"{self.frame_age_s:.2f} s ago"
        unusable = f", {self.unusable} outputs of the models not finite" if self.unusable else ""
        rested = f", the detector rested on {self.rested:.0%}" if self.rested else ""
        stages = " ".join(f"{stage} {ms:.0f}" for stage, ms in self.stage_ms.items())
        return (
            f"{self.source_id}: {self.state.value} for {self.state_s:.0f} s, {self.fps_in:.1f} fps in, {self.fps_out:.1f} out, "
            f"dropped: {dropped}, last frame {age}, reconnects in the last hour: {self.reconnects_last_hour}"
            f"{unusable}{rested}{', ms: ' if stages else ''}{stages}"
        )


@dataclass(frozen=True)
class SourceTotals:
    """Numbers of frames of a source since the start of the run.

    They never fall: a source that is removed and added again continues to count.
    """

    received: int = 0
    """Captured frames."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Frames by cause, as in `SourceHealth`."""

    def plus(self, other: "SourceTotals") -> "SourceTotals":
        """Return the sums."""
        causes = {**self.dropped, **other.dropped}
        dropped = {cause: self.dropped.get(cause, 0) + other.dropped.get(cause, 0) for cause in causes}
        return SourceTotals(self.received + other.received, dropped)


class Rate:
    """Measures how often something happens."""

    def __init__(self) -> None:
        """Begin without a time."""
        self._at_s: deque[float] = deque(maxlen=_REMEMBERED)

    def count(self, at_s: float) -> None:
        """Add a time at which it happened."""
        self._at_s.append(at_s)

    def interval_s(self) -> float:
        """Return the mean interval of the last 64 times; 0 before the second time."""
        at_s = tuple(self._at_s)
        return (at_s[-1] - at_s[0]) / (len(at_s) - 1) if len(at_s) > 1 else 0.0

    def per_second(self, now_s: float) -> float:
        """Return the rate over the last 10 s, or of the last two times if it is lower. It falls when the next time is overdue."""
        at_s = tuple(self._at_s)
        recent = [each for each in at_s if each >= now_s - _RATE_OVER_S]
        return per_second(recent if len(recent) > 1 else at_s[-2:], now_s)


class Meter:
    """Counts captured, dropped and analysed frames of one source. Several threads may call it."""

    def __init__(self, clock: Clock = MONOTONIC) -> None:
        """Begin with zero."""
        self._clock = clock
        self.received = 0
        self.arrivals = Rate()
        self.last_frame_at_s: float | None = None
        self.stale = 0
        self.unusable = 0
        """Detections and classifications with numbers that are not finite."""
        self._analysed = Rate()
        self._stage_ms: deque[Mapping[str, float]] = deque(maxlen=_REMEMBERED)
        self._rested: deque[bool] = deque(maxlen=_REMEMBERED)
        self._lock = Lock()

    def captured(self, frame: Frame) -> None:
        """Count a captured frame."""
        self.received += 1
        self.last_frame_at_s = self._clock.now_s()
        self.arrivals.count(self.last_frame_at_s)

    def analysed(self, result: FrameResult) -> None:
        """Count an analysed frame."""
        with self._lock:
            self._analysed.count(self._clock.now_s())
            self.unusable += result.unusable
            self._stage_ms.append(result.timing_ms)
            self._rested.append(result.rested)

    def fps_out(self, now_s: float) -> float:
        """Return analysed frames per second."""
        return self._analysed.per_second(now_s)

    def rested(self) -> float:
        """Return the fraction of the last 64 analysed frames on which the detector rested."""
        with self._lock:
            return sum(self._rested) / max(len(self._rested), 1)

    def stage_ms(self) -> dict[str, float]:
        """Return the mean time of each stage."""
        with self._lock:  # for a copy only: the threads of the stream must not wait for the sums
            stage_ms = tuple(self._stage_ms)
        sums: Counter[str] = Counter()
        for timing_ms in stage_ms:
            sums.update({stage: round(ms * 1000) for stage, ms in timing_ms.items() if stage != "total"})
        return {stage: total / 1000 / len(stage_ms) for stage, total in sums.items()}
