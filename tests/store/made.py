"""Stores and records for tests."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from maskstream.events.record_types import CountsRecord, EventRecord
from maskstream.store.passwords import ScryptCost

CHEAP = ScryptCost(n=16, r=1, p=1)
PASSWORD = "correct horse"
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


class WallClock:
    """A wall clock that is set as a test wants."""

    def __init__(self, now_s: float = NOON.timestamp()) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


def event(number: int = 1, sequence: int = 0, **changes: Any) -> EventRecord:
    """Return a record of an event that began `number` minutes after noon."""
    began = (NOON + timedelta(minutes=number)).isoformat(timespec="milliseconds")
    record = {
        "type": "event",
        "event_id": f"e-{number}",
        "sequence": sequence,
        "phase": "start",
        "label": "no_mask",
        "source": "door",
        "person": 3,
        "zone": None,
        "began_s": 60.0 * number,
        "began_utc": began,
        "last_s": 60.0 * number + 2,
        "last_utc": began,
        "ended_s": None,
        "ended_utc": None,
        "duration_s": 2.0,
        "cause": None,
        "confidence": 0.9,
        "best": {
            "frame": 1,
            "time_s": 0.0,
            "confidence": 0.9,
            "box": {"x1": 1, "y1": 2, "x2": 3, "y2": 4},
            "crop_jpeg": "ZmFjZQ==",
        },
    }
    return cast(EventRecord, record | changes)


def counts(minute: int = 0, source: str = "door", **changes: Any) -> CountsRecord:
    """Return the counts of a minute after noon."""
    began = (NOON + timedelta(minutes=minute)).isoformat(timespec="milliseconds")
    record = {
        "type": "counts",
        "source": source,
        "began_s": 60.0 * minute,
        "began_utc": began,
        "last_s": 60.0 * minute + 59,
        "last_utc": began,
        "people": {"mask": 2, "no_mask": 1, "incorrect": 0, "unknown": 0},
        "person_s": {"mask": 80.5, "no_mask": 3.25, "incorrect": 0.0, "unknown": 0.0},
    }
    return cast(CountsRecord, record | changes)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of a store, as another process does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
