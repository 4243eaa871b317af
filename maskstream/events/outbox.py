"""What is still to be delivered, on disk: it outlives the program, however that ends."""

import os
import sqlite3
from collections.abc import Collection, Container, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Final

from loguru import logger

from maskstream.errors import SinkError
from maskstream.events.messages import COUNTS_PREFIX, Changes, Channel, QueuedMessage

_CLOSING_S: Final = 0.8
"""For what is left at the end; the rest waits for the next run."""
_DAY_S: Final = 86_400
_PRIVATE: Final = 0o600
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, camera TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_receiver ON waiting (receiver, id);
CREATE TABLE IF NOT EXISTS going_on (
    receiver TEXT, event TEXT, camera TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (receiver, event)
);
CREATE TABLE IF NOT EXISTS lost (receiver TEXT PRIMARY KEY, records INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS unclaimed (receiver TEXT PRIMARY KEY, since_s REAL NOT NULL);
"""
_ADD_LOST: Final = "INSERT INTO lost VALUES (?, ?) ON CONFLICT (receiver) DO UPDATE SET records = records + excluded.records"
_ALL_RECEIVERS: Final = "SELECT receiver FROM waiting UNION SELECT receiver FROM going_on"


class Outbox:
    """Letters in order, for each receiver, in a file of SQLite. Several threads may call; one process at a time has it.

    Only its owner may read the file, and what is deleted is overwritten: letters may hold faces.
    """

    def __init__(self, path: str, limit_bytes: int) -> None:
        """Open the file, or make it.

        Args:
            path: Its folder is made where it is missing.
            limit_bytes: Most that waits for each receiver.

        Raises:
            SinkError: It cannot be written, is no such file, or another program has it.
        """
        self.path = path
        self.limit_bytes = limit_bytes
        self._lock = Lock()
        self._users = 0
        self._close_by_s: float | None = None
        self._has_deleted = False
        try:
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE))
            self._base = sqlite3.connect(path, timeout=0.2, check_same_thread=False, isolation_level=None)
            for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
                self._base.execute(f"PRAGMA {setting}").fetchall()
            self._base.executescript(_TABLES)
            self._sizes = self._measured()
        except (OSError, sqlite3.Error) as error:
            busy = "another run of the program has it" if "locked" in str(error) else str(error)
            raise SinkError(f"{path}: the queue of events cannot be opened: {busy}; set events.queue to another file") from error
        if _make_private(path):
            with suppress(sqlite3.Error):  # the disk may be full
                self._base.execute("VACUUM")  # what was deleted before is still in it

    def update(self, receiver: str, changes: Changes) -> int:
        """Change what is kept for a receiver, all or nothing, and return how many older letters made room.

        Raises:
            SinkError: The disk is full, or broken.
        """
        with self._transaction():
            size = self._sizes.get(receiver, 0) - self._delete(receiver, changes)
            for message in changes.put:
                row = (receiver, message.camera, message.key, message.body)
                self._base.execute("INSERT INTO waiting (receiver, camera, key, body) VALUES (?, ?, ?, ?)", row)
            for message in (*changes.noted, *changes.put):
                self._note(receiver, message)
            size += sum(len(message.body) for message in changes.put)
            oldest = self._oldest(receiver, size - self.limit_bytes)
            self._base.executemany("DELETE FROM waiting WHERE id = ?", [(number,) for number, _ in oldest])
            if changes.lost + len(oldest):
                self._base.execute(_ADD_LOST, (receiver, changes.lost + len(oldest)))
        self._sizes[receiver] = size - sum(length for _, length in oldest)
        return len(oldest)

    def first(
        self, receiver: str, skipped: Container[int] = (), refused: Collection[Channel] = ()
    ) -> tuple[int, QueuedMessage] | None:
        """Return the oldest letter for a receiver and its number, or None.

        Args:
            receiver: For whom it is.
            skipped: Numbers of letters to leave out.
            refused: Channels to leave out.

        Raises:
            SinkError: The disk is broken.
        """
        others = "".join(f" AND NOT (camera = ? AND (key GLOB '{COUNTS_PREFIX}*') = ?)" for _ in refused)
        values = [value for camera, kind in refused for value in (camera, kind == "counts")]
        with self._reading():
            rows = self._base.execute(f"SELECT id FROM waiting WHERE receiver = ?{others} ORDER BY id", (receiver, *values))  # noqa: S608 (of constants)
            number = next((number for (number,) in rows if number not in skipped), None)
            rows.close()
            row = self._base.execute("SELECT camera, key, body FROM waiting WHERE id = ?", (number,)).fetchone()
        return None if row is None or number is None else (number, QueuedMessage(*row))

    def waiting(self, receiver: str) -> int:
        """Return how many letters wait for a receiver."""
        with self._reading():
            return int(self._base.execute("SELECT count(*) FROM waiting WHERE receiver = ?", (receiver,)).fetchone()[0])

    def lost(self, receiver: str) -> int:
        """Return how many letters of a receiver made room for newer ones, and it has not been told."""
        with self._reading():
            row = self._base.execute("SELECT records FROM lost WHERE receiver = ?", (receiver,)).fetchone()
        return int(row[0]) if row else 0

    def going_on(self, receiver: str) -> list[QueuedMessage]:
        """Return the last letter of each event that has not ended, as after a program that was killed."""
        with self._reading():
            rows = self._base.execute("SELECT camera, event, body FROM going_on WHERE receiver = ?", (receiver,)).fetchall()
        return [QueuedMessage(camera, event, body, event, goes_on=True) for camera, event, body in rows]

    def claim(self, receivers: Mapping[str, Collection[str]], now_s: float, keep_days: float) -> dict[str, int]:
        """Say who is served from now on, and delete what has waited for nobody for too long.

        Args:
            receivers: All of them, with the names that they had before; what waits under those is theirs.
            now_s: Seconds since 1970.
            keep_days: How long letters are kept of a receiver that is not served any more, from the first run without it.

        Returns:
            How many letters wait for each receiver that is not served, those that were deleted now with a negative number.

        Raises:
            SinkError: The disk is full, or broken.
        """
        counts: dict[str, int] = {}
        with self._transaction():
            for receiver, formers in receivers.items():
                for former in formers:
                    self._rename(former, receiver)
            everybody = {receiver for (receiver,) in self._base.execute(_ALL_RECEIVERS)}
            strangers = everybody - set(receivers)
            since_s = dict(self._base.execute("SELECT receiver, since_s FROM unclaimed").fetchall())
            self._base.execute("DELETE FROM unclaimed")
            for receiver in strangers:
                (count,) = self._base.execute("SELECT count(*) FROM waiting WHERE receiver = ?", (receiver,)).fetchone()
                if now_s - since_s.get(receiver, now_s) >= keep_days * _DAY_S:
                    self._forget(receiver)
                    count = -count
                else:
                    self._base.execute("INSERT INTO unclaimed VALUES (?, ?)", (receiver, since_s.get(receiver, now_s)))
                if count:
                    counts[receiver] = count
            sizes = self._measured()
        self._sizes = sizes
        return counts

    def tidy(self) -> None:
        """Take what was deleted out of SQLite's log as well."""
        if self._has_deleted:
            with self._reading(), suppress(sqlite3.Error):  # the disk may be full: next time
                self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._has_deleted = False

    def join(self) -> None:
        """Use it from now on."""
        self._users += 1

    def time_left_s(self) -> float:
        """Return how long the user that is closed now may take; all share what little there is."""
        if self._close_by_s is None:
            self._close_by_s = monotonic() + _CLOSING_S
        return max(0.0, self._close_by_s - monotonic())

    def leave(self) -> None:
        """Use it no more; the last user closes the file."""
        self._users -= 1
        if self._users <= 0:
            with self._lock, suppress(sqlite3.Error):
                self._base.close()

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        with self._lock:
            try:
                self._base.execute("BEGIN IMMEDIATE")
                yield
                self._base.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self._base.execute("ROLLBACK")
                if not isinstance(error, sqlite3.Error):
                    raise
                raise SinkError(
                    f"{self.path}: events cannot be kept: {error}; make room, or set events.queue elsewhere"
                ) from error

    @contextmanager
    def _reading(self) -> Generator[None, None, None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise SinkError(
                    f"{self.path}: the queue of events cannot be read: {error}; set events.queue elsewhere"
                ) from error

    def _delete(self, receiver: str, changes: Changes) -> int:
        """Delete what was delivered, and return how many bytes it had; what made room meanwhile is not there any more."""
        deleted = 0
        for column, values in (("id", changes.done), ("key", changes.done_keys)):
            for value in values:
                command = f"DELETE FROM waiting WHERE receiver = ? AND {column} = ? RETURNING length(body)"  # noqa: S608 (of constants)
                rows = self._base.execute(command, (receiver, value)).fetchall()
                deleted += sum(length for (length,) in rows)
                self._has_deleted = True
        return deleted

    def _note(self, receiver: str, message: QueuedMessage) -> None:
        """Keep the last letter of an event that goes on, until it ends."""
        if message.event is None:
            return
        if message.goes_on:
            row = (receiver, message.event, message.camera, message.body)
            self._base.execute("INSERT OR REPLACE INTO going_on (receiver, event, camera, body) VALUES (?, ?, ?, ?)", row)
        else:
            self._base.execute("DELETE FROM going_on WHERE receiver = ? AND event = ?", (receiver, message.event))

    def _rename(self, former: str, receiver: str) -> None:
        self._base.execute("UPDATE waiting SET receiver = ? WHERE receiver = ?", (receiver, former))
        self._base.execute("UPDATE OR REPLACE going_on SET receiver = ? WHERE receiver = ?", (receiver, former))
        for (records,) in self._base.execute("DELETE FROM lost WHERE receiver = ? RETURNING records", (former,)).fetchall():
            self._base.execute(_ADD_LOST, (receiver, records))

    def _forget(self, receiver: str) -> None:
        for table in ("waiting", "going_on", "lost"):
            self._base.execute(f"DELETE FROM {table} WHERE receiver = ?", (receiver,))  # noqa: S608 (of constants)
        self._has_deleted = True

    def _measured(self) -> dict[str, int]:
        return dict(self._base.execute("SELECT receiver, sum(length(body)) FROM waiting GROUP BY receiver").fetchall())

    def _oldest(self, receiver: str, too_much: int) -> list[tuple[int, int]]:
        """Return numbers and lengths of the oldest letters, which together are as long as what is too much."""
        taken: list[tuple[int, int]] = []
        rows: Any = self._base.execute("SELECT id, length(body) FROM waiting WHERE receiver = ? ORDER BY id", (receiver,))
        while too_much > 0 and (row := rows.fetchone()) is not None:
            taken.append(row)
            too_much -= row[1]
        rows.close()
        return taken


def _make_private(path: str) -> bool:
    """Let nobody but the owner read the file and those that SQLite keeps beside it; return whether somebody else could."""
    could = False
    for each in (Path(path), *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal"))):
        try:
            mode = each.stat().st_mode & 0o777
            if mode & 0o077:
                could = True
                each.chmod(mode & 0o700)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("{}: others can read it, and that cannot be changed: {}; it may hold faces", each, error.strerror)
    return could


def peek(path: Path) -> dict[str, int]:
    """Return how many letters wait for each receiver in a queue that nobody has; nothing where that cannot be told now."""
    try:
        base = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)
        try:
            return dict(base.execute("SELECT receiver, count(*) FROM waiting GROUP BY receiver").fetchall())
        finally:
            base.close()
    except sqlite3.Error:
        return {}
