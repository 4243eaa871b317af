"""Keep the records of a node on its disk until the supervisor has committed them."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Final
from uuid import uuid4

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import SinkError
from maskstream.events.messages import QueuedMessage, counts_key, interrupted_message, message_of
from maskstream.events.types import EventOrCounts, MaskEvent
from maskstream.fleet.wire import NodeRecord
from maskstream.io.database_file import DatabaseFile
from maskstream.stream.states import StateChange

FILE_NAME: Final = "records.db"
DEFAULT_LIMIT_BYTES: Final = 256_000_000
_REPLY_BYTES: Final = 2_000_000
"""Of the records in one reply; a longer record is sent alone."""
_LOG_EVERY_S: Final = 60.0
_SILENT_S: Final = 30.0
"""Records that wait without an acknowledgement are reported after this time."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, epoch INTEGER NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS open_events (event TEXT PRIMARY KEY, camera TEXT NOT NULL, epoch INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (id TEXT NOT NULL, lost INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class _Tagged:
    """A message with the epoch of its camera."""

    message: QueuedMessage
    epoch: int


class NodeOutbox:
    """A `Receiver` of events whose records go to the supervisor: numbered without gaps, and sent until they are acknowledged.

    The thread of the engine calls `take`, another one `records`. While the disk accepts nothing, records are kept in memory. Only
    one process can open the file. A record that is deleted is overwritten, because it may contain the crop of a face.
    """

    def __init__(
        self,
        folder: Path,
        epoch_of: Callable[[str], int],
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        clock: Clock = MONOTONIC,
    ) -> None:
        """Open or create the file, and end the events of a killed agent with cause `interrupted`.

        Args:
            folder: Gets the file `records.db`.
            epoch_of: Returns the epoch in which the node has, or last had, a camera.
            limit_bytes: The maximum size of the waiting records; after that, the oldest are dropped.
            clock: Measures the times between log lines.

        Raises:
            SinkError: The file cannot be written, or another agent uses it.
        """
        self._file = DatabaseFile(folder / FILE_NAME, _TABLES, "the outbox of the node", "give it a folder on another disk")
        self._epoch_of = epoch_of
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._lock = RLock()
        self._unsaved: list[_Tagged] = []
        self._unsaved_lost = 0
        self._acknowledged = 0
        self._asked_s = clock.now_s()
        self._disk_error = ""
        self._logged_s: dict[str, float] = {}
        with self._file.transaction() as database:
            if database.execute("SELECT count(*) FROM outbox").fetchone() == (0,):
                database.execute("INSERT INTO outbox VALUES (?, 0)", (uuid4().hex,))
            self._id, self._lost = database.execute("SELECT id, lost FROM outbox").fetchone()
            self._count, self._size = database.execute("SELECT count(*), coalesce(sum(length(body)), 0) FROM records").fetchone()
            self._open = _open_events(database)
        self.interrupt()

    @property
    def outbox_id(self) -> str:
        """Identifies the file: the numbers of another file begin anew."""
        return str(self._id)

    @property
    def lost(self) -> int:
        """The number of records that were dropped since the file was created: the outbox was full."""
        with self._lock:
            return int(self._lost) + self._unsaved_lost

    @property
    def problem(self) -> str:
        """Why records are not on the disk; empty where they are."""
        return self._disk_error

    def take(self, items: Sequence[EventOrCounts]) -> None:
        """Write records to the disk, with the epoch of their camera; all records of an event have that of its first one."""
        with self._lock:
            self._add([self._tagged(item) for item in items])

    def state_changed(self, change: StateChange) -> None:
        """Do nothing: the state of a camera is part of each reply."""

    def health(self) -> str:
        """Return one line about records that are not on the disk, or that the supervisor does not acknowledge."""
        waiting = self.waiting()
        if self._disk_error:
            return f"supervisor: {waiting} records wait: {self._disk_error}"
        silent_s = self._clock.now_s() - self._asked_s
        return f"supervisor: {waiting} records wait: no answer for {silent_s:.0f} s" if waiting and silent_s > _SILENT_S else ""

    def interrupt(self) -> None:
        """End all open events with cause `interrupted`: their engine was killed, or has failed."""
        with self._lock:
            self._add([_Tagged(interrupted_message(latest.message), latest.epoch) for latest in self._open.values()])

    def close(self) -> None:
        """Write what is in memory only. The file stays open: the records are still to be sent. See `release`."""
        with self._lock:
            self._save()

    def waiting(self) -> int:
        """Return how many records are not acknowledged."""
        with self._lock:
            return int(self._count) + len(self._unsaved)

    def records(self, after: int, limit: int) -> tuple[NodeRecord, ...]:
        """Delete the records up to a number, and return the oldest ones that remain, in order.

        Args:
            after: The highest number that the supervisor has committed.
            limit: The maximum number of records. Less are returned where they are long.

        Raises:
            SinkError: The disk cannot be read.
        """
        with self._lock:
            self._asked_s = self._clock.now_s()
            self._save()
            self._acknowledge(after)
            found: list[NodeRecord] = []
            size = 0
            with self._file.reading() as database:
                statement = "SELECT number, camera, epoch, key, body FROM records WHERE number > ? ORDER BY number LIMIT ?"
                for number, camera, epoch, key, body in database.execute(statement, (self._acknowledged, limit)).fetchall():
                    size += len(body)
                    if found and size > _REPLY_BYTES:
                        break
                    found.append(NodeRecord(number, camera, epoch, key, body.decode()))
            return tuple(found)

    def release(self) -> None:
        """Write what is in memory only, and close the file. A second call does nothing."""
        with self._lock:
            self._save()
            if self._unsaved:
                logger.error("supervisor: {} records are lost: {}", len(self._unsaved), self._disk_error)
                self._unsaved.clear()
            self._file.close()

    def _tagged(self, item: EventOrCounts) -> _Tagged:
        message = message_of(item)
        if isinstance(item, MaskEvent):
            before = self._open.get(item.event_id)
            return _Tagged(message, self._epoch_of(item.source_id) if before is None else before.epoch)
        epoch = self._epoch_of(item.source_id)
        return _Tagged(QueuedMessage(message.camera, counts_key(item, epoch), message.body), epoch)

    def _add(self, tagged: Sequence[_Tagged]) -> None:
        self._unsaved += tagged
        for each in tagged:
            if each.message.is_open:
                self._open[str(each.message.event)] = each
            elif each.message.event is not None:
                self._open.pop(each.message.event, None)
        self._save()

    def _save(self) -> None:
        """Write what is in memory only, all or none. While the disk refuses it, keep the latest records that fit the limit."""
        if not self._unsaved and not self._unsaved_lost:
            return
        try:
            with self._file.transaction() as database:
                for each in self._unsaved:
                    _insert(database, each)
                size = self._size + sum(len(each.message.body) for each in self._unsaved)
                dropped, freed = _drop_oldest(database, size - self._limit_bytes)
                lost = self._unsaved_lost + dropped
                database.execute("UPDATE outbox SET lost = lost + ?", (lost,))
        except SinkError as error:
            self._disk_failed(error)
            return
        self._count += len(self._unsaved) - dropped
        self._size = size - freed
        self._lost += lost
        self._unsaved, self._unsaved_lost = [], 0
        if lost:
            self._log("lost", f"supervisor: the outbox is full, {lost} records were lost; {self._lost} since it was created")
        if self._disk_error:
            self._disk_error = ""
            self._logged_s.pop("disk", None)
            logger.info("supervisor: the records are on disk again")

    def _disk_failed(self, error: SinkError) -> None:
        self._disk_error = str(error)
        size = sum(len(each.message.body) for each in self._unsaved)
        while self._unsaved and size > self._limit_bytes:
            size -= len(self._unsaved.pop(0).message.body)
            self._unsaved_lost += 1
        self._log("disk", f"supervisor: {error}; until then records are kept in memory")

    def _acknowledge(self, number: int) -> None:
        """Delete the records up to a number; where the disk refuses that, the next call does it."""
        known = max(self._acknowledged, number)
        with suppress(SinkError):
            if number > self._highest():  # this file is an old copy: the supervisor knows other records by its next numbers
                self._begin_anew()
                known = 0
            with self._file.transaction() as database:
                statement = "DELETE FROM records WHERE number <= ? RETURNING length(body)"
                freed = [length for (length,) in database.execute(statement, (known,)).fetchall()]
            self._count -= len(freed)
            self._size -= sum(freed)
            if freed:
                with suppress(sqlite3.Error):
                    self._file.truncate_log()
        self._acknowledged = known

    def _highest(self) -> int:
        with self._file.reading() as database:
            row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
        return int(row[0]) if row else 0

    def _begin_anew(self) -> None:
        new_id = uuid4().hex
        with self._file.transaction() as database:
            database.execute("UPDATE outbox SET id = ?", (new_id,))
        self._id, self._acknowledged = new_id, 0
        logger.warning("{}: is an old copy; it gets a new id, and all of its records are sent", self._file.path)

    def _log(self, kind: str, line: str) -> None:
        now_s = self._clock.now_s()
        if kind not in self._logged_s or now_s - self._logged_s[kind] >= _LOG_EVERY_S:
            self._logged_s[kind] = now_s
            logger.error(line) if kind == "disk" else logger.warning(line)


def _insert(database: sqlite3.Connection, tagged: _Tagged) -> None:
    message, epoch = tagged.message, tagged.epoch
    row = (message.camera, epoch, message.key, message.body)
    database.execute("INSERT INTO records (camera, epoch, key, body) VALUES (?, ?, ?, ?)", row)
    if message.is_open:
        database.execute(
            "INSERT OR REPLACE INTO open_events VALUES (?, ?, ?, ?)", (message.event, message.camera, epoch, message.body)
        )
    elif message.event is not None:
        database.execute("DELETE FROM open_events WHERE event = ?", (message.event,))


def _open_events(database: sqlite3.Connection) -> dict[str, _Tagged]:
    rows = database.execute("SELECT event, camera, epoch, body FROM open_events").fetchall()
    return {
        event: _Tagged(QueuedMessage(camera, key=event, body=body, event=event, is_open=True), epoch)
        for event, camera, epoch, body in rows
    }


def _drop_oldest(database: sqlite3.Connection, excess_bytes: int) -> tuple[int, int]:
    """Delete the oldest records until `excess_bytes` are free; return how many were deleted, and their bytes."""
    count, freed, last = 0, 0, 0
    rows = database.execute("SELECT number, length(body) FROM records ORDER BY number")
    while freed < excess_bytes and (row := rows.fetchone()) is not None:
        last, count, freed = row[0], count + 1, freed + row[1]
    rows.close()
    database.execute("DELETE FROM records WHERE number <= ?", (last,))
    return count, freed
