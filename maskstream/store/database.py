"""Read and write the SQLite file of the store: one writer thread, and read-only connections for every other thread."""

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import time
from typing import Final

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import StoreError
from maskstream.store.schema import open_problem, open_store_file
from maskstream.store.writer import MAX_OFFERED, T, Write, Writer

_READ_TIMEOUT_S: Final = 2.0
_IDLE_READERS: Final = 4
_WRITE_TIMEOUT_S: Final = 10.0
_CLOSE_S: Final = 3.0

WallClock = Callable[[], float]
"""Returns seconds since 1970. It may be set back."""


class Database:
    """The connections to the file, shared by all tables of the store. Every method is safe in every thread."""

    def __init__(self, path: Path, now_s: WallClock = time, clock: Clock = MONOTONIC, max_offered: int = MAX_OFFERED) -> None:
        """Open, create or migrate the file; see `open_store_file` for the errors.

        Args:
            path: The file.
            now_s: The wall clock: of records, sessions and tokens.
            clock: Measures the waits of the writer.
            max_offered: The maximum number of records that wait in memory while the disk is full.
        """
        self.path = path
        self.now_s = now_s
        self.writer = Writer(str(path), open_store_file(path), clock, max_offered)
        self.run: int | None = None
        """The number of this run, which the records of a stream get."""
        self._lock = Lock()
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False

    def write(self, write: Write[T]) -> T:
        """Change the database, and return the result when it is on the disk. The thread of the stream must not call it.

        Raises:
            StoreError: The disk is full or fails; nothing was written.
        """
        answer = self.writer.submit(write)
        try:
            return answer.result(_WRITE_TIMEOUT_S)
        except TimeoutError as error:
            answer.cancel()
            raise StoreError(f"{self.path}: the store cannot be written: no answer within {_WRITE_TIMEOUT_S:g} s") from error

    def offer(self, write: Write[object]) -> None:
        """Queue a change of the database; never blocks."""
        self.writer.offer(write)

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Yield a read-only connection. Reads never wait for writes.

        Raises:
            StoreError: The file cannot be read.
        """
        try:
            connection = self._reader()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path}: the store cannot be read: {open_problem(error)}; restore a backup, or set store.folder to "
                "another folder"
            ) from error

    def close(self) -> None:
        """Write the queued changes, and close the file, in bounded time. A second call does nothing."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self.writer.close(_CLOSE_S)

    def _reader(self) -> sqlite3.Connection:
        with self._lock:
            if self._is_closed:
                raise StoreError(f"{self.path}: the store is closed")
            if self._idle:
                return self._idle.pop()
        address = f"{self.path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(address, uri=True, timeout=_READ_TIMEOUT_S, check_same_thread=False, isolation_level=None)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._is_closed and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()
