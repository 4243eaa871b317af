"""Store the counts of each minute, the intervals of the states of cameras, and the runs of the program."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from secrets import randbits
from typing import Any, Final

from maskstream.events.record_types import CountsRecord
from maskstream.io.files import plain_text
from maskstream.store.database import Database
from maskstream.store.events import end_interrupted
from maskstream.store.pages import Conditions, read_page, utc_seconds, utc_text
from maskstream.stream.states import SILENT, SourceState, StateChange
from maskstream.types import Label

_LABELS: Final = tuple(label.value for label in Label)
_COUNTS: Final = tuple(f"{kind}_{label}" for kind in ("people", "seconds") for label in _LABELS)
_MINUTE_COLUMNS: Final = ("camera", "at_s", "began_utc", "last_utc", *_COUNTS)
_PUT_MINUTE: Final = (
    f"INSERT INTO minutes ({', '.join(_MINUTE_COLUMNS)}) SELECT {', '.join('?' * len(_MINUTE_COLUMNS))} "  # noqa: S608 (of constants)
    "WHERE NOT EXISTS (SELECT 1 FROM minutes WHERE camera = ?1 AND at_s = ?2 AND began_utc = ?3 AND last_utc = ?4)"
)
_SILENT: Final = frozenset(state.value for state in SILENT)
_RUN_BITS: Final = 62
_LONGEST_OUTAGE: Final = 1000
"""States of a camera that are read to find its last outage."""


@dataclass(frozen=True)
class MinutePage:
    """Counts of minutes, newest first."""

    minutes: list[dict[str, Any]]
    """Fields: camera, began_utc, last_utc, people and person_s per label."""
    next_cursor: str | None


class MinuteTable:
    """The people of each camera in each minute."""

    def __init__(self, database: Database) -> None:
        """Use an open database."""
        self._database = database

    def put(self, record: CountsRecord) -> None:
        """Queue the counts of a minute for the store; never blocks. Counts of a live source that are stored are ignored."""
        began_s = utc_seconds(record["began_utc"])
        at_s = self._database.now_s() if began_s is None else began_s
        people: dict[str, Any] = {**record["people"]}
        seconds: dict[str, Any] = {**record["person_s"]}
        counts = [*(people.get(label, 0) for label in _LABELS), *(seconds.get(label, 0.0) for label in _LABELS)]
        row = (plain_text(record["source"]), at_s, record["began_utc"], record["last_utc"], *counts)
        self._database.offer(lambda connection: connection.execute(_PUT_MINUTE, row))

    def page(
        self,
        *,
        cameras: Collection[str] | None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 200,
    ) -> MinutePage:
        """Return the counts of minutes, newest first; the arguments are those of `EventTable.page`."""
        conditions = Conditions()
        conditions.add_cameras(cameras)
        conditions.add_times(since, until)
        with self._database.reading() as connection:
            rows, following = read_page(connection, "SELECT * FROM minutes", conditions, cursor, limit)
        return MinutePage([_minute(row) for row in rows], following)


@dataclass(frozen=True)
class StateInterval:
    """The time that a camera was in one state."""

    number: int
    camera: str
    state: str
    cause: str
    began_utc: str
    ended_utc: str | None
    """None: the camera is in this state now."""
    duration_s: float | None
    """By the monotonic clock. None: the camera is in this state now, or the program was killed in it."""


@dataclass(frozen=True)
class StatePage:
    """Intervals of states, newest first."""

    states: list[StateInterval]
    next_cursor: str | None


@dataclass(frozen=True)
class Outage:
    """A time without frames of a camera."""

    began_utc: str
    ended_utc: str | None
    """None: the outage continues."""
    cause: str
    """The cause of its first state."""


class StateTable:
    """The intervals of the states of each camera."""

    def __init__(self, database: Database) -> None:
        """Use an open database."""
        self._database = database

    def put(self, change: StateChange) -> None:
        """Queue a change of state for the store; never blocks. The change ends the previous interval of the camera."""
        run = self._database.run
        self._database.offer(lambda connection: _put_state(connection, change, run))

    def page(self, *, cameras: Collection[str] | None, cursor: str | None = None, limit: int = 200) -> StatePage:
        """Return intervals, newest first; the arguments are those of `EventTable.page`."""
        conditions = Conditions()
        conditions.add_cameras(cameras)
        with self._database.reading() as connection:
            rows, following = read_page(connection, "SELECT * FROM states", conditions, cursor, limit)
        return StatePage([_interval(row) for row in rows], following)

    def last_outage(self, camera: str) -> Outage | None:
        """Return the latest outage, from its first state to the next frame. None: no outage is stored."""
        states = self.page(cameras=(camera,), limit=_LONGEST_OUTAGE).states
        last = next((index for index, each in enumerate(states) if each.state in _SILENT), None)
        if last is None:
            return None
        first = last
        while first + 1 < len(states) and states[first + 1].state in _SILENT:
            first += 1
        return Outage(states[first].began_utc, states[last].ended_utc, states[first].cause)


class RunTable:
    """The runs of the program that store a stream. A run that was killed has no end."""

    def __init__(self, database: Database) -> None:
        """Use an open database."""
        self._database = database

    def begin(self, is_alone: bool, *, events_continue: bool = False) -> None:
        """Begin a run; never blocks. All records that are put later get its number.

        Args:
            is_alone: Whether no other run uses the store. Then what is still open belongs to killed runs, and ends.
            events_continue: Their open events go on in this run instead: the records come from other machines.
        """
        now_s = self._database.now_s()
        run = randbits(_RUN_BITS)  # known before the disk has it

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO runs (number, began_s, alive_s) VALUES (?, ?, ?)", (run, now_s, now_s))
            if is_alone and events_continue:
                connection.execute("UPDATE events SET run = ? WHERE is_open = 1", (run,))
            if is_alone:
                end_interrupted(connection, run, None)
                _end_states(connection, run, None)

        self._database.run = run
        self._database.offer(insert)
        self._database.writer.each_minute(lambda connection: self._set_alive(connection, run))

    def end(self) -> None:
        """Queue the end of this run and of the states of its cameras; never blocks."""
        run, now_s = self._database.run, self._database.now_s()

        def update(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE runs SET ended_s = ? WHERE number = ?", (now_s, run))
            connection.execute("UPDATE states SET ended_s = max(began_s, ?) WHERE ended_s IS NULL AND run IS ?", (now_s, run))

        self._database.offer(update)

    def _set_alive(self, connection: sqlite3.Connection, run: int) -> None:
        connection.execute("UPDATE runs SET alive_s = ? WHERE number = ?", (self._database.now_s(), run))


def _put_state(connection: sqlite3.Connection, change: StateChange, run: int | None) -> None:
    camera, at_s = plain_text(change.source_id), change.wall_time.timestamp()
    if change.before is None:
        end_interrupted(connection, run, camera)
        _end_states(connection, run, camera)
    ended = (at_s, change.before_s, camera)
    connection.execute("UPDATE states SET ended_s = ?, duration_s = ? WHERE camera = ? AND ended_s IS NULL", ended)
    ended_s = at_s if change.state is SourceState.ENDED else None
    row = (camera, change.state.value, change.cause, at_s, ended_s, run)
    connection.execute("INSERT INTO states (camera, state, cause, began_s, ended_s, run) VALUES (?, ?, ?, ?, ?, ?)", row)


def _end_states(connection: sqlite3.Connection, run: int | None, camera: str | None) -> None:
    """End the states of killed runs, at the last minute in which the run was alive."""
    connection.execute(
        "UPDATE states SET ended_s = max(began_s, coalesce((SELECT coalesce(ended_s, alive_s) FROM runs WHERE number = run), 0)) "
        "WHERE ended_s IS NULL AND run IS NOT ? AND (? IS NULL OR camera = ?)",
        (run, camera, camera),
    )


def _minute(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "camera": row["camera"],
        "began_utc": row["began_utc"] or utc_text(row["at_s"]),
        "last_utc": row["last_utc"],
        "people": {label: row[f"people_{label}"] for label in _LABELS},
        "person_s": {label: row[f"seconds_{label}"] for label in _LABELS},
    }


def _interval(row: sqlite3.Row) -> StateInterval:
    return StateInterval(
        number=row["number"],
        camera=row["camera"],
        state=row["state"],
        cause=row["cause"],
        began_utc=utc_text(row["began_s"]) or "",
        ended_utc=utc_text(row["ended_s"]),
        duration_s=row["duration_s"],
    )
