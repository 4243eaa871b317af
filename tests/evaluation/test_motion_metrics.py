from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from maskstream.evaluation.motion_metrics import MotionMetrics, RememberingAnalyzer, compare
from maskstream.events.types import MaskEvent, Observation, Phase, Timestamp
from maskstream.types import Face, FrameResult, Label
from tests.conftest import make_frame
from tests.inference.test_motion_gate import Finds
from tests.tracking.made import face_at, frame_at, output_with


def results(faces: dict[int, Sequence[Face]], count: int = 20) -> list[FrameResult]:
    """Ten frames a second."""
    return [output_with(frame_at(index, fps=10), faces.get(index, ())).result for index in range(count)]


def person(number: int, x: float) -> Face:
    return replace(face_at(x), track_id=number)


def event(phase: Phase, frame: int, label: Label = Label.NO_MASK, number: int = 7) -> tuple[float, MaskEvent]:
    now = Timestamp(frame, frame / 10, None)
    best = Observation(now, 0.9, np.zeros(4, np.float32), None)
    return frame / 10, MaskEvent("id", 0, phase, label, "door", number, None, now, now, 0.9, best)


def test_a_face_is_late_until_it_is_found_or_gone() -> None:
    without = results({index: [person(1, 100), person(2, 400)] for index in range(5, 12)})
    late = results(
        {**{key: [person(1, 100)] for key in range(5, 8)}, **{key: [person(9, 405), person(1, 100)] for key in range(8, 12)}}
    )
    never = results({key: [person(1, 100)] for key in range(5, 12)})
    assert compare((without, []), (without, [])).late_s == []
    found = compare((without, []), (late, []))
    assert (found.faces, found.late_s, found.duration_s) == (2, [pytest.approx(0.3)], pytest.approx(1.9))
    assert compare((without, []), (never, [])).late_s == [pytest.approx(0.7)]
    assert sorted(compare((without, []), (results({}), [])).late_s) == [pytest.approx(0.7)] * 2


def test_a_face_that_is_never_found_is_late_until_the_end() -> None:
    without = results({key: [person(1, 100)] for key in range(15, 20)})
    assert compare((without, []), (results({}), [])).late_s == [pytest.approx(0.4)]


def test_events_that_differ_are_named() -> None:
    same = [event(Phase.START, 5), event(Phase.UPDATE, 7), event(Phase.END, 9)]
    others = [event(Phase.START, 5, number=3), event(Phase.END, 10), event(Phase.START, 12, Label.INCORRECT)]
    assert compare((results({}), same), (results({}), same)).changed_events == []
    found = compare((results({}), same), (results({}), others))
    assert found.events == 1
    assert found.changed_events == ["end no_mask at 0.90 s", "end no_mask at 1.00 s", "start incorrect at 1.20 s"]


def test_an_event_that_comes_twice_differs_from_one() -> None:
    once, twice = [event(Phase.START, 5)], [event(Phase.START, 5), event(Phase.START, 5)]
    assert compare((results({}), once), (results({}), twice)).changed_events == ["start no_mask at 0.50 s"]


def test_metrics_of_several_videos_are_added_up() -> None:
    total = MotionMetrics()
    assert total.to_json()["saved"] == 0
    total.add(MotionMetrics(10.0, 40, 10, 2, [0.1], 1, ["a"]))
    total.add(MotionMetrics(5.0, 60, 40, 1, [0.3, 0.2], 2, []))
    content = total.to_json()
    assert (content["duration_s"], content["saved"], content["late_faces"], content["late_max_s"]) == (15, 0.5, 3, 0.3)
    assert (content["faces"], content["events"], content["changed_events"]) == (3, 3, ["a"])


def test_each_frame_is_analysed_once_and_each_request_counts() -> None:
    finds = Finds()
    analyzer = RememberingAnalyzer(finds)
    frames = [make_frame(index, source_id="door") for index in range(4)]
    first = analyzer.analyze(frames[:2])
    again = analyzer.analyze(frames[1:])
    assert again[0] is first[1]
    assert [index for _, index in finds.shown] == [0, 1, 2, 3]
    assert analyzer.requested == [0, 1, 1, 2, 3]
    analyzer.forget("door")
    assert analyzer.requested == []
    assert analyzer.cpu_ms >= 0
