import numpy as np
import pytest

from maskstream.config.values import ShortSide
from maskstream.models.detections import Scaling


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
