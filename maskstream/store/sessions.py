"""Store sessions of users and tokens of programs; only the SHA-256 of each secret is stored."""

import re
import secrets
import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from threading import Lock
from typing import Final

from maskstream.errors import ConfigError
from maskstream.store.database import Database
from maskstream.store.roles import Role, Session, Token, checked_name, name_key
from maskstream.store.users import cameras_of, cameras_text, user_of

IDLE_S: Final = 1800.0
"""A session ends after this time without a request."""
ABSOLUTE_S: Final = 12 * 3600.0
"""A session ends after this time."""
TOKEN_PREFIX: Final = "mst_"  # noqa: S105 (not a secret)
_SECRET_BYTES: Final = 32
_TOUCH_S: Final = 60.0
"""The latest use is stored at most once in this time."""
_CLOCK_S: Final = 60.0
"""A session that is further in the future has ended: the clock was set back, and the age of the session is unknown."""
_SESSION: Final = re.compile(r"[\w-]{43}", re.ASCII)
_TOKEN: Final = re.compile(rf"{TOKEN_PREFIX}[\w-]{{43}}", re.ASCII)


class SessionTable:
    """The users who are logged in."""

    def __init__(self, database: Database) -> None:
        """Use an open database."""
        self._database = database
        self._lock = Lock()
        self._used_s: dict[bytes, float] = {}
        """The latest use of each session in this process; it holds while the disk is full."""

    def create(self, user: str, address: str) -> str:
        """Log a user in, and return the secret of the session.

        Raises:
            ConfigError: The user does not exist any more.
            StoreError: The disk is full or fails.
        """
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        now_s = self._database.now_s()
        row = (_hash(secret), name_key(user), address, now_s, now_s)

        def insert(connection: sqlite3.Connection) -> None:
            ended = (now_s - ABSOLUTE_S, now_s + _CLOCK_S)
            connection.execute("DELETE FROM sessions WHERE created_s < ? OR created_s > ?", ended)
            try:
                connection.execute("INSERT INTO sessions (hash, user, address, created_s, used_s) VALUES (?, ?, ?, ?, ?)", row)
            except sqlite3.IntegrityError as error:
                raise ConfigError(f"{user}: the user does not exist") from error

        self._database.write(insert)
        with self._lock:
            self._used_s = {key: used_s for key, used_s in self._used_s.items() if used_s > now_s - IDLE_S}
        return secret

    def find(self, secret: str, *, renew: bool = True) -> Session | None:
        """Return the session of a secret, or None: it does not exist, has ended, or its user was removed.

        Args:
            secret: The id in the cookie.
            renew: Whether the session is used now, so that it ends later.

        Raises:
            StoreError: The file cannot be read.
        """
        if not _SESSION.fullmatch(secret):
            return None
        key, now_s = _hash(secret), self._database.now_s()
        statement = (
            "SELECT name, role, cameras, address, sessions.created_s, used_s "
            "FROM sessions JOIN users ON key = user WHERE hash = ?"
        )
        with self._database.reading() as connection:
            row = connection.execute(statement, (key,)).fetchone()
        if row is None:
            self._forget(key)
            return None
        created_s, stored_s = row[4:]
        with self._lock:
            used_s = max(stored_s, self._used_s.get(key, stored_s))
        is_from_future = created_s > now_s + _CLOCK_S or used_s > now_s + _CLOCK_S
        if is_from_future or now_s >= created_s + ABSOLUTE_S or now_s >= used_s + IDLE_S:
            self._forget(key)
            self._database.offer(lambda connection: connection.execute("DELETE FROM sessions WHERE hash = ?", (key,)))
            return None
        if renew and now_s - used_s >= _TOUCH_S:
            self._touch(key, now_s)
        return Session(user_of(*row[:3]), row[3], created_s + ABSOLUTE_S)

    def revoke(self, secret: str) -> None:
        """End a session.

        Raises:
            StoreError: The disk is full or fails; the session continues.
        """
        key = _hash(secret)
        self._database.write(lambda connection: connection.execute("DELETE FROM sessions WHERE hash = ?", (key,)))
        self._forget(key)

    def revoke_all(self, user: str) -> None:
        """End all sessions of a user; errors as in `revoke`."""
        key = name_key(user)
        self._database.write(lambda connection: connection.execute("DELETE FROM sessions WHERE user = ?", (key,)))

    def _touch(self, key: bytes, now_s: float) -> None:
        with self._lock:
            self._used_s[key] = now_s
        self._database.offer(lambda connection: connection.execute("UPDATE sessions SET used_s = ? WHERE hash = ?", (now_s, key)))

    def _forget(self, key: bytes) -> None:
        with self._lock:
            self._used_s.pop(key, None)


class TokenTable:
    """The tokens of programs that use the API."""

    def __init__(self, database: Database) -> None:
        """Use an open database."""
        self._database = database

    def add(self, name: str, role: Role, cameras: Sequence[str] | None, expires_s: float | None) -> str:
        """Add a token, and return its secret, which is not stored.

        Args:
            name: Identifies it.
            role: What it may do.
            cameras: The cameras that it may be used for; None: all.
            expires_s: Seconds since 1970; None: never.

        Raises:
            ConfigError: The token exists, or the name is not allowed.
            StoreError: The disk is full or fails.
        """
        secret = TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        plain = checked_name(name)
        row = (_hash(secret), plain, role.value, cameras_text(cameras), self._database.now_s(), expires_s)

        def insert(connection: sqlite3.Connection) -> None:
            statement = "INSERT OR IGNORE INTO tokens (hash, name, role, cameras, created_s, expires_s) VALUES (?, ?, ?, ?, ?, ?)"
            if not connection.execute(statement, row).rowcount:
                raise ConfigError(f"{plain}: the token exists already; remove it first, or give another name")

        self._database.write(insert)
        return secret

    def find(self, secret: str) -> Token | None:
        """Return the token of a secret, or None: it does not exist, or has expired. An expired token stays expired.

        Raises:
            StoreError: The file cannot be read.
        """
        if not _TOKEN.fullmatch(secret):
            return None
        key, now_s = _hash(secret), self._database.now_s()
        statement = "SELECT name, role, cameras, created_s, expires_s, used_s, is_expired FROM tokens WHERE hash = ?"
        with self._database.reading() as connection:
            row = connection.execute(statement, (key,)).fetchone()
        if row is None or row[6]:
            return None
        token = _token(row[:6])
        if token.expires_s is not None and now_s >= token.expires_s:
            self._database.offer(lambda connection: connection.execute("UPDATE tokens SET is_expired = 1 WHERE hash = ?", (key,)))
            return None
        if token.used_s is None or abs(now_s - token.used_s) >= _TOUCH_S:
            self._database.offer(
                lambda connection: connection.execute("UPDATE tokens SET used_s = ? WHERE hash = ?", (now_s, key))
            )
        return token

    def list(self) -> tuple[Token, ...]:
        """Return all tokens by name, also those that have expired."""
        with self._database.reading() as connection:
            statement = "SELECT name, role, cameras, created_s, expires_s, used_s FROM tokens ORDER BY name"
            return tuple(_token(row) for row in connection.execute(statement).fetchall())

    def remove(self, name: str) -> None:
        """Remove a token.

        Raises:
            ConfigError: It does not exist.
            StoreError: The disk is full or fails.
        """

        def delete(connection: sqlite3.Connection) -> None:
            if not connection.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount:
                raise ConfigError(f"{name}: the token does not exist; maskstream token list shows all tokens")

        self._database.write(delete)


def _hash(secret: str) -> bytes:
    return sha256(secret.encode(errors="surrogatepass")).digest()


def _token(row: Sequence[object]) -> Token:
    name, role, cameras, created_s, expires_s, used_s = row
    return Token(str(name), Role(str(role)), cameras_of(cameras), created_s, expires_s, used_s)  # type: ignore[arg-type]
