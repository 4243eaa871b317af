import numpy as np
import pytest

from maskstream.config.values import ShortSide
from maskstream.models.detections import Scaling, _joined
from maskstream.types import FACE_KEYPOINTS, Detection


@pytest.mark.parametrize(
    ("chosen", "height", "width", "expected"),
    [
        (None, 720, 1280, (384, 682)),
        (None, 96, 128, (384, 512)),
        (512, 720, 1280, (512, 910)),
        ("auto", 96, 128, (384, 512)),  # enlarged as without auto
        ("auto", 384, 500, (384, 500)),
        ("auto", 480, 640, (480, 640)),  # its own size
        ("auto", 720, 1280, (720, 1280)),
        ("auto", 1280, 720, (1280, 720)),
        ("auto", 2160, 3840, (768, 1365)),  # twice the size of the model
        ("auto", 400, 4000, (153, 1536)),  # the long side is limited, too
    ],
)
def test_the_size_of_the_network_input(chosen: ShortSide, height: int, width: int, expected: tuple[int, int]) -> None:
    scaling = Scaling.chosen(384, 1024, chosen)
    assert scaling.size_hw(np.zeros((height, width, 3), np.uint8)) == expected


@pytest.mark.parametrize("height", [8, 383, 384, 385, 600, 768, 769, 3000])
def test_auto_never_enlarges_an_image_more_than_the_model_does(height: int) -> None:
    image = np.zeros((height, height, 3), np.uint8)
    usual, auto = Scaling.chosen(384, 1024, None), Scaling.chosen(384, 1024, "auto")
    assert usual.factor(image) <= auto.factor(image) <= max(1, usual.factor(image))
    assert auto.factor(image) <= 2 * usual.factor(image)


def face(x: float, y: float, side: float, score: float) -> Detection:
    box = np.array([x, y, x + side, y + side], np.float32)
    return Detection(box, score, np.zeros((3, 2), np.float32), np.ones(3, np.float32), FACE_KEYPOINTS)


def test_an_image_that_keeps_its_size_is_detected_in_two_sizes() -> None:
    image = np.zeros((720, 1280, 3), np.uint8)
    assert Scaling.chosen(384, 1024, "auto").sizes_hw(image) == [(384, 682), (720, 1280)]
    for chosen, shape in ((None, (720, 1280, 3)), (512, (720, 1280, 3)), ("auto", (384, 600, 3)), ("auto", (100, 100, 3))):
        assert len(Scaling.chosen(384, 1024, chosen).sizes_hw(np.zeros(shape, np.uint8))) == 1


def test_detections_in_two_sizes_are_joined() -> None:
    small = [face(0, 0, 400, 0.9), face(500, 0, 90, 0.6)]
    large = [face(0, 0, 410, 0.8), face(502, 0, 90, 0.7), face(900, 0, 20, 0.65)]
    assert [each.score for each in _joined(small, large)] == [0.9, 0.7, 0.65]
    assert _joined(small, []) == small
    assert _joined([], large) == large


def test_detections_that_are_not_finite_are_kept() -> None:
    broken = face(float("nan"), float("nan"), 1, float("nan"))
    assert len(_joined([broken], [face(0, 0, 40, 0.9)])) == 2
