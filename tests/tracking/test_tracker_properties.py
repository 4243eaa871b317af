"""For any faces in any order, people keep their track ids, and invalid faces get none."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream import load_config
from maskstream.sinks.records import to_record
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.tracking.label_filter import SteadyLabel, SteadyRules
from maskstream.tracking.tracker import Tracker, quality
from maskstream.types import Face, Label
from tests.properties import any_number, broken, examples, floats32
from tests.tracking.made import Scripted, face_at, frame_at

LOST_S = 1.5
NAN, INF = float("nan"), float("inf")
SPOTS = [(60.0 + 150 * column, 60.0 + 150 * row) for column in range(4) for row in range(3)]
STEPS_S = st.lists(st.floats(0.01, 0.5), min_size=1, max_size=8)


@st.composite
def no_faces(draw: st.DrawFn) -> Face:
    """What a network says that is out of order: no box, or no score."""
    good = face_at(*draw(st.sampled_from(SPOTS)))
    edges = good.face_box_xyxy.tolist()
    if draw(st.booleans()):
        edges[draw(st.integers(0, 3))] = draw(st.sampled_from([NAN, INF, -INF, 3.4e38, -3.4e38, 1e20]))
        return replace(good, face_box_xyxy=floats32(edges))
    if draw(st.booleans()):
        return replace(good, face_box_xyxy=floats32([edges[2], *edges[1:2], edges[0], edges[3]]))
    return replace(good, detection=replace(good.detection, score=draw(st.sampled_from([NAN, INF, -INF]))))


ANY_FACES = st.builds(
    lambda face, edges, score: replace(face, face_box_xyxy=floats32(edges), detection=replace(face.detection, score=score)),
    st.builds(face_at, st.floats(0, 600), confidence=broken(st.floats(0, 1))),
    st.lists(any_number(st.floats(-50, 700)), min_size=4, max_size=4),
    broken(st.floats(0, 1)),
)


@given(
    steps_s=STEPS_S,
    spots=st.lists(st.sampled_from(SPOTS), unique=True, max_size=5),
    strangers=st.lists(st.lists(no_faces(), max_size=3), min_size=8, max_size=8),
    data=st.data(),
)
def test_an_invalid_face_has_no_track_and_changes_nothing(
    steps_s: list[float], spots: list[tuple[float, float]], strangers: list[list[Face]], data: st.DataObject
) -> None:
    """Nor does the order in which faces come."""
    alone, among = Tracker(), Tracker()
    own: list[list[int | None]] = []
    for step, now_s in enumerate(np.cumsum(steps_s).tolist()):
        people = [face_at(x + step, y) for x, y in spots]
        assert alone.update(now_s, people, LOST_S) == list(range(1, len(people) + 1))
        mixed = [*people, *strangers[step]]
        order = data.draw(st.permutations(range(len(mixed))))
        numbers = among.update(now_s, [mixed[index] for index in order], LOST_S)
        found = [number for _, number in sorted(zip(order, numbers, strict=True), key=lambda pair: pair[0])]
        assert sorted(number or 0 for number in found[: len(people)]) == list(range(1, len(people) + 1))
        assert found[len(people) :] == [None] * len(strangers[step])
        own.append(found[: len(people)])
    assert all(numbers == own[0] for numbers in own)


@given(frames=st.lists(st.tuples(st.floats(0.001, 5), st.lists(ANY_FACES, max_size=5), st.booleans()), max_size=6))
def test_numbers_are_given_once(frames: list[tuple[float, list[Face], bool]]) -> None:
    """However faces move, no two share a track id, and after `forget` no earlier id is used."""
    tracker, now_s, most, begun = Tracker(), 0.0, 0, 0
    for step_s, faces, forgets in frames:
        if forgets:
            tracker.forget()
            begun = most
        now_s += step_s
        given_now = [number for number in tracker.update(now_s, faces, LOST_S) if number is not None]
        assert len(set(given_now)) == len(given_now)
        assert all(number > begun for number in given_now)
        most = max([most, *given_now])


@examples(0.5)
@given(
    frames=st.lists(
        st.tuples(st.sampled_from([0.04, 0.5, 0.0, -0.5, -5.0, 1e6, -1e6]), st.lists(no_faces() | ANY_FACES, max_size=3)),
        max_size=6,
    )
)
def test_people_outlive_whatever_comes(frames: list[tuple[float, list[Face]]]) -> None:
    """One person is there all the time, and known again after everything that came between."""
    faces: dict[int, Sequence[Face]] = {}
    people = PeopleAnalyzer(Scripted(lambda frame: faces[frame.index]), load_config())
    now_s = 0.0
    for index, (step_s, found) in enumerate(frames):
        now_s += step_s
        faces[index] = found
        to_record(people.analyze([frame_at(index, time_s=now_s)])[0])
    for index in range(len(frames), len(frames) + 30):
        now_s += 0.1
        faces[index] = [face_at(300)]
        seen = people.analyze([frame_at(index, time_s=now_s)])[0].faces[0]
    assert seen.track_id is not None
    assert seen.steady_label is Label.MASK
    assert seen.steady_confidence == pytest.approx(0.98, abs=0.03)


@given(face=ANY_FACES | no_faces(), scores=st.lists(any_number(st.floats(0, 1)), min_size=3, max_size=3))
def test_quality_is_a_share(face: Face, scores: list[float]) -> None:
    boxed = face if np.isfinite(face.face_box_xyxy).all() else face_at(300)
    assert (
        0 <= quality(frame_at(0).bgr, replace(boxed, detection=replace(boxed.detection, keypoint_scores=floats32(scores)))) <= 1
    )


LOOKS = st.lists(
    st.tuples(st.floats(0, 100), st.sampled_from([Label.MASK, Label.NO_MASK, Label.INCORRECT]), st.floats(0, 1), st.floats(0, 1))
)


@given(looks=LOOKS, memory_s=st.floats(0.01, 100), to_change=st.floats(0, 10))
def test_a_steady_label_is_always_a_probability(
    looks: list[tuple[float, Label, float, float]], memory_s: float, to_change: float
) -> None:
    steady, now_s = SteadyLabel(SteadyRules(memory_s, to_change), [Label.MASK, Label.NO_MASK, Label.INCORRECT]), 0.0
    for step_s, label, confidence, weight in looks:
        now_s += step_s
        steady.update(now_s, label, confidence, weight)
        assert (steady.confidence is None) == (steady.label is Label.UNKNOWN)
        assert steady.confidence is None or 0 < steady.confidence < 1


@given(
    looks=LOOKS.map(
        lambda looks: [(step_s, label, max(0.34, confidence), weight) for step_s, label, confidence, weight in looks]
    ),
    swap=st.sampled_from([Label.NO_MASK, Label.INCORRECT]),
)
def test_steady_labels_are_treated_alike(looks: list[tuple[float, Label, float, float]], swap: Label) -> None:
    """Where two labels change places, so does what is said. A look speaks for the likeliest of three."""
    names = {Label.MASK: swap, swap: Label.MASK}
    first, second = (SteadyLabel(SteadyRules(2.0, 2.0), list(Label)[:3]) for _ in range(2))
    now_s = 0.0
    for step_s, label, confidence, weight in looks:
        now_s += step_s
        first.update(now_s, label, confidence, weight)
        second.update(now_s, names.get(label, label), confidence, weight)
    assert second.label is names.get(first.label, first.label)
    assert second.confidence == pytest.approx(first.confidence)


@given(looks=LOOKS, to_change=st.floats(0.1, 5))
def test_a_steady_label_changes_where_another_is_far_enough_ahead_and_only_there(
    looks: list[tuple[float, Label, float, float]], to_change: float
) -> None:
    """Of two labels, the probability of one says that of the other."""
    steady, now_s = SteadyLabel(SteadyRules(2.0, to_change), [Label.MASK, Label.NO_MASK]), 0.0
    ahead = 1 / (1 + exp(-to_change))
    for step_s, label, confidence, weight in looks:
        now_s += step_s
        before = steady.label
        steady.update(now_s, Label.MASK if label is Label.MASK else Label.NO_MASK, confidence, weight)
        if steady.confidence is not None:
            assert steady.confidence >= (ahead if steady.label is not before else 1 - ahead) - 1e-9
