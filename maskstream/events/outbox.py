"""Keep undelivered messages in an SQLite file (`events.queue`), so that they survive the end of the program."""

import sqlite3
from collections.abc import Collection, Container, Mapping
from contextlib import suppress
from time import monotonic
from typing import Final

from maskstream.events.messages import COUNTS_PREFIX, Channel, QueueChanges, QueuedMessage, WaitingMessage
from maskstream.events.outbox_file import open_outbox_file

_CLOSING_S: Final = 0.8
"""Time for delivery when the program ends; the remaining messages wait for the next run."""
_DAY_S: Final = 86_400
_ADD_LOST: Final = "INSERT INTO lost VALUES (?, ?) ON CONFLICT (receiver) DO UPDATE SET records = records + excluded.records"
_ALL_RECEIVERS: Final = "SELECT receiver FROM waiting UNION SELECT receiver FROM going_on"
_DELETE_BY_ID: Final = "DELETE FROM waiting WHERE receiver = ? AND id = ? RETURNING length(body)"
_DELETE_BY_KEY: Final = "DELETE FROM waiting WHERE receiver = ? AND key = ? RETURNING length(body)"
_NOT_OF_CHANNEL: Final = f" AND NOT (camera = ? AND (key GLOB '{COUNTS_PREFIX}*') = ?)"


class Outbox:
    """Messages in order, for each receiver, in one SQLite file.

    Several threads may call; one process at a time may open the file. Only the owner may read it, and deleted rows are
    overwritten, because messages may contain crops of faces.
    """

    def __init__(self, path: str, limit_bytes: int) -> None:
        """Open or create the file.

        Args:
            path: Its folder is created where it does not exist.
            limit_bytes: The maximum size of the messages that wait for one receiver.

        Raises:
            SinkError: The file cannot be written, is not a queue, or is in use by another process.
        """
        self.path = path
        self.limit_bytes = limit_bytes
        self._users = 0
        self._close_by_s: float | None = None
        self._has_deleted = False
        self._file = open_outbox_file(path)
        self._database = self._file.connection
        with self._file.reading():
            self._sizes = self._measure_sizes()

    def update(self, receiver: str, changes: QueueChanges) -> int:
        """Apply changes for a receiver, all or none, and return how many of its oldest messages were dropped for lack of room.

        Raises:
            SinkError: The disk is full, or fails.
        """
        with self._file.transaction():
            size = self._sizes.get(receiver, 0) - self._delete_delivered(receiver, changes)
            for message in changes.added:
                row = (receiver, message.camera, message.key, message.body)
                self._database.execute("INSERT INTO waiting (receiver, camera, key, body) VALUES (?, ?, ?, ?)", row)
                size += len(message.body)
            for message in (*changes.delivered_from_memory, *changes.added):
                self._remember_open_event(receiver, message)
            dropped, dropped_bytes = self._drop_oldest(receiver, size - self.limit_bytes)
            lost = changes.lost + dropped
            if lost:
                self._database.execute(_ADD_LOST, (receiver, lost))
        self._sizes[receiver] = size - dropped_bytes
        return dropped

    def oldest(self, receiver: str, skipped: Container[int] = (), refused: Collection[Channel] = ()) -> WaitingMessage | None:
        """Return the oldest message for a receiver, or None.

        Args:
            receiver: Its key.
            skipped: Row ids of messages to leave out.
            refused: Channels to leave out.

        Raises:
            SinkError: The disk fails.
        """
        condition = "receiver = ?"
        values: list[object] = [receiver]
        for camera, kind in refused:
            condition += _NOT_OF_CHANNEL
            values += [camera, kind == "counts"]
        with self._file.reading():
            rows = self._database.execute(f"SELECT id FROM waiting WHERE {condition} ORDER BY id", values)  # noqa: S608 (of constants)
            row_id = next((row_id for (row_id,) in rows if row_id not in skipped), None)
            rows.close()
            if row_id is None:
                return None
            row = self._database.execute("SELECT camera, key, body FROM waiting WHERE id = ?", (row_id,)).fetchone()
        camera, key, body = row
        return WaitingMessage(QueuedMessage(camera, key, body), row_id)

    def waiting_count(self, receiver: str) -> int:
        """Return how many messages wait for a receiver."""
        with self._file.reading():
            return self._count_waiting(receiver)

    def lost_count(self, receiver: str) -> int:
        """Return how many messages of a receiver were dropped that it does not know about."""
        with self._file.reading():
            row = self._database.execute("SELECT records FROM lost WHERE receiver = ?", (receiver,)).fetchone()
        return int(row[0]) if row else 0

    def open_events(self, receiver: str) -> list[QueuedMessage]:
        """Return the latest message of each event without an end: the program was killed."""
        with self._file.reading():
            rows = self._database.execute("SELECT camera, event, body FROM going_on WHERE receiver = ?", (receiver,)).fetchall()
        return [QueuedMessage(camera, key=event, body=body, event=event, is_open=True) for camera, event, body in rows]

    def claim(self, receivers: Mapping[str, Collection[str]], now_s: float, keep_days: float) -> dict[str, int]:
        """Assign the waiting messages to the receivers of this run, and delete those that no run has claimed for too long.

        Args:
            receivers: The key of each receiver, with its former keys; messages under those are assigned to it.
            now_s: Seconds since 1970.
            keep_days: How long messages of a receiver are kept that no run names, from the first run without it.

        Returns:
            How many messages wait for each receiver that this run does not name; negative where they were deleted now.

        Raises:
            SinkError: The disk is full, or fails.
        """
        counts: dict[str, int] = {}
        with self._file.transaction():
            for receiver, former_keys in receivers.items():
                for former_key in former_keys:
                    self._rename(former_key, receiver)
            unclaimed = {receiver for (receiver,) in self._database.execute(_ALL_RECEIVERS)} - set(receivers)
            since_s = dict(self._database.execute("SELECT receiver, since_s FROM unclaimed").fetchall())
            self._database.execute("DELETE FROM unclaimed")
            for receiver in unclaimed:
                count = self._count_waiting(receiver)
                first_s = since_s.get(receiver, now_s)
                if now_s - first_s >= keep_days * _DAY_S:
                    for table in ("waiting", "going_on", "lost"):
                        self._database.execute(f"DELETE FROM {table} WHERE receiver = ?", (receiver,))  # noqa: S608 (of constants)
                    self._has_deleted = True
                    count = -count
                else:
                    self._database.execute("INSERT INTO unclaimed VALUES (?, ?)", (receiver, first_s))
                if count:
                    counts[receiver] = count
            sizes = self._measure_sizes()
        self._sizes = sizes
        return counts

    def truncate_log(self) -> None:
        """Remove deleted messages from the write-ahead log of SQLite as well."""
        if self._has_deleted:
            with suppress(sqlite3.Error):  # the disk may be full: the next call tries again
                self._file.truncate_log()
                self._has_deleted = False

    def attach(self) -> None:
        """Add a user; the file stays open until each user has called `detach`."""
        self._users += 1

    def closing_time_left_s(self) -> float:
        """Return how long the user that is closed now may take; all users share 0.8 s."""
        if self._close_by_s is None:
            self._close_by_s = monotonic() + _CLOSING_S
        return max(0.0, self._close_by_s - monotonic())

    def detach(self) -> None:
        """Remove a user; the last one closes the file."""
        self._users -= 1
        if self._users <= 0:
            self._file.close()

    def _delete_delivered(self, receiver: str, changes: QueueChanges) -> int:
        """Delete delivered messages, and return their bytes; messages that were dropped meanwhile do not exist any more."""
        freed = 0
        for row_id in changes.delivered_ids:
            freed += sum(length for (length,) in self._database.execute(_DELETE_BY_ID, (receiver, row_id)).fetchall())
        for key in changes.delivered_keys:
            freed += sum(length for (length,) in self._database.execute(_DELETE_BY_KEY, (receiver, key)).fetchall())
        if changes.delivered_ids or changes.delivered_keys:
            self._has_deleted = True
        return freed

    def _remember_open_event(self, receiver: str, message: QueuedMessage) -> None:
        """Keep the latest message of an event until the event ends."""
        if message.event is None:
            return
        if message.is_open:
            row = (receiver, message.event, message.camera, message.body)
            self._database.execute("INSERT OR REPLACE INTO going_on (receiver, event, camera, body) VALUES (?, ?, ?, ?)", row)
        else:
            self._database.execute("DELETE FROM going_on WHERE receiver = ? AND event = ?", (receiver, message.event))

    def _rename(self, former_key: str, receiver: str) -> None:
        self._database.execute("UPDATE waiting SET receiver = ? WHERE receiver = ?", (receiver, former_key))
        self._database.execute("UPDATE OR REPLACE going_on SET receiver = ? WHERE receiver = ?", (receiver, former_key))
        lost = self._database.execute("DELETE FROM lost WHERE receiver = ? RETURNING records", (former_key,)).fetchall()
        for (records,) in lost:
            self._database.execute(_ADD_LOST, (receiver, records))

    def _count_waiting(self, receiver: str) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM waiting WHERE receiver = ?", (receiver,)).fetchone()
        return int(count)

    def _measure_sizes(self) -> dict[str, int]:
        return dict(self._database.execute("SELECT receiver, sum(length(body)) FROM waiting GROUP BY receiver").fetchall())

    def _drop_oldest(self, receiver: str, excess_bytes: int) -> tuple[int, int]:
        """Delete the oldest messages until `excess_bytes` are free; return how many were deleted, and their bytes."""
        dropped: list[int] = []
        freed = 0
        rows = self._database.execute("SELECT id, length(body) FROM waiting WHERE receiver = ? ORDER BY id", (receiver,))
        while freed < excess_bytes and (row := rows.fetchone()) is not None:
            dropped.append(row[0])
            freed += row[1]
        rows.close()
        self._database.executemany("DELETE FROM waiting WHERE id = ?", [(row_id,) for row_id in dropped])
        return len(dropped), freed
