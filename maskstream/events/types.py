"""Data types of events (start, update, end) and of counts per minute."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from maskstream.types import FloatArray, FrameResult, Label


@dataclass(frozen=True)
class Timestamp:
    """The index and the time of one frame."""

    frame: int
    time_s: float
    """As in `Frame`."""
    wall_time: datetime | None
    """UTC; live sources only."""

    @classmethod
    def of(cls, result: FrameResult) -> "Timestamp":
        """Return the timestamp of a frame."""
        return cls(result.index, result.time_s, result.wall_time)


class Phase(StrEnum):
    """Which part of an event a record reports."""

    START = "start"
    UPDATE = "update"
    END = "end"


@dataclass(frozen=True, eq=False)
class Observation:
    """One face in one frame; an event carries its best one."""

    timestamp: Timestamp
    confidence: float
    """Of the label of that frame alone, in [0, 1]."""
    box_xyxy: FloatArray
    """(4,) float32 pixels: the tight face."""
    crop_jpeg: bytes | None
    """The upright face, or None where it must not be stored."""


@dataclass(frozen=True, eq=False)
class MaskEvent:
    """One record of an event: a person has a label of `events.labels`."""

    event_id: str
    """The same in all records of an event, and unique among events."""
    sequence: int
    """0, 1, 2 ... within the event. With `event_id` it identifies a record that is delivered twice."""
    phase: Phase
    label: Label
    source_id: str
    person: int
    """`track_id` of the faces."""
    zone: str | None
    began: Timestamp
    """When the steady label became `label`."""
    last: Timestamp
    """When the person was last seen with `label`."""
    confidence: float
    """The highest steady confidence so far, in [0, 1]."""
    best: Observation
    cause: str | None = None
    """Why the event ended: the label that followed, `gone` (the person), `offline`, `ended` or `removed` (the source), `moved`
    (to another node of a fleet), `changed` (`events.labels` were edited), `stopped` or `interrupted` (the program)."""

    @property
    def duration_s(self) -> float:
        """Seconds from `began` to `last`."""
        return max(0.0, self.last.time_s - self.began.time_s)


@dataclass(frozen=True)
class MinuteCounts:
    """The people of one source in one minute."""

    source_id: str
    began: Timestamp
    """Of the first frame."""
    last: Timestamp
    """Of the last frame."""
    people: Mapping[Label, int]
    """How many people; each is counted under the label with the longest time."""
    person_s: Mapping[Label, float]
    """Seconds per label, added up over all people."""
    key: str = ""
    """Identifies the record where it is delivered twice; empty: source and time identify it."""


EventOrCounts: TypeAlias = MaskEvent | MinuteCounts
"""What the event detector returns and receivers get."""
