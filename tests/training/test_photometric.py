import numpy as np
import pytest

from maskstream.training.photometric import downscaled, in_coloured_light, photometric, shadowed
from maskstream.types import BgrImage

SEEDS = range(200)


def noise(height: int = 36, width: int = 48) -> BgrImage:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def changed(image_bgr: BgrImage, seed: int, strength: float = 1.0) -> BgrImage:
    return photometric(image_bgr, np.random.default_rng(seed), strength)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 40), (36, 48)], ids=str)
def test_shape_and_type_stay(shape: tuple[int, int]) -> None:
    made = [changed(noise(*shape), seed) for seed in SEEDS]
    assert {image.shape for image in made} == {(*shape, 3)}
    assert {image.dtype for image in made} == {np.dtype(np.uint8)}


def test_the_input_is_not_modified() -> None:
    image = noise()
    before = image.copy()
    for seed in SEEDS:
        changed(image, seed)
    assert np.array_equal(image, before)


def test_strength_0_changes_nothing() -> None:
    image = noise()
    assert all(np.array_equal(changed(image, seed, strength=0), image) for seed in SEEDS)


def test_less_strength_changes_less_often() -> None:
    image = noise()
    full, half = (sum(not np.array_equal(changed(image, seed, s), image) for seed in SEEDS) for s in (1, 0.25))
    assert 0.2 * len(SEEDS) < half < 0.6 * len(SEEDS)
    assert full > 0.85 * len(SEEDS)


def test_the_seed_decides_everything() -> None:
    image = noise()
    made = [changed(image, seed) for seed in range(30)]
    assert all(np.array_equal(changed(image, seed), one) for seed, one in enumerate(made))
    assert len({one.tobytes() for one in made}) > 25


def test_dark_bright_tinted_and_grey_images_occur() -> None:
    colourful = np.full((24, 24, 3), (100, 130, 150), np.uint8)
    means = np.array([changed(colourful, seed).mean(axis=(0, 1)) for seed in SEEDS])
    spread = means.max(axis=1) - means.min(axis=1)
    assert (means.mean(axis=1) < 60).sum() > 5
    assert (means.mean(axis=1) > 150).sum() > 5
    assert (spread > 80).sum() > 5
    assert (spread < 1).sum() > 2


def test_blurred_and_noisy_images_occur() -> None:
    edge = np.full((32, 32, 3), 60, np.uint8)
    edge[:, 16:] = 180
    made = [changed(edge, seed).astype(int) for seed in SEEDS]
    assert sum(abs(one[:, 17] - one[:, 14]).max() < 0.8 * abs(one[:, 30] - one[:, 1]).min() for one in made) > 10
    assert sum(one[4:-4, 20:28].std(axis=(0, 1)).max() > 3 for one in made) > 10


def test_downscaled_loses_detail_and_keeps_the_light() -> None:
    image = noise(64, 80)
    small = downscaled(image, 0.25)
    assert small.shape == image.shape
    assert small.mean(axis=(0, 1)) == pytest.approx(image.mean(axis=(0, 1)), abs=1.5)
    assert small.std() < 0.4 * image.std()
    assert downscaled(image, 0.5).std() > small.std()


def test_downscaled_moves_nothing() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[24:36, 14:26] = 255
    weights = downscaled(image, 0.3)[..., 0].astype(float)
    rows, columns = np.mgrid[:60, :60] + 0.5
    assert (columns * weights).sum() / weights.sum() == pytest.approx(20, abs=0.3)
    assert (rows * weights).sum() / weights.sum() == pytest.approx(30, abs=0.3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 40)], ids=str)
def test_tiny_images_are_downscaled_to_a_pixel_at_least(shape: tuple[int, int]) -> None:
    made = downscaled(noise(*shape), 0.01)
    assert made.shape == (*shape, 3)
    assert (made == made[0, 0]).all()
    assert made[0, 0] == pytest.approx(noise(*shape).mean(axis=(0, 1)), abs=1)


def test_a_shadow_darkens_one_side_of_a_line_only() -> None:
    grey = np.full((40, 40, 3), 200, np.uint8)
    made = [shadowed(grey, np.random.default_rng(seed)) for seed in SEEDS]
    assert all((image <= 200).all() and image.max() - image.min() > 20 for image in made)
    assert all(np.ptp(image, axis=2).max() == 0 for image in made)  # no colour
    below = [image[-1].mean() < image[0].mean() - 20 and np.ptp(image[-1]) <= 1 for image in made]
    assert 0.4 * len(SEEDS) < sum(below) < 0.7 * len(SEEDS)
    assert (grey == 200).all()


def test_coloured_light_changes_the_colour_and_no_place() -> None:
    grey = np.full((4, 4, 3), 150, np.uint8)
    grey[0] = 75
    made = [in_coloured_light(grey, np.random.default_rng(seed)) for seed in SEEDS]
    assert np.median([np.ptp(image[1, 1].astype(int)) for image in made]) > 50
    assert all((image[0] <= image[1]).all() and np.ptp(image[1:], axis=(0, 1)).max() == 0 for image in made)
    assert len({int(image[1, 1].argmax()) for image in made}) == 3
