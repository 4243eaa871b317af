"""Serialise events and counts as JSON records, and parse them back."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from math import nan
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import Field, TypeAdapter

from maskstream.events.record_types import CountsRecord, EventRecord
from maskstream.events.types import EventOrCounts, MaskEvent, MinuteCounts, Observation, Phase, Timestamp
from maskstream.io.text_file import box_record, iso_8601, rounded
from maskstream.types import Label

_Record: TypeAlias = Annotated[EventRecord | CountsRecord, Field(discriminator="type")]


def event_record(item: EventOrCounts) -> dict[str, Any]:
    """Return the record of an event or of the counts of a minute; a field that does not apply is null."""
    return _mask_event(item) if isinstance(item, MaskEvent) else _minute_counts(item)


def parse_record(record: Mapping[str, Any]) -> EventOrCounts:
    """Return the event or the counts of a record: the inverse of `event_record`, apart from its rounding.

    A record does not have the frame number of `began` and `last`, nor the wall time of the best frame: they are 0 and None.
    A number that is null, because it was not finite, becomes NaN.

    Raises:
        ValueError: It is not a record of an event or of counts.
    """
    checked: Any = _adapter().validate_python(record)
    return _parse_event(checked) if checked["type"] == "event" else _parse_counts(checked)


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(_Record)


def _parse_event(record: EventRecord) -> MaskEvent:
    best = record["best"]
    box = [best["box"]["x1"], best["box"]["y1"], best["box"]["x2"], best["box"]["y2"]]
    crop = best["crop_jpeg"]
    observation = Observation(
        timestamp=Timestamp(best["frame"], best["time_s"], None),
        confidence=_or_nan(best["confidence"]),
        box_xyxy=np.array([_or_nan(side) for side in box], np.float32),
        crop_jpeg=None if crop is None else b64decode(crop, validate=True),
    )
    return MaskEvent(
        event_id=record["event_id"],
        sequence=record["sequence"],
        phase=Phase(record["phase"]),
        label=Label(record["label"]),
        source_id=record["source"],
        person=record["person"],
        zone=record["zone"],
        began=_timestamp(record["began_s"], record["began_utc"]),
        last=_timestamp(record["last_s"], record["last_utc"]),
        confidence=_or_nan(record["confidence"]),
        best=observation,
        cause=record["cause"],
    )


def _parse_counts(record: CountsRecord) -> MinuteCounts:
    people: Mapping[str, Any] = record["people"]
    person_s: Mapping[str, Any] = record["person_s"]
    return MinuteCounts(
        source_id=record["source"],
        began=_timestamp(record["began_s"], record["began_utc"]),
        last=_timestamp(record["last_s"], record["last_utc"]),
        people={label: people[label.value] for label in Label},
        person_s={label: person_s[label.value] for label in Label},
    )


def _timestamp(time_s: float, utc: str | None) -> Timestamp:
    return Timestamp(0, time_s, None if utc is None else datetime.fromisoformat(utc))


def _or_nan(number: float | None) -> float:
    return nan if number is None else number


def _mask_event(event: MaskEvent) -> dict[str, Any]:
    ended = event.last if event.cause is not None else None
    best = event.best
    return {
        "type": "event",
        "event_id": event.event_id,
        "sequence": event.sequence,
        "phase": event.phase.value,
        "label": event.label.value,
        "source": event.source_id,
        "person": event.person,
        "zone": event.zone,
        **_time_fields("began", event.began),
        **_time_fields("last", event.last),
        **_time_fields("ended", ended),
        "duration_s": round(event.duration_s, 3),
        "cause": event.cause,
        "confidence": rounded(event.confidence),
        "best": {
            "frame": best.timestamp.frame,
            "time_s": round(best.timestamp.time_s, 6),
            "confidence": rounded(best.confidence),
            "box": box_record(best.box_xyxy),
            "crop_jpeg": b64encode(best.crop_jpeg).decode() if best.crop_jpeg else None,
        },
    }


def _minute_counts(counts: MinuteCounts) -> dict[str, Any]:
    return {
        "type": "counts",
        "source": counts.source_id,
        **_time_fields("began", counts.began),
        **_time_fields("last", counts.last),
        "people": {label.value: number for label, number in counts.people.items()},
        "person_s": {label.value: round(seconds, 3) for label, seconds in counts.person_s.items()},
    }


def _time_fields(name: str, timestamp: Timestamp | None) -> dict[str, Any]:
    if timestamp is None:
        return {f"{name}_s": None, f"{name}_utc": None}
    return {f"{name}_s": round(timestamp.time_s, 6), f"{name}_utc": iso_8601(timestamp.wall_time)}
