"""Decide which records of a node count after its camera was given to another node. Pure functions, without a clock."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from maskstream.events.messages import ended_record
from maskstream.events.types import Phase
from maskstream.store.pages import utc_seconds, utc_text

_OF_ASSIGNMENT: Final = frozenset({"removed", "stopped"})
"""The causes with which a node ends the events of a camera that it has to give up."""

JsonRecord: TypeAlias = dict[str, Any]


class Fate(StrEnum):
    """Why a record does not go on."""

    REPEATED = "repeated"
    """It was committed before."""
    STALE = "stale"
    """Its camera was already on another node."""
    MALFORMED = "malformed"


@dataclass(frozen=True)
class HandOver:
    """A node has lost a camera."""

    at_utc: float
    """Seconds since 1970 by the clock of that node: later frames are those of the next node."""
    cause: str
    """Of the end of its open events: `moved` or `removed`."""


@dataclass(frozen=True)
class KnownEvent:
    """An event of which records were committed."""

    sequence: int
    """The highest one that its node has sent."""
    latest: JsonRecord | None
    """The latest record; None: the event has ended."""


def judge_event(record: JsonRecord, known: KnownEvent | None, hand_over: HandOver | None) -> JsonRecord | Fate:
    """Return the record that goes on, or why none does.

    Args:
        record: Of an event.
        known: The event, where earlier records of it were committed.
        hand_over: The end of the epoch of the record; None: it is the current one.
    """
    if known is not None and record["sequence"] <= known.sequence:
        return Fate.REPEATED
    if known is not None and known.latest is None:
        return Fate.STALE
    if hand_over is None:
        return record
    last_utc = utc_seconds(record["last_utc"])
    if last_utc is not None and last_utc <= hand_over.at_utc:
        is_given_up = record["phase"] == Phase.END.value and record["cause"] in _OF_ASSIGNMENT
        return record | {"cause": hand_over.cause} if is_given_up else record
    if known is None or known.latest is None:
        return Fate.STALE
    return ended_record(_through(known.latest, hand_over.at_utc), hand_over.cause)


def judge_counts(record: JsonRecord, hand_over: HandOver | None) -> JsonRecord | Fate:
    """Return the counts that go on, or why none do.

    The seconds of a minute in which the camera moved are reduced to the part before. Its people remain: any of them may have
    been there before.

    Args:
        record: Of counts.
        hand_over: The end of the epoch of the record; None: it is the current one.
    """
    if hand_over is None:
        return record
    began_utc, last_utc = utc_seconds(record["began_utc"]), utc_seconds(record["last_utc"])
    if began_utc is None or last_utc is None or began_utc >= hand_over.at_utc:
        return Fate.STALE
    if last_utc <= hand_over.at_utc:
        return record
    kept_s = hand_over.at_utc - began_utc
    share = kept_s / (last_utc - began_utc)
    return record | {
        "last_s": round(record["began_s"] + kept_s, 6),
        "last_utc": utc_text(hand_over.at_utc),
        "person_s": {label: round(seconds * share, 3) for label, seconds in record["person_s"].items()},
    }


def _through(record: JsonRecord, at_utc: float) -> JsonRecord:
    """Return a record of an event that is known to have continued until a time."""
    last_utc = utc_seconds(record["last_utc"])
    longer_s = 0.0 if last_utc is None else at_utc - last_utc
    if longer_s <= 0:
        return record
    last_s = round(record["last_s"] + longer_s, 6)
    duration_s = round(max(0.0, last_s - record["began_s"]), 3)
    return record | {"last_s": last_s, "last_utc": utc_text(at_utc), "duration_s": duration_s}
