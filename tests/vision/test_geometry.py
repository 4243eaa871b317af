import numpy as np
import pytest

from maskstream.types import COCO_KEYPOINTS, Detection
from maskstream.vision.geometry import box_corners, face_box, face_box_from_keypoints, head_box
from tests.conftest import make_detection


def iou(a: np.ndarray, b: np.ndarray) -> float:
    overlap = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(overlap / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - overlap))


def person(left_eye: tuple[float, float], right_eye: tuple[float, float], nose: tuple[float, float]) -> Detection:
    points = np.zeros((17, 2), np.float32)
    points[:3] = nose, left_eye, right_eye
    return Detection(np.array([0, 0, 200, 600], np.float32), 0.9, points, np.ones(17, np.float32), COCO_KEYPOINTS)


def test_a_face_detector_has_the_last_word_on_its_box() -> None:
    detection = make_detection(box=(1, 2, 30, 40))
    assert face_box(detection).tolist() == [1, 2, 30, 40]


def test_the_face_of_a_person_comes_from_eyes_and_nose() -> None:
    # Proportions of a frontal face of 100 px height, the medians of the labelled faces the rule was fitted on.
    found = face_box(person(left_eye=(118, 137), right_eye=(82, 137), nose=(100, 158)))
    assert iou(found, np.array([59, 100, 141, 200])) > 0.85


def test_a_turned_head_keeps_its_size() -> None:
    frontal = face_box_from_keypoints(make_detection((118, 137), (82, 137), (100, 158)))
    profile = face_box_from_keypoints(make_detection((104, 137), (96, 137), (92, 158)))
    assert (profile[3] - profile[1]) / (frontal[3] - frontal[1]) == pytest.approx(1, abs=0.15)
    assert (profile[0] + profile[2]) / 2 > 100  # the nose points left, the head lies to the right of the eyes


def test_a_lying_face_lies_beside_its_eyes() -> None:
    box = face_box_from_keypoints(make_detection(left_eye=(100, 118), right_eye=(100, 82), nose=(79, 100)))
    assert (box[0] + box[2]) / 2 < 95  # the chin points left
    assert (box[1] + box[3]) / 2 == pytest.approx(100, abs=1)


def test_head_box_follows_the_published_margins_and_is_clipped() -> None:
    assert head_box(np.array([100, 100, 200, 200], np.float32), 400, 400).tolist() == pytest.approx([76, 63, 224, 212])
    assert head_box(np.array([[0, 0, 100, 100]], np.float32), 110, 105).tolist() == [[0, 0, 110, 105]]


def test_corners_go_round_from_the_upper_left() -> None:
    assert box_corners(np.array([1, 2, 3, 4], np.float32)).tolist() == [[1, 2], [3, 2], [3, 4], [1, 4]]
