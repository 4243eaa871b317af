"""Merge the records of all nodes exactly once: what a node sends again is known, and what a former node sends is told apart."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.events.messages import ended_record
from maskstream.fleet import collector_tables as tables
from maskstream.fleet.collector_tables import OutboxState, Outgoing
from maskstream.fleet.fencing import Fate, HandOver
from maskstream.fleet.record_commit import ACCEPTED, RecordCommit
from maskstream.fleet.record_file import DEFAULT_LIMIT_BYTES
from maskstream.fleet.wire import Heartbeat
from maskstream.io.database_file import DatabaseFile

FILE_NAME: Final = "collector.db"
SETTLE_S: Final = 10.0
"""After a hand-over, the former node has this time to send the ends of its events."""
KEPT_KEYS: Final = 200_000
"""Keys of delivered records that are kept, to know a record that a restored node sends again."""
_LOG_EVERY_S: Final = 60.0


@dataclass(frozen=True)
class Committed:
    """What one reply of a node brought."""

    accepted: int = 0
    repeated: int = 0
    """They were committed before."""
    stale: int = 0
    """Their camera was already on another node."""
    malformed: int = 0
    lost: int = 0
    """Records that the node has dropped since its last reply."""


@dataclass(frozen=True)
class Totals:
    """The records since the collector was created."""

    accepted: int
    repeated: int
    stale: int
    malformed: int
    lost: Mapping[str, int]
    """By node: records that it has dropped."""
    waiting: int
    """Records that are not delivered."""
    dropped: int
    """Records that were dropped before all receivers had them."""


class Collector:
    """The committed records of a site, in one SQLite file of the supervisor. Several threads may call.

    A record is on the disk before it is acknowledged, in the same transaction as the number that acknowledges it. It waits there
    for all receivers. Where one of them cannot be written for so long that the file is full, the oldest records are dropped.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock = MONOTONIC,
        settle_s: float = SETTLE_S,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        """Open or create the file.

        Args:
            folder: Gets the file `collector.db`.
            clock: Measures the time after a hand-over.
            settle_s: After this time, the open events of a former node end without it.
            limit_bytes: The maximum size of the records that wait for receivers.

        Raises:
            SinkError: The file cannot be written, or another supervisor uses it.
        """
        self._file = DatabaseFile(folder / FILE_NAME, tables.TABLES, "the records of the site", "set folder to another disk")
        self._clock = clock
        self._settle_s = settle_s
        self._limit_bytes = limit_bytes
        self._logged_s: dict[str, float] = {}
        with self._file.reading() as database:
            self._settle_at_s = dict.fromkeys(tables.unsettled(database), clock.now_s() + settle_s)

    def acknowledged(self, node: str) -> OutboxState:
        """Return which records of a node are committed: of the outbox that it used last.

        Raises:
            SinkError: The file cannot be read.
        """
        with self._file.reading() as database:
            return tables.outbox_state(database, node)

    def commit(self, beat: Heartbeat, clock_offset_s: float) -> Committed:
        """Commit the records of a reply and their acknowledgement: all, or none.

        Args:
            beat: May be older than one that was committed, or the same.
            clock_offset_s: The time of the clock of the node minus that of this machine.

        Raises:
            SinkError: The disk is full or fails. Nothing is committed, and the node sends the records again.
        """
        with self._file.reading() as database:
            known = tables.outbox_state(database, beat.node, beat.outbox)
        records = sorted((each for each in beat.records if each.number > known.acknowledged), key=lambda each: each.number)
        lost = max(0, beat.lost - known.lost)
        if not records and not lost:
            return Committed()
        with self._file.transaction() as database:
            commit = RecordCommit(database, clock_offset_s)
            for record in records:
                commit.add(record)
            for name, number in commit.fates.items():
                tables.count(database, name, number)
            tables.acknowledge(database, beat.node, beat.outbox, records[-1].number if records else 0, beat.lost)
            dropped = tables.drop_oldest(database, self._limit_bytes)
        for each in commit.unsettled:
            self._settle_at_s.setdefault(each, self._clock.now_s() + self._settle_s)
        if commit.malformed:
            self._log(beat.node, f"{beat.node}: {commit.malformed}")
        if dropped:
            total = self.totals().dropped
            self._log(
                "full", f"{self._file.path}: full: the oldest records were dropped that a receiver has not taken, {total} so far"
            )
        return Committed(**commit.fates, lost=lost)

    def hand_over(self, camera: str, old_epoch: int, new_epoch: int | None, at_utc: float) -> None:
        """End the earlier epochs of a camera. The first call for a new epoch counts; others change nothing.

        Records of earlier epochs count up to that time, also when they arrive later. Their open events end with cause `moved`, or
        `removed`: when their node ends them, or after `settle_s`.

        Args:
            camera: Its name.
            old_epoch: The epoch that ends, with all epochs before it.
            new_epoch: The one that follows; None: the camera has left the site.
            at_utc: The time of the first frame of the new epoch, in seconds since 1970 by the clock of this machine.

        Raises:
            SinkError: The disk is full or fails.
        """
        cause = "removed" if new_epoch is None else "moved"
        epoch = old_epoch + 1 if new_epoch is None else new_epoch
        with self._file.transaction() as database:
            is_first = tables.insert_hand_over(database, camera, epoch, HandOver(at_utc, cause))
        if is_first:
            self._settle_at_s[camera, epoch] = self._clock.now_s() + self._settle_s

    def settle(self) -> int:
        """End the open events of hand-overs that were `settle_s` ago, and return how many.

        Raises:
            SinkError: The disk is full or fails.
        """
        now_s = self._clock.now_s()
        due = [hand_over for hand_over, at_s in self._settle_at_s.items() if at_s <= now_s]
        if not due:
            return 0
        ended = 0
        with self._file.transaction() as database:
            for camera, epoch in due:
                for event in tables.open_events(database, camera, epoch):
                    hand_over = tables.hand_over_of(database, camera, event.epoch)
                    if hand_over is not None:
                        record = ended_record(event.latest, hand_over.cause)
                        ended += tables.insert_event(database, camera, event.epoch, record, event.sequence)
                tables.set_settled(database, camera, epoch)
            tables.count(database, ACCEPTED, ended)
        for each in due:
            del self._settle_at_s[each]
        return ended

    def outgoing(self, limit: int, after: int = 0) -> list[Outgoing]:
        """Return the oldest records that are not delivered, in order.

        Args:
            limit: The maximum number.
            after: Only records with a higher number.

        Raises:
            SinkError: The file cannot be read.
        """
        with self._file.reading() as database:
            return tables.outgoing(database, limit, after)

    def delivered(self, up_to: int, positions: Mapping[str, int] | None = None) -> None:
        """Delete the bodies of the records that all receivers have.

        Args:
            up_to: The highest number among them.
            positions: How far receivers have come with them; `position` returns it.

        Raises:
            SinkError: The disk is full or fails.
        """
        with self._file.transaction() as database:
            tables.set_delivered(database, up_to, KEPT_KEYS)
            tables.set_positions(database, positions or {})
        with suppress(sqlite3.Error):
            self._file.truncate_log()

    def position(self, receiver: str) -> int | None:
        """Return how far a receiver had come with the last delivered record; None where it is not known.

        Raises:
            SinkError: The file cannot be read.
        """
        with self._file.reading() as database:
            return tables.position(database, receiver)

    def totals(self) -> Totals:
        """Return what was committed so far.

        Raises:
            SinkError: The file cannot be read.
        """
        with self._file.reading() as database:
            counters, lost, waiting = tables.totals(database)
        by_fate = {name: counters.get(name, 0) for name in (ACCEPTED, *Fate)}
        return Totals(**by_fate, lost=lost, waiting=waiting, dropped=counters.get(tables.DROPPED, 0))

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        self._file.close()

    def _log(self, cause: str, line: str) -> None:
        now_s = self._clock.now_s()
        if cause not in self._logged_s or now_s - self._logged_s[cause] >= _LOG_EVERY_S:
            self._logged_s[cause] = now_s
            logger.error("{}", line)
