"""Compare what the nodes of a fleet recorded with what arrived in its file of events, after the fleet has ended."""

import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tests.cli.fleets import Fleet
from tests.fleet.figure_tables import table

Held: TypeAlias = tuple[str, str, int]
"""A record: the source; the event, or the minute in which counts began; the sequence, or -1."""


@dataclass(frozen=True)
class RecordAudit:
    """The records of a fleet. `doubled`, and four counts of lost ones that do not depend on each other, should be 0."""

    made: int
    """By the numbers that the nodes gave their records."""
    in_file: int
    events: int
    """Different ones in the file."""
    stale: int
    """Records that the supervisor told apart: their camera was already on another node."""
    missing: int
    """Sequences of events that are not in the file, and ends."""
    unacknowledged: int
    """Records of the nodes that the supervisor has not committed, or that a node has dropped."""
    undelivered: int
    """Records that the supervisor has committed, and that are not in the file."""
    waiting: int
    """Records that were on the disks of agents when they were killed."""
    waiting_missing: int
    """Those of them that are not in the file."""
    doubled: int

    @property
    def lost(self) -> int:
        """All that is lost; a record may count several times."""
        return self.missing + self.unacknowledged + self.undelivered + self.waiting_missing

    def table(self) -> str:
        """Return the numbers as a table."""
        head = ["records made on the nodes", "in the file", "events", "on the disks of agents at their kill"]
        values = [self.made, self.in_file, self.events, self.waiting]
        return table([*head, "stale", "lost", "doubled"], [[*values, self.stale, self.lost, self.doubled]])


def held_records(node: Path) -> list[Held]:
    """Return the records in the outbox of an agent that is stopped, from a copy: the agent has locked the file."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("records.db", "records.db-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(node / name, folder)
        with closing(sqlite3.connect(Path(folder) / "records.db")) as database:
            return [_identity(json.loads(body)) for (body,) in database.execute("SELECT body FROM records")]


def audit(fleet: Fleet, held: list[Held]) -> RecordAudit:
    """Count the records of a fleet that has ended in order.

    Args:
        fleet: Its folder is read.
        held: Records that were in the outboxes of agents when they were killed.
    """
    lines = Counter(map(_identity, fleet.records()))
    state = fleet.folder / "state"
    made = acknowledged = dropped = 0
    for path in (state / "nodes").glob("*/records.db"):
        with closing(sqlite3.connect(path)) as database:
            made += _number(database, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'records'")
            dropped += _number(database, "SELECT sum(lost) FROM outbox")
    with closing(sqlite3.connect(state / "collector.db")) as database:
        acknowledged = _number(database, "SELECT coalesce(sum(acknowledged), 0) FROM nodes")
        committed = _number(database, "SELECT count(*) FROM records")
        stale = _number(database, "SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'stale'")
    return RecordAudit(
        made=made,
        in_file=lines.total(),
        events=len({identity[:2] for identity in lines if identity[2] >= 0}),
        stale=stale,
        missing=sum(map(_gaps, fleet.by_event().values())),
        unacknowledged=made - acknowledged + dropped,
        undelivered=committed - len(lines),
        waiting=len(set(held)),
        waiting_missing=len(set(held) - set(lines)),
        doubled=lines.total() - len(lines),
    )


def _identity(record: dict[str, Any]) -> Held:
    if record["type"] == "event":
        return record["source"], record["event_id"], record["sequence"]
    return record["source"], record["began_utc"], -1


def _gaps(records: list[dict[str, Any]]) -> int:
    """Return how many sequences of an event are not there, with its end."""
    sequences = {each["sequence"] for each in records}
    has_end = any(each["phase"] == "end" for each in records)
    return max(sequences) + 1 - len(sequences) + (not has_end)


def _number(database: sqlite3.Connection, statement: str) -> int:
    return int(database.execute(statement).fetchone()[0])
