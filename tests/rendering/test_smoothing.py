from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.rendering.smoothing import DrawnFace, DrawnTracks, QuadFilter
from maskstream.types import Face, FloatArray, Frame, Label
from tests.conftest import make_face, make_frame
from tests.properties import examples

SQUARE = np.array([[0, 0], [80, 0], [80, 80], [0, 80]], np.float32) + np.float32(100)
STEP_S = 0.04
MAX_OFFSET_PX = 2.0


def filtered(quads: list[FloatArray], step_s: float = STEP_S) -> list[FloatArray]:
    smooth = QuadFilter(MAX_OFFSET_PX)
    return [smooth.update(quad, number * step_s) for number, quad in enumerate(quads)]


def distance(one: FloatArray, other: FloatArray) -> float:
    return float(np.hypot(*(one - other).T).max())


def noise(count: int, sigma_px: float, seed: int = 0) -> list[FloatArray]:
    return list(np.random.default_rng(seed).normal(0, sigma_px, (count, 4, 2)).astype(np.float32))


def test_noise_at_rest_is_smoothed_and_stays_within_2_px() -> None:
    quads = [SQUARE + shift for shift in noise(200, 0.5)]
    smooth = filtered(quads)
    assert max(distance(one, SQUARE) for one in smooth) < 2
    trembling, left = (np.mean([distance(a, b) for a, b in pairwise(each[20:])]) for each in (quads, smooth))
    assert left < 0.4 * trembling


@pytest.mark.parametrize("px_per_frame", [0.2, 1.0, 3.0, 10.0, 40.0])
def test_in_motion_the_lag_is_less_than_one_frame_or_2_px(px_per_frame: float) -> None:
    quads = [SQUARE + np.float32(number * px_per_frame) for number in range(60)]
    moved = distance(quads[0], quads[1])
    assert max(distance(one, other) for one, other in zip(filtered(quads), quads, strict=True)) <= max(2.0, moved) + 1e-3


def test_a_jump_is_followed_within_one_frame() -> None:
    quads = [SQUARE] * 20 + [SQUARE + np.float32(50)] * 3
    assert distance(filtered(quads)[21], quads[21]) <= 2 + 1e-3


def test_a_square_stays_a_square() -> None:
    turns = np.radians(np.linspace(0, 60, 40))
    middle = SQUARE.mean(0)
    quads = [
        ((SQUARE - middle) @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) + middle + 4 * a).astype(np.float32)
        for a in turns
    ]
    for smooth in filtered(quads):
        sides = np.hypot(*(np.roll(smooth, -1, axis=0) - smooth).T)
        assert np.ptp(sides) < 0.01


@pytest.mark.parametrize("step_s", [0.6, -0.04, 100.0])
def test_a_gap_and_a_time_that_runs_back_start_the_filter_again(step_s: float) -> None:
    smooth = QuadFilter(MAX_OFFSET_PX)
    smooth.update(SQUARE, 10.0)
    assert np.array_equal(smooth.update(SQUARE + np.float32(1), 10.0 + step_s), SQUARE + np.float32(1))


@examples(0.5)
@given(
    shifts=st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=20),
    steps_s=st.lists(st.floats(1e-3, 0.6), min_size=20, max_size=20),
)
def test_a_drawn_corner_is_never_further_away_than_2_px_or_one_frame_of_motion(shifts: list[float], steps_s: list[float]) -> None:
    smooth, time_s, before = QuadFilter(MAX_OFFSET_PX), 0.0, SQUARE
    for shift, step_s in zip(shifts, steps_s, strict=False):
        quad = SQUARE + np.array([shift, -shift / 2], np.float32)
        time_s += step_s
        assert distance(smooth.update(quad, time_s), quad) <= max(2.0, distance(quad, before)) + 0.01
        before = quad


def person(track_id: int | None = 1, shift: float = 0.0, **changes: object) -> Face:
    face = make_face(box=(28 + shift, 20, 72 + shift, 74))
    return replace(face, track_id=track_id, **changes)  # type: ignore[arg-type]


def drawn(*per_frame: list[Face], frames_per_detection: int = 1) -> list[list[DrawnFace]]:
    tracks = DrawnTracks()
    return [tracks.update(make_frame(number, 200, 160), faces, frames_per_detection) for number, faces in enumerate(per_frame)]


def test_a_lost_face_fades_dashed_where_it_was() -> None:
    shown = drawn(*[[person()]] * 20, *[[]] * 20)
    assert [len(faces) for faces in shown[:20]] == [1] * 20
    held = [faces[0] for faces in shown[20:] if faces]
    opacities = [each.opacity for each in held]
    assert 8 <= len(held) <= 13
    assert opacities == sorted(opacities, reverse=True)
    assert 0 < opacities[-1] < 0.2 < 0.8 < opacities[0] < 1
    assert all(each.is_dashed and np.array_equal(each.quad_xy, shown[19][0].quad_xy) for each in held)
    assert shown[-1] == []


def test_a_face_that_flow_lost_between_detections_is_not_dashed_before_the_next_detection_is_due() -> None:
    shown = drawn(*[[person()]] * 20, [], [], [], frames_per_detection=3)
    assert [faces[0].is_dashed for faces in shown[20:]] == [False, False, True]


def test_what_was_seen_once_leaves_nothing_behind() -> None:
    assert drawn([person()], [])[1] == []


def test_a_face_that_comes_back_is_drawn_in_full() -> None:
    shown = drawn(*[[person()]] * 10, [], [], [person()])
    assert [each.opacity for each in shown[-1]] == [1.0]


def test_a_lost_face_makes_room_for_another_in_its_place() -> None:
    shown = drawn(*[[person(1)]] * 10, [person(2, shift=3)])
    assert [each.face.track_id for each in shown[-1]] == [2]
    beside = drawn(*[[person(1)]] * 10, [person(2, shift=100)])
    assert [each.face.track_id for each in beside[-1]] == [2, 1]


@pytest.mark.parametrize(
    "other",
    [
        Frame(np.zeros((160, 200, 3), np.uint8), 10, "made", 0.4, connection=2),
        Frame(np.zeros((80, 100, 3), np.uint8), 10, "made", 0.4),
        Frame(np.zeros((160, 200, 3), np.uint8), 10, "made", 0.1),
    ],
    ids=["connection", "size", "time"],
)
def test_another_stream_begins_without_faces(other: Frame) -> None:
    tracks = DrawnTracks()
    for number in range(10):
        tracks.update(make_frame(number, 200, 160), [person()], 1)
    assert tracks.update(other, [], 1) == []


def test_faces_without_a_track_and_of_images_are_drawn_as_they_are() -> None:
    shifts = (0.0, 1.5, -1.0, 2.0)
    shown = drawn(*[[person(None, shift)] for shift in shifts])
    assert [faces[0].quad_xy[0, 0] for faces in shown] == [28 + shift for shift in shifts]
    tracks = DrawnTracks()
    images = [replace(make_frame(number, 200, 160), file="a.png", time_s=0.0) for number in range(4)]
    of_images = [tracks.update(frame, [person(1, shift)], 1) for frame, shift in zip(images, shifts, strict=True)]
    assert [faces[0].quad_xy[0, 0] for faces in of_images] == [28 + shift for shift in shifts]


def test_the_percentage_changes_twice_a_second_at_most_and_at_once_with_the_label() -> None:
    values = np.linspace(0.5, 0.9, 50).tolist()
    shown = [faces[0].confidence for faces in drawn(*[[person(confidence=value)] for value in values])]
    assert len(set(shown)) <= 5
    other = person(label=Label.NO_MASK, confidence=0.6)
    assert drawn(*[[person(confidence=0.9)]] * 3, [other])[-1][0].confidence == 0.6


def test_smoothing_leaves_the_result_alone() -> None:
    faces = [person(1, shift) for shift in (0.0, 2.0, -2.0)]
    before = [face.quad_xy.copy() for face in faces]
    drawn(*[[face] for face in faces])
    assert all(np.array_equal(face.quad_xy, quad) for face, quad in zip(faces, before, strict=True))
