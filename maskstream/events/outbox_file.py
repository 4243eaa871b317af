"""Open the SQLite file of the outbox (`events.queue`), readable by its owner only."""

import sqlite3
from pathlib import Path
from typing import Final

from maskstream.io.database_file import DatabaseFile

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


def open_outbox_file(path: str) -> DatabaseFile:
    """Open or create the file, and lock it for this process; rows that are deleted from it are overwritten.

    Raises:
        SinkError: The file cannot be written, is not a queue, or is in use by another process.
    """
    return DatabaseFile(path, _TABLES, "the queue of events", "set events.queue to another file")


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
