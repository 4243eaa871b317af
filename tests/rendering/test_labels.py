from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.rendering.labels import Box, LabelLayout, LabelText, Placement, Request
from maskstream.rendering.shapes import DrawingScale
from maskstream.types import Label
from tests.properties import examples

SIZE = (640, 360)
SIZES = [(120, 20), (40, 20)]
GAP_PX = 3


def request(left: float, top: float, side: float = 60, key: int | None = None) -> Request:
    return Request(key, np.array([left, top, left + side, top + side]), SIZES)


def placed(*requests: Request, taken: tuple[Box, ...] = ()) -> list[Placement | None]:
    return LabelLayout().place(requests, SIZE, GAP_PX, 0.0, taken)


def overlap(one: Box, other: Box) -> bool:
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom


def test_a_label_is_above_its_face() -> None:
    (placement,) = placed(request(200, 100))
    assert placement == Placement(Box(197, 77, 317, 97), form=0, side=0)


@pytest.mark.parametrize(("left", "top"), [(-40, -40), (600, 2), (-30, 340), (620, 350), (900, 900), (-500, 100)])
def test_a_label_stays_in_the_frame(left: float, top: float) -> None:
    (placement,) = placed(request(left, top))
    assert placement is not None
    box = placement.box
    assert 0 <= box.left < box.right <= SIZE[0]
    assert 0 <= box.top < box.bottom <= SIZE[1]


@examples(0.5)
@given(
    corners=st.lists(st.tuples(st.floats(-100, 700), st.floats(-100, 400), st.floats(5, 300)), min_size=1, max_size=30),
    frame=st.sampled_from([(640, 360), (100, 80), (30, 400), (3, 3)]),
)
def test_labels_never_overlap_and_never_leave_the_frame(
    corners: list[tuple[float, float, float]], frame: tuple[int, int]
) -> None:
    layout = LabelLayout()
    for number in range(3):
        requests = [request(x + number, y - number, side, key) for key, (x, y, side) in enumerate(corners)]
        places = layout.place(requests, frame, GAP_PX, 0.04 * number, [Box(0, 0, 50, 20)])
        boxes = [Box(0, 0, 50, 20), *(each.box for each in places if each is not None)]
        assert not any(overlap(one, other) for one, other in combinations(boxes, 2))
        assert all(box.left >= 0 and box.top >= 0 and box.right <= frame[0] and box.bottom <= frame[1] for box in boxes[1:])


def test_in_a_crowd_labels_become_short_and_the_first_ones_keep_their_text() -> None:
    crowd = [request(70 * column, 40 + 70 * row, key=row * 9 + column) for row in range(4) for column in range(9)]
    places = placed(*crowd)
    forms = [None if placement is None else placement.form for placement in places]
    assert forms[0] == 0
    assert 1 in forms
    assert sum(form is not None for form in forms) > 25


def test_a_label_hides_no_other_face_where_there_is_room_elsewhere() -> None:
    above, below = Request(1, np.array([200, 40, 300, 140]), SIZES), Request(2, np.array([200, 145, 300, 245]), SIZES)
    places = placed(above, below)
    for placement in places:
        assert placement is not None
        for face in (above, below):
            assert not overlap(placement.box, Box(*face.around_xyxy.astype(int).tolist()))


def test_a_label_keeps_its_side_while_it_has_room_there() -> None:
    """Another face comes close and leaves again: the label moves once at most in each half second."""
    layout = LabelLayout()
    sides = []
    for number in range(40):
        other = request(200, 20 + 45 * (number % 2), 55, key=2)  # hides what is above the face in each second frame
        (_, placement) = layout.place([other, request(200, 100, key=3)], SIZE, GAP_PX, 0.04 * number)
        assert placement is not None
        sides.append((placement.form, placement.side))
    assert sum(one != other for one, other in pairwise(sides)) <= 2


def test_a_label_comes_back_to_the_better_side_after_half_a_second() -> None:
    layout, blocked = LabelLayout(), Box(150, 60, 400, 98)
    (first,) = layout.place([request(200, 100, key=1)], SIZE, GAP_PX, 0.0, [blocked])
    later = [layout.place([request(200, 100, key=1)], SIZE, GAP_PX, 0.04 * number)[0] for number in range(1, 20)]
    assert first is not None
    assert first.side != 0
    assert [each.side for each in later if each] == [first.side] * 13 + [0] * 6


def test_a_short_label_stays_short_for_half_a_second_after_it_has_room_again() -> None:
    layout, crowded = LabelLayout(), [Box(0, 0, 640, 75), Box(0, 165, 640, 360), Box(0, 75, 150, 165), Box(305, 75, 640, 165)]
    (first,) = layout.place([request(200, 100, key=1)], SIZE, GAP_PX, 0.0, crowded)
    later = [layout.place([request(200, 100, key=1)], SIZE, GAP_PX, 0.04 * number)[0] for number in range(1, 20)]
    assert first is not None
    assert first.form == 1
    assert [each.form for each in later if each] == [1] * 13 + [0] * 6


def test_a_label_does_not_tremble_with_noise_of_one_pixel() -> None:
    layout = LabelLayout()
    places = [layout.place([request(200.4 + 0.3 * (-1) ** n, 100, key=1)], SIZE, GAP_PX, 0.04 * n)[0] for n in range(10)]
    assert len({each.box for each in places if each}) == 1


@pytest.mark.parametrize("label", [Label.MASK, Label.NO_MASK, Label.INCORRECT])
def test_the_label_of_a_track_is_as_wide_for_every_percentage(label: Label) -> None:
    scale = DrawingScale.of(np.zeros((360, 640, 3), np.uint8))
    widths = {LabelText(label, confidence, 12).sizes(scale)[0] for confidence in (0.5, 0.77, 0.994, 1.0)}
    assert len(widths) == 1


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (LabelText(Label.MASK, 0.973, 3), ("#3 mask 97%", "#3")),
        (LabelText(Label.NO_MASK, 1.0, None), ("no mask 100%", "")),
        (LabelText(Label.UNKNOWN, None, 12), ("#12 unknown", "#12")),
    ],
)
def test_what_a_label_says(text: LabelText, lines: tuple[str, str]) -> None:
    assert text.lines() == lines
