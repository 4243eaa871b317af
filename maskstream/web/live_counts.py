"""Count frames, faces and person-seconds of a camera, for the dashboard and for /metrics."""

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from maskstream.events.types import MaskEvent, Phase
from maskstream.stream.rates import Pace
from maskstream.types import FrameResult, Label, Output

LATENCY_BOUNDS_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Upper bounds of the buckets of `result_latency_seconds`; the last bucket has none."""
NO_ZONE: Final = ""
"""The zone in counts where no zone contains the face."""
_LONGEST_STEP_S: Final = 1.0
"""A longer gap between two frames with a person counts as this much."""

ZoneAndLabel = tuple[str, str]


@dataclass
class CountsSnapshot:
    """The counts of one camera at one moment. All but `present` and `open_events` never fall."""

    analysed: int = 0
    """Analysed frames."""
    faces: Counter[str] = field(default_factory=Counter)
    """Faces in analysed frames, by label."""
    person_s: dict[ZoneAndLabel, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds, summed over all tracked people."""
    present: Counter[ZoneAndLabel] = field(default_factory=Counter)
    """People in the latest frame."""
    events: Counter[ZoneAndLabel] = field(default_factory=Counter)
    """Events that began."""
    open_events: int = 0
    latency_buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    """Results by the time from the capture to the result; see `LATENCY_BOUNDS_S`. The counts are not cumulative."""
    latency_sum_s: float = 0.0
    stage_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds in each stage, for `analysed` frames."""


class CameraCounts:
    """Counts of one camera, continued after the camera was removed and added again.

    The thread that renders adds; any thread reads. The lock is held for some microseconds.
    """

    def __init__(self) -> None:
        """Begin with zero."""
        self._lock = Lock()
        self._now = CountsSnapshot()
        self._open_events: set[str] = set()
        self._pace = Pace()
        self._seen_s: dict[int, float] = {}

    def add(self, output: Output, now_s: float) -> None:
        """Count an analysed frame, at a time of the monotonic clock."""
        result = output.result
        present = Counter((face.zone or NO_ZONE, face.shown_label.value) for face in result.faces)
        person_s = self._step(result)
        labels = Counter(face.label.value for face in result.faces if face.judged)
        latency_s = None if output.frame.wall_time is None else max(0.0, now_s - output.frame.captured_at_s)
        with self._lock:
            now = self._now
            now.analysed += 1
            now.present = present
            now.faces.update(labels)
            for zone_and_label, seconds in person_s.items():
                now.person_s[zone_and_label] += seconds
            for stage, duration_ms in result.timing_ms.items():
                if stage != "total":
                    now.stage_s[stage] += duration_ms / 1000
            if latency_s is not None:
                now.latency_buckets[bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1
                now.latency_sum_s += latency_s

    def add_event(self, event: MaskEvent) -> None:
        """Count the start of an event, and follow whether it is open."""
        with self._lock:
            if event.phase is Phase.END:
                self._open_events.discard(event.event_id)
            else:
                self._open_events.add(event.event_id)
            if event.phase is Phase.START:
                self._now.events[event.zone or NO_ZONE, event.label.value] += 1
            self._now.open_events = len(self._open_events)

    def nobody_present(self) -> None:
        """Forget who is present: the camera sends no frames."""
        with self._lock:
            self._now.present = Counter()
            self._seen_s = {}

    def snapshot(self) -> CountsSnapshot:
        """Return a copy."""
        with self._lock:
            now = self._now
            return CountsSnapshot(
                analysed=now.analysed,
                faces=Counter(now.faces),
                person_s=dict(now.person_s),
                present=Counter(now.present),
                events=Counter(now.events),
                open_events=now.open_events,
                latency_buckets=list(now.latency_buckets),
                latency_sum_s=now.latency_sum_s,
                stage_s=dict(now.stage_s),
            )

    def people(self) -> dict[str, int]:
        """Return the number of people in the latest frame, by label."""
        people = {label.value: 0 for label in Label}
        with self._lock:
            for (_, label), number in self._now.present.items():
                people[label] += number
        return people

    def _step(self, result: FrameResult) -> dict[ZoneAndLabel, float]:
        """Return the seconds since the last frame of all people who were in both."""
        self._pace.step(result.time_s)
        longest_s = self._pace.patience(_LONGEST_STEP_S)
        person_s: dict[ZoneAndLabel, float] = defaultdict(float)
        seen_s: dict[int, float] = {}
        for face in result.faces:
            if face.track_id is not None:
                step_s = result.time_s - self._seen_s.get(face.track_id, result.time_s)
                seconds = min(max(step_s, 0.0), longest_s)
                person_s[face.zone or NO_ZONE, face.shown_label.value] += seconds
                seen_s[face.track_id] = result.time_s
        self._seen_s = seen_s
        return person_s
