import numpy as np
import pytest

from maskstream.tracking.tracker import Tracker, quality
from tests.conftest import make_face
from tests.tracking.made import face_at

LOST_S = 1.5


def test_a_person_keeps_the_number_from_the_first_sight_on() -> None:
    tracker = Tracker()
    numbers = [tracker.update(step / 25, [face_at(100 + 3 * step)], LOST_S) for step in range(25)]
    assert numbers == [[1]] * 25


def test_the_order_of_faces_makes_no_difference() -> None:
    tracker = Tracker()
    assert tracker.update(0.0, [face_at(100), face_at(400)], LOST_S) == [1, 2]
    assert tracker.update(0.04, [face_at(400), face_at(100)], LOST_S) == [2, 1]


def test_who_was_hidden_for_a_moment_is_the_same() -> None:
    tracker = Tracker()
    for step in range(10):
        tracker.update(step / 25, [face_at(100)], LOST_S)
    for step in range(10, 35):
        tracker.update(step / 25, [], LOST_S)
    assert tracker.update(35 / 25, [face_at(104)], LOST_S) == [1]


def test_who_was_away_for_longer_is_somebody_else() -> None:
    tracker = Tracker()
    for step in range(10):
        tracker.update(step / 25, [face_at(100)], LOST_S)
    tracker.update(2.5, [], LOST_S)
    assert tracker.update(2.6, [face_at(100)], LOST_S) == [2]


@pytest.mark.parametrize("step_s", [0.02, 0.2, 0.5, 1.0])
def test_frames_may_be_far_apart(step_s: float) -> None:
    tracker = Tracker()
    numbers = [tracker.update(step * step_s, [face_at(100 + 20 * step), face_at(400)], LOST_S) for step in range(8)]
    assert numbers == [[1, 2]] * 8


def test_frames_may_come_unevenly() -> None:
    tracker = Tracker()
    times = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.4, 60)).tolist()
    numbers = [
        tracker.update(time_s, [face_at(100 + 40 * time_s), face_at(500 - 30 * time_s, 100)], LOST_S) for time_s in times[:30]
    ]
    assert numbers == [[1, 2]] * 30


def test_a_face_that_moves_by_more_than_its_width_is_the_same() -> None:
    tracker = Tracker()
    numbers = [tracker.update(step * 0.2, [face_at(100 + 26 * step, side=20)], LOST_S) for step in range(8)]
    assert numbers == [[1]] * 8


def test_detections_with_a_low_score_begin_no_track_and_continue_one() -> None:
    tracker = Tracker()
    assert tracker.update(0.0, [face_at(100, score=0.2)], LOST_S) == [None]
    assert tracker.update(0.1, [face_at(100, score=0.9)], LOST_S) == [1]
    assert tracker.update(0.2, [face_at(100, score=0.2)], LOST_S) == [1]


def test_an_invalid_box_has_no_track() -> None:
    tracker = Tracker()
    assert tracker.update(0.0, [face_at(float("nan")), face_at(100), face_at(300, side=0)], LOST_S) == [None, 1, None]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_has_no_track(score: float) -> None:
    """It does not go on with somebody either."""
    tracker = Tracker()
    assert tracker.update(0.0, [face_at(100, score=score)], LOST_S) == [None]
    assert tracker.update(0.1, [face_at(100)], LOST_S) == [1]
    assert tracker.update(0.2, [face_at(100, score=score)], LOST_S) == [None]
    assert tracker.update(0.3, [face_at(100)], LOST_S) == [1]


def test_a_box_beyond_all_images_spoils_nothing() -> None:
    tracker = Tracker()
    huge = make_face(box=(-3.4e38, 160, 3.4e38, 240))
    assert tracker.update(0.0, [face_at(100), huge], LOST_S) == [1, None]
    assert tracker.update(0.1, [huge, face_at(100)], LOST_S) == [None, 1]


def test_numbers_are_never_given_again() -> None:
    tracker = Tracker()
    assert tracker.update(0.0, [face_at(100), face_at(300)], LOST_S) == [1, 2]
    tracker.forget()
    assert tracker.update(0.1, [face_at(100)], LOST_S) == [3]


def test_a_hundred_people_keep_their_numbers() -> None:
    tracker = Tracker()
    spots = [(60 * column, 60 * row) for column in range(10) for row in range(10)]
    seen = [tracker.update(step / 5, [face_at(x + 4 * step, y, side=24) for x, y in spots], LOST_S) for step in range(10)]
    assert seen[0] == list(range(1, 101))
    assert all(numbers == seen[0] for numbers in seen)


def textured(size: int = 200) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)


def test_large_sharp_and_certain_faces_count_more() -> None:
    sharp, flat = textured(), np.full((200, 200, 3), 90, np.uint8)
    large, small = (20, 20, 120, 120), (20, 20, 36, 36)
    best = quality(sharp, make_face(box=large, point_score=1.0))
    assert best == pytest.approx(1.0, abs=0.05)
    assert quality(sharp, make_face(box=small, point_score=1.0)) < 0.4 * best
    assert quality(sharp, make_face(box=large, point_score=0.3)) < 0.4 * best
    assert quality(flat, make_face(box=large)) < 0.2 * best


@pytest.mark.parametrize("box", [(190, 190, 400, 400), (-80, -80, 10, 10), (500, 500, 600, 600), (10, 10, 10.5, 10.5)])
def test_faces_at_the_edge_have_some_quality(box: tuple[float, float, float, float]) -> None:
    assert 0 <= quality(textured(), make_face(box=box)) <= 1
