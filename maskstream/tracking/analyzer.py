"""Track the faces of each source, filter their labels over time, and assign them to zones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import isfinite
from typing import TYPE_CHECKING, Final

from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.protocols import FrameAnalyzer, begin, is_asynchronous
from maskstream.stream.rates import CLOCK_TOLERANCE_S, Pace
from maskstream.tracking.face_evidence import FaceEvidence
from maskstream.tracking.label_filter import SteadyLabel, SteadyRules
from maskstream.tracking.zones import Zones
from maskstream.types import Face, Frame, FrameResult, Label

if TYPE_CHECKING:
    from maskstream.tracking.tracker import Tracker

_MIN_STEP_S: Final = 1e-3
_TRACKER_MODULE: Final = "maskstream.tracking.tracker"
"""Its import takes a second, during which the first frame can be analysed."""
_HIDDEN_S: Final = 0.5
"""How long the place of a lost face is anonymised like a face."""


@dataclass
class _Person:
    face: Face
    seen_s: float
    steady: SteadyLabel | None
    """None where `steady.enabled` is false."""
    labels: tuple[Label, ...]
    """The labels that `steady` chooses from."""
    evidence: FaceEvidence


def _new_tracker() -> "Tracker":
    tracker: Tracker = import_module(_TRACKER_MODULE).Tracker()
    return tracker


@dataclass
class _Source:
    """The people of a source. Its clock follows the time of the frames, and stops while that runs back."""

    time_s: float | None = None
    """The time of the last frame; None before the first."""
    shape: tuple[int, ...] = ()
    connection: int = 0
    tracker: "Tracker" = field(default_factory=_new_tracker)
    pace: Pace = field(default_factory=Pace)
    clock_s: float = 0.0
    people: dict[int, _Person] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget all people."""
        self.tracker.forget()
        self.people.clear()


@dataclass(frozen=True)
class _Settings:
    """The settings that decide about the people of one source."""

    zones: Zones
    labels: tuple[Label, ...]

    @classmethod
    def of(cls, config: Config) -> "_Settings":
        labels = [Label.MASK, Label.NO_MASK]
        if config.classifier.incorrect_as == "incorrect":
            labels.append(Label.INCORRECT)
        return cls(Zones(config.zones), tuple(labels))


class PeopleAnalyzer:
    """Wraps an analyzer, and adds track ids, steady labels and zones to its faces. Still images get zones only."""

    def __init__(self, analyzer: FrameAnalyzer, settings: Config | SourceSettings) -> None:
        """Begin without people.

        Args:
            analyzer: Detects and classifies faces.
            settings: Whether people are tracked and labels filtered; the zones and labels of each source.
        """
        self._analyzer = analyzer
        self._settings = SourceSettings.shared(settings)
        config = self._settings.common
        self._tracking = config.tracking
        self._rules = SteadyRules(config.steady.memory_s, config.steady.to_change) if config.steady.enabled else None
        self._sources: dict[str, _Source] = {}

    def forget(self, source_id: str) -> None:
        """Forget the people of a source. Their track ids are not used again."""
        self._analyzer.forget(source_id)
        source = self._sources.get(source_id)
        if source is not None:
            source.forget()
            source.pace = Pace()
            source.time_s = None

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order. Frames of a source must come in their own order.

        Raises:
            OutOfMemory: Fewer frames at a time may succeed. The tracks are unchanged.
        """
        return self._with_people_in(frames, self._analyzer.analyze(frames))

    @property
    def is_asynchronous(self) -> bool:
        """Whether the detector runs while `begin` returns."""
        return is_asynchronous(self._analyzer)

    def begin(self, frames: Sequence[Frame]) -> Callable[[], list[FrameResult]]:
        """Begin to analyse frames; see `AsynchronousAnalyzer`."""
        results = begin(self._analyzer, frames)
        return lambda: self._with_people_in(frames, results())

    def _with_people_in(self, frames: Sequence[Frame], results: Sequence[FrameResult]) -> list[FrameResult]:
        return [self._with_people(frame, result) for frame, result in zip(frames, results, strict=True)]

    def _with_people(self, frame: Frame, result: FrameResult) -> FrameResult:
        settings = self._settings.derived(frame.source_id, _Settings.of)
        faces = result.faces
        missing: tuple[Face, ...] = ()
        if self._tracking.enabled and frame.file is None:
            faces, missing = self._tracked(frame, faces, settings)
        if not settings.zones:
            return replace(result, faces=faces, hidden=result.hidden + missing)
        faces = tuple(replace(face, zone=settings.zones.of(face, frame.width, frame.height)) for face in faces)
        inside = tuple(face for face in faces if face.zone)
        outside = tuple(face for face in faces if not face.zone)
        return replace(result, faces=inside, hidden=result.hidden + outside + missing)

    def _tracked(self, frame: Frame, faces: Sequence[Face], settings: _Settings) -> tuple[tuple[Face, ...], tuple[Face, ...]]:
        """Return the faces with their track ids, and the last faces of people who were lost a moment ago."""
        source = self._source_at(frame)
        lost_s = source.pace.patience(self._tracking.lost_s)
        hidden_s = source.pace.patience(_HIDDEN_S)
        track_ids = source.tracker.update(source.clock_s, faces, lost_s)
        tracked = tuple(
            self._with_person(source, frame, face, track_id, settings) for face, track_id in zip(faces, track_ids, strict=True)
        )
        missing: list[Face] = []
        for track_id, person in list(source.people.items()):
            away_s = source.clock_s - person.seen_s
            if 0 < away_s <= hidden_s:
                missing.append(person.face)
            if away_s > lost_s:
                del source.people[track_id]
        return tracked, tuple(missing)

    def _source_at(self, frame: Frame) -> _Source:
        """Return the source of a frame, with its clock at the time of the frame.

        Its people are forgotten where no person in the frame can be matched to them. A camera that reconnects keeps its clock:
        people who were away for less than `tracking.lost_s` keep their track ids. In a frame of another size the places of faces
        cannot be compared. A clock that runs back after a reconnection, or by more than a second, is the clock of another stream.
        """
        source = self._sources.setdefault(frame.source_id, _Source())
        before_s = frame.time_s if source.time_s is None else source.time_s
        min_s = before_s - (CLOCK_TOLERANCE_S if frame.connection == source.connection else 0.0)
        is_another_scene = frame.bgr.shape != source.shape or frame.time_s < min_s
        if source.time_s is not None and is_another_scene:
            source.forget()
        source.clock_s += max(frame.time_s - before_s, _MIN_STEP_S)
        source.time_s, source.shape, source.connection = frame.time_s, frame.bgr.shape, frame.connection
        source.pace.step(source.clock_s)
        return source

    def _with_person(self, source: _Source, frame: Frame, face: Face, track_id: int | None, settings: _Settings) -> Face:
        """Return a face with its track id and steady label."""
        if track_id is None:
            return face if self._rules is None else replace(face, steady_label=Label.UNKNOWN)
        person = self._person(source, face, track_id, settings.labels)
        if face.judged:
            person.evidence.update(source.clock_s, face)
        steady = person.steady
        if steady is not None and face.judged and face.confidence is not None and isfinite(face.confidence):
            weight = import_module(_TRACKER_MODULE).quality(frame.bgr, face)
            steady.update(source.clock_s, face.label, face.confidence, weight)
        person.face = replace(
            face,
            track_id=track_id,
            evidence=person.evidence.value,
            steady_label=face.steady_label if steady is None else steady.label,
            steady_confidence=face.steady_confidence if steady is None else steady.confidence,
        )
        person.seen_s = source.clock_s
        return person.face

    def _person(self, source: _Source, face: Face, track_id: int, labels: tuple[Label, ...]) -> _Person:
        """Return the person with a track id. The steady label begins again where the possible labels have changed."""
        person = source.people.get(track_id)
        if person is None or person.labels != labels:
            steady = None if self._rules is None else SteadyLabel(self._rules, labels)
            evidence = FaceEvidence() if person is None else person.evidence
            person = source.people[track_id] = _Person(face, source.clock_s, steady, labels, evidence)
        return person
