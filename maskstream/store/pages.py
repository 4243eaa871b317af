"""Read a table page by page, newest first."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from maskstream.errors import ConfigError
from maskstream.io.files import plain_text
from maskstream.io.text_file import iso_8601


@dataclass
class Conditions:
    """Conditions that all rows of a page meet."""

    clauses: list[str] = field(default_factory=lambda: ["1"])
    values: list[object] = field(default_factory=list)

    def add(self, clause: str, value: object) -> None:
        """Add a condition with one value, unless the value is None."""
        if value is not None:
            self.clauses.append(clause)
            self.values.append(plain_text(value) if isinstance(value, str) else value)

    def add_cameras(self, cameras: Collection[str] | None) -> None:
        """Add the cameras that a user may see; None: all."""
        if cameras is not None:
            self.clauses.append(f"camera IN ({', '.join('?' * len(cameras))})")
            self.values += list(cameras)

    def add_times(self, since: datetime | None, until: datetime | None) -> None:
        """Add the first time of the page (inclusive) and its end (exclusive)."""
        self.add("at_s >= ?", None if since is None else since.timestamp())
        self.add("at_s < ?", None if until is None else until.timestamp())


def read_page(
    connection: sqlite3.Connection, select: str, conditions: Conditions, cursor: str | None, limit: int
) -> tuple[list[sqlite3.Row], str | None]:
    """Return the rows of a page, and the cursor of the next page, or None after the last one.

    The order is that of the insertion, which does not depend on the clock; rows that are added meanwhile change no later page.

    Args:
        connection: Reads.
        select: `SELECT number, ... FROM table`, without WHERE.
        conditions: For the rows.
        cursor: From the page before; None: the first page.
        limit: The maximum number of rows.

    Raises:
        ConfigError: The cursor is not one of ours.
    """
    conditions.add("number < ?", None if cursor is None else _number_of(cursor))
    statement = f"{select} WHERE {' AND '.join(conditions.clauses)} ORDER BY number DESC LIMIT ?"
    reader = connection.cursor()
    reader.row_factory = sqlite3.Row
    rows = reader.execute(statement, (*conditions.values, limit + 1)).fetchall()
    following = str(rows[limit - 1]["number"]) if len(rows) > limit else None
    return rows[:limit], following


def utc_text(seconds: float | None) -> str | None:
    """Return seconds since 1970 as ISO 8601, the format of records."""
    return None if seconds is None else iso_8601(datetime.fromtimestamp(seconds, UTC))


def utc_seconds(text: str | None) -> float | None:
    """Return the time of a record in seconds since 1970."""
    return None if text is None else datetime.fromisoformat(text).timestamp()


def _number_of(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise ConfigError(f"cursor: {cursor[:40]!r} is not allowed; give the value of next from the page before")
    return int(cursor)
