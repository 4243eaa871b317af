import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from maskstream import load_config
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.events.detector import EventDetector, NumberedIds
from maskstream.events.types import EventOrCounts, MaskEvent, MinuteCounts, Phase
from maskstream.types import Frame, Label, Output
from tests.tracking.made import face_at, frame_at, output_with, person

START, UPDATE, END = Phase


def config(**events: object) -> Config:
    return load_config(layers=[Layer("test", {"events": events})])


def at(time_s: float, *people: tuple[int, Label], source_id: str = "door") -> Output:
    frame = frame_at(round(time_s * 10), time_s=time_s, source_id=source_id)
    return output_with(frame, [person(number, label, x=100.0 * number) for number, label in people])


def detected(detector: EventDetector, outputs: list[Output]) -> list[MaskEvent]:
    return events([item for output in outputs for item in detector.detect(output)])


def events(items: list[EventOrCounts]) -> list[MaskEvent]:
    return [item for item in items if isinstance(item, MaskEvent)]


def span(since_s: float, until_s: float, *people: tuple[int, Label]) -> list[Output]:
    return [at(step / 10, *people) for step in range(round(since_s * 10), round(until_s * 10))]


BARE, MASKED, UNKNOWN = (1, Label.NO_MASK), (1, Label.MASK), (1, Label.UNKNOWN)


def test_an_event_begins_after_min_seconds_and_ends_with_the_mask() -> None:
    detector = EventDetector(config(min_seconds=1.0))
    found = detected(detector, [*span(0, 2, MASKED), *span(2, 5, BARE), *span(5, 6, MASKED)])
    start, end = found
    assert (start.phase, start.sequence, start.began.time_s, start.last.time_s) == (START, 0, 2.0, 3.0)
    assert (end.phase, end.sequence, end.cause, end.last.time_s) == (END, 1, "mask", 4.9)
    assert start.event_id == end.event_id
    assert end.duration_s == pytest.approx(2.9)
    assert (end.source_id, end.person, end.label) == ("door", 1, Label.NO_MASK)


def test_a_label_shorter_than_min_seconds_is_no_event() -> None:
    assert detected(EventDetector(config(min_seconds=1.0)), [*span(0, 0.9, BARE), *span(0.9, 3, MASKED)]) == []


def test_unknown_neither_begins_nor_ends_an_event() -> None:
    detector = EventDetector(config())
    assert [event.phase for event in detected(detector, [*span(0, 3, UNKNOWN), *span(3, 5, BARE), *span(5, 6, UNKNOWN)])] == [
        START
    ]


def test_an_open_event_has_an_update_every_update_s() -> None:
    detector = EventDetector(config(update_s=2.0))
    found = detected(detector, span(0, 8, BARE))
    assert [(event.phase, event.sequence, event.last.time_s) for event in found] == [
        (START, 0, 1.0),
        (UPDATE, 1, 3.0),
        (UPDATE, 2, 5.0),
        (UPDATE, 3, 7.0),
    ]


def test_an_event_of_a_person_who_is_gone_ends_when_last_seen() -> None:
    detector = EventDetector(config())
    found = detected(detector, [*span(0, 3, BARE), *span(3, 6)])
    assert [(event.phase, event.cause) for event in found] == [(START, None), (END, "gone")]
    assert found[1].last.time_s == pytest.approx(2.9)


def test_a_short_absence_does_not_end_an_event() -> None:
    found = detected(EventDetector(config()), [*span(0, 2, BARE), *span(2, 3), *span(3, 4, BARE)])
    assert [event.phase for event in found] == [START]


@pytest.mark.parametrize("step_s", [2.0, 4.0])
def test_a_low_frame_rate_gives_the_same_events(step_s: float) -> None:
    detector = EventDetector(config())
    outputs = [at(step * step_s, BARE if step < 5 else MASKED) for step in range(8)]
    found = [item for output in outputs for item in detector.detect(output)] + detector.end("door", "ended")
    assert [(event.phase, event.cause, event.duration_s) for event in events(found) if event.phase is not UPDATE] == [
        (START, None, step_s),
        (END, "mask", 4 * step_s),
    ]
    assert sum(each.person_s[Label.NO_MASK] for each in counts(found)) == pytest.approx(4 * step_s)


def test_a_gap_without_frames_ends_an_event() -> None:
    found = detected(EventDetector(config()), [*span(0, 2, BARE), at(100.0, BARE)])
    assert [(event.phase, event.cause) for event in found] == [(START, None), (END, "gone")]


@pytest.mark.parametrize(("labels", "count"), [(["no_mask", "incorrect"], 2), (["incorrect"], 1), (["mask"], 0), ([], 0)])
def test_events_labels_selects_the_labels(labels: list[str], count: int) -> None:
    both = [(1, Label.NO_MASK), (2, Label.INCORRECT)]
    assert len(detected(EventDetector(config(labels=labels)), span(0, 3, *both))) == count


def test_event_ids_are_unique() -> None:
    detector = EventDetector(config())
    outputs = [
        output for since in range(0, 40, 4) for output in (*span(since, since + 2, BARE), *span(since + 2, since + 4, MASKED))
    ]
    starts = [event.event_id for event in detected(detector, outputs) if event.phase is START]
    assert len(starts) == len(set(starts)) == 10


def test_a_hundred_people_have_a_hundred_events() -> None:
    crowd = [(number, Label.NO_MASK) for number in range(1, 101)]
    detector = EventDetector(config())
    found = detected(detector, span(0, 3, *crowd))
    assert {event.person for event in found} == set(range(1, 101))
    assert len(events(detector.end("door", "ended"))) == 100


def test_two_cameras_do_not_mix() -> None:
    detector = EventDetector(config())
    outputs = [at(step / 10, BARE, source_id=source) for step in range(30) for source in ("door", "lab")]
    found = detected(detector, outputs)
    assert sorted(event.source_id for event in found) == ["door", "lab"]
    assert {event.source_id for event in events(detector.end("lab", "removed"))} == {"lab"}
    assert [event.cause for event in events(detector.end("door", "ended"))] == ["ended"]


def test_several_sinks_get_the_same_events() -> None:
    detector = EventDetector(config(min_seconds=0))
    output = at(0.0, BARE)
    first, second = detector.detect(output), detector.detect(output)
    assert first is second
    assert len(events(first)) == 1
    assert detector.end("door", "stopped") == detector.end("door", "stopped") != []


def test_a_source_that_comes_back_has_new_events() -> None:
    detector = EventDetector(config(min_seconds=0))
    ids = set()
    for _ in range(2):
        ids |= {event.event_id for event in detected(detector, [at(0.0, BARE)])}
        assert len(events(detector.end("door", "removed"))) == 1
    assert len(ids) == 2


def test_time_that_runs_back_ends_open_events() -> None:
    found = detected(EventDetector(config()), [*span(10, 12, BARE), *span(0, 2, BARE)])
    assert [(event.phase, event.cause) for event in found] == [(START, None), (END, "ended"), (START, None)]
    assert all(event.duration_s >= 0 for event in found)


def test_the_best_observation_is_kept() -> None:
    cut: list[int] = []

    def crop(output: Output, face: object) -> bytes:
        cut.append(output.frame.index)
        return f"frame {output.frame.index}".encode()

    detector = EventDetector(config(min_seconds=0.3), crop=crop)
    sizes = [20, 50, 30, 20, 20]
    outputs = [output_with(frame_at(index, fps=10), [person(1, Label.NO_MASK, side=side)]) for index, side in enumerate(sizes)]
    (start,) = detected(detector, outputs)
    assert start.best.timestamp.frame == 1
    assert start.best.crop_jpeg == b"frame 1"
    assert start.best.box_xyxy[2] - start.best.box_xyxy[0] == 50
    assert cut == [0, 1]


def test_an_event_has_the_zone_of_its_person() -> None:
    detector = EventDetector(config(min_seconds=0))
    (start,) = detected(detector, [output_with(frame_at(0), [person(1, Label.NO_MASK, zone="door")])])
    assert start.zone == "door"


def test_without_steady_labels_the_labels_of_frames_count() -> None:
    face = face_at(100, label=Label.NO_MASK)
    object.__setattr__(face, "track_id", 7)
    found = detected(EventDetector(config(min_seconds=0)), [output_with(frame_at(0), [face])])
    assert [(event.person, event.confidence) for event in found] == [(7, 0.97)]


def test_still_images_and_frames_that_were_not_analysed_give_no_events() -> None:
    detector = EventDetector(config(min_seconds=0))
    image = Frame(frame_at(0).bgr, 0, "photos", 0.0, file="a.png")
    assert detector.detect(output_with(frame_at(0), [person(1, Label.NO_MASK)], analysed=False)) == []
    assert detector.detect(output_with(image, [person(1, Label.NO_MASK)])) == []


def counts(items: list[EventOrCounts]) -> list[MinuteCounts]:
    return [item for item in items if isinstance(item, MinuteCounts)]


def test_each_minute_is_counted() -> None:
    detector = EventDetector(config())
    outputs = [at(second, (1, Label.MASK), (2, Label.NO_MASK if second < 50 else Label.MASK)) for second in range(130)]
    found = counts([item for output in outputs for item in detector.detect(output)]) + counts(detector.end("door", "ended"))
    assert [(each.began.time_s, each.last.time_s) for each in found] == [(0, 59), (60, 119), (120, 129)]
    assert found[0].people[Label.MASK] == found[0].people[Label.NO_MASK] == 1
    assert found[0].person_s[Label.NO_MASK] == pytest.approx(49)
    assert found[0].person_s[Label.MASK] == pytest.approx(59 + 10)
    assert found[1].people[Label.MASK] == 2
    assert found[1].person_s[Label.MASK] == pytest.approx(2 * 60)


def test_minutes_follow_the_wall_clock_when_it_jumps() -> None:
    """The wall clock jumps back by 30 s; the person-seconds stay right."""
    detector = EventDetector(config())
    noon = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
    found: list[EventOrCounts] = []
    for second in range(60):
        wall = noon + timedelta(seconds=second - 40 if second >= 45 else second)
        frame = Frame(frame_at(0).bgr, second, "door", float(second), wall_time=wall)
        found += detector.detect(output_with(frame, [person(1, Label.MASK)]))
    found += detector.end("door", "ended")
    assert sum(each.person_s[Label.MASK] for each in counts(found)) == pytest.approx(59)
    assert [each.people[Label.MASK] for each in counts(found)] == [1] * len(counts(found))
    assert len(counts(found)) == 3


def test_a_minute_without_people_has_counts() -> None:
    detector = EventDetector(config())
    found = [item for second in range(0, 70, 10) for item in detector.detect(at(float(second)))]
    assert [sum(each.people.values()) for each in counts(found)] == [0]


def test_a_frame_that_was_not_analysed_opens_no_event_again() -> None:
    detector = EventDetector(config(min_seconds=0))
    detector.detect(at(0.0, BARE))
    assert [event.phase for event in events(detector.end("door", "offline"))] == [END]
    detector.detect(output_with(frame_at(1, time_s=0.1), [], analysed=False))
    assert detector.end("door", "stopped") == []


@pytest.mark.parametrize(("confidence", "side"), [(float("nan"), 80.0), (0.97, float("nan")), (0.97, -200.0)])
def test_an_observation_with_invalid_numbers_still_begins_an_event(confidence: float, side: float) -> None:
    """A broken network returns NaN, and boxes with negative sizes."""
    detector, frame = EventDetector(config(min_seconds=0)), frame_at(0)
    face = replace(person(1, Label.NO_MASK, side=side), confidence=confidence)
    better = output_with(frame_at(1), [person(1, Label.NO_MASK)])
    assert [event.phase for event in detected(detector, [output_with(frame, [face])])] == [START]
    detector.detect(better)
    assert events(detector.end("door", "ended"))[0].best.timestamp.frame == 1


def test_an_event_whose_label_was_removed_ends_once_with_the_next_frame_for_all_sinks() -> None:
    settings = SourceSettings(config())
    detector = EventDetector(settings)
    assert [event.phase for event in detected(detector, span(0, 3, BARE))] == [START]
    settings.set("door", config(labels=["incorrect"]))
    settings.set("door", config(labels=["incorrect"]))
    output = at(3.0, BARE)
    (end,) = events(detector.detect(output))
    assert events(detector.detect(output)) == [end]
    assert (end.phase, end.cause, end.last.time_s) == (END, "changed", pytest.approx(2.9))
    assert detected(detector, span(3.1, 6, BARE)) == []
    settings.set("door", config())
    (again,) = detected(detector, span(6, 7, BARE))
    assert (again.phase, again.event_id != end.event_id) == (START, True)


def test_an_event_whose_label_was_removed_ends_without_another_frame() -> None:
    settings = SourceSettings(config())
    detector = EventDetector(settings)
    detected(detector, span(0, 3, BARE))
    settings.set("door", config(labels=[]))
    assert [event.cause for event in events(detector.end("door", "offline"))] == ["changed"]
    assert [event.cause for event in events(detector.end("door", "stopped"))] == ["changed"]
    assert detected(detector, span(9, 12, BARE)) == []


def test_a_longer_min_seconds_does_not_change_an_open_event() -> None:
    settings = SourceSettings(config(min_seconds=1.0))
    detector = EventDetector(settings)
    detected(detector, span(0, 2, BARE))
    settings.set("door", config(min_seconds=10.0))
    assert [(event.phase, event.cause) for event in detected(detector, span(2, 4, MASKED))] == [(END, "mask")]


def test_an_added_label_counts_from_where_it_began() -> None:
    settings = SourceSettings(config(labels=[]))
    detector = EventDetector(settings)
    detected(detector, span(0, 5, BARE))
    settings.set("door", config())
    (start,) = detected(detector, [at(5.0, BARE)])
    assert (start.phase, start.began.time_s) == (START, 0.0)


def test_numbered_ids_are_the_same_each_time_and_differ_between_seeds_sources_and_events() -> None:
    def ids(seed: str) -> list[str]:
        detector = EventDetector(config(), new_id=NumberedIds(seed))
        people = [at(step / 10, BARE, (2, Label.NO_MASK), source_id=door) for door in ("door", "lab") for step in range(30)]
        found = detected(detector, people)
        assert [event.phase for event in found] == [START] * 4
        return [event.event_id for event in found]

    first, other = ids("a"), ids("b")
    assert ids("a") == first
    assert len({*first, *other}) == 8
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in first)


def test_ids_of_one_source_do_not_depend_on_another() -> None:
    alone, beside = NumberedIds("a"), NumberedIds("a")
    beside("lab")
    assert [beside("door"), beside("door")] == [alone("door"), alone("door")]


def test_the_name_of_a_file_that_is_no_text_has_ids() -> None:
    assert NumberedIds("a")("caf\udce9.mp4") != NumberedIds("a")("caf\udce8.mp4")
