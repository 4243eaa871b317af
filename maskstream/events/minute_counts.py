"""Count people and person-seconds per label in each minute."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from maskstream.events.types import MinuteCounts, Timestamp
from maskstream.stream.rates import Pace
from maskstream.types import FrameResult, Label

_LONGEST_STEP_S = 1.0
"""A longer gap between two frames with a person counts as this much."""
_KNOWN_LABELS: Final = (Label.MASK, Label.NO_MASK, Label.INCORRECT)


class MinuteCounter:
    """Counts the people of one source per minute of the wall clock, or of the file where it has no wall clock."""

    def __init__(self, source_id: str) -> None:
        """Begin without people."""
        self._source_id = source_id
        self._seconds: dict[int, dict[Label, float]] = {}
        self._seen_s: dict[int, float] = {}
        self._began: Timestamp | None = None
        self._last: Timestamp | None = None

    def add(self, result: FrameResult, pace: Pace) -> MinuteCounts | None:
        """Count a frame, and return the counts of the previous minute where the frame begins another one.

        Args:
            result: Of the frame.
            pace: Of the source; it already includes this frame.
        """
        now = Timestamp.of(result)
        previous = None
        if self._began is not None and _minute(now) != _minute(self._began):
            previous = self.end()
        if self._began is None:
            self._began = now
        self._last = now
        longest_s = pace.patience(_LONGEST_STEP_S)
        seen_s = {}
        for face in result.faces:
            if face.track_id is not None:
                step_s = now.time_s - self._seen_s.get(face.track_id, now.time_s)
                by_label = self._seconds.setdefault(face.track_id, defaultdict(float))
                by_label[face.shown_label] += min(max(step_s, 0.0), longest_s)
                seen_s[face.track_id] = now.time_s
        self._seen_s = seen_s
        return previous

    def end(self) -> MinuteCounts | None:
        """Return the counts of the current minute, or None before its first frame."""
        if self._began is None or self._last is None:
            return None
        people, person_s = dict.fromkeys(Label, 0), dict.fromkeys(Label, 0.0)
        for by_label in self._seconds.values():
            people[max(by_label, key=by_label.__getitem__)] += 1
            for label, seconds in by_label.items():
                person_s[label] += seconds
        counts = MinuteCounts(self._source_id, self._began, self._last, people, person_s)
        self._seconds, self._began, self._last = {}, None, None
        return counts


def _minute(timestamp: Timestamp) -> datetime | int:
    if timestamp.wall_time is None:
        return int(timestamp.time_s // 60)
    return timestamp.wall_time.replace(second=0, microsecond=0)


def mask_share(seconds: Mapping[Label, float]) -> float | None:
    """Return the fraction of the person-seconds with a known label that have a mask; None without a known label."""
    known_s = sum(seconds[label] for label in _KNOWN_LABELS)
    return round(seconds[Label.MASK] / known_s, 4) if known_s else None
