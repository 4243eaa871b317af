"""Delete records that are older than `store.keep_days`."""

import sqlite3
from typing import Final

DAY_S: Final = 86_400.0
ROWS_A_MINUTE: Final = 500
"""The maximum number of rows of a table that are deleted at once. A wrong clock then deletes few."""
_OLD: Final = {
    "events": "at_s < ? AND is_open = 0",
    "minutes": "at_s < ?",
    "states": "ended_s < ?",
    "audit": "at_s < ?",
}
"""Which rows of each table may be deleted."""


def delete_old(connection: sqlite3.Connection, before_s: float) -> None:
    """Delete the oldest events that have ended, minutes, states and audit entries.

    Args:
        connection: Within a transaction.
        before_s: Seconds since 1970.
    """
    for table, condition in _OLD.items():
        oldest = f"SELECT number FROM {table} WHERE {condition} ORDER BY number LIMIT {ROWS_A_MINUTE}"  # noqa: S608 (of constants)
        connection.execute(f"DELETE FROM {table} WHERE number IN ({oldest})", (before_s,))  # noqa: S608 (of constants)
