"""Store the users of the dashboard, and check their passwords."""

import json
import sqlite3
from collections.abc import Sequence
from threading import BoundedSemaphore
from typing import Final

from maskstream.errors import ConfigError, StoreError
from maskstream.store.database import Database
from maskstream.store.passwords import ScryptCost, checked_password, hash_password, is_password, no_password
from maskstream.store.roles import Role, User, checked_name, name_key

_AT_ONCE: Final = 2
"""Passwords that are checked at the same time: each needs 32 MB and a core."""
_WAIT_S: Final = 10.0
_UNKNOWN: Final = "unknown user"


class UserTable:
    """The users. Names are compared without regard to case."""

    def __init__(self, database: Database, cost: ScryptCost) -> None:
        """Use an open database.

        Args:
            database: The file.
            cost: Of the hashes of new passwords, and of the check for a name that does not exist.
        """
        self._database = database
        self._cost = cost
        self._no_password = no_password(cost)
        self._turns = BoundedSemaphore(_AT_ONCE)

    def add(self, name: str, role: Role, cameras: Sequence[str] | None, password: str) -> User:
        """Add a user.

        Raises:
            ConfigError: The user exists, or the name or the password is not allowed.
            StoreError: The disk is full or fails.
        """
        user = User(checked_name(name), role, None if cameras is None else tuple(cameras))
        stored = hash_password(checked_password(user.name, password), self._cost)
        row = (name_key(user.name), user.name, role.value, cameras_text(user.cameras), stored, self._database.now_s())

        def insert(connection: sqlite3.Connection) -> None:
            statement = "INSERT OR IGNORE INTO users (key, name, role, cameras, password, created_s) VALUES (?, ?, ?, ?, ?, ?)"
            if not connection.execute(statement, row).rowcount:
                raise ConfigError(f"{user.name}: the user exists already; maskstream user password changes the password")

        self._database.write(insert)
        return user

    def remove(self, name: str) -> None:
        """Remove a user, and end the user's sessions.

        Raises:
            ConfigError: The user does not exist.
            StoreError: The disk is full or fails.
        """
        self._change(name, "DELETE FROM users WHERE key = ?", ())

    def set_password(self, name: str, password: str) -> None:
        """Change the password, and end the user's sessions; errors as in `remove`, and for a password that is not allowed."""
        stored = hash_password(checked_password(name, password), self._cost)

        def update(connection: sqlite3.Connection) -> None:
            _require_changed(name, connection.execute("UPDATE users SET password = ? WHERE key = ?", (stored, name_key(name))))
            connection.execute("DELETE FROM sessions WHERE user = ?", (name_key(name),))

        self._database.write(update)

    def set_role(self, name: str, role: Role, cameras: Sequence[str] | None) -> None:
        """Change role and cameras, also of current sessions. Errors as in `remove`."""
        self._change(name, "UPDATE users SET role = ?, cameras = ? WHERE key = ?", (role.value, cameras_text(cameras)))

    def list(self) -> tuple[User, ...]:
        """Return all users by name."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name, role, cameras FROM users ORDER BY key").fetchall()
        return tuple(user_of(*row) for row in rows)

    def audit_name(self, name: str) -> str:
        """Return the name of a user for the audit log. A name that does not exist may be a password: it is `unknown user`.

        Raises:
            StoreError: The file cannot be read.
        """
        with self._database.reading() as connection:
            row = connection.execute("SELECT name FROM users WHERE key = ?", (name_key(name),)).fetchone()
        return _UNKNOWN if row is None else str(row[0])

    def verify(self, name: str, password: str) -> User | None:
        """Return the user, or None for a wrong name or password; both take the same time, about 0.3 s. At most two run at once.

        Raises:
            StoreError: The file cannot be read, or too many logins wait.
        """
        with self._database.reading() as connection:
            statement = "SELECT name, role, cameras, password FROM users WHERE key = ?"
            row = connection.execute(statement, (name_key(name),)).fetchone()
        if not self._turns.acquire(timeout=_WAIT_S):
            raise StoreError("too many logins at once; try again later")
        try:
            is_right = is_password(password, self._no_password if row is None else row[3])
        finally:
            self._turns.release()
        return user_of(*row[:3]) if row is not None and is_right else None

    def _change(self, name: str, statement: str, values: tuple[object, ...]) -> None:
        key = name_key(name)
        self._database.write(lambda connection: _require_changed(name, connection.execute(statement, (*values, key))))


def cameras_text(cameras: Sequence[str] | None) -> str | None:
    """Return a list of cameras as it is stored."""
    return None if cameras is None else json.dumps(list(cameras))


def cameras_of(text: str | None) -> tuple[str, ...] | None:
    """Return a stored list of cameras; None: all."""
    return None if text is None else tuple(json.loads(text))


def user_of(name: str, role: str, cameras: str | None) -> User:
    """Return a stored user."""
    return User(name, Role(role), cameras_of(cameras))


def _require_changed(name: str, cursor: sqlite3.Cursor) -> None:
    if not cursor.rowcount:
        raise ConfigError(f"{name}: the user does not exist; maskstream user list shows all users")
