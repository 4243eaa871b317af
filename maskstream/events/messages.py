"""What is delivered: records with a key each, for one receiver."""

import json
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from uuid import uuid4

from maskstream.events.event_records import event_record
from maskstream.events.types import EventOrCounts, MaskEvent, Phase
from maskstream.io.files import plain_text

COUNTS_PREFIX: Final = "counts-"
"""Of the keys of counts."""

Channel: TypeAlias = tuple[str, str]
"""Camera and kind (`events` or `counts`): what a receiver may refuse to take by itself."""


@dataclass(frozen=True)
class QueuedMessage:
    """One record for one receiver."""

    camera: str
    key: str
    """The same whenever it is delivered again, and no other letter's."""
    body: bytes
    """JSON in UTF-8."""
    event: str | None = None
    """Of which event it is, if it is of one."""
    goes_on: bool = False
    """Whether the event goes on after it."""

    @property
    def channel(self) -> Channel:
        """Return its camera and kind."""
        return self.camera, "counts" if self.key.startswith(COUNTS_PREFIX) else "events"


@dataclass
class Changes:
    """What is to be changed on disk for one receiver, all or nothing."""

    put: list[QueuedMessage] = field(default_factory=list)
    """Letters that wait from now on."""
    noted: list[QueuedMessage] = field(default_factory=list)
    """Letters that were delivered before they were on disk: of them, only whether their events go on is kept."""
    done: list[int] = field(default_factory=list)
    """Numbers of letters that were delivered."""
    done_keys: list[str] = field(default_factory=list)
    """Keys of letters that were delivered, where the number is not known."""
    lost: int = 0
    """How many more letters are lost that the receiver has not been told of."""

    def __bool__(self) -> bool:
        return bool(self.put or self.noted or self.done or self.done_keys or self.lost)


def message_of(happening: EventOrCounts) -> QueuedMessage:
    """Return the record of an event or of counts as a letter."""
    record, camera = event_record(happening), plain_text(happening.source_id)
    if isinstance(happening, MaskEvent):
        key = f"{happening.event_id}-{happening.sequence}"
        return QueuedMessage(camera, key, _body(record), happening.event_id, happening.phase is not Phase.END)
    return QueuedMessage(camera, f"{COUNTS_PREFIX}{uuid4().hex}", _body(record))


def interrupted(message: QueuedMessage) -> QueuedMessage:
    """Return the end of an event whose program did not live to end it."""
    record = json.loads(message.body)
    ended = {"ended_s": record["last_s"], "ended_utc": record["last_utc"], "cause": "interrupted"}
    record |= {"sequence": record["sequence"] + 1, "phase": Phase.END.value, **ended}
    return QueuedMessage(message.camera, f"{record['event_id']}-{record['sequence']}", _body(record), record["event_id"])


def lost_message(camera: str, records: int) -> QueuedMessage:
    """Return what a receiver is told of records that it will never get."""
    return QueuedMessage(camera, f"lost-{uuid4().hex}", _body({"type": "lost", "records": records}))


def _body(record: dict[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False).encode()
