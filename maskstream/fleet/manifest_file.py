"""Open the file of an archive's manifest, which one process at a time may use."""

import fcntl
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.errors import ConfigError, SinkError
from maskstream.store.schema import open_problem

LOCK_NAME: Final = "archive.lock"
_APPLICATION_ID: Final = 0x6D736172  # "msar"
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY, path NOT NULL, size_bytes INTEGER NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0, worker TEXT, seconds REAL, video_s REAL,
    error NOT NULL DEFAULT '', last_lines NOT NULL DEFAULT ''
);
CREATE INDEX of_path ON jobs (path);
"""
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def locked(folder: Path) -> int:
    """Return the descriptor of the locked file: the system releases the lock also where the process is killed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise SinkError(f"{folder}: cannot be written: {error.strerror}; choose another --output") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise ConfigError(f"{folder}: another archive command writes to it; wait until it has ended, or stop it") from error
    except OSError as error:
        os.close(lock)
        raise SinkError(f"{folder}: cannot be locked: {error.strerror}; choose an --output that allows locks") from error
    return lock


def opened(path: Path) -> sqlite3.Connection:
    """Return a connection to the file. A damaged one is renamed, and replaced by an empty one.

    Raises:
        ConfigError: It belongs to a later version or to another program.
        SinkError: It cannot be written.
    """
    try:
        try:
            return _connected(path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in _DAMAGED:
                raise
            kept = _put_aside(path)
            logger.warning("{}: damaged ({}); it is now {}; finished results are found by their folders", path, error, kept.name)
            return _connected(path)
    except sqlite3.Error as error:
        raise SinkError(f"{path}: cannot be written: {open_problem(error)}; choose another --output") from error
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another --output") from error


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            damage = sqlite3.DatabaseError(str(found))
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage
        pragmas = ("application_id", "user_version")
        application, version = (connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas)
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION_ID:
            raise ConfigError(f"{path}: is not the manifest of an archive; choose another --output")
        if version > _SCHEMA_VERSION:
            raise ConfigError(f"{path}: a later version of maskstream has written it; install it, or choose another --output")
        if not tables:
            connection.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id={_APPLICATION_ID}; PRAGMA user_version={_SCHEMA_VERSION}; COMMIT;"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _put_aside(path: Path) -> Path:
    """Rename a damaged file, and return its free name. Its journal belongs to it, and must not be applied to another."""
    kept = next(name for number in range(1, 10_000) if not (name := path.with_name(f"{path.name}.damaged-{number}")).exists())
    path.rename(kept)
    with suppress(FileNotFoundError):
        path.with_name(f"{path.name}-journal").rename(kept.with_name(f"{kept.name}-journal"))
    return kept
