"""The book of events: what is worth telling of the people in each frame."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import uuid4

from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.events.minute_counts import MinuteCounter
from maskstream.events.types import EventOrCounts, MaskEvent, Observation, Phase, Timestamp
from maskstream.stream.rates import Pace
from maskstream.types import Face, Label, Output

_LARGE_ENOUGH_PX: Final = 64.0
"""A face that is larger than this is no better to look at."""


@dataclass
class _Episode:
    """A person who has the same label for some time."""

    label: Label
    began: Timestamp
    last: Timestamp
    zone: str | None
    confidence: float = 0.0
    best: Observation | None = None
    best_worth: float = -1.0
    event_id: str | None = None
    sequence: int = 0
    told: Timestamp | None = None


@dataclass
class _Source:
    counter: MinuteCounter
    config: Config
    """The settings that its events were decided with."""
    now: Timestamp | None = None
    pace: Pace = field(default_factory=Pace)
    episodes: dict[int, _Episode] = field(default_factory=dict)


@dataclass(frozen=True)
class _Rules:
    labels: frozenset[str]
    min_seconds: float
    update_s: float
    gone_s: float

    @classmethod
    def of(cls, config: Config) -> "_Rules":
        events = config.events
        return cls(frozenset(events.labels), events.min_seconds, events.update_s, config.tracking.lost_s)


class EventDetector:
    """Follows the people of all sources. Several readers may ask for the same frame: it is looked at once."""

    def __init__(self, settings: Config | SourceSettings, crop: Callable[[Output, Face], bytes | None] | None = None) -> None:
        """Begin without people.

        Args:
            settings: Which labels lead to an event, and after what time, for each source.
            crop: Returns the JPEG of a face, or None where it must not be stored.
        """
        self._settings = SourceSettings.shared(settings)
        self._crop = crop or (lambda _output, _face: None)
        self._sources: dict[str, _Source] = {}
        self._looked_at: Output | None = None
        self._found: list[EventOrCounts] = []
        self._ends: dict[str, list[EventOrCounts]] = {}

    def _adopt_settings(self, source_id: str, source: _Source) -> list[EventOrCounts]:
        """Apply settings that have changed since the last frame, and return the ends of events that are none with them.

        Where `privacy` has changed, crops that were kept are deleted: it may not be allowed to store them.
        """
        before, source.config = source.config, self._settings.of(source_id)
        if source.config is before:
            return []
        ended: list[EventOrCounts] = []
        labels = self._settings.derived(source_id, _Rules.of).labels
        for number, episode in source.episodes.items():
            if episode.best is not None and source.config.privacy != before.privacy:
                episode.best = replace(episode.best, crop_jpeg=None)
            if episode.event_id is not None and episode.label not in labels:
                ended += _closed(source_id, number, episode, "changed")
                source.episodes[number] = _Episode(episode.label, episode.last, episode.last, episode.zone)
        return ended

    def look(self, output: Output) -> list[EventOrCounts]:
        """Return what is to be told at an analysed frame; a frame that was just looked at is not looked at again."""
        if output is not self._looked_at:
            self._looked_at = output
            self._ends.pop(output.result.source_id, None)
            self._found = self._happenings(output) if output.analysed and output.frame.file is None else []
        return self._found

    def end(self, source_id: str, cause: str) -> list[EventOrCounts]:
        """End all events of a source; the same again where they have been ended since its last frame."""
        source = self._sources.pop(source_id, None)
        if source is not None:
            ended = self._adopt_settings(source_id, source)
            for number, episode in source.episodes.items():
                ended += _closed(source_id, number, episode, cause)
            counts = source.counter.end()
            self._ends[source_id] = ended if counts is None else [*ended, counts]
        return self._ends.get(source_id, [])

    def _happenings(self, output: Output) -> list[EventOrCounts]:
        result = output.result
        source_id = result.source_id
        source = self._sources.setdefault(source_id, _Source(MinuteCounter(source_id), self._settings.of(source_id)))
        rules = self._settings.derived(source_id, _Rules.of)
        moment = Timestamp.of(result)
        found = self._adopt_settings(source_id, source)
        if source.now is not None and moment.time_s < source.now.time_s - rules.gone_s:  # another stream of that name
            found += self.end(source_id, "ended")
            source = self._sources[source_id] = _Source(MinuteCounter(source_id), source.config)
        source.now = moment
        source.pace.step(moment.time_s)
        for number, episode in list(source.episodes.items()):
            if moment.time_s - episode.last.time_s > source.pace.patience(rules.gone_s):
                found += _closed(source_id, number, source.episodes.pop(number), "gone")
        for face in result.faces:
            if face.track_id is not None:
                found += self._see(source, output, face, rules)
        counts = source.counter.look(result, source.pace)
        return found if counts is None else [*found, counts]

    def _see(self, source: _Source, output: Output, face: Face, rules: _Rules) -> list[EventOrCounts]:
        """Return what is to be told of one person."""
        number, moment, label = face.track_id or 0, Timestamp.of(output.result), face.shown_label
        episode = source.episodes.get(number)
        found: list[EventOrCounts] = []
        if episode is not None and label not in (Label.UNKNOWN, episode.label):
            found += _closed(output.result.source_id, number, episode, label.value)
            episode = None
        if episode is None:
            episode = source.episodes[number] = _Episode(label, moment, moment, face.zone)
        episode.last, episode.zone = moment, face.zone
        if label in rules.labels:
            self._remember(episode, output, face)
            found += self._due(output.result.source_id, number, episode, rules)
        return found

    def _remember(self, episode: _Episode, output: Output, face: Face) -> None:
        """Keep the best look at a face."""
        episode.confidence = max(episode.confidence, face.shown_confidence or 0.0)
        x1, y1, x2, y2 = face.face_box_xyxy.tolist()
        agrees = face.judged and face.label is episode.label
        confidence = (face.confidence or 0.0) if agrees else 0.0
        worth = max(0.0, confidence * min(x2 - x1, y2 - y1, _LARGE_ENOUGH_PX))  # 0 for what is no number: the first look counts
        if worth > episode.best_worth:
            crop = self._crop(output, face)
            episode.best = Observation(Timestamp.of(output.result), confidence, face.face_box_xyxy, crop)
            episode.best_worth = worth

    @staticmethod
    def _due(source_id: str, number: int, episode: _Episode, rules: _Rules) -> list[EventOrCounts]:
        """Return the start of an event, or its update, where it is time for that."""
        now_s = episode.last.time_s
        if episode.told is None:
            if now_s - episode.began.time_s < rules.min_seconds:
                return []
            episode.event_id = uuid4().hex
            return [_told(source_id, number, episode, Phase.START)]
        return [_told(source_id, number, episode, Phase.UPDATE)] if now_s - episode.told.time_s >= rules.update_s else []


def _closed(source_id: str, number: int, episode: _Episode, cause: str) -> list[EventOrCounts]:
    return [] if episode.event_id is None else [_told(source_id, number, episode, Phase.END, cause)]


def _told(source_id: str, number: int, episode: _Episode, phase: Phase, cause: str | None = None) -> MaskEvent:
    if episode.event_id is None or episode.best is None:
        raise ValueError("an episode that is no event yet")
    event = MaskEvent(
        *(episode.event_id, episode.sequence, phase, episode.label, source_id, number, episode.zone),
        *(episode.began, episode.last, episode.confidence, episode.best, cause),
    )
    episode.sequence += 1
    episode.told = episode.last
    return event
