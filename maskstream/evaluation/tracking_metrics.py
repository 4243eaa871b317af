"""Measure how stable and how right the labels of tracked persons are, and compare events with manual labels."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from maskstream.errors import ConfigError
from maskstream.events.types import EventOrCounts, MaskEvent, Phase
from maskstream.types import Face, FrameResult, Label

_LONGEST_STEP_S: Final = 0.5
_SAME_PLACE_PX: Final = 75.0
Start: TypeAlias = tuple[float, MaskEvent]
"""The start of an event and the time of its frame."""


@dataclass(frozen=True)
class LabelledPerson:
    """A person who stays in one place, with labels."""

    name: str
    centre_xy: tuple[float, float]
    changes: tuple[tuple[int, Label | None], ...]
    """First frame and label of each part of the clip; the label is None if the face is not visible."""

    def label(self, frame: int) -> Label | None:
        """Return the label in a frame."""
        for since, label in reversed(self.changes):
            if since <= frame:
                return label
        return None

    def find(self, result: FrameResult) -> Face | None:
        """Return the face nearest to this person's place, or None if no face is near."""
        nearest = min(result.faces, key=self._distance_px, default=None)
        return nearest if nearest is not None and self._distance_px(nearest) < _SAME_PLACE_PX else None

    def _distance_px(self, face: Face) -> float:
        middle = face.face_box_xyxy.reshape(2, 2).mean(0)
        return float(np.hypot(*(middle - self.centre_xy)))


@dataclass(frozen=True)
class PeopleLabels:
    """The persons of one clip, with labels in every Nth frame."""

    every: int
    people: tuple[LabelledPerson, ...]

    @classmethod
    def read(cls, path: Path) -> "PeopleLabels":
        """Read `{"every": 5, "people": {"left": {"centre_xy": [x, y], "changes": [[0, "mask"], [40, null]]}}}`.

        Raises:
            ConfigError: The file has another format.
        """
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            people = []
            for name, entry in read["people"].items():
                changes = tuple((int(since), None if label is None else Label(label)) for since, label in entry["changes"])
                x, y = entry["centre_xy"]
                people.append(LabelledPerson(name, (float(x), float(y)), changes))
            return cls(int(read["every"]), tuple(people))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ConfigError(
                f"{path}: not a file of people labels: {error!r:.80}; see tests/fixtures/masks_on_and_off.json"
            ) from error


@dataclass
class TrackingMetrics:
    """Counts and times of a clip."""

    tracked_min: float = 0.0
    """Minutes in which persons were tracked, summed over the persons."""
    ids: int = 0
    raw_switches: int = 0
    """Changes of the label of single frames."""
    steady_switches: int = 0
    """Changes of the filtered label."""
    events: int = 0
    labelled: int = 0
    """Labelled faces that were found."""
    missed: int = 0
    """Labelled faces that were not found. They do not count for the accuracy."""
    raw_right: int = 0
    steady_right: int = 0
    true_switches: int = 0
    id_switches: int = 0
    false_events: list[str] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)
    """Time from the first frame labelled without a mask, after frames with a mask, to the event."""

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as `json.dumps` takes them; without labels, only those that need none."""
        per_minute = 1 / self.tracked_min if self.tracked_min else 0.0
        content: dict[str, Any] = {
            "tracked_min": round(self.tracked_min, 3),
            "ids": self.ids,
            "events": self.events,
            "raw_switches": self.raw_switches,
            "steady_switches": self.steady_switches,
            "raw_switches_per_min": round(self.raw_switches * per_minute, 2),
            "steady_switches_per_min": round(self.steady_switches * per_minute, 2),
        }
        if not self.labelled:
            return content
        return content | {
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
    results: Sequence[FrameResult], published: Sequence[tuple[float, EventOrCounts]], labels: PeopleLabels | None = None
) -> TrackingMetrics:
    """Count changes of labels and ids, right labels, false events, and the delays of events.

    Args:
        results: All results of one source, in order.
        published: The events and counts of the event detector, each with the time of its frame (`time_s`).
        labels: Manual labels of the clip. A face with the label `unknown` counts as wrong.
    """
    starts = [(time_s, event) for time_s, event in published if isinstance(event, MaskEvent) and event.phase is Phase.START]
    found = TrackingMetrics(events=len(starts))
    found.raw_switches, found.tracked_min = _switches(results, lambda face: face.label)
    found.steady_switches, _ = _switches(results, lambda face: face.shown_label)
    found.ids = len({face.track_id for result in results for face in result.faces} - {None})
    if labels is not None:
        for person in labels.people:
            _compare_faces(found, results, person, labels.every)
            own = _events_of(person, results, starts)
            found.false_events += _false_events(person, results, own)
            found.delays_s += _delays_s(person, results, own)
    return found


def _switches(results: Iterable[FrameResult], label_of: Callable[[Face], Label]) -> tuple[int, float]:
    """Return how often the label of a person changed, without `unknown`, and the minutes in which persons were tracked."""
    labels: dict[int, Label] = {}
    last_s: dict[int, float] = {}
    switches, seconds = 0, 0.0
    for result in results:
        for face in result.faces:
            if face.track_id is None:
                continue
            seconds += min(result.time_s - last_s.get(face.track_id, result.time_s), _LONGEST_STEP_S)
            last_s[face.track_id] = result.time_s
            label = label_of(face)
            if label is not Label.UNKNOWN:
                switches += labels.get(face.track_id, label) is not label
                labels[face.track_id] = label
    return switches, seconds / 60


def _compare_faces(found: TrackingMetrics, results: Sequence[FrameResult], person: LabelledPerson, every: int) -> None:
    """Add the right labels, the missed faces and the changes of the id of one labelled person."""
    track_ids: list[int] = []
    known = [label for _, label in person.changes if label is not None]
    found.true_switches += sum(first is not second for first, second in pairwise(known))
    for result in results:
        face = person.find(result)
        if face is not None and face.track_id is not None and track_ids[-1:] != [face.track_id]:
            track_ids.append(face.track_id)
        label = person.label(result.index)
        if result.index % every or label is None:
            continue
        if face is None:
            found.missed += 1
        else:
            found.labelled += 1
            found.raw_right += face.label is label
            found.steady_right += face.shown_label is label
    found.id_switches += max(0, len(track_ids) - 1)


def _events_of(person: LabelledPerson, results: Sequence[FrameResult], starts: Sequence[Start]) -> list[Start]:
    """Return the starts of events whose track id is one of the person's."""
    track_ids = set()
    for result in results:
        face = person.find(result)
        if face is not None:
            track_ids.add(face.track_id)
    return [(time_s, event) for time_s, event in starts if event.person in track_ids]


def _false_events(person: LabelledPerson, results: Sequence[FrameResult], own: Sequence[Start]) -> list[str]:
    """Name the events whose label the person did not have at any time between its beginning and the event."""
    false = []
    for time_s, event in own:
        during = {person.label(result.index) for result in results if event.began.time_s <= result.time_s <= time_s}
        if event.label not in during:
            false.append(f"{person.name} at {event.began.time_s:.2f} s")
    return false


def _delays_s(person: LabelledPerson, results: Sequence[FrameResult], own: Sequence[Start]) -> list[float]:
    """Return the time from each removal of the mask to the next event; nothing for a removal without a later event."""
    times_s = {result.index: result.time_s for result in results}
    delays_s = []
    for (_, before), (since, label) in pairwise(person.changes):
        if before is Label.MASK and label is Label.NO_MASK and since in times_s:
            later = [time_s - times_s[since] for time_s, _ in own if time_s > times_s[since]]
            delays_s += later[:1]
    return delays_s
