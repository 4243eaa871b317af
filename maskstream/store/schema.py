"""Open the SQLite file of the store, readable by its owner only, and migrate it to the current schema."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from loguru import logger

from maskstream.errors import ConfigError, StoreError

FILE_NAME: Final = "maskstream.db"
APPLICATION_ID: Final = 0x6D737472
"""The mark of a store in a SQLite file: "mstr"."""
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_OPEN_TIMEOUT_S: Final = 5.0
_WRITE_TIMEOUT_MS: Final = 200
_WAL_POLL_S: Final = 0.01
_CHECK_S: Final = 0.5
"""The maximum time for the check of the file; a larger file is checked in part."""
_CHECK_INSTRUCTIONS: Final = 10_000
_LOG_BYTES: Final = 16 << 20
"""The write-ahead log is truncated to this size."""

_VERSION_1: Final = """
CREATE TABLE runs (number INTEGER PRIMARY KEY, began_s REAL NOT NULL, alive_s REAL NOT NULL, ended_s REAL);
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, sequence INTEGER NOT NULL, camera TEXT NOT NULL,
    zone TEXT, label TEXT NOT NULL, at_s REAL NOT NULL, is_open INTEGER NOT NULL, run INTEGER, record TEXT NOT NULL
);
CREATE INDEX events_by_camera ON events (camera);
CREATE INDEX events_by_zone ON events (zone);
CREATE INDEX events_by_time ON events (at_s);
CREATE INDEX open_events ON events (is_open);
CREATE TABLE minutes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, at_s REAL NOT NULL, began_utc TEXT, last_utc TEXT,
    people_mask INTEGER NOT NULL, people_no_mask INTEGER NOT NULL, people_incorrect INTEGER NOT NULL,
    people_unknown INTEGER NOT NULL, seconds_mask REAL NOT NULL, seconds_no_mask REAL NOT NULL, seconds_incorrect REAL NOT NULL,
    seconds_unknown REAL NOT NULL
);
CREATE INDEX minutes_by_time ON minutes (camera, at_s);
CREATE INDEX old_minutes ON minutes (at_s);
CREATE TABLE states (
    number INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, state TEXT NOT NULL, cause TEXT NOT NULL,
    began_s REAL NOT NULL, ended_s REAL, duration_s REAL, run INTEGER
);
CREATE INDEX states_by_camera ON states (camera);
CREATE INDEX old_states ON states (ended_s);
CREATE INDEX open_states ON states (camera) WHERE ended_s IS NULL;
CREATE TABLE users (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, cameras TEXT, password TEXT NOT NULL, created_s REAL NOT NULL
);
CREATE TABLE sessions (
    hash BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES users (key) ON DELETE CASCADE, address TEXT NOT NULL,
    created_s REAL NOT NULL, used_s REAL NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user);
CREATE TABLE tokens (
    hash BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, cameras TEXT, created_s REAL NOT NULL,
    expires_s REAL, used_s REAL, is_expired INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE logins (
    key TEXT PRIMARY KEY, failures INTEGER NOT NULL, first_s REAL NOT NULL, last_s REAL NOT NULL, blocked_s REAL NOT NULL
);
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL,
    address TEXT NOT NULL
);
CREATE INDEX old_audit ON audit (at_s);
"""
MIGRATIONS: Final = (_VERSION_1,)
"""The statements that lead to each version from the previous one. Stores with these versions exist: only append."""


def open_store_file(path: Path, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """Open or create the file, check it, and migrate it after a backup; its content is never deleted.

    Args:
        path: Its folder is created where it does not exist.
        migrations: The statements of each version.

    Returns:
        The connection of the writer. A commit is on the disk when it returns (WAL, `synchronous=FULL`).

    Raises:
        ConfigError: A later version of the program has written the file.
        StoreError: The file is damaged, is not a store, or cannot be written.
    """
    connection = None
    try:
        _create_private(path)
        connection = sqlite3.connect(path, timeout=_OPEN_TIMEOUT_S, check_same_thread=False, isolation_level=None)
        _require_store(path, connection, len(migrations))
        _require_undamaged(path, connection)
        mode = _use_wal(connection)
        if mode != "wal":
            raise StoreError(f"{path}: its file system has no write-ahead log ({mode}); set store.folder to a local disk")
        for setting in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", f"journal_size_limit={_LOG_BYTES}"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        _migrate(path, connection, migrations)
        connection.execute(f"PRAGMA busy_timeout={_WRITE_TIMEOUT_MS}").fetchall()
    except (OSError, sqlite3.Error, StoreError, ConfigError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, StoreError | ConfigError):
            raise
        raise StoreError(
            f"{path}: the store cannot be opened: {open_problem(error)}; nothing was changed; set store.folder to another folder"
        ) from error
    return connection


def require_store_file(path: Path) -> None:
    """Check an existing file, without a migration or any other change of its content.

    Raises:
        ConfigError: A later version of the program has written the file.
        StoreError: The file is damaged, is not a store, or cannot be written.
    """
    try:
        with path.open("rb+"):
            pass
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", timeout=_OPEN_TIMEOUT_S, uri=True)) as connection:
            connection.execute("PRAGMA query_only=ON")
            _require_store(path, connection, len(MIGRATIONS))
            _require_undamaged(path, connection)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"{path}: the store cannot be opened: {open_problem(error)}; set store.folder to another folder"
        ) from error


def open_problem(error: OSError | sqlite3.Error) -> str:
    """Return why a file cannot be opened or read."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"it is damaged ({error})"
    return "another process locks it" if "locked" in str(error) else str(error)


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of the schema; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def copy_database(source: sqlite3.Connection, target: Path) -> None:
    """Write a consistent copy of a database, complete or not at all, readable by its owner only.

    Raises:
        OSError: The target cannot be written.
        sqlite3.Error: The target cannot be written, or the source cannot be read.
    """
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE))
        with closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    # an existing file is not opened here: closing it would release the locks that SQLite holds for this process
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE))
        _give_to_owner_of_folder(path)
    for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        with suppress(FileNotFoundError):
            mode = each.stat().st_mode & 0o777
            if mode & 0o077:
                logger.warning("{}: other users could access it, and it contains password hashes; its mode is now 600", each)
                each.chmod(mode & _PRIVATE_FOLDER)


def _give_to_owner_of_folder(path: Path) -> None:
    """Give a file that root creates to the owner of its folder, the account of a service. SQLite does this for its own files."""
    folder = path.parent.stat()
    if hasattr(os, "geteuid") and os.geteuid() == 0 and folder.st_uid != 0:
        os.chown(path, folder.st_uid, folder.st_gid)


def _require_store(path: Path, connection: sqlite3.Connection, known_version: int) -> None:
    # tables first: another process may create the store now, and commits both at once
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if tables and application_id != APPLICATION_ID:
        raise StoreError(f"{path}: is not a store of maskstream; set store.folder to another folder")
    version = schema_version(connection)
    if version > known_version:
        raise ConfigError(
            f"{path}: the store has schema {version}, and this program supports schemas up to {known_version}; "
            "install a later version of maskstream, or set store.folder to another folder"
        )


def _require_undamaged(path: Path, connection: sqlite3.Connection) -> None:
    """Check the pages of the file, for at most half a second."""
    until_s = monotonic() + _CHECK_S
    connection.set_progress_handler(lambda: monotonic() > until_s, _CHECK_INSTRUCTIONS)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        raise StoreError(
            f"{path}: the store is damaged ({found}); nothing was changed; "
            "restore a backup, or set store.folder to another folder"
        )


def _use_wal(connection: sqlite3.Connection) -> str:
    """Switch to a write-ahead log, and return the mode of the journal. SQLite itself does not wait for other processes here."""
    until_s = monotonic() + _OPEN_TIMEOUT_S
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > until_s:
                raise
            sleep(_WAL_POLL_S)


def _migrate(path: Path, connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    version = schema_version(connection)
    if version == len(migrations):
        return
    if version:
        backup = path.with_name(f"{path.name}.schema-{version}")
        copy_database(connection, backup)
        logger.info("{}: changed from schema {} to {}; the backup is {}", path, version, len(migrations), backup.name)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in migrations[schema_version(connection) :]:  # another process may have migrated meanwhile
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={len(migrations)}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """Split a script: `executescript` would commit the transaction."""
    statements, rest = [], ""
    for part in script.split(";"):
        rest += f"{part};"
        if sqlite3.complete_statement(rest):
            statements.append(rest.strip())
            rest = ""
    return [statement for statement in statements if statement != ";"]
