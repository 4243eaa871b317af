"""Events and counts as JSON records."""

from base64 import b64encode
from typing import Any

from maskstream.events.types import EventOrCounts, MaskEvent, MinuteCounts, Timestamp
from maskstream.io.text_file import box_record, iso_8601, rounded


def event_record(happening: EventOrCounts) -> dict[str, Any]:
    """Return the record of an event or of the counts of a minute; null where a field does not apply."""
    return _mask_event(happening) if isinstance(happening, MaskEvent) else _counts(happening)


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
        **_moment("began", event.began),
        **_moment("last", event.last),
        **_moment("ended", ended),
        "duration_s": round(event.duration_s, 3),
        "cause": event.cause,
        "confidence": rounded(event.confidence),
        "best": {
            "frame": best.moment.frame,
            "time_s": round(best.moment.time_s, 6),
            "confidence": rounded(best.confidence),
            "box": box_record(best.box_xyxy),
            "crop_jpeg": b64encode(best.crop_jpeg).decode() if best.crop_jpeg else None,
        },
    }


def _counts(counts: MinuteCounts) -> dict[str, Any]:
    return {
        "type": "counts",
        "source": counts.source_id,
        **_moment("began", counts.began),
        **_moment("last", counts.last),
        "people": {label.value: number for label, number in counts.people.items()},
        "person_s": {label.value: round(seconds, 3) for label, seconds in counts.person_s.items()},
    }


def _moment(name: str, moment: Timestamp | None) -> dict[str, Any]:
    if moment is None:
        return {f"{name}_s": None, f"{name}_utc": None}
    return {f"{name}_s": round(moment.time_s, 6), f"{name}_utc": iso_8601(moment.wall_time)}
