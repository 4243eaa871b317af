"""How many people wore what within each minute."""

from collections import defaultdict
from datetime import datetime

from maskstream.events.types import MinuteCounts, Timestamp
from maskstream.stream.rates import Pace
from maskstream.types import FrameResult, Label

_LONGEST_STEP_S = 1.0
"""A person who is not seen for longer was not there."""


class MinuteCounter:
    """Counts the people of one source: by the minutes of the clock, or of the file where there is no clock."""

    def __init__(self, source_id: str) -> None:
        """Begin without people."""
        self._source_id = source_id
        self._seconds: dict[int, dict[Label, float]] = {}
        self._seen_s: dict[int, float] = {}
        self._began: Timestamp | None = None
        self._last: Timestamp | None = None

    def look(self, result: FrameResult, pace: Pace) -> MinuteCounts | None:
        """Count a frame; return the minute that is over with it, if any. `pace` has taken note of the frame."""
        moment = Timestamp.of(result)
        over = None if self._began is None or _minute(moment) == _minute(self._began) else self.end()
        if self._began is None:
            self._began = moment
        self._last = moment
        longest_s = pace.patience(_LONGEST_STEP_S)
        seen_s = {}
        for face in result.faces:
            if face.track_id is not None:
                step_s = moment.time_s - self._seen_s.get(face.track_id, moment.time_s)
                by_label = self._seconds.setdefault(face.track_id, defaultdict(float))
                by_label[face.shown_label] += min(max(step_s, 0.0), longest_s)
                seen_s[face.track_id] = moment.time_s
        self._seen_s = seen_s
        return over

    def end(self) -> MinuteCounts | None:
        """Return the counts of the minute that has begun, if one has."""
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


def _minute(moment: Timestamp) -> datetime | int:
    return int(moment.time_s // 60) if moment.wall_time is None else moment.wall_time.replace(second=0, microsecond=0)
