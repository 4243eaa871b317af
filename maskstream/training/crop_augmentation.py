"""Augment face crops: shift, rotation, scale, low resolution, and photometric changes."""

from typing import Final

import cv2
import numpy as np

from maskstream.training.photometric import downscaled, in_coloured_light, photometric, shadowed
from maskstream.training.recipe import ClassifierRecipe
from maskstream.types import BgrImage

_MIN_FACE_PX: Final = 10.0
"""Width of a face after the strongest downscaling: the smallest face that the stream classifies."""
_FACE_FRACTION: Final = 0.8
"""Approximate width of a face, as a fraction of its crop."""
_LARGE_TURN_DEG: Final = 45.0
_PATCH: Final = (0.12, 0.4)
"""Smallest and largest side of an erased patch, as a fraction of the crop's side."""


def augment_crop(stored_bgr: BgrImage, other_bgr: BgrImage, recipe: ClassifierRecipe, rng: np.random.Generator) -> BgrImage:
    """Return the centre of a stored crop, changed as another camera and errors of the detector would change it.

    Args:
        stored_bgr: With its margin; not modified.
        other_bgr: A crop of the same size; a part of it may hide a part of the crop. Not modified.
        recipe: Strength and probability of each change.
        rng: The only source of randomness.
    """
    crop = _jitter(stored_bgr, recipe, rng)
    if happens(recipe.erase_share, rng):
        _erase(crop, other_bgr, rng)
    if happens(recipe.bars_share, rng):
        _draw_bars(crop, rng)
    if happens(recipe.shadow_share, rng):
        crop = shadowed(crop, rng)
    if happens(recipe.coloured_light_share, rng):
        crop = in_coloured_light(crop, rng)
    if rng.random() < recipe.small_share:
        face_px = np.exp(rng.uniform(np.log(_MIN_FACE_PX), np.log(recipe.size_px * _FACE_FRACTION)))
        crop = downscaled(crop, float(face_px / (recipe.size_px * _FACE_FRACTION)))
    return photometric(crop, rng, recipe.photometric, recipe.dark_share)


def happens(share: float, rng: np.random.Generator) -> bool:
    """Return True for this fraction of the calls. A share of 0 draws no number, so that other changes stay as they were."""
    return share > 0 and rng.random() < share


def _jitter(stored_bgr: BgrImage, recipe: ClassifierRecipe, rng: np.random.Generator) -> BgrImage:
    """Return the centre, rotated, scaled and shifted as keypoint errors of a detector do it; half of the crops are mirrored."""
    size, stored = recipe.size_px, stored_bgr.shape[0]
    angle, scale = rng.normal(0, recipe.jitter_turn_deg), np.exp(rng.normal(0, recipe.jitter_scale))
    if happens(recipe.large_turn_share, rng):
        angle += rng.uniform(-_LARGE_TURN_DEG, _LARGE_TURN_DEG)
    matrix = cv2.getRotationMatrix2D(((stored - 1) / 2, (stored - 1) / 2), float(angle), float(scale))
    matrix[:, 2] += (size - stored) / 2 + rng.normal(0, recipe.jitter_shift, 2) * size
    crop = cv2.warpAffine(stored_bgr, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def _draw_bars(crop_bgr: BgrImage, rng: np.random.Generator) -> None:
    """Draw parallel bars, half of the time with others across them, over the lower half or over the whole crop."""
    size = crop_bgr.shape[0]
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 255))
    tilt, bend = rng.normal(0, 0.15), rng.uniform(-0.1, 0.1) * size
    top = float(rng.choice([0, 0.5])) * size
    places = np.linspace(0, size, 24)
    bow = bend * (2 * places / size - 1) ** 2
    for is_across in rng.permutation([False, True])[: rng.integers(1, 3)]:
        for start in np.arange(rng.uniform(0, 0.2), 1.1, rng.uniform(0.1, 0.3)) * size:
            curve = np.stack([places, start + bow + tilt * places], axis=1)[:, :: -1 if is_across else 1]
            curve[:, 1] = top + curve[:, 1] * (size - top) / size
            thickness = max(round(size * rng.uniform(0.009, 0.036)), 1)
            cv2.polylines(crop_bgr, [np.rint(curve).astype(np.int32)], False, colour.tolist(), thickness, cv2.LINE_AA)


def _erase(crop_bgr: BgrImage, other_bgr: BgrImage, rng: np.random.Generator) -> None:
    """Replace a patch by noise around one colour, or by a part of the other crop."""
    size = crop_bgr.shape[0]
    height, width = (int(side) for side in rng.uniform(*_PATCH, 2) * size)
    top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
    patch = crop_bgr[top : top + height, left : left + width]
    if rng.random() < 0.5:
        noise = rng.normal(rng.uniform(0, 255, 3), rng.uniform(0, 60), patch.shape)
        patch[:] = noise.clip(0, 255)
        return
    from_top, from_left = rng.integers(0, other_bgr.shape[0] - np.array([height, width]) + 1)
    patch[:] = other_bgr[from_top : from_top + height, from_left : from_left + width]
