import cv2
import numpy as np
import pytest

from maskstream.training.mask_colours import recolour_mask
from maskstream.types import BgrImage

SIZE = 140
SKIN, FABRIC = (120, 150, 200), (230, 220, 210)


def face() -> BgrImage:
    """A face of one colour with a mask of another."""
    crop = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    return cv2.ellipse(crop, (70, 90), (32, 24), 0, 0, 360, FABRIC, cv2.FILLED)


def recoloured(crop: BgrImage, count: int = 40) -> list[BgrImage]:
    other = np.full((SIZE, SIZE, 3), (10, 200, 30), np.uint8)
    return [recolour_mask(crop, other, np.random.default_rng(seed)) for seed in range(count)]


def test_the_mask_changes_and_the_eyes_stay() -> None:
    crop = face()
    made = recoloured(crop)
    assert all(np.array_equal(one[:50], crop[:50]) for one in made)
    changes = [np.abs(one[80:98, 55:85].astype(int) - crop[80:98, 55:85]).mean() for one in made]
    assert np.mean(changes) > 40
    assert min(changes) > 5
    assert {one.shape for one in made} == {crop.shape}
    assert {one.dtype for one in made} == {np.dtype(np.uint8)}


def test_some_masks_become_skin_some_patterned_and_some_a_part_of_another_crop() -> None:
    middles = [one[80:98, 55:85].reshape(-1, 3).astype(int) for one in recoloured(face(), 100)]
    assert sum(middle.std(0).max() > 20 for middle in middles) > 20  # stripes and dots
    flat = [middle.mean(0) for middle in middles if middle.std(0).max() < 5]
    assert sum(np.abs(colour - SKIN).max() < 40 for colour in flat) > 8
    assert sum(np.abs(colour - (10, 200, 30)).max() < 10 for colour in flat) > 8


def test_folds_of_the_mask_are_kept() -> None:
    crop = face()
    crop[86:90, 50:90] = crop[86:90, 50:90] * 0.85
    kept = []
    for one in recoloured(crop, 100):
        above, fold = one[78:84, 55:85].reshape(-1, 3), one[87:89, 55:85].reshape(-1, 3)
        if above.std(0).max() < 5:  # neither stripes nor dots
            kept.append(fold.mean() < 0.97 * above.mean())
    assert len(kept) > 40
    assert sum(kept) > 0.9 * len(kept)  # very dark ones hide their folds


@pytest.mark.parametrize("value", [0, 255])
def test_a_crop_of_one_value_is_no_error(value: int) -> None:
    assert all(one.shape == (SIZE, SIZE, 3) for one in recoloured(np.full((SIZE, SIZE, 3), value, np.uint8), 10))


def test_the_seed_decides_everything_and_the_input_is_kept() -> None:
    crop = face()
    assert all(np.array_equal(first, second) for first, second in zip(recoloured(crop), recoloured(crop), strict=True))
    assert np.array_equal(crop, face())
