import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from maskstream.errors import SinkError
from maskstream.events.event_records import event_record
from maskstream.events.sink import EventSink, JsonlEvents
from maskstream.events.types import EventOrCounts, MaskEvent, MinuteCounts, Observation, Phase, Timestamp
from maskstream.stream.states import SourceState, StateChange
from maskstream.types import Label, Output
from tests.tracking.made import frame_at, output_with

FULL_DEVICE = Path("/dev/full")
EVENT_KEYS = {
    "type",
    "event_id",
    "sequence",
    "phase",
    "label",
    "source",
    "person",
    "zone",
    "began_s",
    "began_utc",
    "last_s",
    "last_utc",
    "ended_s",
    "ended_utc",
    "duration_s",
    "cause",
    "confidence",
    "best",
}


def event(phase: Phase = Phase.START, cause: str | None = None, crop: bytes | None = None) -> MaskEvent:
    wall = datetime(2026, 11, 22, 12, 0, 1, 500000, tzinfo=UTC)
    began, last = Timestamp(10, 1.0, wall), Timestamp(40, 2.25, wall)
    best = Observation(last, 0.98765, np.array([1, 2, 30.129, 40], np.float32), crop)
    return MaskEvent(
        event_id="abc",
        sequence=0,
        phase=phase,
        label=Label.NO_MASK,
        source_id="door",
        person=3,
        zone="hall",
        began=began,
        last=last,
        confidence=0.99999,
        best=best,
        cause=cause,
    )


def test_the_record_of_an_event() -> None:
    record = event_record(event())
    assert set(record) == EVENT_KEYS
    assert (record["type"], record["event_id"], record["phase"], record["label"]) == ("event", "abc", "start", "no_mask")
    assert (record["source"], record["person"], record["zone"], record["duration_s"]) == ("door", 3, "hall", 1.25)
    assert (record["began_s"], record["began_utc"]) == (1.0, "2026-11-22T12:00:01.500+00:00")
    assert (record["ended_s"], record["ended_utc"], record["cause"]) == (None, None, None)
    assert record["best"] == {
        "frame": 40,
        "time_s": 2.25,
        "confidence": 0.9877,
        "crop_jpeg": None,
        "box": {"x1": 1.0, "y1": 2.0, "x2": 30.13, "y2": 40.0},
    }
    ended = event_record(event(Phase.END, "gone", b"\xff\xd8"))
    assert (ended["ended_s"], ended["cause"], ended["best"]["crop_jpeg"]) == (2.25, "gone", "/9g=")


def test_the_record_of_a_minute() -> None:
    counts = MinuteCounts("door", Timestamp(0, 0.0, None), Timestamp(9, 59.0, None), {Label.MASK: 2}, {Label.MASK: 61.23456})
    assert event_record(counts) == {
        "type": "counts",
        "source": "door",
        "began_s": 0.0,
        "began_utc": None,
        "last_s": 59.0,
        "last_utc": None,
        "people": {"mask": 2},
        "person_s": {"mask": 61.235},
    }


class OneEventEach:
    """A detector with one event per frame, and one at the end."""

    def detect(self, output: Output) -> list[EventOrCounts]:
        return [event()]

    def end(self, source_id: str, cause: str) -> list[EventOrCounts]:
        return [event(Phase.END, cause)]


class KeepingReceiver:
    def __init__(self) -> None:
        self.taken: list[EventOrCounts] = []
        self.closed = 0

    def take(self, items: list[EventOrCounts]) -> None:
        self.taken += items

    def state_changed(self, change: StateChange) -> None:
        raise AssertionError

    def close(self) -> None:
        self.closed += 1


def ends(receiver: KeepingReceiver) -> list[str | None]:
    return [each.cause for each in receiver.taken if isinstance(each, MaskEvent) and each.phase is Phase.END]


def test_each_source_is_ended_once() -> None:
    receiver = KeepingReceiver()
    sink = EventSink(OneEventEach(), receiver)
    for source_id in ("door", "lab", "desk"):
        sink.write(output_with(frame_at(0, source_id=source_id), []))
    sink.source_ended("door")
    sink.source_ended("door")
    sink.source_removed("lab")
    sink.source_removed("never seen")
    sink.close()
    sink.close()
    assert ends(receiver) == ["ended", "removed", "stopped"]
    assert receiver.closed == 2


def test_a_source_that_is_offline_ends_its_events() -> None:
    class StateKeepingReceiver(KeepingReceiver):
        def state_changed(self, change: StateChange) -> None:
            self.states = [*getattr(self, "states", []), change.state]

    receiver = StateKeepingReceiver()
    sink = EventSink(OneEventEach(), receiver)
    for state in (SourceState.ONLINE, SourceState.RECONNECTING, SourceState.OFFLINE, SourceState.OFFLINE):
        sink.write(output_with(frame_at(0), [])) if state is SourceState.ONLINE else None
        sink.state_changed(StateChange("door", state, None, "test", 0.0, datetime.now(UTC)))
    assert ends(receiver) == ["offline"]
    assert receiver.states[-1] is SourceState.OFFLINE


def test_a_file_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        receiver = JsonlEvents(str(path))
        receiver.take([event(), event(Phase.END, "mask")])
        receiver.close()
    assert [json.loads(line)["phase"] for line in path.read_text().splitlines()] == ["start", "end"] * 2


def test_a_line_that_was_torn_stays_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"type": "event"}\n{"type": "ev')
    receiver = JsonlEvents(str(path))
    receiver.take([event()])
    receiver.close()
    first, torn, last = path.read_text().splitlines()
    assert (json.loads(first), torn) == ({"type": "event"}, '{"type": "ev')
    assert json.loads(last)["event_id"] == "abc"


@pytest.mark.skipif(not FULL_DEVICE.exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error() -> None:
    receiver = JsonlEvents(str(FULL_DEVICE))
    with pytest.raises(SinkError, match="cannot be written: No space left"):
        receiver.take([event()])
