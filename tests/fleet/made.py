"""Records and nodes for tests of the way from a node to the receivers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from maskstream.clock import MONOTONIC, Clock
from maskstream.events.types import MaskEvent, MinuteCounts, Observation, Phase, Timestamp
from maskstream.fleet.collector import Collector
from maskstream.fleet.node_outbox import NodeOutbox
from maskstream.fleet.wire import Heartbeat, NodeRecord, Versions
from maskstream.types import Label
from tests.properties import floats32

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CROP = b"\xff\xd8" + bytes(400)


def moment(at_s: float, offset_s: float = 0.0) -> Timestamp:
    """Return a time of a frame: seconds after noon, by a clock that is `offset_s` ahead."""
    return Timestamp(int(at_s * 25), at_s, NOON + timedelta(seconds=at_s + offset_s))


def utc_s(at_s: float) -> float:
    """Return seconds after noon as seconds since 1970."""
    return NOON.timestamp() + at_s


def mask_event(
    event_id: str = "e",
    sequence: int = 0,
    phase: Phase = Phase.START,
    *,
    camera: str = "door",
    began_s: float = 0.0,
    last_s: float = 1.0,
    offset_s: float = 0.0,
    cause: str | None = None,
) -> MaskEvent:
    """Return a record of an event, by the clock of its node."""
    return MaskEvent(
        event_id=event_id,
        sequence=sequence,
        phase=phase,
        label=Label.NO_MASK,
        source_id=camera,
        person=1,
        zone=None,
        began=moment(began_s, offset_s),
        last=moment(last_s, offset_s),
        confidence=0.9,
        best=Observation(moment(last_s, offset_s), 0.9, floats32([1, 2, 30, 40]), CROP),
        cause=cause if phase is Phase.END else None,
    )


def minute_counts(began_s: float, last_s: float, *, camera: str = "door", offset_s: float = 0.0) -> MinuteCounts:
    """Return counts, by the clock of their node: one person with a mask, all the time."""
    people, person_s = dict.fromkeys(Label, 0), dict.fromkeys(Label, 0.0)
    people[Label.MASK], person_s[Label.MASK] = 1, last_s - began_s
    return MinuteCounts(camera, moment(began_s, offset_s), moment(last_s, offset_s), people, person_s)


def heartbeat(node: str, outbox: str, records: tuple[NodeRecord, ...], *, waiting: int = 0, lost: int = 0) -> Heartbeat:
    """Return the reply of a node, with its records."""
    return Heartbeat(
        node, "agent", 1, 0.0, 25.0, 0.5, (), records, waiting, Versions("1.0", {}, ""), (), outbox=outbox, lost=lost
    )


class Node:
    """A node with one outbox, which answers a collector as an agent does."""

    def __init__(
        self,
        folder: Path,
        name: str = "east",
        *,
        epoch_of: Callable[[str], int] = lambda _camera: 1,
        limit_bytes: int = 10_000_000,
        clock: Clock = MONOTONIC,
    ) -> None:
        self.name = name
        self._open = lambda: NodeOutbox(folder / name, epoch_of, limit_bytes, clock)
        self.outbox = self._open()

    def reply(self, collector: Collector, limit: int = 100) -> Heartbeat:
        """Return what the node answers to a call of the supervisor."""
        known = collector.acknowledged(self.name)
        acknowledged = known.acknowledged if known.outbox == self.outbox.outbox_id else 0
        records = self.outbox.records(acknowledged, limit)
        return heartbeat(self.name, self.outbox.outbox_id, records, waiting=self.outbox.waiting(), lost=self.outbox.lost)

    def kill(self) -> None:
        """End the process of the agent, as SIGKILL does: what is on the disk remains."""
        self.outbox._records._file.connection.close()

    def start(self) -> None:
        """Start the agent again."""
        self.outbox = self._open()
