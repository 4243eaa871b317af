"""What `maskstream.training.occluders` draws on: a face crop whose pixels know their places, colours and distances.

Lengths and places are in sides of the crop, x to the right and y down. A shape is a distance (H, W) from its edge, negative
inside. Images are planes (3, H, W) of blue, green and red from 0 to 255, so that a shade (H, W) multiplies them as it is.
"""

import copy
import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskstream.types import BgrImage, FloatArray

_Numbers = NDArray[np.floating]

_HAIR_BGR: Final = ((18, 18, 22), (24, 26, 34), (28, 34, 46), (36, 54, 80), (58, 88, 125), (110, 113, 117), (175, 179, 183))
_SKIN_XYXY: Final = ((0.40, 0.20, 0.60, 0.28), (0.46, 0.34, 0.54, 0.46), (0.28, 0.42, 0.38, 0.47), (0.62, 0.42, 0.72, 0.47))
"""Forehead, bridge of the nose and under the eyes, which a mask leaves free."""
_OUTLINE_X: Final = (0, 0.07, 0.13, 0.20, 0.27, 0.33, 0.5)
"""Distances from the middle of the face, where an outline is given by its heights."""

_SHADOW: Final = 0.03
"""How far a shadow reaches."""


class Canvas:
    """A square face crop, or a part of one, that is drawn on.

    Attributes:
        size_px: Side of the whole crop.
        bgr: (3, H, W) float32 BGR planes, changed in place.
        x: (1, W) float32, places of the columns.
        y: (H, 1) float32, places of the rows.
    """

    def __init__(self, crop_bgr: BgrImage) -> None:
        """Start with a crop (S, S, 3) uint8 BGR, which is not modified."""
        self.size_px = crop_bgr.shape[0]
        self.bgr: FloatArray = np.ascontiguousarray(crop_bgr.transpose(2, 0, 1), np.float32)
        places = ((np.arange(self.size_px) + 0.5) / self.size_px).astype(np.float32)
        self.x, self.y = places[None, :], places[:, None]

    def crop_bgr(self) -> BgrImage:
        """Return the image, (H, W, 3) uint8 BGR."""
        return self.bgr.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)

    def around(self, start_xy: tuple[float, float], end_xy: tuple[float, float], reach: float) -> "Canvas":
        """Return the part within reach of the box between two places, one pixel at least; drawing there draws here."""
        part = copy.copy(self)
        columns, rows = (self._pixels(min(ends) - reach, max(ends) + reach) for ends in zip(start_xy, end_xy, strict=True))
        part.bgr, part.x, part.y = self.bgr[:, rows, columns], self.x[:, columns], self.y[rows]
        return part

    def _pixels(self, first: float, last: float) -> slice:
        start = min(max(math.floor(first * self.size_px), 0), self.size_px - 1)
        return slice(start, max(math.ceil(last * self.size_px), start + 1))

    def inside(self, distance: _Numbers, softness: float = 0.012) -> FloatArray:
        """Return how far, from 0 to 1, each pixel belongs to a shape; no edge is sharper than a pixel."""
        return np.asarray((0.5 - distance / max(softness, 1 / self.size_px)).clip(0, 1), np.float32)

    def paint(self, cover: _Numbers, bgr: _Numbers) -> None:
        """Blend towards a colour.

        Args:
            cover: (H, W) from 0, which leaves the image as it is, to 1.
            bgr: One colour (3, 1, 1), a grey image (H, W) or an image (3, H, W), BGR.
        """
        change = bgr - self.bgr
        change *= cover
        self.bgr += change

    def fill(
        self, distance: _Numbers, bgr: _Numbers, opacity: float = 1, shadow: float | _Numbers = 0, softness: float = 0.012
    ) -> None:
        """Paint the inside of a shape.

        Args:
            distance: (H, W) from the edge of the shape.
            bgr: As for `paint`.
            opacity: From 0 to 1.
            shadow: How much darker its surroundings become, from 0 to 1 at the edge, of all or of each pixel (H, W).
            softness: Width of the blurred edge.
        """
        if np.any(shadow):
            self.bgr *= 1 - shadow * (1 - distance / _SHADOW).clip(0, 1)
        self.paint(opacity * self.inside(distance, softness), bgr)

    def turned(self, place_xy: tuple[float, float], angle: float) -> tuple[FloatArray, FloatArray]:
        """Return coordinates (H, W) along and across a direction, from a place.

        Args:
            place_xy: Where both are zero.
            angle: Of the direction, in radians, from x towards y.
        """
        right, down, cos, sin = self.x - place_xy[0], self.y - place_xy[1], math.cos(angle), math.sin(angle)
        return np.asarray(cos * right + sin * down), np.asarray(cos * down - sin * right)

    def noise(self, rng: np.random.Generator, rows: int, columns: int) -> FloatArray:
        """Return smooth noise (H, W) of so many blobs, with a deviation below 1."""
        cells = rng.standard_normal((rows, columns), np.float32)
        return np.asarray(cv2.resize(cells, self.bgr.shape[:0:-1], interpolation=cv2.INTER_LINEAR), np.float32)

    def grain(self, rng: np.random.Generator) -> FloatArray:
        """Return noise as fine as two pixels."""
        return self.noise(rng, self.size_px // 2, self.size_px // 2)

    def wave(self, rng: np.random.Generator, cells: int) -> FloatArray:
        """Return a smooth random height (1, W) of so many bends, with a deviation below 1."""
        heights = rng.standard_normal((1, cells), np.float32)
        return np.asarray(cv2.resize(heights, self.x.shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)

    def outline(self, heights: tuple[float, ...]) -> FloatArray:
        """Return a line (1, W) that is the same left and right of the face, by its heights outwards from the middle."""
        return np.asarray(np.interp(abs(self.x - 0.5), _OUTLINE_X, heights), np.float32)

    def strokes(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Return short hairs (S, S) from 0 to 1 that grow down and away from the mouth; for the canvas of a whole crop."""
        start = rng.uniform((0.12, 0.45), (0.88, 0.95), (count, 2))
        growth = (start - (0.5, 0.6)) * (0.08, 0.04) + (0, 0.02) + rng.normal(0, 0.008, (count, 2))
        ends_px = np.stack([start, start + growth], axis=1) * self.size_px
        drawn = np.zeros((self.size_px, self.size_px), np.uint8)
        cv2.polylines(drawn, list((ends_px * 16).astype(np.int32)), False, 255, 1, cv2.LINE_AA, 4)  # 4 bits below the point
        return np.asarray(drawn / 255, np.float32)

    def skin_bgr(self) -> FloatArray:
        """Return the colour (3, 1, 1) of the face; for the canvas of a whole crop."""
        corners = (np.array(_SKIN_XYXY) * self.size_px).astype(int)
        pixels = [self.bgr[:, y1 : y2 + 1, x1 : x2 + 1].reshape(3, -1) for x1, y1, x2, y2 in corners]
        return colour(np.median(np.concatenate(pixels, axis=1), axis=1))


def colour(bgr: ArrayLike) -> FloatArray:
    """Return three numbers as (3, 1, 1), which broadcasts over an image."""
    return np.asarray(bgr, np.float32).reshape(3, 1, 1)


def plain_colour(rng: np.random.Generator) -> FloatArray:
    """Return the colour (3, 1, 1) of a thing that somebody made: half of them are grey."""
    return colour((rng.uniform(20, 235) + rng.normal(0, 1, 3) * rng.choice((4, 45))).clip(10, 245))


def hair_colour(rng: np.random.Generator) -> FloatArray:
    """Return a colour (3, 1, 1) from black to white, as hair has it."""
    return colour(_HAIR_BGR[rng.integers(len(_HAIR_BGR))]) * rng.uniform(0.8, 1.2)


def length(x: _Numbers, y: _Numbers) -> FloatArray:
    """Return the length of vectors; several times as fast as `np.hypot`, which guards against overflow."""
    return np.asarray(np.sqrt(x * x + y * y), np.float32)


def moved(place_xy: tuple[float, float], angle: float, along: float, across: float = 0) -> tuple[float, float]:
    """Return the place (x, y) that has these coordinates in `Canvas.turned`."""
    cos, sin = math.cos(angle), math.sin(angle)
    return place_xy[0] + cos * along - sin * across, place_xy[1] + sin * along + cos * across
