"""Write to the store from one thread. Several writes share a transaction; records wait in memory while the disk is full."""

import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import MaskStreamError, StoreError

T = TypeVar("T")
Write: TypeAlias = Callable[[sqlite3.Connection], T]
"""Changes the database within the transaction of the writer."""

MAX_OFFERED: Final = 10_000
"""Records that wait in memory while the disk is full; after that, the oldest is lost."""
_MAX_REQUESTED: Final = 1_000
_BATCH: Final = 500
_RETRY_S: Final = 1.0
_BUSY_S: Final = 5.0
"""How long a request waits for another process that locks the file."""
_OFFERED_BUSY_S: Final = 1.0
"""The same for offered writes, which are retried. Requests wait meanwhile."""
_TICK_S: Final = 60.0
_POLL_S: Final = 0.05
_REPEAT_LOG_S: Final = 600.0
_OF_DISK: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors of the file or of the disk. All other errors belong to one write."""


@dataclass(frozen=True, eq=False)
class _Request:
    """A write whose caller waits for the result."""

    write: Write[Any]
    answer: Future[Any]


class Writer:
    """The one thread that changes the database.

    `submit` is for writes whose caller waits: the result comes after the commit. `offer` is for the records of a stream:
    it never blocks, and its writes are retried until the disk accepts them.
    """

    def __init__(
        self, name: str, connection: sqlite3.Connection, clock: Clock = MONOTONIC, max_offered: int = MAX_OFFERED
    ) -> None:
        """Start the thread.

        Args:
            name: Of the file, for messages.
            connection: In autocommit mode; belongs to the writer, which closes it.
            clock: Measures the waits.
            max_offered: The maximum number of offered writes that wait in memory.
        """
        self.error = ""
        """Why the latest transaction failed; empty after one that succeeded."""
        self._lost = 0
        self._name = name
        self._connection = connection
        self._clock = clock
        self._max_offered = max_offered
        self._lock = Lock()
        self._wake = Event()
        self._stored = Event()
        self._requested: deque[_Request] = deque()
        self._offered: deque[Write[object]] = deque()
        self._in_transaction = 0
        self._each_minute: list[Write[object]] = []
        self._is_closing = False
        self._retry_at_s = 0.0
        self._tick_at_s = clock.now_s() + _TICK_S
        self._logged_at_s = -_REPEAT_LOG_S
        self._thread = Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def counts(self) -> tuple[int, int]:
        """Return how many offered writes are not on the disk, and how many were discarded."""
        with self._lock:
            return len(self._offered) + self._in_transaction, self._lost

    def submit(self, write: Write[T]) -> Future[T]:
        """Write as soon as possible. The future has the result after the commit, or a `StoreError`, and nothing was written."""
        request = _Request(write, Future())
        with self._lock:
            is_accepted = not self._is_closing and len(self._requested) < _MAX_REQUESTED
            if is_accepted:
                self._requested.append(request)
        if is_accepted:
            self._wake.set()
        else:
            why = "it is closed" if self._is_closing else f"{_MAX_REQUESTED} writes wait; try again later"
            request.answer.set_exception(StoreError(f"{self._name}: the store cannot be written: {why}"))
        return request.answer

    def offer(self, write: Write[object]) -> None:
        """Queue a write, which is retried after an error of the disk; never blocks. Where too many wait, the oldest is lost."""
        with self._lock:
            if self._is_closing:
                self._lost += 1
                return
            self._offered.append(write)
            if len(self._offered) > self._max_offered:
                self._offered.popleft()
                self._lost += 1
        self._wake.set()

    def each_minute(self, write: Write[object]) -> None:
        """Repeat a write each minute."""
        self._each_minute.append(write)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all offered writes are on the disk; return whether they are."""
        until_s = monotonic() + timeout_s
        while self.counts()[0] and monotonic() < until_s:
            self._stored.wait(_POLL_S)
            self._stored.clear()
        return not self.counts()[0]

    def close(self, timeout_s: float) -> None:
        """Write the queued changes, without a retry, and end the thread. A second call does nothing."""
        with self._lock:
            self._is_closing = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            self._add_each_minute()
            requests = self._take_requests()
            if requests:
                self._answer(requests)
                continue
            now_s = self._clock.now_s()
            if self._offered and (self._is_closing or now_s >= self._retry_at_s):
                self._store_offered()
            elif self._is_closing:
                break
            else:
                until_s = self._retry_at_s if self._offered else self._tick_at_s
                self._clock.wait(self._wake, max(0.0, until_s - now_s))
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close()

    def _add_each_minute(self) -> None:
        if self._clock.now_s() >= self._tick_at_s:
            self._tick_at_s = self._clock.now_s() + _TICK_S
            if not self._offered:
                with self._lock:
                    self._offered.extend(self._each_minute)

    def _take_requests(self) -> list[_Request]:
        with self._lock:
            taken = [self._requested.popleft() for _ in range(min(_BATCH, len(self._requested)))]
        return [request for request in taken if request.answer.set_running_or_notify_cancel()]

    def _answer(self, requests: list[_Request]) -> None:
        try:
            outcomes = self._transaction([request.write for request in requests], _BUSY_S)
        except sqlite3.Error as error:
            reason = self._failed(error)
            for request in requests:
                request.answer.set_exception(StoreError(reason))
            return
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                request.answer.set_exception(outcome)
            else:
                request.answer.set_result(outcome)

    def _store_offered(self) -> None:
        with self._lock:
            writes = [self._offered.popleft() for _ in range(min(_BATCH, len(self._offered)))]
            self._in_transaction = len(writes)
        try:
            outcomes = self._transaction(writes, _OFFERED_BUSY_S)
        except sqlite3.Error as error:
            self._failed(error)
            self._put_back(writes)
            return
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for each in errors:
            logger.error("{}: a record cannot be stored: {}: {}", self._name, type(each).__name__, each)
        with self._lock:
            self._in_transaction = 0
            self._lost += len(errors)
        self._stored.set()

    def _put_back(self, writes: list[Write[object]]) -> None:
        """Keep the writes of a failed transaction for another try, as far as there is room; the oldest are lost."""
        with self._lock:
            self._in_transaction = 0
            room = 0 if self._is_closing else max(0, self._max_offered - len(self._offered))
            kept = writes[len(writes) - room :] if room < len(writes) else writes
            self._lost += len(writes) - len(kept)
            self._offered.extendleft(reversed(kept))
        if self._is_closing:
            logger.error("{}: {} records are lost at the end of the program", self._name, len(writes))

    def _transaction(self, writes: list[Write[Any]], busy_s: float) -> list[Any]:
        """Apply writes in one transaction, and return the result or the exception of each.

        Raises:
            sqlite3.Error: Of the disk or the file; nothing was written.
        """
        try:
            self._begin(busy_s)
            outcomes = [self._apply(write) for write in writes]
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        self._succeeded()
        return outcomes

    def _begin(self, busy_s: float) -> None:
        """Begin a transaction; another process may lock the file for `busy_s`."""
        until_s = self._clock.now_s() + busy_s
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not is_busy or self._is_closing or self._clock.now_s() >= until_s:
                    raise

    def _apply(self, write: Write[Any]) -> Any:
        self._connection.execute("SAVEPOINT one_write")
        try:
            outcome = write(self._connection)
        except Exception as error:  # it belongs to the caller of `submit`; this thread serves the others
            if _is_of_disk(error):
                raise
            self._connection.execute("ROLLBACK TO one_write")
            outcome = error
        self._connection.execute("RELEASE one_write")
        return outcome

    def _failed(self, error: sqlite3.Error) -> str:
        """Remember and log why a transaction failed, and return the message."""
        is_locked = "locked" in str(error)
        why = "another process locks it" if is_locked else str(error)
        advice = "end that process" if is_locked else "make room, or set store.folder to another disk"
        message = f"{self._name}: the store cannot be written: {why}; {advice}"
        now_s = self._clock.now_s()
        self._retry_at_s = now_s + _RETRY_S
        if why != self.error or now_s - self._logged_at_s >= _REPEAT_LOG_S:
            self._logged_at_s = now_s
            waiting, lost = self.counts()
            logger.warning("{}; {} records wait in memory, {} are lost", message, waiting, lost)
        self.error = why
        return message

    def _succeeded(self) -> None:
        if self.error:
            logger.info("{}: the store can be written again; {} records are lost", self._name, self._lost)
        self.error, self._retry_at_s = "", 0.0


def _is_of_disk(error: Exception) -> bool:
    """Return whether an error belongs to the file or the disk, and not to one write."""
    if isinstance(error, MaskStreamError) or not isinstance(error, sqlite3.Error):
        return False
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_DISK
