"""A record is parsed back to the event or the counts that it was made of, apart from its rounding."""

import json
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.events.event_records import event_record, parse_record
from maskstream.events.messages import counts_key, message_of
from maskstream.events.record_types import Cause
from maskstream.events.types import EventOrCounts, MaskEvent, MinuteCounts, Observation, Phase, Timestamp
from maskstream.types import Label
from tests.properties import broken, floats32

NAMES = st.text(min_size=1, max_size=20)
TIMES_S = st.floats(-1e3, 1e9)
WALL_TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
BOXES = st.lists(broken(st.floats(-1e6, 1e6, width=32)), min_size=4, max_size=4).map(floats32)


def timestamps(wall_times: st.SearchStrategy[datetime | None]) -> st.SearchStrategy[Timestamp]:
    return st.builds(Timestamp, st.integers(0, 10**9), TIMES_S, wall_times)


OBSERVATIONS = st.builds(
    Observation,
    timestamp=timestamps(st.none() | WALL_TIMES),
    confidence=broken(st.floats(0, 1)),
    box_xyxy=BOXES,
    crop_jpeg=st.none() | st.binary(min_size=1, max_size=50),
)
EVENTS = st.builds(
    MaskEvent,
    event_id=NAMES,
    sequence=st.integers(0, 1000),
    phase=st.sampled_from(Phase),
    label=st.sampled_from(Label),
    source_id=NAMES,
    person=st.integers(1, 10**9),
    zone=st.none() | NAMES,
    began=timestamps(st.none() | WALL_TIMES),
    last=timestamps(st.none() | WALL_TIMES),
    confidence=broken(st.floats(0, 1)),
    best=OBSERVATIONS,
    cause=st.none() | st.sampled_from(get_args(Cause)),
)
COUNTS = st.builds(
    MinuteCounts,
    source_id=NAMES,
    began=timestamps(st.none() | WALL_TIMES),
    last=timestamps(st.none() | WALL_TIMES),
    people=st.fixed_dictionaries({label: st.integers(0, 1000) for label in Label}),
    person_s=st.fixed_dictionaries({label: st.floats(0, 1e6) for label in Label}),
)


@given(st.one_of(EVENTS, COUNTS))
def test_a_record_survives_the_way_through_json_and_back(item: EventOrCounts) -> None:
    record = event_record(item)
    again = event_record(parse_record(json.loads(json.dumps(record, allow_nan=False))))
    if "duration_s" in record:  # the difference of two times that were rounded before
        assert again.pop("duration_s") == pytest.approx(record.pop("duration_s"), abs=0.001001)
    assert again == record


@given(st.one_of(EVENTS, COUNTS))
def test_what_was_parsed_once_stays_as_it_is(item: EventOrCounts) -> None:
    """Who forwards a record twice forwards the same text twice."""
    once = event_record(parse_record(event_record(item)))
    assert event_record(parse_record(once)) == once


@pytest.mark.parametrize(
    "change",
    [
        {"type": "lost"},
        {"phase": "middle"},
        {"sequence": -1},
        {"best": None},
        {"began_s": None},
        {"label": "hat"},
        {"person": "x"},
    ],
    ids=str,
)
def test_other_records_are_refused(change: dict[str, object]) -> None:
    now = Timestamp(3, 1.0, None)
    best = Observation(now, 0.9, floats32([1, 2, 3, 4]), None)
    event = MaskEvent("e", 0, Phase.START, Label.NO_MASK, "door", 1, None, now, now, 0.9, best)
    with pytest.raises(ValueError, match="validation error"):
        parse_record(event_record(event) | change)


def counts_at(moment: datetime | None, source_id: str = "door") -> MinuteCounts:
    now = Timestamp(3, 1.0, moment)
    return MinuteCounts(source_id, now, now, dict.fromkeys(Label, 0), dict.fromkeys(Label, 0.0))


@given(WALL_TIMES, NAMES)
def test_counts_of_a_camera_have_the_same_key_each_time_also_after_parsing(moment: datetime, name: str) -> None:
    counts = counts_at(moment, name)
    key = message_of(counts).key
    assert message_of(parse_record(event_record(counts))).key == key
    key.encode("ascii")  # for headers of HTTP
    assert "." not in key  # which separates the parts of a signed text


def test_keys_of_counts_differ_by_camera_epoch_and_time() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    keys = [
        counts_key(counts_at(noon)),
        counts_key(counts_at(noon.replace(microsecond=1000))),
        counts_key(counts_at(noon, "lab")),
        counts_key(counts_at(noon), epoch=1),
        counts_key(counts_at(noon), epoch=2),
    ]
    assert keys[3] == "counts-door-1-1772366400000"
    assert len(set(keys)) == len(keys)


def test_counts_of_a_file_that_is_run_twice_are_not_the_same_counts() -> None:
    assert message_of(counts_at(None)).key != message_of(counts_at(None)).key
