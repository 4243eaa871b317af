"""Open the store of the dashboard: one SQLite file with all its tables."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Final

from maskstream.clock import MONOTONIC, Clock
from maskstream.errors import ConfigError, StoreError
from maskstream.io.user_folders import expand_home, state_folder
from maskstream.store.audit import AuditTable
from maskstream.store.database import Database, WallClock
from maskstream.store.events import EventTable
from maskstream.store.history import MinuteTable, RunTable, StateTable
from maskstream.store.logins import LoginTable
from maskstream.store.passwords import ScryptCost
from maskstream.store.retention import DAY_S, delete_old
from maskstream.store.schema import FILE_NAME, copy_database, open_problem, schema_version
from maskstream.store.sessions import SessionTable, TokenTable
from maskstream.store.users import UserTable
from maskstream.store.writer import MAX_OFFERED

_FOLDER: Final = "store"


@dataclass(frozen=True)
class StoreHealth:
    """Whether the store can be written, and how many records wait."""

    writable: bool
    """Whether the latest write succeeded."""
    error: str
    """Why it failed; empty where it succeeded."""
    size_bytes: int
    """The size of the file and of its write-ahead log."""
    schema_version: int
    waiting_writes: int
    """Records of the stream that are in memory only."""
    lost_writes: int
    """Records of the stream that were discarded: the disk was full for too long."""


class Store:
    """All tables of the dashboard. Every method is safe in every thread, and several processes may open the same folder.

    Methods named `put` never block and are for the thread of the stream. Other methods wait for the disk.
    """

    def __init__(
        self,
        folder: str | Path,
        clock: WallClock = time,
        *,
        waits: Clock = MONOTONIC,
        cost: ScryptCost | None = None,
        max_waiting: int = MAX_OFFERED,
    ) -> None:
        """Open, create or migrate the store.

        Args:
            folder: Contains the file `maskstream.db`; created for this user only where it does not exist.
            clock: Returns seconds since 1970.
            waits: Measures the waits of the writer thread.
            cost: Of the hashes of new passwords; None: the default.
            max_waiting: The maximum number of records of the stream that wait in memory while the disk is full.

        Raises:
            ConfigError: A later version of the program has written the store.
            StoreError: The store is damaged or cannot be written. Nothing was changed.
        """
        self.folder = Path(expand_home(str(folder)))
        self.path = self.folder / FILE_NAME
        self._database = Database(self.path, clock, waits, max_waiting)
        self.events = EventTable(self._database)
        self.people = MinuteTable(self._database)
        self.states = StateTable(self._database)
        self.runs = RunTable(self._database)
        self.users = UserTable(self._database, cost or ScryptCost())
        self.sessions = SessionTable(self._database)
        self.tokens = TokenTable(self._database)
        self.logins = LoginTable(self._database)
        self.audit = AuditTable(self._database)

    def health(self) -> StoreHealth:
        """Return whether the store can be written. Never waits for a write."""
        writer = self._database.writer
        error = writer.error
        waiting, lost = writer.counts()
        try:
            with self._database.reading() as connection:
                version = schema_version(connection)
        except StoreError as unreadable:
            version, error = 0, error or str(unreadable)
        return StoreHealth(
            writable=not error,
            error=error,
            size_bytes=sum(_size(path) for path in (self.path, Path(f"{self.path}-wal"))),
            schema_version=version,
            waiting_writes=waiting,
            lost_writes=lost,
        )

    def write_problem(self) -> str:
        """Return one line about the records of the stream that cannot be written; empty where there is no problem."""
        writer = self._database.writer
        waiting, lost = writer.counts()
        if not writer.error and not lost:
            return ""
        return f"store: {waiting} records wait, {lost} are lost: {writer.error or 'the store could not be written'}"

    def backup(self, target: Path) -> None:
        """Write a consistent copy of the file, while others read and write it.

        Raises:
            StoreError: The copy cannot be written.
        """
        with self._database.reading() as connection:
            try:
                copy_database(connection, target)
            except (OSError, sqlite3.Error) as error:
                raise StoreError(f"{target}: the backup cannot be written: {open_problem(error)}; choose another path") from error

    def keep_for(self, days: float) -> None:
        """Delete older records each minute from now on: events that have ended, minutes, states and audit entries."""
        now_s = self._database.now_s
        self._database.writer.each_minute(lambda connection: delete_old(connection, now_s() - days * DAY_S))

    def flush(self, timeout_s: float) -> bool:
        """Wait until the records that the stream has put are on the disk; return whether they are."""
        return self._database.writer.flush(timeout_s)

    def close(self) -> None:
        """Write the records that wait, and close the file, in bounded time. A second call does nothing."""
        self._database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def default_folder() -> Path:
    """Return the folder of the store where `store.folder` is not set.

    Raises:
        ConfigError: This user has no home folder.
    """
    folder = state_folder()
    if folder is None:
        raise ConfigError("store.folder: there is no home folder for the store; set store.folder to a folder of yours")
    return folder / _FOLDER


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
