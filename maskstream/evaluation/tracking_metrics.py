"""How steady answers about people are, and how right, against labels by hand."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from maskstream.errors import ConfigError
from maskstream.events.types import EventOrCounts, MaskEvent, Phase
from maskstream.types import Face, FrameResult, Label

_LONGEST_STEP_S: Final = 0.5
_SAME_PLACE_PX: Final = 75.0


@dataclass(frozen=True)
class LabelledPerson:
    """Where somebody stands all the time, and what they wear."""

    name: str
    centre_xy: tuple[float, float]
    changes: tuple[tuple[int, Label | None], ...]
    """From which frame on which label holds; None where it cannot be said."""

    def label(self, frame: int) -> Label | None:
        """Return what is worn in a frame."""
        return next((label for since, label in reversed(self.changes) if since <= frame), None)

    def find(self, result: FrameResult) -> Face | None:
        """Return the face of this person, or None where none is near enough."""
        near = [(distance, face) for face in result.faces if (distance := self._distance(face)) < _SAME_PLACE_PX]
        return min(near, key=lambda pair: pair[0])[1] if near else None

    def _distance(self, face: Face) -> float:
        middle = face.face_box_xyxy.reshape(2, 2).mean(0)
        return float(np.hypot(*(middle - self.centre_xy)))


@dataclass(frozen=True)
class PeopleLabels:
    """People of one clip, labelled in every Nth frame."""

    every: int
    people: tuple[LabelledPerson, ...]

    @classmethod
    def read(cls, path: Path) -> "PeopleLabels":
        """Read `{"every": 5, "people": {"left": {"centre_xy": [x, y], "changes": [[0, "mask"], [40, null]]}}}`.

        Raises:
            ConfigError: The file is not like that.
        """
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            people = tuple(_person(name, entry) for name, entry in read["people"].items())
            return cls(int(read["every"]), people)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ConfigError(f"{path}: no labels of people: {error!r:.80}; see tests/fixtures/masks_on_and_off.json") from error


def _person(name: str, entry: Any) -> LabelledPerson:
    changes = tuple((int(since), None if label is None else Label(label)) for since, label in entry["changes"])
    x, y = entry["centre_xy"]
    return LabelledPerson(name, (float(x), float(y)), changes)


@dataclass
class Steadiness:
    """What was counted over a clip."""

    tracked_min: float = 0.0
    """Minutes of all people together."""
    ids: int = 0
    raw_switches: int = 0
    steady_switches: int = 0
    events: int = 0
    labelled: int = 0
    """Labelled faces that were found."""
    missed: int = 0
    """Labelled faces that were not; no answer about them is right or wrong."""
    raw_right: int = 0
    steady_right: int = 0
    true_switches: int = 0
    id_switches: int = 0
    false_events: list[str] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)
    """From the first frame labelled without mask, after one with, to the event."""

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it; what needs labels is left out without them."""
        per_minute = 1 / self.tracked_min if self.tracked_min else 0.0
        record: dict[str, Any] = {
            "tracked_min": round(self.tracked_min, 3),
            "ids": self.ids,
            "events": self.events,
            "raw_switches": self.raw_switches,
            "steady_switches": self.steady_switches,
            "raw_switches_per_min": round(self.raw_switches * per_minute, 2),
            "steady_switches_per_min": round(self.steady_switches * per_minute, 2),
        }
        if not self.labelled:
            return record
        return record | {
            "true_switches": self.true_switches,
            "id_switches_per_min": round(self.id_switches * per_minute, 2),
            "found": self.labelled,
            "missed": self.missed,
            "raw_accuracy": round(self.raw_right / self.labelled, 4),
            "steady_accuracy": round(self.steady_right / self.labelled, 4),
            "false_events": self.false_events,
            "delays_s": [round(delay, 3) for delay in self.delays_s],
        }


def measure(
    results: Sequence[FrameResult], told: Sequence[tuple[float, EventOrCounts]], labels: PeopleLabels | None = None
) -> Steadiness:
    """Count switches of labels and of ids, right answers, and false and late events.

    Args:
        results: Of one source, in order.
        told: What its event book told, and when (`time_s`).
        labels: By hand; `unknown` counts as a wrong answer.
    """
    starts = [(time_s, event) for time_s, event in told if isinstance(event, MaskEvent) and event.phase is Phase.START]
    found = Steadiness(events=len(starts))
    found.raw_switches, found.tracked_min = _switches(results, lambda face: face.label)
    found.steady_switches, _ = _switches(results, lambda face: face.shown_label)
    found.ids = len({face.track_id for result in results for face in result.faces} - {None})
    for person in labels.people if labels else ():
        _compare(found, results, person, cast(PeopleLabels, labels).every)
        _judge_events(found, starts, results, person)
    return found


def _switches(results: Iterable[FrameResult], label_of: Callable[[Face], Label]) -> tuple[int, float]:
    """Return how often a person's label became another, `unknown` left out, and the minutes of all people together."""
    labels: dict[int, Label] = {}
    seen_s: dict[int, float] = {}
    switches, seconds = 0, 0.0
    for result in results:
        for face in result.faces:
            if face.track_id is None:
                continue
            seconds += min(result.time_s - seen_s.get(face.track_id, result.time_s), _LONGEST_STEP_S)
            seen_s[face.track_id] = result.time_s
            label = label_of(face)
            if label is not Label.UNKNOWN:
                switches += labels.get(face.track_id, label) is not label
                labels[face.track_id] = label
    return switches, seconds / 60


def _compare(found: Steadiness, results: Sequence[FrameResult], person: LabelledPerson, every: int) -> None:
    numbers: list[int] = []
    known = [label for _, label in person.changes if label is not None]
    found.true_switches += sum(first is not second for first, second in pairwise(known))
    for result in results:
        face = person.find(result)
        if face is not None and face.track_id is not None and numbers[-1:] != [face.track_id]:
            numbers.append(face.track_id)
        truth = person.label(result.index)
        if result.index % every or truth is None:
            continue
        if face is None:
            found.missed += 1
            continue
        found.labelled += 1
        found.raw_right += face.label is truth
        found.steady_right += face.shown_label is truth
    found.id_switches += max(0, len(numbers) - 1)


def _judge_events(
    found: Steadiness, starts: Sequence[tuple[float, MaskEvent]], results: Sequence[FrameResult], person: LabelledPerson
) -> None:
    numbers = {face.track_id for result in results if (face := person.find(result)) is not None}
    own = [(time_s, event) for time_s, event in starts if event.person in numbers]
    times = {result.index: result.time_s for result in results}
    for time_s, event in own:
        during = {person.label(result.index) for result in results if event.began.time_s <= result.time_s <= time_s}
        if event.label not in during:
            found.false_events.append(f"{person.name} at {event.began.time_s:.2f} s")
    bare_since = [
        times[since]
        for (_, before), (since, label) in pairwise(person.changes)
        if before is Label.MASK and label is Label.NO_MASK and since in times
    ]
    for since_s in bare_since:
        later = [time_s - since_s for time_s, _ in own if time_s > since_s]
        found.delays_s += later[:1]
