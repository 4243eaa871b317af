"""Use a SQLite file: readable by its owner only, and every commit on the disk."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Final

from loguru import logger

from maskstream.errors import SinkError

_PRIVATE: Final = 0o600
_BUSY_S: Final = 0.2
_SHARED_BUSY_S: Final = 5.0
"""For which other processes may write."""
_SETTINGS: Final = ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")
_SHARED_SETTINGS: Final = ("journal_mode=WAL", "synchronous=EXTRA", "secure_delete=ON")
"""Where the file system does not allow WAL, EXTRA is as safe."""


class DatabaseFile:
    """One file, which several threads share. Rows that are deleted from it are overwritten."""

    def __init__(
        self,
        path: str | Path,
        tables: str,
        name: str,
        advice: str,
        *,
        is_shared: bool = False,
        error_type: type[SinkError] = SinkError,
    ) -> None:
        """Open or create the file, and lock it for this process unless it is shared.

        Args:
            path: Its folder is created where it does not exist.
            tables: Statements that create the tables where they do not exist.
            name: Of the content, for errors.
            advice: Where to put the file instead: "set events.queue to another file".
            is_shared: Other processes may use the file at the same time.
            error_type: What is raised in place of `SinkError`.

        Raises:
            SinkError: The file cannot be written, is not a database, or is in use by another process.
        """
        self._error_type = error_type
        self.path = str(path)
        self._name = name
        self._advice = advice
        self._lock = RLock()
        try:
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE))
            timeout_s = _SHARED_BUSY_S if is_shared else _BUSY_S
            self.connection = sqlite3.connect(path, timeout=timeout_s, check_same_thread=False, isolation_level=None)
            for setting in _SHARED_SETTINGS if is_shared else _SETTINGS:
                self.connection.execute(f"PRAGMA {setting}").fetchall()
            self.connection.executescript(tables)
        except (OSError, sqlite3.Error) as error:
            reason = "another run of the program uses it" if "locked" in str(error) else str(error)
            raise error_type(f"{path}: {name} cannot be opened: {reason}; {advice}") from error
        if _make_private(self.path):
            with suppress(sqlite3.Error):  # the disk may be full
                self.connection.execute("VACUUM")  # overwrites what was deleted before

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection, None, None]:
        """Yield the connection; the changes are on the disk when the block ends, or none is.

        Raises:
            SinkError: The disk is full, or fails.
        """
        with self._lock:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                if not isinstance(error, sqlite3.Error):
                    raise
                raise self._error_type(
                    f"{self.path}: {self._name} cannot be written: {error}; make room, or {self._advice}"
                ) from error

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Yield the connection.

        Raises:
            SinkError: The disk fails.
        """
        with self._lock:
            try:
                yield self.connection
            except sqlite3.Error as error:
                raise self._error_type(f"{self.path}: {self._name} cannot be read: {error}; {self._advice}") from error

    def truncate_log(self) -> None:
        """Remove deleted rows from the write-ahead log of SQLite as well.

        Raises:
            sqlite3.Error: The disk is full, or fails.
        """
        with self._lock:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self._lock, suppress(sqlite3.Error):
            self.connection.close()


def _make_private(path: str) -> bool:
    """Let only the owner read the file and the files that SQLite keeps beside it; return whether others could read one."""
    could_read = False
    for each in (Path(path), Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal")):
        try:
            mode = each.stat().st_mode & 0o777
            if mode & 0o077:
                could_read = True
                each.chmod(mode & 0o700)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning(
                "{}: other users can read it, and its mode cannot be changed: {}; it may contain faces", each, error.strerror
            )
    return could_read
