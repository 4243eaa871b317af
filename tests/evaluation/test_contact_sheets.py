from pathlib import Path

import cv2
import numpy as np
import pytest

from maskstream.errors import SourceError
from maskstream.evaluation.contact_sheets import COLOURS_BGR, TILE_PX, caption, face_tile, place, sheet, write_sheets
from maskstream.evaluation.error_analysis import Mistake, MistakeKind
from maskstream.evaluation.predictions import Prediction
from maskstream.io.images import read_image
from maskstream.rendering.overlay import COLOURS_BGR as OVERLAY_COLOURS_BGR
from maskstream.rendering.text import text_alpha
from maskstream.types import BgrImage, Label
from tests.evaluation.made import image, mistakes

RED, BLUE = (0, 0, 255), (255, 0, 0)
GREY = (96, 96, 96)


def box(*edges: float) -> np.ndarray:
    return np.array(edges, np.float32)


def mistake(kind: MistakeKind, labelled: np.ndarray | None, found: np.ndarray | None, **values: object) -> Mistake:
    prediction = None if found is None else Prediction(found, 0.987, Label.MASK, 0.98)
    label = None if labelled is None else Label.NO_MASK
    return Mistake(
        kind, **{"name": "a.jpg", "badness": 1.0, **values}, label=label, label_box_xyxy=labelled, prediction=prediction
    )  # type: ignore[arg-type]


def near(bgr: BgrImage, x: float, y: float, colour: tuple[int, int, int], tolerance: int = 12) -> bool:
    return bool(np.abs(bgr[round(y), round(x)].astype(int) - colour).max() <= tolerance)


@pytest.fixture
def red_face() -> BgrImage:
    """A blue image with a red face at 100 to 140, 80 to 120."""
    bgr = np.full((200, 300, 3), BLUE, np.uint8)
    bgr[80:120, 100:140] = RED
    return bgr


def test_a_tile_shows_the_face_in_its_surroundings(red_face: BgrImage) -> None:
    before = red_face.copy()
    tile = face_tile(red_face, mistake(MistakeKind.MISSED, box(100, 80, 140, 120), None))
    low, high = TILE_PX * 0.6 / 2.2, TILE_PX * 1.6 / 2.2  # the box has a margin of 0.6 of its side
    middle = TILE_PX / 2
    assert near(tile, middle, middle, RED)
    assert [near(tile, x, middle, RED) for x in (low - 5, low + 5, high - 5, high + 5)] == [False, True, True, False]
    assert [near(tile, middle, y, BLUE) for y in (low - 5, low + 5, high - 5, high + 5)] == [True, False, False, True]
    assert near(tile, 3, 3, BLUE)
    assert np.array_equal(red_face, before)


@pytest.mark.parametrize("scale", [0.25, 1, 12], ids=["blown up", "as it is", "shrunk"])
def test_boxes_lie_where_the_face_is_at_any_size(scale: float) -> None:
    side = round(40 * scale)
    bgr = np.full((side * 4, side * 5, 3), BLUE, np.uint8)
    bgr[side : 2 * side, 2 * side : 3 * side] = RED
    face = box(2 * side, side, 3 * side, 2 * side)
    tile = face_tile(bgr, mistake(MistakeKind.FALSE_FACE, None, face))
    low, high, middle = TILE_PX * 0.6 / 2.2, TILE_PX * 1.6 / 2.2, TILE_PX / 2
    colour = COLOURS_BGR[Label.MASK]
    assert near(tile, middle, low - 0.5, colour)
    assert near(tile, middle, high - 0.5, colour)
    assert near(tile, low - 0.5, middle, colour)
    assert near(tile, high - 0.5, middle, colour)
    red = np.abs(tile.astype(int) - RED).max(2) < 60
    rows, columns = np.nonzero(red)
    assert columns.min() == pytest.approx(low, abs=5)
    assert columns.max() == pytest.approx(high, abs=5)
    assert rows.min() == pytest.approx(low, abs=5)
    assert rows.max() == pytest.approx(high, abs=5)


def test_the_labelled_box_is_dashed_and_the_predicted_one_coloured(red_face: BgrImage) -> None:
    tile = face_tile(red_face, mistake(MistakeKind.FALSE_MASK, box(100, 80, 130, 110), box(110, 90, 140, 120)))
    scale = TILE_PX / (40 * 2.2)
    top = round((80 - 56) * scale - 0.5)  # the square begins at 76, 56
    left, right = round((100 - 76) * scale), round((130 - 76) * scale)
    dashes = {tuple(pixel) for pixel in tile[top, left + 2 : right - 2].tolist()}
    assert dashes == {(255, 255, 255), (0, 0, 0)}
    assert near(tile, (140 - 76) * scale - 0.5, (105 - 56) * scale, COLOURS_BGR[Label.MASK])


def test_outside_the_image_a_tile_is_grey(red_face: BgrImage) -> None:
    tile = face_tile(red_face, mistake(MistakeKind.MISSED, box(0, 0, 40, 40), None))
    assert near(tile, 20, 120, GREY)
    assert near(tile, 120, 20, GREY)
    assert near(tile, 120, 120, BLUE)
    nowhere = face_tile(red_face, mistake(MistakeKind.FALSE_FACE, None, box(900, 900, 1000, 1000)))
    assert near(nowhere, 120, 120, GREY)
    assert face_tile(red_face, mistake(MistakeKind.FALSE_FACE, None, box(5, 5, 5, 5))).shape == (TILE_PX, TILE_PX, 3)


def test_colours_are_the_overlay_s() -> None:
    assert COLOURS_BGR == OVERLAY_COLOURS_BGR


def test_the_worst_come_first_and_each_image_is_read_once(red_face: BgrImage) -> None:
    where = {"red.jpg": box(100, 80, 140, 120), "blue.jpg": box(200, 20, 240, 60)}
    many = [
        mistake(MistakeKind.MISSED, where[name], None, name=name, badness=badness)
        for badness, name in enumerate(("red.jpg", "red.jpg", "blue.jpg", "red.jpg", "blue.jpg", "red.jpg", "blue.jpg"))
    ]
    asked: list[str] = []

    def read(name: str) -> BgrImage:
        asked.append(name)
        return red_face

    shown = sheet(many, read, most=6)
    assert sorted(asked) == ["blue.jpg", "red.jpg"]
    middles = [(x + TILE_PX // 2, y + TILE_PX // 2) for x, y in map(place, range(6))]
    assert ["red" if near(shown, x, y, RED) else "blue" for x, y in middles] == ["blue", "red", "blue", "red", "blue", "red"]
    assert place(5)[0] == place(0)[0]
    assert place(5)[1] > place(0)[1] + TILE_PX


def test_the_tile_of_an_unreadable_image_has_a_message() -> None:
    def read(name: str) -> BgrImage:
        raise SourceError("gone")

    shown = sheet([mistake(MistakeKind.MISSED, box(1, 1, 9, 9), None)], read)
    x, y = place(0)
    tile = shown[y : y + TILE_PX, x : x + TILE_PX]
    assert near(tile, 5, 5, GREY)
    assert (tile == 255).any()  # the words


def test_a_sheet_for_each_kind_that_occurs(tmp_path: Path) -> None:
    (tmp_path / "missed.jpg").write_bytes(b"of an earlier run")
    every = [each for each in mistakes() if each.kind is not MistakeKind.MISSED]
    written = write_sheets(every, lambda _: image(), tmp_path)
    assert written == {kind: tmp_path / f"{kind.value}.jpg" for kind in MistakeKind if kind is not MistakeKind.MISSED}
    assert sorted(tmp_path.iterdir()) == sorted(written.values())
    assert read_image(str(written[MistakeKind.FALSE_MASK])).shape[1] == 5 * TILE_PX + 6 * 10


def test_captions_have_the_labelled_and_the_predicted_class() -> None:
    both = mistake(MistakeKind.FALSE_MASK, box(0, 0, 34, 50), box(0, 0, 30, 50))
    assert caption(both) == ("a.jpg", "labelled no mask, classified mask 98%", "score 0.99, 34 px")
    assert caption(mistake(MistakeKind.MISSED, box(0, 0, 34, 50), None))[1:] == ("labelled no mask, not found", "34 px")
    assert caption(mistake(MistakeKind.FALSE_FACE, None, box(0, 0, 30, 50)))[1:] == (
        "unlabelled, classified mask 98%",
        "score 0.99, 30 px",
    )


@pytest.mark.parametrize("name", ["口罩/脸.jpg", "ё" * 300, "W" * 200, "line\nbreak.jpg", "bytes\udcff.jpg"])
def test_any_name_can_be_written_below_its_tile(name: str) -> None:
    shown = sheet([mistake(MistakeKind.MISSED, box(9, 9, 40, 40), None, name=name)], lambda _: image())
    x, y = place(0)
    below = shown[y + TILE_PX :]
    assert (below[:, x : x + TILE_PX] < 128).any()
    assert (below[:, x + TILE_PX + 4 :] == 255).all(), "the name runs into the next tile"


@pytest.mark.parametrize("name", ["照片/入口.jpg", "Größe.jpg", "名" * 90 + ".jpg"])
def test_names_in_any_script_stand_below_their_tile(red_face: BgrImage, name: str) -> None:
    drawn = sheet([mistake(MistakeKind.MISSED, box(100, 80, 140, 120), None, name=name)], lambda _: red_face)
    x, y = place(0)
    below = 255 - cv2.cvtColor(drawn[y + TILE_PX : y + TILE_PX + 22, x - 4 : x + TILE_PX], cv2.COLOR_BGR2GRAY)
    title = text_alpha(name[:3], 9.0)[:, : 3 * 7]
    assert cv2.matchTemplate(below, np.ascontiguousarray(title[2:-2]), cv2.TM_CCOEFF_NORMED).max() > 0.8
    assert not (drawn[y + TILE_PX : y + TILE_PX + 22, x + TILE_PX :] < 250).any()
