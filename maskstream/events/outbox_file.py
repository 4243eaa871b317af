"""Open the SQLite file of the outbox (`events.queue`), readable by its owner only."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.errors import SinkError

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
"""Earlier versions of the program have written the same tables: do not rename them. `going_on` has the open events."""
_SETTINGS: Final = ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")


def open_outbox_file(path: str) -> sqlite3.Connection:
    """Open or create the file, and lock it for this process; rows that are deleted from it are overwritten.

    Raises:
        SinkError: The file cannot be written, is not a queue, or is in use by another process.
    """
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE))
        database = sqlite3.connect(path, timeout=0.2, check_same_thread=False, isolation_level=None)
        for setting in _SETTINGS:
            database.execute(f"PRAGMA {setting}").fetchall()
        database.executescript(_TABLES)
    except (OSError, sqlite3.Error) as error:
        reason = "another run of the program uses it" if "locked" in str(error) else str(error)
        raise SinkError(f"{path}: the queue of events cannot be opened: {reason}; set events.queue to another file") from error
    if _make_private(path):
        with suppress(sqlite3.Error):  # the disk may be full
            database.execute("VACUUM")  # overwrites what was deleted before
    return database


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


def peek(path: Path) -> dict[str, int]:
    """Return how many messages wait for each receiver in a queue that no process uses; empty where it cannot be read now."""
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)
        try:
            return dict(database.execute("SELECT receiver, count(*) FROM waiting GROUP BY receiver").fetchall())
        finally:
            database.close()
    except sqlite3.Error:
        return {}
