"""What is told of people: events, which begin, go on and end, and counts of each minute. Plain data, as in `types`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from maskstream.types import FloatArray, FrameResult, Label


@dataclass(frozen=True)
class Timestamp:
    """When something was seen."""

    frame: int
    time_s: float
    """As in `Frame`."""
    wall_time: datetime | None
    """UTC; live sources only."""

    @classmethod
    def of(cls, result: FrameResult) -> "Timestamp":
        """Return the moment of a frame."""
        return cls(result.index, result.time_s, result.wall_time)


class Phase(StrEnum):
    """What a record says of an event."""

    START = "start"
    UPDATE = "update"
    END = "end"


@dataclass(frozen=True, eq=False)
class Observation:
    """The best look at a face during an event."""

    moment: Timestamp
    confidence: float
    """Of that frame's own answer, in [0, 1]."""
    box_xyxy: FloatArray
    """(4,) float32 pixels: the tight face."""
    crop_jpeg: bytes | None
    """The face, upright, where it may be stored."""


@dataclass(frozen=True, eq=False)
class MaskEvent:
    """One record about a person whose label is worth telling."""

    event_id: str
    """The same in all records of an event, and never used again."""
    sequence: int
    """0, 1, 2 and so on within the event: with the id, it tells a record that is delivered twice."""
    phase: Phase
    label: Label
    source_id: str
    person: int
    """`track_id` of the faces."""
    zone: str | None
    began: Timestamp
    """When the steady label became this one."""
    last: Timestamp
    """When the person was last seen with it."""
    confidence: float
    """The highest steady confidence so far, in [0, 1]."""
    best: Observation
    cause: str | None = None
    """Why it ended: the label that followed, `gone`, `offline`, `ended` or `removed` (the source), `changed` (what counts as an
    event there), or `stopped` (the program)."""

    @property
    def duration_s(self) -> float:
        """From its beginning to when the person was last seen with it."""
        return max(0.0, self.last.time_s - self.began.time_s)


@dataclass(frozen=True)
class MinuteCounts:
    """The people of one source within a minute."""

    source_id: str
    began: Timestamp
    """Of its first frame."""
    last: Timestamp
    """Of its last."""
    people: Mapping[Label, int]
    """How many, each counted under the label that held longest."""
    person_s: Mapping[Label, float]
    """For how long all together."""


EventOrCounts: TypeAlias = MaskEvent | MinuteCounts
"""What receivers are told."""
