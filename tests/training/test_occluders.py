from collections import Counter

import cv2
import numpy as np
import pytest

from maskstream.training import occluders
from maskstream.training.occluders import OCCLUDERS, occlude
from maskstream.types import BgrImage, Label

SKIN_BGR = (120, 150, 190)
MASK_BGR = (210, 190, 150)
CHANGE_THAT_COUNTS = 8


def make_crop(size: int = 112, label: Label = Label.NO_MASK) -> BgrImage:
    crop = np.full((size, size, 3), 90, np.uint8)
    middle = (size // 2, round(0.5 * size))
    cv2.ellipse(crop, middle, (round(0.34 * size), round(0.38 * size)), 0, 0, 360, SKIN_BGR, -1)
    if label is not Label.NO_MASK:
        crop[round(0.5 * size) : round(0.85 * size), round(0.2 * size) : round(0.8 * size)] = MASK_BGR
    return crop


def share_changed(before: BgrImage, after: BgrImage, y: tuple[float, float], x: tuple[float, float]) -> float:
    """Of the pixels between two heights and two widths, in sides of the crop."""
    (y1, y2), (x1, x2) = (np.round(np.array(span) * len(before)).astype(int) for span in (y, x))
    change = cv2.absdiff(before, after)[y1:y2, x1:x2].max(axis=2)
    return float((change >= CHANGE_THAT_COUNTS).mean())


@pytest.mark.parametrize("label", OCCLUDERS)
@pytest.mark.parametrize("size", [24, 57, 112, 140])
def test_the_crop_keeps_its_shape_and_the_input_its_pixels(label: Label, size: int) -> None:
    crop = make_crop(size, label)
    before = crop.copy()
    crop.setflags(write=False)
    for seed in range(40):
        occluded = occlude(crop, label, np.random.default_rng(seed))
        assert occluded.shape == crop.shape
        assert occluded.dtype == np.uint8
        assert occluded.flags.c_contiguous
        assert not np.shares_memory(occluded, crop)
    np.testing.assert_array_equal(crop, before)


@pytest.mark.parametrize("label", OCCLUDERS)
def test_the_generator_decides_everything(label: Label) -> None:
    crop = make_crop(label=label)
    images = {occlude(crop, label, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    again = {occlude(crop, label, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert images == again
    assert len(images) == 20


@pytest.mark.parametrize(
    ("label", "occluder"), [(label, draw) for label, draws in OCCLUDERS.items() for draw in dict.fromkeys(draws)]
)
def test_each_occluder_can_be_seen(label: Label, occluder: occluders._Occluder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OCCLUDERS, label, (occluder,))
    crop = make_crop(label=label)
    changed = [share_changed(crop, occlude(crop, label, np.random.default_rng(seed)), (0, 1), (0, 1)) for seed in range(30)]
    assert np.mean(changed) > 0.02
    assert np.max(changed) < 0.75


@pytest.mark.parametrize("label", OCCLUDERS)
def test_every_occluder_is_drawn(label: Label, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: Counter[int] = Counter()
    count = len(OCCLUDERS[label])
    recorders = tuple(lambda canvas, rng, index=index: drawn.update([index]) for index in range(count))
    monkeypatch.setitem(OCCLUDERS, label, recorders)
    for seed in range(20 * count):
        occlude(make_crop(24), label, np.random.default_rng(seed))
    assert set(drawn) == set(range(count))


def test_objects_come_from_either_side() -> None:
    crop = make_crop(label=Label.MASK)
    images = [occlude(crop, Label.MASK, np.random.default_rng(seed)) for seed in range(100)]
    left = [share_changed(crop, image, (0.6, 1), (0, 0.2)) for image in images]
    right = [share_changed(crop, image, (0.6, 1), (0.8, 1)) for image in images]
    assert sum(one > 2 * other + 0.05 for one, other in zip(left, right, strict=True)) > 10
    assert sum(one > 2 * other + 0.05 for one, other in zip(right, left, strict=True)) > 10


@pytest.mark.parametrize("label", [Label.MASK, Label.INCORRECT])
def test_a_mask_stays_visible(label: Label) -> None:
    crop = make_crop(label=label)
    images = [occlude(crop, label, np.random.default_rng(seed)) for seed in range(300)]
    changed = [share_changed(crop, image, (0.55, 0.85), (0.25, 0.75)) for image in images]
    assert np.mean(changed) < 0.1
    assert np.quantile(changed, 0.9) < 0.3
    assert np.max(changed) < 0.65


@pytest.mark.parametrize(
    "occluder", [occluders._scarf, occluders._cup, occluders._phone, occluders._microphone, occluders._beard]
)
def test_nothing_but_a_hand_hides_the_tip_of_a_bare_nose(occluder: occluders._Occluder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OCCLUDERS, Label.NO_MASK, (occluder,))
    crop = make_crop()
    images = [occlude(crop, Label.NO_MASK, np.random.default_rng(seed)) for seed in range(200)]
    assert max(share_changed(crop, image, (0.48, 0.58), (0.4, 0.6)) for image in images) < 0.6


def test_what_is_before_a_mouth_differs_from_a_mask() -> None:
    """A mask covers both cheeks beside the nose and the mouth; what we draw leaves one of them free."""
    crop = make_crop()
    for seed in range(300):
        image = occlude(crop, Label.NO_MASK, np.random.default_rng(seed))
        sides = [share_changed(crop, image, (0.55, 0.62), x) for x in ((0.2, 0.35), (0.4, 0.6), (0.65, 0.8))]
        assert min(sides) < 0.6


def test_an_unknown_face_is_refused() -> None:
    with pytest.raises(ValueError, match="labelled unknown, expected one of no_mask, incorrect, mask"):
        occlude(make_crop(), Label.UNKNOWN, np.random.default_rng(0))
