"""The tables of the collector. Each function is a part of a transaction of its caller."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from maskstream.events.types import Phase
from maskstream.fleet.fencing import HandOver, JsonRecord, KnownEvent
from maskstream.fleet.record_file import oldest_records

TABLES: Final = """
CREATE TABLE IF NOT EXISTS nodes (
    node TEXT, outbox TEXT, acknowledged INTEGER NOT NULL, lost INTEGER NOT NULL, turn INTEGER NOT NULL,
    PRIMARY KEY (node, outbox)
);
CREATE TABLE IF NOT EXISTS hand_overs (
    camera TEXT, new_epoch INTEGER, at_utc REAL NOT NULL, cause TEXT NOT NULL, is_settled INTEGER NOT NULL,
    PRIMARY KEY (camera, new_epoch)
);
CREATE INDEX IF NOT EXISTS unsettled ON hand_overs (is_settled) WHERE is_settled = 0;
CREATE TABLE IF NOT EXISTS events (
    event TEXT PRIMARY KEY, camera TEXT NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, latest TEXT,
    number INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS open_events ON events (camera) WHERE latest IS NOT NULL;
CREATE INDEX IF NOT EXISTS ended_events ON events (number) WHERE latest IS NULL;
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, epoch INTEGER NOT NULL, key TEXT NOT NULL, body TEXT,
    UNIQUE (camera, epoch, key)
);
CREATE INDEX IF NOT EXISTS outgoing ON records (number) WHERE body IS NOT NULL;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS positions (receiver TEXT PRIMARY KEY, position INTEGER NOT NULL);
"""
"""`nodes.turn` is the highest for the outbox that a node used last. `events.latest` is the latest record of an open event.
`records.body` is NULL when the record is delivered: its key is kept to know it again."""
DROPPED: Final = "dropped"
"""The counter of records that were dropped before all receivers had them."""
_WAITING_BYTES: Final = "waiting_bytes"
"""The counter of the size of `records.body`."""
_ACKNOWLEDGE: Final = """
INSERT INTO nodes VALUES (:node, :outbox, :number, :lost, (SELECT coalesce(max(turn), 0) + 1 FROM nodes WHERE node = :node))
ON CONFLICT (node, outbox) DO UPDATE SET acknowledged = max(acknowledged, excluded.acknowledged), lost = max(lost, excluded.lost),
    turn = excluded.turn
"""
_HAND_OVER: Final = "SELECT at_utc, cause FROM hand_overs WHERE camera = ? AND new_epoch > ? ORDER BY at_utc LIMIT 1"


@dataclass(frozen=True)
class Outgoing:
    """A committed record that was not delivered yet."""

    number: int
    """Grows in the order of the commits."""
    camera: str
    epoch: int
    key: str
    """Unique for the camera and the epoch."""
    body: str
    """JSON."""


@dataclass(frozen=True)
class OpenEvent:
    """An event that has not ended."""

    camera: str
    epoch: int
    sequence: int
    """The highest one that its node has sent."""
    latest: JsonRecord


@dataclass(frozen=True)
class OutboxState:
    """What is committed of the outbox of a node."""

    outbox: str
    """Empty: the node has not sent any record."""
    acknowledged: int
    lost: int
    """Records that the outbox has dropped."""


def outbox_state(database: sqlite3.Connection, node: str, outbox: str | None = None) -> OutboxState:
    """Return what is committed of an outbox; None: of the one that the node used last."""
    condition = "node = :node AND (:outbox IS NULL OR outbox = :outbox)"
    statement = f"SELECT outbox, acknowledged, lost FROM nodes WHERE {condition} ORDER BY turn DESC LIMIT 1"  # noqa: S608 (of constants)
    row = database.execute(statement, {"node": node, "outbox": outbox}).fetchone()
    return OutboxState(outbox or "", 0, 0) if row is None else OutboxState(*row)


def acknowledge(database: sqlite3.Connection, node: str, outbox: str, number: int, lost: int) -> None:
    """Set what is committed of an outbox."""
    database.execute(_ACKNOWLEDGE, {"node": node, "outbox": outbox, "number": number, "lost": lost})


def hand_over_of(database: sqlite3.Connection, camera: str, epoch: int) -> HandOver | None:
    """Return the end of an epoch, by the clock of the supervisor; None where it is the current one."""
    row = database.execute(_HAND_OVER, (camera, epoch)).fetchone()
    return None if row is None else HandOver(*row)


def known_event(database: sqlite3.Connection, event: str) -> KnownEvent | None:
    """Return an event; None before its first record."""
    row = database.execute("SELECT sequence, latest FROM events WHERE event = ?", (event,)).fetchone()
    return None if row is None else KnownEvent(row[0], None if row[1] is None else json.loads(row[1]))


def open_events(database: sqlite3.Connection, camera: str, below_epoch: int) -> list[OpenEvent]:
    """Return the open events of the epochs of a camera before one, in order."""
    statement = "SELECT epoch, sequence, latest FROM events WHERE camera = ? AND latest IS NOT NULL AND epoch < ? ORDER BY number"
    rows = database.execute(statement, (camera, below_epoch)).fetchall()
    return [OpenEvent(camera, epoch, sequence, json.loads(latest)) for epoch, sequence, latest in rows]


def insert_counts(database: sqlite3.Connection, camera: str, epoch: int, key: str, record: JsonRecord) -> bool:
    """Add counts that go on; return False where they are already there."""
    return _insert(database, camera, epoch, key, record) is not None


def insert_event(database: sqlite3.Connection, camera: str, epoch: int, record: JsonRecord, sequence: int) -> bool:
    """Add a record of an event that goes on, and keep it as the latest one; return False where it is already there.

    Args:
        database: Within a transaction.
        camera: Whose event it is.
        epoch: In which the event began.
        record: The record that goes on.
        sequence: The highest one that the node has sent; that of the record may be higher.
    """
    number = _insert(database, camera, epoch, f"{record['event_id']}-{record['sequence']}", record)
    if number is None:
        return False
    latest = None if record["phase"] == Phase.END.value else json.dumps(record, allow_nan=False)
    row = (record["event_id"], camera, epoch, sequence, latest, number)
    database.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
    return True


def count(database: sqlite3.Connection, name: str, by: int = 1) -> None:
    """Increase a counter."""
    database.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value", (name, by)
    )


def outgoing(database: sqlite3.Connection, limit: int, after: int) -> list[Outgoing]:
    """Return the oldest records that are not delivered, with higher numbers than `after`."""
    statement = (
        "SELECT number, camera, epoch, key, body FROM records WHERE body IS NOT NULL AND number > ? ORDER BY number LIMIT ?"
    )
    return [Outgoing(*row) for row in database.execute(statement, (after, limit)).fetchall()]


def set_delivered(database: sqlite3.Connection, up_to: int, keep: int) -> None:
    """Delete the bodies of delivered records, and all but the `keep` latest keys and ended events."""
    _delete_bodies(database, up_to)
    (latest,) = database.execute("SELECT coalesce(max(number), 0) FROM records").fetchone()
    database.execute("DELETE FROM records WHERE number <= ? AND body IS NULL", (latest - keep,))
    database.execute("DELETE FROM events WHERE number <= ? AND latest IS NULL", (latest - keep,))


def drop_oldest(database: sqlite3.Connection, limit_bytes: int) -> int:
    """Delete the bodies of the oldest records until the others have `limit_bytes`; count them, and return how many there were."""
    (size,) = database.execute("SELECT coalesce(sum(value), 0) FROM counters WHERE name = ?", (_WAITING_BYTES,)).fetchone()
    if size <= limit_bytes:
        return 0
    oldest = oldest_records(database, size - limit_bytes)
    _delete_bodies(database, oldest.up_to)
    count(database, DROPPED, oldest.count)
    return oldest.count


def _delete_bodies(database: sqlite3.Connection, up_to: int) -> None:
    of_these = "FROM records WHERE body IS NOT NULL AND number <= ?"
    (size,) = database.execute(f"SELECT coalesce(sum(length(body)), 0) {of_these}", (up_to,)).fetchone()
    database.execute("UPDATE records SET body = NULL WHERE body IS NOT NULL AND number <= ?", (up_to,))
    count(database, _WAITING_BYTES, -size)


def set_positions(database: sqlite3.Connection, positions: Mapping[str, int]) -> None:
    """Keep how far receivers had come when records were delivered."""
    database.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())


def position(database: sqlite3.Connection, receiver: str) -> int | None:
    """Return how far a receiver had come; None where it is not known."""
    row = database.execute("SELECT position FROM positions WHERE receiver = ?", (receiver,)).fetchone()
    return None if row is None else int(row[0])


def insert_hand_over(database: sqlite3.Connection, camera: str, new_epoch: int, hand_over: HandOver) -> bool:
    """Add a hand-over; return False where there is one to this epoch."""
    row = (camera, new_epoch, hand_over.at_utc, hand_over.cause)
    cursor = database.execute("INSERT INTO hand_overs VALUES (?, ?, ?, ?, 0) ON CONFLICT DO NOTHING", row)
    return cursor.rowcount == 1


def set_settled(database: sqlite3.Connection, camera: str, new_epoch: int) -> None:
    """Remember that the open events of a hand-over have been ended."""
    database.execute("UPDATE hand_overs SET is_settled = 1 WHERE camera = ? AND new_epoch = ?", (camera, new_epoch))


def set_unsettled(database: sqlite3.Connection, camera: str, epoch: int) -> tuple[str, int]:
    """Let the open events of an epoch that has ended be ended once more; return camera and new epoch of its hand-over."""
    statement = "SELECT min(new_epoch) FROM hand_overs WHERE camera = ? AND new_epoch > ?"
    (new_epoch,) = database.execute(statement, (camera, epoch)).fetchone()
    database.execute("UPDATE hand_overs SET is_settled = 0 WHERE camera = ? AND new_epoch = ?", (camera, new_epoch))
    return camera, int(new_epoch)


def totals(database: sqlite3.Connection) -> tuple[dict[str, int], dict[str, int], int]:
    """Return the counters, the lost records of each node, and how many records are not delivered."""
    counters = dict(database.execute("SELECT name, value FROM counters").fetchall())
    lost = dict(database.execute("SELECT node, sum(lost) FROM nodes GROUP BY node").fetchall())
    (waiting,) = database.execute("SELECT count(*) FROM records WHERE body IS NOT NULL").fetchone()
    return counters, lost, waiting


def unsettled(database: sqlite3.Connection) -> list[tuple[str, int]]:
    """Return camera and new epoch of the hand-overs whose open events have not been ended."""
    return database.execute("SELECT camera, new_epoch FROM hand_overs WHERE is_settled = 0").fetchall()


def _insert(database: sqlite3.Connection, camera: str, epoch: int, key: str, record: JsonRecord) -> int | None:
    statement = "INSERT INTO records (camera, epoch, key, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING number"
    body = json.dumps(record, allow_nan=False)
    row = database.execute(statement, (camera, epoch, key, body)).fetchone()
    if row is None:
        return None
    count(database, _WAITING_BYTES, len(body))
    return int(row[0])
