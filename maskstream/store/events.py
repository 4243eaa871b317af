"""Store the latest record of each event, and read events page by page."""

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from maskstream.events.messages import ended_record
from maskstream.events.record_types import EventRecord
from maskstream.events.types import Phase
from maskstream.io.files import plain_text
from maskstream.store.database import Database
from maskstream.store.pages import Conditions, read_page, utc_seconds

_SELECT: Final = "SELECT number, event_id, camera, zone, label, is_open, record FROM events"
_PUT: Final = """
INSERT INTO events (event_id, sequence, camera, zone, label, at_s, is_open, run, record)
VALUES (:event_id, :sequence, :camera, :zone, :label, :at_s, :is_open, :run, :record)
ON CONFLICT (event_id) DO UPDATE SET sequence = excluded.sequence, zone = excluded.zone, label = excluded.label,
    is_open = excluded.is_open, run = excluded.run, record = excluded.record
WHERE excluded.sequence > sequence
"""


@dataclass(frozen=True)
class StoredEvent:
    """The latest record of an event."""

    number: int
    """The place of the event in the order of arrival."""
    event_id: str
    camera: str
    zone: str | None
    label: str
    is_open: bool
    record: Mapping[str, Any]
    """The fields of `EventRecord`, without `best.crop_jpeg`: the store contains no faces."""


@dataclass(frozen=True)
class EventPage:
    """Events, newest first."""

    events: list[StoredEvent]
    next_cursor: str | None
    """For the next page; None after the last one."""


class EventTable:
    """The events of all cameras."""

    def __init__(self, database: Database) -> None:
        """Use an open database."""
        self._database = database

    def put(self, record: EventRecord) -> None:
        """Queue a record for the store; never blocks. A record whose sequence is not higher than the stored one is ignored."""
        values = event_values(record, self._database.run, self._database.now_s())
        self._database.offer(lambda connection: connection.execute(_PUT, values))

    def page(
        self,
        *,
        cameras: Collection[str] | None,
        camera: str | None = None,
        zone: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        is_open: bool | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> EventPage:
        """Return events, newest first.

        Args:
            cameras: The cameras that the user may see; None: all.
            camera: Only of this camera.
            zone: Only of this zone.
            label: Only with this label.
            since: Only events that began at this time or later.
            until: Only events that began before this time.
            is_open: Only events that continue, or only those that ended.
            cursor: `next_cursor` of the page before.
            limit: The maximum number.

        Raises:
            ConfigError: The cursor is not one of ours.
            StoreError: The file cannot be read.
        """
        conditions = Conditions()
        conditions.add_cameras(cameras)
        conditions.add("camera = ?", camera)
        conditions.add("zone = ?", zone)
        conditions.add("label = ?", label)
        conditions.add("is_open = ?", is_open)
        conditions.add_times(since, until)
        with self._database.reading() as connection:
            rows, following = read_page(connection, _SELECT, conditions, cursor, limit)
        return EventPage([_event(row) for row in rows], following)

    def get(self, event_id: str) -> StoredEvent | None:
        """Return an event, or None.

        Raises:
            StoreError: The file cannot be read.
        """
        conditions = Conditions()
        conditions.add("event_id = ?", event_id)
        with self._database.reading() as connection:
            rows, _ = read_page(connection, _SELECT, conditions, None, 1)
        return _event(rows[0]) if rows else None

    def open_count(self) -> int:
        """Return how many events continue."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM events WHERE is_open = 1").fetchone()[0])


def event_values(record: Mapping[str, Any], run: int | None, now_s: float) -> dict[str, object]:
    """Return the columns of a record. An event of a file, which has no time in UTC, gets the time when it is stored."""
    began_s = utc_seconds(record["began_utc"])
    best = {name: value for name, value in record["best"].items() if name != "crop_jpeg"}
    return {
        "event_id": record["event_id"],
        "sequence": record["sequence"],
        "camera": plain_text(record["source"]),
        "zone": record["zone"],
        "label": record["label"],
        "at_s": now_s if began_s is None else began_s,
        "is_open": record["phase"] != Phase.END.value,
        "run": run,
        "record": json.dumps({**record, "best": best}, allow_nan=False),
    }


def end_interrupted(connection: sqlite3.Connection, run: int | None, camera: str | None) -> None:
    """End the open events of earlier runs, which were killed, with cause `interrupted`.

    Args:
        connection: Within a transaction.
        run: This run, whose events stay open.
        camera: Only of this camera; None: of all.
    """
    statement = "SELECT record FROM events WHERE is_open = 1 AND run IS NOT ? AND (? IS NULL OR camera = ?)"
    for (text,) in connection.execute(statement, (run, camera, camera)).fetchall():
        connection.execute(_PUT, event_values(ended_record(json.loads(text), "interrupted"), run, 0.0))


def _event(row: sqlite3.Row) -> StoredEvent:
    return StoredEvent(
        number=row["number"],
        event_id=row["event_id"],
        camera=row["camera"],
        zone=row["zone"],
        label=row["label"],
        is_open=bool(row["is_open"]),
        record=json.loads(row["record"]),
    )
