"""Give the mask of an upright face crop another colour, or a pattern."""

from typing import Final

import cv2
import numpy as np

from maskstream.types import BACKGROUND, BgrImage, FloatArray, Label

_CENTRE: Final = (0.5, 0.64)
"""Centre of a mask in an upright crop with its margin, as fractions of the side: x, y."""
_AXES: Final = (0.29, 0.22)
"""Half width and half height of a mask."""
_FABRIC: Final = (slice(56, 70), slice(42, 58))
"""Rows and columns, in percent, that show the mask in nearly every crop."""
_FOREHEAD: Final = (slice(30, 36), slice(42, 58))
RECOLOURED: Final = (Label.MASK.value, BACKGROUND)
"""Classes whose crops are recoloured."""
_TOLERANCE: Final = 30.0
"""Distance in colour (CIELAB, lightness halved) at which a pixel counts half as fabric."""


def recolour_mask(crop_bgr: BgrImage, other_bgr: BgrImage, rng: np.random.Generator) -> BgrImage:
    """Return the crop with a mask of another colour: any, the one of the forehead, stripes, dots, or a part of another crop.

    Folds and shadows of the mask are kept. The area of the mask is estimated by colour around its usual place.

    Args:
        crop_bgr: (S, S, 3) uint8, BGR; a face with a mask, upright, with its margin; or background.
        other_bgr: A crop of the same size.
        rng: The only source of randomness.
    """
    lab: FloatArray = cv2.cvtColor(crop_bgr, cv2.COLOR_BGR2LAB).astype(np.float32)
    fabric_lab = np.median(lab[_percent(len(lab), _FABRIC)].reshape(-1, 3), axis=0)
    distance = np.linalg.norm((lab - fabric_lab) * (0.5, 1.0, 1.0), axis=2)
    amount = _ellipse(len(lab)) / (1 + (distance / _TOLERANCE) ** 4)
    amount = np.asarray(cv2.GaussianBlur(amount, (0, 0), 1.0))[..., None]
    shade = (lab[..., :1] / max(fabric_lab[0], 16.0)).clip(0.3, 1.6)
    painted = (_paint(crop_bgr, other_bgr, rng) * shade).clip(0, 255)
    return np.asarray(np.rint(crop_bgr * (1 - amount) + painted * amount), np.uint8)


def _paint(crop_bgr: BgrImage, other_bgr: BgrImage, rng: np.random.Generator) -> FloatArray:
    """Return what the mask shows: (S, S, 3), or a colour (3,)."""
    size = len(crop_bgr)
    colour, second = (np.asarray(rng.uniform(10, 250, 3), np.float32) for _ in range(2))
    kind = rng.integers(5)
    if kind == 0:
        return colour
    if kind == 1:
        skin = np.median(crop_bgr[_percent(size, _FOREHEAD)].reshape(-1, 3), axis=0)
        return np.asarray(skin * rng.uniform(0.85, 1.15, 3), np.float32)
    if kind == 2:
        zoom = rng.uniform(1.0, 2.5)
        shift = rng.uniform(0, (zoom - 1) * size, 2)
        matrix = np.array([[zoom, 0, -shift[0]], [0, zoom, -shift[1]]])
        return np.asarray(cv2.warpAffine(other_bgr, matrix, (size, size)), np.float32)
    rows, columns = np.mgrid[:size, :size] * (2 * np.pi / rng.uniform(5, 24))
    turn = rng.uniform(0, np.pi)
    wave = np.sin(columns * np.cos(turn) + rows * np.sin(turn))
    if kind == 3:
        wave = wave * np.sin(rows * np.cos(turn) - columns * np.sin(turn)) - 0.2
    return np.asarray(np.where(wave[..., None] > 0, colour, second), np.float32)


def _ellipse(size: int) -> FloatArray:
    """Return (S, S) with 1 in the usual place of a mask and 0 outside it."""
    grey = np.zeros((size, size), np.float32)
    centre, axes = ((round(size * first), round(size * second)) for first, second in (_CENTRE, _AXES))
    cv2.ellipse(grey, centre, axes, 0, 0, 360, 1.0, cv2.FILLED)
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 2.0))


def _percent(size: int, area: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = (slice(size * each.start // 100, size * each.stop // 100) for each in area)
    return rows, columns
