"""What is still to be delivered, on disk: it outlives the program, however that ends."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Final

from maskstream.errors import SinkError

_CLOSING_S: Final = 0.8
"""For what is left at the end; the rest waits for the next run."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, camera TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_receiver ON waiting (receiver, id);
CREATE TABLE IF NOT EXISTS going_on (
    receiver TEXT, event TEXT, camera TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (receiver, event)
);
CREATE TABLE IF NOT EXISTS lost (receiver TEXT PRIMARY KEY, records INTEGER NOT NULL);
"""


@dataclass(frozen=True)
class Letter:
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


class Outbox:
    """Letters in order, for each receiver, in a file of SQLite. Several threads may call; one process at a time has it."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        """Open the file, or make it.

        Args:
            path: Its folder is made where it is missing.
            limit_bytes: Most that waits for each receiver.

        Raises:
            SinkError: It cannot be written, is no such file, or another program has it.
        """
        self.path = path
        self._limit = limit_bytes
        self._lock = Lock()
        self._users = 0
        self._close_by_s: float | None = None
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=0.2, check_same_thread=False, isolation_level=None)
            for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
                self._base.execute(f"PRAGMA {setting}").fetchall()
            self._base.executescript(_TABLES)
            sizes = self._base.execute("SELECT receiver, sum(length(body)) FROM waiting GROUP BY receiver").fetchall()
        except (OSError, sqlite3.Error) as error:
            busy = "another run of the program has it" if "locked" in str(error) else str(error)
            raise SinkError(f"{path}: the queue of events cannot be opened: {busy}; set events.queue to another file") from error
        self._sizes: dict[str, int] = dict(sizes)

    def put(self, receiver: str, letters: Sequence[Letter]) -> int:
        """Keep letters for a receiver, all or none, and return how many older ones made room for them.

        Raises:
            SinkError: The disk is full, or broken.
        """
        with self._transaction():
            for letter in letters:
                row = (receiver, letter.camera, letter.key, letter.body)
                self._base.execute("INSERT INTO waiting (receiver, camera, key, body) VALUES (?, ?, ?, ?)", row)
                if letter.event is not None:
                    self._note(receiver, letter, letter.event)
            size = self._sizes.get(receiver, 0) + sum(len(letter.body) for letter in letters)
            oldest = self._oldest(receiver, size - self._limit)
            self._base.executemany("DELETE FROM waiting WHERE id = ?", [(number,) for number, _ in oldest])
            if oldest:
                counted = (
                    "INSERT INTO lost VALUES (?, ?) ON CONFLICT (receiver) DO UPDATE SET records = records + excluded.records"
                )
                self._base.execute(counted, (receiver, len(oldest)))
            self._sizes[receiver] = size - sum(length for _, length in oldest)
        return len(oldest)

    def first(self, receiver: str) -> tuple[int, Letter] | None:
        """Return the oldest letter for a receiver and its number, or None."""
        row = self._row("SELECT id, camera, key, body FROM waiting WHERE receiver = ? ORDER BY id LIMIT 1", receiver)
        return None if row is None else (row[0], Letter(row[1], row[2], row[3]))

    def done(self, receiver: str, number: int) -> None:
        """Forget a letter that was delivered; one that made room meanwhile is forgotten already.

        Raises:
            SinkError: The disk is broken.
        """
        with self._transaction():
            row = self._base.execute("DELETE FROM waiting WHERE id = ? RETURNING length(body)", (number,)).fetchone()
            self._sizes[receiver] = self._sizes.get(receiver, 0) - (row[0] if row else 0)

    def waiting(self, receiver: str) -> int:
        """Return how many letters wait for a receiver."""
        return int((self._row("SELECT count(*) FROM waiting WHERE receiver = ?", receiver) or [0])[0])

    def lost(self, receiver: str) -> int:
        """Return how many letters of a receiver made room for newer ones, and it has not been told."""
        return int((self._row("SELECT records FROM lost WHERE receiver = ?", receiver) or [0])[0])

    def told_lost(self, receiver: str, records: int) -> None:
        """Take note that the receiver knows of so many."""
        with self._transaction():
            self._base.execute("UPDATE lost SET records = records - ? WHERE receiver = ?", (records, receiver))

    def going_on(self, receiver: str) -> list[Letter]:
        """Return the last letter of each event that has not ended, as after a program that was killed."""
        with self._lock:
            rows = self._base.execute("SELECT camera, event, body FROM going_on WHERE receiver = ?", (receiver,)).fetchall()
        return [Letter(camera, event, body, event, goes_on=True) for camera, event, body in rows]

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
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):
                    self._base.execute("ROLLBACK")
                raise SinkError(
                    f"{self.path}: events cannot be kept: {error}; make room, or set events.queue elsewhere"
                ) from error

    def _row(self, query: str, receiver: str) -> Any:
        try:
            with self._lock:
                return self._base.execute(query, (receiver,)).fetchone()
        except sqlite3.Error as error:
            raise SinkError(f"{self.path}: the queue of events cannot be read: {error}; set events.queue elsewhere") from error

    def _note(self, receiver: str, letter: Letter, event: str) -> None:
        if letter.goes_on:
            row = (receiver, event, letter.camera, letter.body)
            self._base.execute("INSERT OR REPLACE INTO going_on (receiver, event, camera, body) VALUES (?, ?, ?, ?)", row)
        else:
            self._base.execute("DELETE FROM going_on WHERE receiver = ? AND event = ?", (receiver, event))

    def _oldest(self, receiver: str, too_much: int) -> list[tuple[int, int]]:
        """Return numbers and lengths of the oldest letters, which together are as long as what is too much."""
        taken: list[tuple[int, int]] = []
        rows = self._base.execute("SELECT id, length(body) FROM waiting WHERE receiver = ? ORDER BY id", (receiver,))
        while too_much > 0 and (row := rows.fetchone()) is not None:
            taken.append(row)
            too_much -= row[1]
        rows.close()
        return taken
