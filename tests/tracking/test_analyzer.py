from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from maskstream import load_config
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import OutOfMemory
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import Face, Frame, FrameResult, Label
from tests.tracking.made import Scripted, face_at, frame_at


def settings(**sections: object) -> Config:
    return load_config(layers=[Layer("test", sections)])


def watch(faces: Callable[[Frame], Sequence[Face]], frames: Sequence[Frame], config: Config | None = None) -> list[FrameResult]:
    people = PeopleAnalyzer(Scripted(faces), config or load_config())
    return [people.analyze([frame])[0] for frame in frames]


def bare_from(change_s: float) -> Callable[[Frame], Sequence[Face]]:
    return lambda frame: [face_at(200, label=Label.NO_MASK if frame.time_s >= change_s else Label.MASK)]


def test_faces_get_numbers_and_steady_labels() -> None:
    results = watch(bare_from(1.0), [frame_at(index) for index in range(60)])
    assert [face.track_id for result in results for face in result.faces] == [1] * 60
    labels = [result.faces[0].steady_label for result in results]
    assert labels[2:25] == [Label.MASK] * 23
    change = labels.index(Label.NO_MASK)
    assert 25 <= change <= 31
    assert set(labels[change:]) == {Label.NO_MASK}
    assert results[-1].faces[0].steady_confidence == pytest.approx(0.98, abs=0.03)


def test_the_frame_keeps_its_own_answer() -> None:
    def faces(frame: Frame) -> list[Face]:
        return [face_at(200, label=Label.NO_MASK, confidence=0.6) if frame.index == 20 else face_at(200)]

    result = watch(faces, [frame_at(index) for index in range(21)])[-1]
    assert (result.faces[0].label, result.faces[0].confidence) == (Label.NO_MASK, 0.6)
    assert result.faces[0].steady_label is Label.MASK


def test_propagated_faces_are_no_evidence() -> None:
    def faces(frame: Frame) -> list[Face]:
        return [face_at(200) if frame.index < 5 else face_at(200, label=Label.NO_MASK, judged=False)]

    results = watch(faces, [frame_at(index) for index in range(50)])
    assert {result.faces[0].steady_label for result in results[5:]} == {Label.MASK}


def test_a_confidence_that_is_none_is_no_evidence() -> None:
    results = watch(
        lambda frame: [face_at(200, confidence=float("nan") if frame.index == 5 else 0.97)], [frame_at(i) for i in range(20)]
    )
    assert {result.faces[0].steady_label for result in results[5:]} == {Label.MASK}
    assert results[-1].faces[0].steady_confidence == pytest.approx(0.98, abs=0.03)


@pytest.mark.parametrize("stride", [1, 3, 12])
def test_leaving_frames_out_changes_little(stride: int) -> None:
    results = watch(bare_from(2.0), [frame_at(index) for index in range(0, 120, stride)])
    assert {face.track_id for result in results for face in result.faces} == {1}
    change_s = next(result.time_s for result in results if result.faces[0].steady_label is Label.NO_MASK)
    assert 2.0 <= change_s <= 2.0 + max(0.3, 2 * stride / 25)


@pytest.mark.parametrize("step_s", [0.5, 2.0, 4.0])
def test_a_slow_machine_keeps_all_tracks(step_s: float) -> None:
    """It looks more seldom than `tracking.lost_s`; one face is missed once."""

    def faces(frame: Frame) -> list[Face]:
        return [face_at(200), *([] if frame.index == 4 else [face_at(400, label=Label.NO_MASK)])]

    results = watch(faces, [frame_at(index, time_s=index * step_s) for index in range(10)])
    assert [[face.track_id for face in result.faces] for result in results] == [[1] if n == 4 else [1, 2] for n in range(10)]
    assert {face.steady_label for result in results for face in result.faces if face.track_id == 2} == {Label.NO_MASK}
    assert len(results[4].hidden) == 1


def test_switched_off() -> None:
    frames = [frame_at(index) for index in range(5)]
    untracked = watch(bare_from(0), frames, settings(tracking={"enabled": False}))[-1].faces[0]
    assert (untracked.track_id, untracked.steady_label, untracked.steady_confidence) == (None, None, None)
    unsteady = watch(bare_from(0), frames, settings(steady={"enabled": False}))[-1].faces[0]
    assert (unsteady.track_id, unsteady.steady_label, unsteady.steady_confidence) == (1, None, None)


def test_two_cameras_have_their_own_people() -> None:
    def faces(frame: Frame) -> list[Face]:
        return [face_at(200, label=Label.MASK if frame.source_id == "door" else Label.NO_MASK)]

    people = PeopleAnalyzer(Scripted(faces), load_config())
    for index in range(10):
        door, lab = people.analyze([frame_at(index), frame_at(index, source_id="lab")])
    assert (door.faces[0].track_id, door.faces[0].steady_label) == (1, Label.MASK)
    assert (lab.faces[0].track_id, lab.faces[0].steady_label) == (1, Label.NO_MASK)


def test_images_have_nothing_to_do_with_one_another() -> None:
    images = [Frame(frame_at(0).bgr, index, "photos", 0.0, file=f"{index}.png") for index in range(3)]
    results = watch(lambda _: [face_at(200)], images)
    assert [(face.track_id, face.steady_label) for result in results for face in result.faces] == [(None, None)] * 3


def test_a_clock_that_stands_still_or_jumps_keeps_all_tracks() -> None:
    times = [0.0, 0.04, 0.04, 0.08, 0.02, 0.12, 0.16, 0.16, 0.2]
    results = watch(lambda _: [face_at(200)], [frame_at(index, time_s=time_s) for index, time_s in enumerate(times)])
    assert [result.faces[0].track_id for result in results] == [1] * len(times)


def test_a_source_that_begins_anew_has_other_people() -> None:
    times = [5.0, 5.04, 5.08, 0.0, 0.04]
    results = watch(lambda _: [face_at(200)], [frame_at(index, time_s=time_s) for index, time_s in enumerate(times)])
    assert [result.faces[0].track_id for result in results] == [1, 1, 1, 2, 2]


def test_a_camera_that_comes_back_soon_has_the_same_people() -> None:
    """Soon is within `tracking.lost_s`, in the time of the frames."""
    times = [0.0, 0.04, 0.08, 1.2, 1.24]
    frames = [replace(frame_at(n, time_s=time_s), connection=1 + (time_s > 1)) for n, time_s in enumerate(times)]
    assert [result.faces[0].track_id for result in watch(lambda _: [face_at(200)], frames)] == [1] * 5
    late = [replace(frame, time_s=frame.time_s * 3) for frame in frames]
    assert [result.faces[0].track_id for result in watch(lambda _: [face_at(200)], late)] == [1, 1, 1, 2, 2]


def test_another_opening_whose_clock_begins_anew_has_other_people() -> None:
    times = [0.3, 0.34, 0.38, 0.0, 0.04]
    frames = [replace(frame_at(n, time_s=time_s), connection=1 + (n > 2)) for n, time_s in enumerate(times)]
    assert [result.faces[0].track_id for result in watch(lambda _: [face_at(200)], frames)] == [1, 1, 1, 2, 2]


def test_in_an_image_of_another_size_places_say_nothing() -> None:
    """Neither who is whom, nor where somebody was a moment ago."""
    frames = [frame_at(n) if n < 5 else replace(frame_at(n), bgr=frame_at(n).bgr[:240, :320]) for n in range(10)]
    results = watch(lambda frame: [face_at(200, 120)] if frame.index != 5 else [], frames)
    assert [[face.track_id for face in result.faces] for result in results] == [[1]] * 5 + [[]] + [[2]] * 4
    assert results[5].hidden == ()


def test_a_clock_that_leaps_ahead_has_other_people() -> None:
    times = [0.0, 0.04, 3600.0, 3600.04]
    results = watch(lambda _: [face_at(200)], [frame_at(index, time_s=time_s) for index, time_s in enumerate(times)])
    assert [result.faces[0].track_id for result in results] == [1, 1, 2, 2]


def test_the_clock_on_the_wall_makes_no_difference() -> None:
    """It jumps by an hour, as where summer time is set by hand."""
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    walls = [noon + timedelta(seconds=index / 25, hours=1 if index > 10 else 0) for index in range(20)]
    frames = [Frame(frame_at(0).bgr, index, "door", index / 25, wall_time=wall) for index, wall in enumerate(walls)]
    results = watch(lambda _: [face_at(200)], frames)
    assert [result.faces[0].track_id for result in results] == [1] * 20


def test_zones_name_faces_and_hide_the_others() -> None:
    config = settings(zones={"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], "door": [[0.7, 0], [1, 0], [1, 1], [0.7, 1]]})
    result = watch(lambda _: [face_at(100), face_at(380), face_at(550)], [frame_at(0)], config)[0]
    assert [(face.zone, face.track_id) for face in result.faces] == [("left", 1), ("door", 3)]
    assert [face.zone for face in result.hidden] == [None]


def test_without_zones_no_face_is_left_out() -> None:
    result = watch(lambda _: [face_at(100)], [frame_at(0)])[0]
    assert [face.zone for face in result.faces] == [None]
    assert result.hidden == ()


def test_people_keep_their_numbers_from_zone_to_zone() -> None:
    config = settings(zones={"left": [[0, 0], [0.4, 0], [0.4, 1], [0, 1]], "right": [[0.6, 0], [1, 0], [1, 1], [0.6, 1]]})
    results = watch(lambda frame: [face_at(100 + 4 * frame.index)], [frame_at(index) for index in range(110)], config)
    seen = [(face.zone, face.track_id) for result in results for face in result.faces]
    assert dict.fromkeys(seen) == {("left", 1): None, ("right", 1): None}


def test_zones_of_single_cameras() -> None:
    own = settings(zones={"lab": [[0, 0], [0.2, 0], [0.2, 1], [0, 1]]})
    sources = SourceSettings(load_config(), {"lab": own})
    people = PeopleAnalyzer(Scripted(lambda _: [face_at(300)]), sources)
    door, lab = people.analyze([frame_at(0), frame_at(0, source_id="lab")])
    assert (len(door.faces), len(lab.faces)) == (1, 0)
    sources.set("door", own)
    assert people.analyze([frame_at(1)])[0].faces == ()


def test_where_somebody_was_a_moment_ago_is_hidden() -> None:
    results = watch(lambda frame: [face_at(200)] if frame.index < 5 else [], [frame_at(index) for index in range(40)])
    hidden = [len(result.hidden) for result in results]
    assert hidden[:5] == [0] * 5
    assert hidden[5:16] == [1] * 11
    assert hidden[20:] == [0] * 20


def test_what_was_hidden_before_stays_hidden() -> None:
    class Hides:
        def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
            return [FrameResult(each.source_id, each.index, each.time_s, (), hidden=(face_at(300),)) for each in frames]

    people = PeopleAnalyzer(Hides(), settings(zones={"all": [[0, 0], [1, 0], [1, 1], [0, 1]]}))
    assert len(people.analyze([frame_at(0)])[0].hidden) == 1


def test_out_of_memory_takes_nothing_in() -> None:
    class Failing:
        def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
            raise OutOfMemory("too many")

    people = PeopleAnalyzer(Failing(), load_config())
    with pytest.raises(OutOfMemory):
        people.analyze([frame_at(0)])
    assert people._sources == {}


def test_incorrect_is_a_label_where_it_is_set() -> None:
    config = settings(classifier={"incorrect_as": "incorrect"})
    results = watch(lambda _: [face_at(200, label=Label.INCORRECT)], [frame_at(index) for index in range(10)], config)
    assert results[-1].faces[0].steady_label is Label.INCORRECT


LEFT, RIGHT = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]


def test_zones_may_change_while_somebody_is_in_one() -> None:
    sources = SourceSettings(settings(zones={"desk": LEFT}))
    people = PeopleAnalyzer(Scripted(lambda _: [face_at(100)]), sources)
    seen = []
    for index, zones in enumerate([{"desk": LEFT}, {"lab": LEFT}, {"door": RIGHT}, {}, {"desk": LEFT}]):
        sources.set("door", settings(zones=zones))
        (result,) = people.analyze([frame_at(index)])
        seen.append([(face.zone, face.track_id) for face in result.faces] or len(result.hidden))
    assert seen == [[("desk", 1)], [("lab", 1)], 1, [(None, 1)], [("desk", 1)]]


def test_a_steady_label_starts_again_with_other_labels() -> None:
    incorrect = load_config(layers=[Layer("test", {"classifier": {"incorrect_as": "incorrect"}})])
    worn = [Label.INCORRECT]
    sources = SourceSettings(incorrect)
    people = PeopleAnalyzer(Scripted(lambda _: [face_at(200, label=worn[0])]), sources)
    first = people.analyze([frame_at(index) for index in range(25)])[-1].faces[0]
    sources.set("door", load_config())
    worn[0] = Label.NO_MASK
    second = people.analyze([frame_at(index) for index in range(25, 50)])[-1].faces[0]
    sources.set("door", incorrect)
    worn[0] = Label.INCORRECT
    third = people.analyze([frame_at(index) for index in range(50, 75)])[-1].faces[0]
    assert [face.steady_label for face in (first, second, third)] == [Label.INCORRECT, Label.NO_MASK, Label.INCORRECT]
    assert {face.track_id for face in (first, second, third)} == {1}


def test_who_was_seen_by_a_camera_of_the_same_name_is_forgotten() -> None:
    worn = [Label.MASK]
    people = PeopleAnalyzer(Scripted(lambda _: [face_at(200, label=worn[0], confidence=0.6)]), load_config())
    before = people.analyze([frame_at(index) for index in range(250)])[-1]
    people.forget("door")
    people.forget("never seen")
    worn[0] = Label.NO_MASK
    after = people.analyze([frame_at(index) for index in range(250)])
    assert (before.faces[0].track_id, before.faces[0].steady_label) == (1, Label.MASK)
    assert {face.track_id for result in after for face in result.faces} == {2}
    assert {face.steady_label for result in after for face in result.faces} <= {Label.UNKNOWN, Label.NO_MASK}
    assert after[0].hidden == ()
