"""Decide when an event begins, continues and ends, from the people in each frame of all sources."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf
from typing import Final
from uuid import uuid4

from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.events.minute_counts import MinuteCounter
from maskstream.events.types import EventOrCounts, MaskEvent, Observation, Phase, Timestamp
from maskstream.stream.rates import Pace
from maskstream.types import Face, Label, Output

_ID_DIGITS: Final = 32
_LARGE_ENOUGH_PX: Final = 64.0
"""Above this size, a larger face is not a better observation."""


@dataclass
class _LabelPeriod:
    """The time in which one person has one steady label; it becomes an event after `events.min_seconds`.

    The event starts later where the evidence that the tracked object is a face has not yet reached `events.min_evidence`.
    """

    source_id: str
    person: int
    label: Label
    began: Timestamp
    last: Timestamp
    zone: str | None
    confidence: float = 0.0
    best: Observation | None = None
    best_score: float = -1.0
    evidence: float = -inf
    """The highest evidence so far that the tracked object is a face."""
    event_id: str | None = None
    """None until the event has started."""
    sequence: int = 0
    reported: Timestamp | None = None
    """When the latest record of the event was made."""

    def record(self, phase: Phase, cause: str | None = None) -> MaskEvent:
        """Return the next record of the event."""
        if self.event_id is None or self.best is None:
            raise ValueError("the event has not started yet")
        event = MaskEvent(
            event_id=self.event_id,
            sequence=self.sequence,
            phase=phase,
            label=self.label,
            source_id=self.source_id,
            person=self.person,
            zone=self.zone,
            began=self.began,
            last=self.last,
            confidence=self.confidence,
            best=self.best,
            cause=cause,
        )
        self.sequence += 1
        self.reported = self.last
        return event

    def end(self, cause: str) -> list[EventOrCounts]:
        """Return the end of the event, or nothing where it has not started."""
        return [] if self.event_id is None else [self.record(Phase.END, cause)]


class _Source:
    """State of one source: its people, and the counts of the current minute."""

    def __init__(self, source_id: str, config: Config) -> None:
        self.config = config
        """The settings for its latest frame."""
        self.counter = MinuteCounter(source_id)
        self.pace = Pace()
        self.now: Timestamp | None = None
        self.periods: dict[int, _LabelPeriod] = {}
        """By `track_id`."""


@dataclass(frozen=True)
class _Rules:
    """The settings of one source that decide about its events."""

    labels: frozenset[str]
    min_seconds: float
    min_evidence: float
    update_s: float
    lost_s: float

    @classmethod
    def of(cls, config: Config) -> "_Rules":
        events = config.events
        return cls(
            labels=frozenset(events.labels),
            min_seconds=events.min_seconds,
            min_evidence=events.min_evidence,
            update_s=events.update_s,
            lost_s=config.tracking.lost_s,
        )


class EventDetector:
    """Detects the events of all sources, and counts their people per minute.

    Several sinks share one detector: each calls `detect` with every frame, and all get the same list.
    """

    def __init__(
        self,
        settings: Config | SourceSettings,
        crop: Callable[[Output, Face], bytes | None] | None = None,
        new_id: Callable[[str], str] | None = None,
    ) -> None:
        """Begin without people.

        Args:
            settings: Which labels lead to an event, and after what time, for each source.
            crop: Returns the JPEG of a face, or None where it must not be stored.
            new_id: Returns the id of the next event of a source; it is never used again. None: a random one (UUID 4).
        """
        self._settings = SourceSettings.shared(settings)
        self._crop = crop or (lambda _output, _face: None)
        self._new_id = new_id or (lambda _source_id: uuid4().hex)
        self._sources: dict[str, _Source] = {}
        self._last_output: Output | None = None
        self._detected: list[EventOrCounts] = []
        """For `_last_output`."""
        self._ended: dict[str, list[EventOrCounts]] = {}
        """What `end` returned for each source since its last frame."""

    def detect(self, output: Output) -> list[EventOrCounts]:
        """Return the events and counts of a frame; a second call with the same frame returns the same list."""
        if output is not self._last_output:
            self._last_output = output
            self._ended.pop(output.result.source_id, None)
            is_video = output.analysed and output.frame.file is None
            self._detected = self._detect(output) if is_video else []
        return self._detected

    def end(self, source_id: str, cause: str) -> list[EventOrCounts]:
        """End all events of a source; a second call before its next frame returns the same list."""
        source = self._sources.pop(source_id, None)
        if source is not None:
            ended = self._adopt_settings(source_id, source)
            for period in source.periods.values():
                ended += period.end(cause)
            counts = source.counter.end()
            if counts is not None:
                ended.append(counts)
            self._ended[source_id] = ended
        return self._ended.get(source_id, [])

    def _detect(self, output: Output) -> list[EventOrCounts]:
        result = output.result
        source_id = result.source_id
        source = self._sources.setdefault(source_id, _Source(source_id, self._settings.of(source_id)))
        rules = self._settings.derived(source_id, _Rules.of)
        now = Timestamp.of(result)
        found = self._adopt_settings(source_id, source)
        if source.now is not None and now.time_s < source.now.time_s - rules.lost_s:  # the stream has started again
            found += self.end(source_id, "ended")
            source = self._sources[source_id] = _Source(source_id, source.config)
        source.now = now
        source.pace.step(now.time_s)
        for person, period in list(source.periods.items()):
            if now.time_s - period.last.time_s > source.pace.patience(rules.lost_s):
                found += period.end("gone")
                del source.periods[person]
        for face in result.faces:
            if face.track_id is not None:
                found += self._update_person(source, output, face, rules)
        counts = source.counter.add(result, source.pace)
        return found if counts is None else [*found, counts]

    def _adopt_settings(self, source_id: str, source: _Source) -> list[EventOrCounts]:
        """Apply settings that have changed since the last frame, and return the ends of events with a label they do not have.

        Where `privacy` has changed, the crops of open events are deleted: it may no longer allow to store them.
        """
        before, source.config = source.config, self._settings.of(source_id)
        if source.config is before:
            return []
        ended: list[EventOrCounts] = []
        labels = self._settings.derived(source_id, _Rules.of).labels
        for person, period in source.periods.items():
            if period.best is not None and source.config.privacy != before.privacy:
                period.best = replace(period.best, crop_jpeg=None)
            if period.event_id is not None and period.label not in labels:
                ended += period.end("changed")
                source.periods[person] = _LabelPeriod(
                    source_id, person, period.label, began=period.last, last=period.last, zone=period.zone
                )
        return ended

    def _update_person(self, source: _Source, output: Output, face: Face, rules: _Rules) -> list[EventOrCounts]:
        """Update the label period of one person, and return the records that follow from it."""
        source_id, person = output.result.source_id, face.track_id or 0
        now, label = Timestamp.of(output.result), face.shown_label
        found: list[EventOrCounts] = []
        period = source.periods.get(person)
        if period is not None and label not in (Label.UNKNOWN, period.label):
            found += period.end(label.value)
            period = None
        if period is None:
            period = source.periods[person] = _LabelPeriod(source_id, person, label, began=now, last=now, zone=face.zone)
        period.last, period.zone = now, face.zone
        if label in rules.labels:
            self._observe(period, output, face)
            found += self._due_records(period, rules)
        return found

    def _observe(self, period: _LabelPeriod, output: Output, face: Face) -> None:
        """Keep the highest confidence and evidence, and the best observation: certain, and of a large face.

        A face without evidence does not come from the tracker, and is accepted.
        """
        period.confidence = max(period.confidence, face.shown_confidence or 0.0)
        period.evidence = max(period.evidence, inf if face.evidence is None else face.evidence)
        x1, y1, x2, y2 = face.face_box_xyxy.tolist()
        agrees = face.judged and face.label is period.label
        confidence = (face.confidence or 0.0) if agrees else 0.0
        score = max(0.0, confidence * min(x2 - x1, y2 - y1, _LARGE_ENOUGH_PX))  # NaN gives 0: the first observation is kept
        if score > period.best_score:
            crop = self._crop(output, face)
            period.best = Observation(Timestamp.of(output.result), confidence, face.face_box_xyxy, crop)
            period.best_score = score

    def _due_records(self, period: _LabelPeriod, rules: _Rules) -> list[EventOrCounts]:
        """Return the start of an event after `events.min_seconds`, or its update every `events.update_s`.

        An event does not start before the face was well seen (`events.min_evidence`) while it had the label.
        """
        now_s = period.last.time_s
        if period.reported is None:
            if now_s - period.began.time_s < rules.min_seconds:
                return []
            if rules.min_evidence > 0 and period.evidence < rules.min_evidence:
                return []
            period.event_id = self._new_id(period.source_id)
            return [period.record(Phase.START)]
        if now_s - period.reported.time_s < rules.update_s:
            return []
        return [period.record(Phase.UPDATE)]


class NumberedIds:
    """Ids of events that are the same each time the same recording is analysed. They look like the random ones."""

    def __init__(self, seed: str) -> None:
        """Begin with the first id.

        Args:
            seed: Differs from that of all other analyses whose events are kept together.
        """
        self._seed = seed
        self._numbers: Counter[str] = Counter()

    def __call__(self, source_id: str) -> str:
        """Return the next id of a source: 32 hexadecimal digits, which depend on seed, source and how many came before."""
        self._numbers[source_id] += 1
        text = json.dumps([self._seed, source_id, self._numbers[source_id]])
        return sha256(text.encode()).hexdigest()[:_ID_DIGITS]
