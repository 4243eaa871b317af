"""Keep on the disk which node has which camera, with an epoch that grows with each assignment, also across restarts."""

import sqlite3
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Lock
from time import time
from typing import Final
from uuid import uuid4

from maskstream.errors import ConfigError, SiteTakenOver, StoreError
from maskstream.io.database_file import DatabaseFile

FILE_NAME: Final = "assignments.db"
_SCHEMA_VERSION: Final = 1
_ADVICE: Final = "set folder of the site to another folder"
_SCHEMA: Final = """
CREATE TABLE numbers (name TEXT PRIMARY KEY, value NOT NULL);
CREATE TABLE authority (id TEXT NOT NULL);
CREATE TABLE assignments (
    epoch INTEGER PRIMARY KEY, camera TEXT NOT NULL, node TEXT NOT NULL, since_utc REAL NOT NULL, state TEXT NOT NULL
);
CREATE UNIQUE INDEX one_current ON assignments (camera) WHERE state = 'current';
CREATE TABLE draining (node TEXT PRIMARY KEY);
CREATE TABLE agents (node TEXT PRIMARY KEY, agent TEXT NOT NULL);
"""
_LEAVE: Final = "UPDATE assignments SET state = 'leaving' WHERE camera = ? AND state = 'current'"
_REPLACE: Final = "DELETE FROM assignments WHERE camera = ? AND state = 'current'"
_TAKE_BACK: Final = "DELETE FROM assignments WHERE camera = ? AND node = ?"
"""A node that gets a camera back needs no earlier assignment of it."""
_NUMBERS: Final = ("term", "epoch", "generation", "lease_s")


class Stage(StrEnum):
    """The stages of an assignment."""

    CURRENT = "current"
    """The node analyses the camera. A camera has at most one current assignment."""
    LEAVING = "leaving"
    """The node analyses the camera until that of the current assignment does."""
    REMOVED = "removed"
    """The node has to close the camera, and has not confirmed it."""


@dataclass(frozen=True)
class Assigned:
    """An assignment of a camera to a node."""

    camera: str
    node: str
    epoch: int
    """Unique in the site. A later assignment has a larger one."""
    since_utc: float
    """Seconds since 1970."""
    stage: Stage


class Assignments:
    """The assignments of a site. What a method writes is on the disk when it returns. Every method is safe in every thread.

    Every start has a term, which is larger than all before. Once another process has opened the file, this one cannot write.
    """

    def __init__(self, folder: Path, now_utc: Callable[[], float] = time) -> None:
        """Open or create the file in the folder of the site, and begin a term.

        Args:
            folder: The folder of the site; created where it does not exist, readable by its owner only.
            now_utc: Returns seconds since 1970.

        Raises:
            ConfigError: A later version of the program has written the file.
            StoreError: The file is damaged or cannot be written.
        """
        self.path = folder / FILE_NAME
        self.now_utc = now_utc
        self._lock = Lock()
        self._file = DatabaseFile(self.path, "", "the assignments of the site", _ADVICE, is_shared=True, error_type=StoreError)
        self.term = 0
        """The number of this start."""
        self.authority = ""
        """The identity of this file. Terms and epochs of different files cannot be compared."""
        self._rows: tuple[Assigned, ...] = ()
        self._draining: frozenset[str] = frozenset()
        try:
            self._begin_term()
        except BaseException:
            self._file.close()
            raise

    def current(self) -> dict[str, Assigned]:
        """Return the current assignment of each camera that has one."""
        return {row.camera: row for row in self._rows if row.stage is Stage.CURRENT}

    def others(self) -> list[Assigned]:
        """Return the assignments that are leaving or removed, by epoch."""
        return [row for row in self._rows if row.stage is not Stage.CURRENT]

    def of_node(self, node: str) -> list[Assigned]:
        """Return the assignments whose cameras a node has to analyse, by epoch."""
        return [row for row in self._rows if row.node == node and row.stage is not Stage.REMOVED]

    def assign(self, camera: str, node: str) -> int:
        """Assign a camera to a node in place of its current node, which is lost; return the epoch."""
        return self.assign_all({camera: node})[camera]

    def assign_all(self, nodes: Mapping[str, str], keep: Collection[str] = ()) -> dict[str, int]:
        """Assign cameras to nodes in one transaction; return their epochs.

        Args:
            nodes: The node of each camera.
            keep: Cameras whose current node goes on until it is released. The assignment of others to their current node is
                forgotten.

        Raises:
            StoreError: The disk is full; nothing was changed.
            SiteTakenOver: Another supervisor has taken over; nothing was changed.
        """
        epochs: dict[str, int] = {}
        with self._changing() as connection:
            for camera, node in nodes.items():
                connection.execute(_LEAVE if camera in keep else _REPLACE, (camera,))
                connection.execute(_TAKE_BACK, (camera, node))
                epochs[camera] = int(_add(connection, "epoch"))
                row = (epochs[camera], camera, node, self.now_utc(), Stage.CURRENT)
                connection.execute("INSERT INTO assignments VALUES (?, ?, ?, ?, ?)", row)
        return epochs

    def remove(self, epochs: Iterable[int]) -> None:
        """End assignments whose nodes may be running: the nodes have to close these cameras."""
        self._change_each("UPDATE assignments SET state = 'removed' WHERE epoch = ?", epochs)

    def forget(self, epochs: Iterable[int]) -> None:
        """Delete assignments whose nodes are lost, or have closed the cameras."""
        self._change_each("DELETE FROM assignments WHERE epoch = ?", epochs)

    def drain(self, node: str) -> None:
        """Move the cameras of a node to others, also after a restart, until `undrain`."""
        with self._changing() as connection:
            connection.execute("INSERT OR IGNORE INTO draining VALUES (?)", (node,))

    def undrain(self, node: str) -> None:
        """Let a node get cameras again."""
        with self._changing() as connection:
            connection.execute("DELETE FROM draining WHERE node = ?", (node,))

    def draining(self) -> frozenset[str]:
        """Return the nodes whose cameras have to move to others."""
        return self._draining

    def agents(self) -> dict[str, str]:
        """Return the agent of each node that was noted."""
        with self._file.reading() as connection:
            return dict(connection.execute("SELECT node, agent FROM agents").fetchall())

    def note_agent(self, node: str, agent: str) -> None:
        """Keep which agent runs on a node: another one begins without the cameras of the former."""
        with self._changing() as connection:
            connection.execute("INSERT OR REPLACE INTO agents VALUES (?, ?)", (node, agent))

    def next_generation(self) -> int:
        """Return a number for an accepted edit of the site, which is larger than all before."""
        with self._changing() as connection:
            return int(_add(connection, "generation"))

    def longest_lease_s(self) -> float:
        """Return the longest lease that nodes may have from an earlier start; 0 where there was none."""
        with self._file.reading() as connection:
            return float(_get(connection, "lease_s"))

    def keep_longest_lease_s(self, lease_s: float) -> None:
        """Keep the longest lease that nodes may have, before such a lease is given to them."""
        with self._changing() as connection:
            _set(connection, "lease_s", lease_s)

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        self._file.close()

    def _begin_term(self) -> None:
        with self._transaction() as connection:
            if _version(connection) > _SCHEMA_VERSION:
                raise ConfigError(f"{self.path}: a later version of maskstream has written it; install that version")
            for statement in _SCHEMA.strip().split(";\n") if not _version(connection) else ():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
            if connection.execute("SELECT count(*) FROM authority").fetchone() == (0,):
                connection.execute("INSERT INTO authority VALUES (?)", (uuid4().hex,))
                connection.executemany("INSERT INTO numbers VALUES (?, 0)", [(name,) for name in _NUMBERS])
            (self.authority,) = connection.execute("SELECT id FROM authority").fetchone()
            self.term = int(_add(connection, "term"))

    def _change_each(self, statement: str, epochs: Iterable[int]) -> None:
        parameters = [(epoch,) for epoch in epochs]
        if parameters:
            with self._changing() as connection:
                connection.executemany(statement, parameters)

    @contextmanager
    def _changing(self) -> Generator[sqlite3.Connection, None, None]:
        """Change the file in a transaction, where no later supervisor has begun."""
        with self._transaction() as connection:
            term = int(_get(connection, "term"))
            if term != self.term:
                raise SiteTakenOver(
                    f"{self.path}: a later supervisor (term {term}) has taken over this site; this one has to end"
                )
            yield connection

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        with self._lock:
            with self._file.transaction() as connection:
                yield connection
                rows, draining = _rows(connection), _draining(connection)
            self._rows, self._draining = rows, draining


def _rows(connection: sqlite3.Connection) -> tuple[Assigned, ...]:
    rows = connection.execute("SELECT camera, node, epoch, since_utc, state FROM assignments ORDER BY epoch")
    return tuple(Assigned(camera, node, epoch, since_utc, Stage(state)) for camera, node, epoch, since_utc, state in rows)


def _draining(connection: sqlite3.Connection) -> frozenset[str]:
    return frozenset(node for (node,) in connection.execute("SELECT node FROM draining"))


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _get(connection: sqlite3.Connection, name: str) -> float:
    (value,) = connection.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()
    return float(value)


def _set(connection: sqlite3.Connection, name: str, value: float) -> None:
    connection.execute("UPDATE numbers SET value = ? WHERE name = ?", (value, name))


def _add(connection: sqlite3.Connection, name: str) -> float:
    connection.execute("UPDATE numbers SET value = value + 1 WHERE name = ?", (name,))
    return _get(connection, name)
