"""The SQLite file of the records of a node: numbered without gaps, also across restarts."""

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from loguru import logger

from maskstream.events.messages import QueuedMessage
from maskstream.fleet.wire import NodeRecord
from maskstream.io.database_file import DatabaseFile

FILE_NAME: Final = "records.db"
DEFAULT_LIMIT_BYTES: Final = 256_000_000
"""Of records that wait: on a node, and at the supervisor."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, epoch INTEGER NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS open_events (event TEXT PRIMARY KEY, camera TEXT NOT NULL, epoch INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (id TEXT NOT NULL, lost INTEGER NOT NULL);
"""
_AFTER: Final = "SELECT number, camera, epoch, key, body FROM records WHERE number > ? ORDER BY number LIMIT ?"


@dataclass(frozen=True)
class EpochMessage:
    """A message with the epoch of its camera."""

    message: QueuedMessage
    epoch: int


@dataclass(frozen=True)
class OldestRecords:
    """The records that are dropped for lack of room."""

    up_to: int
    """The highest number among them; 0 without any."""
    count: int
    size: int
    """Bytes of their bodies."""


class RecordFile:
    """The records that wait, the latest record of each open event, and how many records were dropped.

    Its methods raise `SinkError` where the disk is full or fails; nothing is changed then.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the file.

        Args:
            folder: Gets the file `records.db`.

        Raises:
            SinkError: The file cannot be written, or another agent uses it.
        """
        self._file = DatabaseFile(folder / FILE_NAME, _TABLES, "the outbox of the node", "give it a folder on another disk")
        self._deleted_up_to = 0
        with self._file.transaction() as database:
            if database.execute("SELECT count(*) FROM outbox").fetchone() == (0,):
                database.execute("INSERT INTO outbox VALUES (?, 0)", (uuid4().hex,))
            self.id, self.lost = database.execute("SELECT id, lost FROM outbox").fetchone()
            self.count, self._size = database.execute("SELECT count(*), coalesce(sum(length(body)), 0) FROM records").fetchone()

    def open_events(self) -> dict[str, EpochMessage]:
        """Return the latest message of each event without an end."""
        with self._file.reading() as database:
            rows = database.execute("SELECT event, camera, epoch, body FROM open_events").fetchall()
        return {
            event: EpochMessage(QueuedMessage(camera, key=event, body=body, event=event, is_open=True), epoch)
            for event, camera, epoch, body in rows
        }

    def add(self, messages: Sequence[EpochMessage], lost: int, limit_bytes: int) -> int:
        """Add messages, count lost ones, and return how many of the oldest were dropped for lack of room."""
        with self._file.transaction() as database:
            for each in messages:
                _insert(database, each)
            size = self._size + sum(len(each.message.body) for each in messages)
            dropped = oldest_records(database, size - limit_bytes)
            database.execute("DELETE FROM records WHERE number <= ?", (dropped.up_to,))
            database.execute("UPDATE outbox SET lost = lost + ?", (lost + dropped.count,))
        self.count += len(messages) - dropped.count
        self.lost += lost + dropped.count
        self._size = size - dropped.size
        return dropped.count

    def delete_up_to(self, number: int) -> None:
        """Delete the records up to a number. A number that is not known yet shows that this file is an old copy of itself.

        The supervisor knows other records by the next numbers of a copy. It gets a new id, and all its records are sent.
        """
        if number <= self._deleted_up_to:
            return
        if number > self._highest():
            self._renew()
            return
        with self._file.transaction() as database:
            statement = "DELETE FROM records WHERE number <= ? RETURNING length(body)"
            freed = [length for (length,) in database.execute(statement, (number,)).fetchall()]
        self._deleted_up_to = number
        self.count -= len(freed)
        self._size -= sum(freed)
        with suppress(sqlite3.Error):
            self._file.truncate_log()

    def after(self, number: int, limit: int, limit_bytes: int) -> tuple[NodeRecord, ...]:
        """Return the oldest records after a number: at most `limit` and `limit_bytes`, and at least one where there is one."""
        found: list[NodeRecord] = []
        size = 0
        with self._file.reading() as database:
            for each, camera, epoch, key, body in database.execute(_AFTER, (number, limit)).fetchall():
                size += len(body)
                if found and size > limit_bytes:
                    break
                found.append(NodeRecord(each, camera, epoch, key, body.decode()))
        return tuple(found)

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        self._file.close()

    def _highest(self) -> int:
        with self._file.reading() as database:
            row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        return int(row[0]) if row else 0

    def _renew(self) -> None:
        new_id = uuid4().hex
        with self._file.transaction() as database:
            database.execute("UPDATE outbox SET id = ?", (new_id,))
        self.id = new_id
        logger.warning("{}: is an old copy; it gets a new id, and all of its records are sent", self._file.path)


def _insert(database: sqlite3.Connection, added: EpochMessage) -> None:
    message, epoch = added.message, added.epoch
    row = (message.camera, epoch, message.key, message.body)
    database.execute("INSERT INTO records (camera, epoch, key, body) VALUES (?, ?, ?, ?)", row)
    if message.is_open:
        event = (message.event, message.camera, epoch, message.body)
        database.execute("INSERT OR REPLACE INTO open_events VALUES (?, ?, ?, ?)", event)
    elif message.event is not None:
        database.execute("DELETE FROM open_events WHERE event = ?", (message.event,))


def oldest_records(database: sqlite3.Connection, excess_bytes: int) -> OldestRecords:
    """Return the oldest records of a table `records` whose bodies have `excess_bytes` or more; none without an excess."""
    up_to = count = size = 0
    rows = database.execute("SELECT number, length(body) FROM records WHERE body IS NOT NULL ORDER BY number")
    while size < excess_bytes and (row := rows.fetchone()) is not None:
        up_to, count, size = row[0], count + 1, size + row[1]
    rows.close()
    return OldestRecords(up_to, count, size)
