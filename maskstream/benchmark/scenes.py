"""Create the pictures of a fixed camera: a place where nothing moves, and faces that come and go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np

from maskstream.types import BgrImage, Face, FloatArray, Frame

_MARGIN: Final = 0.4
"""Margin around a face, in sides of its box; the detector does not find a face without a margin."""


def face_with_margin(frame: Frame, face: Face) -> BgrImage:
    """Return a face and its surroundings, cut out of its frame."""
    x1, y1, x2, y2 = face.face_box_xyxy
    dx, dy = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
    left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
    return frame.bgr[top : int(y2 + dy) + 1, left : int(x2 + dx) + 1]


@dataclass(frozen=True, eq=False)
class Visit:
    """A face that comes into view, moves in a straight line, and goes."""

    picture: BgrImage
    """The face with its surroundings."""
    height_px: int
    """Height of the picture in the scene."""
    start_s: float
    end_s: float
    from_xy: tuple[float, float]
    """The middle of the picture at `start_s`, in pixels of the scene."""
    to_xy: tuple[float, float]

    def paint(self, canvas: FloatArray, time_s: float) -> None:
        """Blend the picture into a scene, if the face is in view."""
        if not self.start_s <= time_s < self.end_s:
            return
        way = (time_s - self.start_s) / (self.end_s - self.start_s)
        x, y = (1 - way) * np.array(self.from_xy) + way * np.array(self.to_xy)
        scale = self.height_px / self.picture.shape[0]
        matrix = np.array([[scale, 0, x - scale * self.picture.shape[1] / 2], [0, scale, y - self.height_px / 2]])
        size = (canvas.shape[1], canvas.shape[0])
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        opacity = cv2.warpAffine(_oval(self.picture.shape[:2]), matrix, size, flags=flags)[..., None]
        canvas += opacity * (cv2.warpAffine(self.picture.astype(np.float32), matrix, size, flags=flags) - canvas)


@dataclass(frozen=True, eq=False)
class Scene:
    """The place in front of a camera."""

    background: BgrImage
    visits: Sequence[Visit] = ()
    noise: float = 2.0
    """Standard deviation of the noise of the sensor, in grey levels."""
    shake_px: float = 0.0
    """Amplitude of a shaking camera, at 0.7 and 1.1 Hz."""
    light: float = 0.0
    """How much the light changes up and down within 20 s, as a fraction."""
    seed: int = 0

    @cached_property
    def _grain(self) -> FloatArray:
        """The noise, which each frame has at another place."""
        rng = np.random.default_rng(self.seed)
        return np.asarray(self.noise * rng.standard_normal(self.background.shape, np.float32), np.float32)

    def at(self, time_s: float) -> BgrImage:
        """Return the picture at a time. The same time gives the same picture."""
        canvas = self.background.astype(np.float32)
        for visit in self.visits:
            visit.paint(canvas, time_s)
        canvas *= 1 + self.light * np.sin(2 * np.pi * time_s / 20)
        if self.shake_px:
            x, y = self.shake_px * np.sin(2 * np.pi * time_s * np.array([0.7, 1.1]))
            matrix = np.array([[1, 0, x], [0, 1, y]])
            size = (canvas.shape[1], canvas.shape[0])
            canvas = np.asarray(cv2.warpAffine(canvas, matrix, size, borderMode=cv2.BORDER_REFLECT), np.float32)
        rng = np.random.default_rng([self.seed, round(time_s * 1000)])
        canvas += np.roll(self._grain, rng.integers(0, canvas.size))
        return np.asarray(np.clip(canvas, 0, 255).round(), np.uint8)


def walks(pictures: Iterable[BgrImage], size: tuple[int, int], heights_px: Sequence[int], seed: int) -> list[Visit]:
    """Return visits of 3 s with breaks of 6 s, the first after 6 s, each with the next of the heights.

    Every second face walks; the others stay at their place.

    Args:
        pictures: A face for each visit.
        size: Width and height of the scene.
        heights_px: The heights of the faces with their margin.
        seed: Chooses the places.
    """
    rng = np.random.default_rng(seed)
    visits = []
    for number, (picture, height_px) in enumerate(zip(pictures, heights_px, strict=False)):
        start = rng.uniform(0.15, 0.85, 2) * size
        end = start + (rng.uniform(-0.25, 0.25, 2) * size if number % 2 == 0 else 0)
        start_s = 6.0 + 9.0 * number
        visits.append(Visit(picture, height_px, start_s, start_s + 3, tuple(start.tolist()), tuple(end.tolist())))
    return visits


def _oval(shape: tuple[int, ...]) -> FloatArray:
    """Return the opacity of a picture: 1 in its middle, 0 at its border."""
    rows, columns = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray(np.clip((1 - np.hypot(rows, columns)) / 0.15, 0, 1), np.float32)
