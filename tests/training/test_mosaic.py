from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskstream.annotations import LabelledFace, LabelledImage
from maskstream.errors import SourceError
from maskstream.io.images import write_image
from maskstream.training.mosaic import Window, make_window
from maskstream.training.recipe import DetectorRecipe
from maskstream.training.run import load_detector_recipe
from maskstream.types import BgrImage, Label
from maskstream.vision.align import PADDING_BGR

BLUE, GREEN, RED, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 255, 255)
DARK, LIGHT = 20, 200
BRIGHT_FROM = 130
"""Above the dark, and above what fills a window beyond its picture."""
SIZE = 160
PLAIN = {"photometric": 0.0, "hidden_share": 0.0, "turn_deg": 0.0, "large_turn_share": 0.0, "by_face_share": 0.0}


def recipe(**changes: Any) -> DetectorRecipe:
    """No change but zoom, shift and mirror."""
    return load_detector_recipe(None, []).model_copy(update={**PLAIN, **changes})


def at_scale(scale: float, image_px: int, size_px: int = SIZE) -> dict[str, Any]:
    """Return the zoom at which a window shows each pixel of a square picture as `scale` pixels."""
    zoom = scale * image_px / (1.2 * size_px)
    return {"zoom": [zoom, zoom]}


@dataclass
class Oval:
    """A light face with its nose blue, its left eye green and its right eye red."""

    centre: tuple[int, int]
    radii: tuple[int, int]
    dot_px: int = 0
    """0: a face without keypoints."""
    ignore: bool = False
    bgr: tuple[int, int, int] = (LIGHT, LIGHT, LIGHT)

    def draw(self, image_bgr: BgrImage) -> LabelledFace:
        (x, y), (across, down) = self.centre, self.radii
        cv2.ellipse(image_bgr, (x, y), (across, down), 0, 0, 360, self.bgr, cv2.FILLED)
        eye_x, eye_y, nose_y = across // 2, down // 3, down // 4
        points = [(x, y + nose_y), (x + eye_x, y - eye_y), (x - eye_x, y - eye_y)]
        for point, colour in zip(points, (BLUE, GREEN, RED), strict=True):
            if self.dot_px:
                cv2.circle(image_bgr, point, self.dot_px, colour, cv2.FILLED)
        box = np.array([x - across, y - down, x + across + 1, y + down + 1], np.float32)
        keypoints = np.array(points, np.float32) + 0.5 if self.dot_px else None
        return LabelledFace(box, Label.NO_MASK, self.ignore, keypoints)


FACE = Oval((150, 170), (50, 60), dot_px=8)


def image(path: Path, *ovals: Oval, size: tuple[int, int] = (320, 320), background: tuple[int, int, int] = (DARK,) * 3) -> Any:
    bgr = np.full((size[1], size[0], 3), background, np.uint8)
    faces = tuple(oval.draw(bgr) for oval in ovals)
    write_image(path, bgr)
    return LabelledImage(path, path.name, *size, faces)


def window_of(seed: int, made: DetectorRecipe, *images: LabelledImage, size_px: int = SIZE) -> Window:
    return make_window(images, [], made, size_px, np.random.default_rng(seed))


def dot_centre(bgr: BgrImage, colour: tuple[int, int, int]) -> np.ndarray:
    """Return where the middle of what has a colour is; (0, 0) is the corner of the upper left pixel."""
    channel = int(np.argmax(colour))
    others = np.delete(bgr, channel, axis=2).max(axis=2).astype(float)
    weights = (bgr[..., channel] - others - 20).clip(0)
    rows, columns = np.mgrid[: bgr.shape[0], : bgr.shape[1]] + 0.5
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


def extent(is_part: np.ndarray) -> np.ndarray:
    """Return x1, y1, x2, y2 of the pixels that are part of something."""
    rows, columns = np.flatnonzero(is_part.any(axis=1)), np.flatnonzero(is_part.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def is_within(box: np.ndarray, outer: np.ndarray, by: float = 0.0) -> bool:
    return bool((box[:2] >= outer[:2] - by).all() and (box[2:] <= outer[2:] + by).all())


def is_mirrored(bgr: BgrImage) -> bool:
    """Return whether the face in a window is a mirror image, however it is turned."""
    nose, left, right = (dot_centre(bgr, colour) for colour in (BLUE, GREEN, RED))
    across, down = left - right, nose - (left + right) / 2
    return bool(across[0] * down[1] - across[1] * down[0] < 0)


def whole_faces(made: DetectorRecipe, shown: LabelledImage, seeds: int, reach: float) -> list[Window]:
    """Return those windows that show a face with all of its dots, `reach` pixels from the edge."""
    windows = [window_of(seed, made, shown) for seed in range(seeds)]
    return [
        window
        for window in windows
        if len(window.boxes_xyxy) and ((window.keypoints[..., :2] > reach) & (window.keypoints[..., :2] < SIZE - reach)).all()
    ]


@pytest.mark.parametrize(
    "changes",
    [
        at_scale(1, 320),
        at_scale(1.4, 320),
        at_scale(0.4, 320),
        {"by_face_share": 1.0},
        {"turn_deg": 8.0, **at_scale(1, 320)},
        {"large_turn_share": 1.0, **at_scale(0.7, 320)},
    ],
    ids=["scale 1", "enlarged", "shrunk", "by face", "turned a little", "turned by any angle"],
)
def test_keypoints_lie_where_the_dots_are(tmp_path: Path, changes: dict[str, Any]) -> None:
    shown = image(tmp_path / "a.png", FACE)
    windows = whole_faces(recipe(**changes), shown, 60, 14)
    mirrored = [is_mirrored(window.bgr) for window in windows]
    assert 3 < sum(mirrored) < len(windows) - 3
    for window, is_mirror in zip(windows, mirrored, strict=True):
        # In a mirror the right eye, which is red, is where the left eye of another face would be.
        colours = (BLUE, RED, GREEN) if is_mirror else (BLUE, GREEN, RED)
        dots = [dot_centre(window.bgr, colour) for colour in colours]
        assert window.keypoints[0, :, :2] == pytest.approx(np.array(dots), abs=0.4)
        assert window.keypoints[0, :, 2].tolist() == [1, 1, 1]


def test_at_scale_1_nothing_is_shifted(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", Oval((100, 90), (30, 40), dot_px=5), size=(192, 192))
    windows = whole_faces(recipe(zoom=[1.0, 1.0]), shown, 30, 8)
    assert len(windows) > 15
    for window in windows:
        nose = dot_centre(window.bgr, BLUE)
        assert window.keypoints[0, 0, :2] == pytest.approx(nose, abs=0.05)
        x1, y1, x2, y2 = window.boxes_xyxy[0]
        if is_within(window.boxes_xyxy[0], np.array([1, 1, SIZE - 1, SIZE - 1])):
            assert (x2 - x1, y2 - y1) == pytest.approx((61, 81), abs=1e-3)
            assert extent(window.bgr.max(axis=2) > (DARK + LIGHT) / 2) == pytest.approx(window.boxes_xyxy[0], abs=1)


@pytest.mark.parametrize("changes", [{}, {"turn_deg": 8.0}, {"large_turn_share": 1.0}, {"by_face_share": 1.0}])
def test_a_box_holds_all_that_is_seen_of_a_face_and_no_more(tmp_path: Path, changes: dict[str, Any]) -> None:
    shown = image(tmp_path / "a.png", Oval((150, 170), (50, 60)))
    whole = 0
    for seed in range(60):
        window = window_of(seed, recipe(**changes), shown)
        is_face = window.bgr.max(axis=2) > BRIGHT_FROM
        assert len(window.boxes_xyxy) == 1 or is_face.sum() < 2 * SIZE
        for box in window.boxes_xyxy:
            assert is_within(box, np.array([0, 0, SIZE, SIZE]))
            if not is_face.any():
                continue
            assert is_within(extent(is_face), box, by=1.5)
            if is_within(box, np.array([2, 2, SIZE - 2, SIZE - 2])):
                whole += 1
                assert extent(is_face) == pytest.approx(box, abs=1.5)
    assert whole > 10


def test_turned_faces_stand_at_any_angle(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", FACE)
    windows = whole_faces(recipe(large_turn_share=1.0, **at_scale(0.7, 320)), shown, 100, 10)
    eyes = [window.keypoints[0, 1, :2] - window.keypoints[0, 2, :2] for window in windows]
    degrees = [np.rad2deg(np.arctan2(y, x)) for x, y in eyes]
    assert min(degrees) < -50
    assert max(degrees) > 50
    assert any(abs(angle) > 90 for angle in degrees)  # on their heads


def test_what_is_hardly_seen_is_neither_positive_nor_negative(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", Oval((80, 100), (25, 30)), size=(200, 200))
    made, area = recipe(**at_scale(2, 200)), 4 * 51 * 61
    seen = []
    for seed in range(100):
        for box, counts in zip(*_of(window_of(seed, made, shown)), strict=True):
            seen.append(((box[2:] - box[:2]).prod() / area, counts))
    assert {counts for share, counts in seen if share < 0.45} == {0}
    assert {counts for share, counts in seen if share > 0.5} == {1}


def _of(window: Window) -> tuple[np.ndarray, np.ndarray]:
    return window.boxes_xyxy, window.counts


@pytest.mark.parametrize(("oval", "counts"), [(Oval((96, 96), (1, 9)), 0), (Oval((96, 96), (3, 9)), 1)], ids=["3 px", "7 px"])
def test_tiny_faces_do_not_count(tmp_path: Path, oval: Oval, counts: int) -> None:
    shown = image(tmp_path / "a.png", oval, size=(192, 192))
    windows = [window_of(seed, recipe(zoom=[1.0, 1.0]), shown) for seed in range(20)]
    whole = [window for window in windows if is_within(window.boxes_xyxy[0], np.array([1, 1, SIZE - 1, SIZE - 1]))]
    assert {window.counts.tolist()[0] for window in whole} == {counts}


def test_ignored_faces_do_not_count(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", Oval((60, 96), (30, 40), ignore=True), Oval((135, 96), (30, 40)), size=(192, 192))
    both = [window for seed in range(20) if len((window := window_of(seed, recipe(zoom=[0.8, 0.8]), shown)).boxes_xyxy) == 2]
    assert len(both) > 10
    assert all(window.counts.tolist() == [0, 1] for window in both)


def test_faces_without_keypoints_have_none_that_is_visible(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", Oval((60, 96), (30, 40)), Oval((135, 96), (30, 40), dot_px=4), size=(192, 192))
    window = next(
        made for seed in range(20) if (made := window_of(seed, recipe(zoom=[0.7, 0.7]), shown)).counts.tolist() == [1, 1]
    )
    assert window.keypoints.shape == (2, 3, 3)
    assert window.keypoints[:, :, 2].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_keypoints_outside_are_not_visible(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", FACE)
    windows = [window_of(seed, recipe(**at_scale(1.9, 320)), shown) for seed in range(40)]
    points = np.concatenate([window.keypoints.reshape(-1, 3) for window in windows])
    is_inside = ((points[:, :2] >= 0) & (points[:, :2] < SIZE)).all(axis=1)
    assert 0 < is_inside.sum() < len(points)
    assert (points[:, 2] == is_inside).all()


def test_a_mosaic_keeps_every_label_in_its_own_cell(tmp_path: Path) -> None:
    hues = (BLUE, GREEN, RED, YELLOW)
    shown = [
        image(
            tmp_path / f"{index}.png",
            Oval((140, 160), (50, 60), dot_px=0, bgr=hue),
            background=(hue[0] // 4, hue[1] // 4, hue[2] // 4),
        )
        for index, hue in enumerate(hues)
    ]
    labelled = 0
    for seed in range(30):
        window = window_of(seed, recipe(zoom=[1.8, 1.8]), *shown)  # covers the widest cell
        owners = np.stack([(window.bgr > 30) == (np.array(hue) > 0) for hue in hues]).all(axis=-1)
        is_face = window.bgr.max(axis=2) > 160
        cells = [extent(_opened(owner)) for owner in owners]
        assert (cells[0][2] <= cells[1][0] + 1) & (cells[0][3] <= cells[2][1] + 1)
        found = [[i for i in range(4) if is_within(box, cells[i], by=1)] for box in window.boxes_xyxy]
        assert all(len(of_box) == 1 for of_box in found)
        assert len({of_box[0] for of_box in found}) == len(found)
        for box, (cell,) in zip(window.boxes_xyxy, found, strict=True):
            labelled += 1
            seen = owners[cell] & is_face
            if seen.sum() > 50:
                assert is_within(extent(_opened(seen)), box, by=1.5)
        missing = set(range(4)) - {of_box[0] for of_box in found}
        assert all((_opened(owners[i]) & is_face).sum() < 2 * SIZE for i in missing)
    assert labelled > 60


def _opened(mask: np.ndarray) -> np.ndarray:
    """Return a mask without the single pixels where two colours blend."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)


def test_keypoints_of_a_mosaic_lie_on_their_dots(tmp_path: Path) -> None:
    with_face = image(tmp_path / "face.png", FACE)
    empty = image(tmp_path / "empty.png")
    checked = 0
    for seed in range(24):
        place = seed % 4
        shown = [with_face if index == place else empty for index in range(4)]
        window = window_of(seed, recipe(zoom=[0.6, 0.6]), *shown, size_px=2 * SIZE)
        for points, box in zip(window.keypoints, window.boxes_xyxy, strict=True):
            if points[:, 2].all() and (box[2:] - box[:2]).prod() > 0 and window.counts.all() and _is_whole(points, box):
                checked += 1
                assert points[0, :2] == pytest.approx(dot_centre(window.bgr, BLUE), abs=0.5)
    assert checked > 8


def _is_whole(points: np.ndarray, box: np.ndarray) -> bool:
    """Return whether the proportions of a box are those of the whole face, which no edge has cut."""
    width, height = box[2:] - box[:2]
    return bool(abs(width / height - 101 / 121) < 0.01 and is_within(np.tile(points[0, :2], 2), box))


def test_the_rng_decides_everything(tmp_path: Path) -> None:
    shown = [image(tmp_path / f"{index}.png", FACE) for index in range(4)]
    made = load_detector_recipe(None, [])
    first, again, other = (window_of(seed, made, *shown) for seed in (5, 5, 6))
    for name in ("bgr", "boxes_xyxy", "counts", "keypoints"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.bgr, other.bgr)
    assert not np.array_equal(first.boxes_xyxy, other.boxes_xyxy)


def test_faces_come_in_every_size(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", Oval((150, 170), (30, 37)))
    made = recipe(by_face_share=1.0)
    windows = [window_of(seed, made, shown) for seed in range(150)]
    boxes = np.concatenate([window.boxes_xyxy[window.counts > 0] for window in windows])
    sides = np.array([(box[2:] - box[:2]).max() for box in boxes])
    inside = [side for side, box in zip(sides, boxes, strict=True) if is_within(box, np.array([1, 1, SIZE - 1, SIZE - 1]))]
    assert min(inside) <= 14
    assert max(inside) >= 0.6 * SIZE
    assert max(sides) >= 0.8 * SIZE
    assert np.histogram(np.log(sides), bins=4)[0].min() > 15  # and those between


@pytest.mark.parametrize("count", [1, 4])
def test_images_without_faces_have_empty_labels(tmp_path: Path, count: int) -> None:
    window = window_of(3, load_detector_recipe(None, []), *[image(tmp_path / "a.png")] * count)
    assert window.bgr.shape == (SIZE, SIZE, 3)
    assert window.bgr.dtype == np.uint8
    assert window.boxes_xyxy.shape == (0, 4)
    assert window.counts.shape == (0,)
    assert window.keypoints.shape == (0, 3, 3)
    assert {array.dtype for array in (window.boxes_xyxy, window.counts, window.keypoints)} == {np.dtype(np.float32)}


def test_images_without_faces_have_a_zoom_of_their_own(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", size=(SIZE, SIZE), background=(10, 160, 10))
    made = recipe(zoom=[9.0, 9.0], zoom_without_faces=[0.5 / 1.2, 0.5 / 1.2])
    for seed in range(5):
        is_shown = (window_of(seed, made, shown).bgr == (10, 160, 10)).all(axis=2)
        assert is_shown.sum() == pytest.approx((SIZE / 2) ** 2, rel=0.05)


def test_what_an_image_leaves_free_shows_a_background_or_is_plain(tmp_path: Path) -> None:
    shown, behind = image(tmp_path / "a.png", FACE), image(tmp_path / "b.png", size=(90, 40), background=(10, 160, 10))
    small = recipe(zoom=[0.4, 0.4])
    fillings = set()
    for seed in range(30):
        window = make_window([shown], [behind], small, SIZE, np.random.default_rng(seed))
        colours = {tuple(window.bgr[y, x].tolist()) for x, y in ((0, 0), (SIZE - 1, 0), (0, SIZE - 1), (SIZE - 1, SIZE - 1))}
        fillings |= colours
        assert len(window.boxes_xyxy) == 1
    assert {(10, 160, 10), PADDING_BGR} <= fillings


def test_a_part_of_a_face_is_hidden_and_its_labels_stay(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", FACE)
    hidden = 0
    for seed in range(20):
        free, covered = (window_of(seed, recipe(hidden_share=share, **at_scale(0.8, 320)), shown) for share in (0.0, 1.0))
        assert np.array_equal(free.boxes_xyxy, covered.boxes_xyxy)
        assert np.array_equal(free.keypoints, covered.keypoints)
        is_changed = (free.bgr != covered.bgr).any(axis=2)
        if is_changed.any():
            hidden += 1
            box = free.boxes_xyxy[0]
            assert is_within(extent(is_changed), box, by=0.3 * (box[2:] - box[:2]).max() + 1)
    assert hidden > 12


def test_the_colours_change_with_photometric_alone(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", FACE)
    plain, changed = (window_of(4, recipe(photometric=share), shown) for share in (0.0, 1.0))
    assert np.array_equal(plain.boxes_xyxy, changed.boxes_xyxy)
    assert not np.array_equal(plain.bgr, changed.bgr)


def test_a_missing_image_is_said(tmp_path: Path) -> None:
    shown = image(tmp_path / "a.png", FACE)
    shown.path.unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        window_of(0, recipe(), shown)


def test_a_squeezed_image_has_shorter_heads_of_the_same_width(tmp_path: Path) -> None:
    picture, scale = image(tmp_path / "a.png", FACE), at_scale(0.5, 320)
    plain = window_of(3, recipe(**scale), picture)
    short = window_of(3, recipe(**scale, squeeze=[0.7, 0.7]), picture)
    (plain_box,), (short_box,) = plain.boxes_xyxy, short.boxes_xyxy
    assert short_box[2] - short_box[0] == pytest.approx(plain_box[2] - plain_box[0], abs=0.01)
    assert short_box[3] - short_box[1] == pytest.approx(0.7 * (plain_box[3] - plain_box[1]), abs=0.01)
    light = np.argwhere(short.bgr[..., 0] > BRIGHT_FROM)
    assert light[:, 0].max() - light[:, 0].min() == pytest.approx(short_box[3] - short_box[1], abs=3)


@pytest.mark.parametrize("seed", range(8))
def test_an_edge_of_the_window_cuts_a_face(tmp_path: Path, seed: int) -> None:
    window = window_of(seed, recipe(**at_scale(0.6, 320), edge_share=1.0), image(tmp_path / "a.png", FACE))
    (x1, y1, x2, y2) = window.boxes_xyxy[0]
    assert min(x1, y1) == 0 or max(x2, y2) == SIZE
    assert 0.44 * 101 * 121 * 0.36 < (x2 - x1) * (y2 - y1) < 0.96 * 101 * 121 * 0.36


def test_all_samples_can_be_dark(tmp_path: Path) -> None:
    picture = image(tmp_path / "a.png", FACE, background=(150, 150, 150))
    means = {
        share: np.mean([window_of(seed, recipe(photometric=1.0, dark_share=share), picture).bgr.mean() for seed in range(30)])
        for share in (0.0, 1.0)
    }
    assert means[1.0] < 0.7 * means[0.0]
