import numpy as np
import pytest

from maskstream.rendering.shapes import DrawingScale, draw_outline, faded, fill_rounded

RED = (0, 0, 255)
SQUARE = np.array([[20, 20], [80, 20], [80, 80], [20, 80]], np.float32)
SCALE = DrawingScale.of(np.zeros((360, 640, 3), np.uint8))


def grey() -> np.ndarray:
    return np.full((100, 100, 3), 128, np.uint8)


@pytest.mark.parametrize(("height", "line", "text"), [(360, 2, 11), (1080, 5, 26), (2160, 10, 52)])
def test_lines_and_text_fit_common_sizes(height: int, line: int, text: int) -> None:
    scale = DrawingScale.of(np.zeros((height, height * 16 // 9, 3), np.uint8))
    assert (scale.line, round(scale.text)) == (line, text)


def test_dashes_have_gaps_on_each_side_and_none_at_the_corners() -> None:
    solid, dashed = grey(), grey()
    draw_outline(solid, SQUARE, RED, SCALE)
    draw_outline(dashed, SQUARE, RED, SCALE, is_dashed=True)
    for line in (dashed[20, 20:80], dashed[79, 20:80], dashed[20:80, 20], dashed[20:80, 79]):
        assert 20 < (line == RED).all(1).sum() < 50
    assert (solid[20, 20:80] == RED).all(1).sum() > 55


def test_a_faded_outline_is_between_the_frame_and_the_outline() -> None:
    full, half = grey(), grey()
    draw_outline(full, SQUARE, RED, SCALE)
    with faded(half, 0.5, (15, 15, 85, 85)):
        draw_outline(half, SQUARE, RED, SCALE)
    assert half[20, 50].tolist() == pytest.approx(((full[20, 50].astype(int) + 128) / 2).tolist(), abs=1)
    assert (half[50, 50] == 128).all()


@pytest.mark.parametrize("box", [(-50, -50, 20, 20), (90, 90, 300, 300), (200, 200, 300, 300), (-50, -50, -10, -10)])
def test_what_is_faded_may_be_beyond_the_frame(box: tuple[int, int, int, int]) -> None:
    bgr = grey()
    with faded(bgr, 0.3, box):
        draw_outline(bgr, np.array([[box[0], box[1]], [box[2], box[1]], [box[2], box[3]]], np.float32), RED, SCALE)
    assert bgr.shape == (100, 100, 3)


@pytest.mark.parametrize("radius", [0, 1, 6, 50])
def test_a_rounded_rectangle_stays_in_its_box_and_fills_it(radius: int) -> None:
    bgr = grey()
    fill_rounded(bgr, (10, 20, 60, 40), radius, RED)
    assert (bgr[20:40, 30:40] == RED).all()
    assert (bgr[28:32, 12:58] == RED).all()
    outside = np.ones((100, 100), bool)
    outside[20:40, 10:60] = False
    assert (bgr[outside] == 128).all()
    assert (bgr[20, 10] == RED).all() == (radius == 0)
