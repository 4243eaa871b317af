"""Serialise events and counts as JSON records."""

from base64 import b64encode
from typing import Any

from maskstream.events.types import EventOrCounts, MaskEvent, MinuteCounts, Timestamp
from maskstream.io.text_file import box_record, iso_8601, rounded


def event_record(item: EventOrCounts) -> dict[str, Any]:
    """Return the record of an event or of the counts of a minute; a field that does not apply is null."""
    return _mask_event(item) if isinstance(item, MaskEvent) else _minute_counts(item)


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
