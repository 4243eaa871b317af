"""Store the audit log: which user changed or viewed which object."""

import sqlite3
from dataclasses import dataclass

from maskstream.io.files import plain_text
from maskstream.store.database import Database
from maskstream.store.pages import Conditions, read_page, utc_text

_LONGEST_TEXT = 1000


@dataclass(frozen=True)
class AuditEntry:
    """One action of a user, of a token or of the command line."""

    number: int
    at_utc: str
    who: str
    """The user, the token, or `command line (USER)`."""
    what: str
    """The action: `login`, `camera.change`, `user.add` ..."""
    detail: str
    """The object of the action; without secrets."""
    address: str
    """The IP address of the client; `local` for the command line."""


@dataclass(frozen=True)
class AuditPage:
    """Actions, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None


class AuditTable:
    """The audit log. Entries are added, never changed."""

    def __init__(self, database: Database) -> None:
        """Use an open database."""
        self._database = database

    def add(self, who: str, what: str, detail: str, address: str, at_s: float | None = None) -> None:
        """Add an entry, and return when it is on the disk.

        Args:
            who: The user or token.
            what: The action.
            detail: The object of the action; without secrets.
            address: Of the client.
            at_s: Seconds since 1970; None: now.

        Raises:
            StoreError: The disk is full or fails.
        """
        texts = [plain_text(text)[:_LONGEST_TEXT] for text in (who, what, detail, address)]
        row = (self._database.now_s() if at_s is None else at_s, *texts)

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO audit (at_s, who, what, detail, address) VALUES (?, ?, ?, ?, ?)", row)

        self._database.write(insert)

    def page(self, cursor: str | None = None, limit: int = 100) -> AuditPage:
        """Return entries, newest first.

        Raises:
            ConfigError: The cursor is not one of ours.
            StoreError: The file cannot be read.
        """
        with self._database.reading() as connection:
            rows, following = read_page(connection, "SELECT * FROM audit", Conditions(), cursor, limit)
        return AuditPage([_entry(row) for row in rows], following)


def _entry(row: sqlite3.Row) -> AuditEntry:
    at_utc = utc_text(row["at_s"]) or ""
    return AuditEntry(row["number"], at_utc, row["who"], row["what"], row["detail"], row["address"])
