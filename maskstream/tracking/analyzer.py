"""Stands where an analyzer stands, and says of its faces whose they are, what that person wears, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import isfinite
from types import ModuleType
from typing import TYPE_CHECKING, Final

from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.protocols import FrameAnalyzer
from maskstream.stream.rates import BEGINS_ANEW_S, Pace
from maskstream.tracking.label_filter import SteadyLabel, SteadyRules
from maskstream.tracking.zones import Zones
from maskstream.types import Face, Frame, FrameResult, Label

if TYPE_CHECKING:
    from maskstream.tracking.tracker import Tracker

_LEAST_STEP_S: Final = 1e-3
_HIDDEN_S: Final = 0.5
"""How long the place of a face that was not found again counts as one."""


@dataclass
class _Person:
    face: Face
    seen_s: float
    steady: SteadyLabel | None
    """None where steady labels are switched off."""
    labels: tuple[Label, ...]
    """Those that `steady` decides between."""


@dataclass
class _Source:
    """What is known of a source. Its clock follows the time of its frames, and stands still where that runs back."""

    time_s: float | None = None
    """Of its last frame; None before the first."""
    shape: tuple[int, ...] = ()
    connection: int = 0
    tracker: "Tracker" = field(default_factory=lambda: _tracking().Tracker())
    pace: Pace = field(default_factory=Pace)
    clock_s: float = 0.0
    people: dict[int, _Person] = field(default_factory=dict)

    def forget(self) -> None:
        """Know nobody any more."""
        self.tracker.forget()
        self.people.clear()


@dataclass(frozen=True)
class _Settings:
    """What decides about the people of one source."""

    zones: Zones
    labels: tuple[Label, ...]

    @classmethod
    def of(cls, config: Config) -> "_Settings":
        incorrect = (Label.INCORRECT,) if config.classifier.incorrect_as == "incorrect" else ()
        return cls(Zones(config.zones), (Label.MASK, Label.NO_MASK, *incorrect))


class PeopleAnalyzer:
    """Gives the faces of frames numbers, steady labels and zones; those of pictures, which make no video, zones alone."""

    def __init__(self, analyzer: FrameAnalyzer, settings: Config | SourceSettings) -> None:
        """Begin without people.

        Args:
            analyzer: Finds and judges faces.
            settings: Whether to track and to judge over time, and how quickly; zones and labels of each source.
        """
        self._settings = SourceSettings.shared(settings)
        config = self._settings.common
        self._analyzer = analyzer
        self._tracking = config.tracking
        self._rules = SteadyRules(config.steady.memory_s, config.steady.to_change) if config.steady.enabled else None
        self._sources: dict[str, _Source] = {}

    def forget(self, source_id: str) -> None:
        """Know nobody of a source any more; numbers are not given again."""
        self._analyzer.forget(source_id)
        source = self._sources.get(source_id)
        if source is not None:
            source.forget()
            source.pace = Pace()
            source.time_s = None

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order; frames of a source must come in their own order.

        Raises:
            OutOfMemory: Fewer frames at a time may do; nothing of these was taken in.
        """
        return [self._look(frame, result) for frame, result in zip(frames, self._analyzer.analyze(frames), strict=True)]

    def _look(self, frame: Frame, result: FrameResult) -> FrameResult:
        settings = self._settings.derived(frame.source_id, _Settings.of)
        faces = result.faces
        missing: tuple[Face, ...] = ()
        if self._tracking.enabled and frame.file is None:
            faces, missing = self._recognised(frame, faces, settings)
        if settings.zones:
            faces = tuple(replace(face, zone=settings.zones.of(face, frame.width, frame.height)) for face in faces)
        inside = tuple(face for face in faces if face.zone or not settings.zones)
        outside = tuple(face for face in faces if settings.zones and not face.zone)
        return replace(result, faces=inside, hidden=result.hidden + outside + missing)

    def _recognised(self, frame: Frame, faces: Sequence[Face], settings: _Settings) -> tuple[tuple[Face, ...], tuple[Face, ...]]:
        """Return the faces as those of people, and where people were a moment ago who are not among them."""
        source = self._at(frame)
        lost_s = source.pace.patience(self._tracking.lost_s)
        numbers = source.tracker.update(source.clock_s, faces, lost_s)
        known = tuple(self._known(source, frame, face, number, settings) for face, number in zip(faces, numbers, strict=True))
        away_s = {number: source.clock_s - person.seen_s for number, person in source.people.items()}
        hidden_s = source.pace.patience(_HIDDEN_S)
        missing = [person.face for number, person in source.people.items() if 0 < away_s[number] <= hidden_s]
        source.people = {number: person for number, person in source.people.items() if away_s[number] <= lost_s}
        return known, tuple(missing)

    def _at(self, frame: Frame) -> _Source:
        """Return the source of a frame at the time of the frame."""
        source = self._sources.setdefault(frame.source_id, _Source())
        before_s = frame.time_s if source.time_s is None else source.time_s
        if source.time_s is not None and _is_another(source, frame, before_s):
            source.forget()
        source.clock_s += max(frame.time_s - before_s, _LEAST_STEP_S)
        source.time_s, source.shape, source.connection = frame.time_s, frame.bgr.shape, frame.connection
        source.pace.step(source.clock_s)
        return source

    def _known(self, source: _Source, frame: Frame, face: Face, number: int | None, settings: _Settings) -> Face:
        """Return a face with the number of its person, and what that wears."""
        if number is None:
            return face if self._rules is None else replace(face, steady_label=Label.UNKNOWN)
        person = source.people.get(number)
        if person is None or person.labels != settings.labels:
            steady = None if self._rules is None else SteadyLabel(self._rules, settings.labels)
            person = source.people[number] = _Person(face, source.clock_s, steady, settings.labels)
        person.face, person.seen_s = replace(face, track_id=number), source.clock_s
        if person.steady is not None:
            if face.judged and face.confidence is not None and isfinite(face.confidence):
                person.steady.look(source.clock_s, face.label, face.confidence, _tracking().quality(frame.bgr, face))
            label, confidence = person.steady.label, person.steady.confidence
            person.face = replace(person.face, steady_label=label, steady_confidence=confidence)
        return person.face


def _is_another(source: _Source, frame: Frame, before_s: float) -> bool:
    """Return whether nobody in a frame can be told to be one of those who were seen before.

    A camera that was lost and comes back goes on with the same clock: who was away for less than `tracking.lost_s` is known
    again. In a picture of another size, places say nothing about who is whom. A clock that runs back at a new connection, or by
    more than a second, is that of another source.
    """
    least_s = before_s - (BEGINS_ANEW_S if frame.connection == source.connection else 0.0)
    return frame.bgr.shape != source.shape or frame.time_s < least_s


def _tracking() -> ModuleType:
    """Return the module of the tracker, which takes a second to import: the first frame can be analysed meanwhile."""
    return import_module("maskstream.tracking.tracker")
