import numpy as np
import pytest

from maskstream.rendering.letterbox import letterbox
from tests.video_files import BLUE, RED, four_corners, plain

BLACK = (0, 0, 0)


@pytest.mark.parametrize(
    ("size", "image", "bars"),
    [
        ((40, 20), [(0, 10), (20, 10), (39, 29)], [(20, 9), (20, 30)]),
        ((20, 40), [(10, 0), (10, 20), (29, 39)], [(9, 20), (30, 20)]),
        ((80, 80), [(0, 0), (39, 39)], []),
        ((4, 3), [(0, 5), (39, 34)], [(20, 4), (20, 35)]),
    ],
)
def test_as_large_as_fits_and_centred(size: tuple[int, int], image: list[tuple[int, int]], bars: list[tuple[int, int]]) -> None:
    boxed = letterbox(plain(RED, size), (40, 40))
    assert boxed.shape == (40, 40, 3)
    assert {tuple(boxed[y, x]) for x, y in image} == {RED}
    assert {tuple(boxed[y, x]) for x, y in bars} <= {BLACK}


def test_upright_and_not_mirrored() -> None:
    small = letterbox(four_corners((64, 32)), (32, 32))
    assert tuple(small[10, 2]) == RED
    assert tuple(small[22, 2]) == BLUE
    assert tuple(small[22, 30]) == (255, 255, 255)


def test_same_size_is_a_copy() -> None:
    given = four_corners()
    boxed = letterbox(given, (64, 32))
    assert (boxed == given).all()
    assert not np.shares_memory(boxed, given)


@pytest.mark.parametrize(("size", "into"), [((1000, 1), (64, 48)), ((1, 1000), (64, 48)), ((3, 1), (1, 1)), ((1, 1), (9, 7))])
def test_extreme_sizes(size: tuple[int, int], into: tuple[int, int]) -> None:
    boxed = letterbox(plain(RED, size), into)
    assert boxed.shape == (into[1], into[0], 3)
    assert boxed.any() == (size == (1, 1))
