"""Messages for one receiver: records of events and counts as JSON, each with a unique key."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from urllib.parse import quote
from uuid import uuid4

from maskstream.events.event_records import event_record
from maskstream.events.types import EventOrCounts, MaskEvent, MinuteCounts, Phase
from maskstream.io.files import plain_text

COUNTS_PREFIX: Final = "counts-"
"""Of the keys of counts."""
_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)

Channel: TypeAlias = tuple[str, str]
"""Camera and kind (`events` or `counts`). A receiver may refuse one channel and accept the others."""


@dataclass(frozen=True)
class QueuedMessage:
    """One record for one receiver."""

    camera: str
    key: str
    """Unique among messages, and the same each time this message is delivered."""
    body: bytes
    """JSON in UTF-8."""
    event: str | None = None
    """The `event_id`, or None where the record is not of an event."""
    is_open: bool = False
    """Whether the event continues after this record."""

    @property
    def channel(self) -> Channel:
        """Return camera and kind."""
        return self.camera, "counts" if self.key.startswith(COUNTS_PREFIX) else "events"


@dataclass(frozen=True)
class WaitingMessage:
    """A message that waits for delivery."""

    message: QueuedMessage
    row_id: int | None
    """Of its row in the outbox; None while it is in memory only."""


@dataclass
class QueueChanges:
    """Changes to the messages of one receiver on disk; all are applied, or none."""

    added: list[QueuedMessage] = field(default_factory=list)
    """Messages that wait from now on."""
    delivered_from_memory: list[QueuedMessage] = field(default_factory=list)
    """Messages that were delivered before they were on disk. Only whether their events are open is kept."""
    delivered_ids: list[int] = field(default_factory=list)
    """Row ids of messages that were delivered."""
    delivered_keys: list[str] = field(default_factory=list)
    """Keys of messages that were delivered, where the row id is not known."""
    lost: int = 0
    """By how much the number of lost messages grows that the receiver does not know about."""

    def __bool__(self) -> bool:
        return bool(self.added or self.delivered_from_memory or self.delivered_ids or self.delivered_keys or self.lost)


def message_of(item: EventOrCounts) -> QueuedMessage:
    """Return the record of an event or of counts as a message."""
    camera, body = plain_text(item.source_id), _json(event_record(item))
    if not isinstance(item, MaskEvent):
        return QueuedMessage(camera, item.key or counts_key(item), body)
    key = f"{item.event_id}-{item.sequence}"
    return QueuedMessage(camera, key, body, event=item.event_id, is_open=item.phase is not Phase.END)


def counts_key(counts: MinuteCounts, epoch: int | None = None) -> str:
    """Return the key of counts: the same each time for a live source; unique for a file, which may be run again.

    Args:
        counts: Of a minute or a part of it.
        epoch: Of the camera in a fleet. Two nodes with different clocks may begin a minute at the same time.
    """
    began = counts.began.wall_time
    if began is None:
        return f"{COUNTS_PREFIX}{uuid4().hex}"
    camera = quote(counts.source_id, safe="", errors="surrogatepass").replace(".", "%2E")  # for HTTP headers and signed texts
    parts = [camera, *([] if epoch is None else [str(epoch)]), str((began - _1970) // _MS)]
    return COUNTS_PREFIX + "-".join(parts)


def ended_record(latest: dict[str, Any], cause: str) -> dict[str, Any]:
    """Return the record that ends an event, from the latest record of the event."""
    ended = {f"ended_{unit}": latest[f"last_{unit}"] for unit in ("s", "utc")}
    return latest | ended | {"sequence": latest["sequence"] + 1, "phase": Phase.END.value, "cause": cause}


def interrupted_message(latest: QueuedMessage) -> QueuedMessage:
    """Return the end of an event whose program was killed.

    Args:
        latest: The latest message of the event.
    """
    record = ended_record(json.loads(latest.body), "interrupted")
    key = f"{record['event_id']}-{record['sequence']}"
    return QueuedMessage(latest.camera, key, _json(record), event=record["event_id"])


def lost_message(camera: str, records: int) -> QueuedMessage:
    """Return the message that reports how many records are lost."""
    return QueuedMessage(camera, f"lost-{uuid4().hex}", _json({"type": "lost", "records": records}))


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False).encode()
