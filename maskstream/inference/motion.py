"""Detect changes in the picture of a fixed camera, at a cost far below that of the detector of faces.

Each frame is made small and grey, and compared with a background: the running mean of the frames before it. Stauffer and
Grimson, "Adaptive Background Mixture Models for Real-Time Tracking" (1999), with one Gaussian for each cell; the shift of a
shaking camera: Kuglin and Hines, "The Phase Correlation Image Alignment Method" (1975).
"""

from typing import Final

import cv2
import numpy as np

from maskstream.types import BgrImage, FloatArray

_SHORT_SIDE: Final = 96
"""Cells along the short side of a frame: the eighth part of 720 lines, and a quarter of the input of the detector."""
_SAMPLES: Final = 4
"""Samples across a cell. Reading all pixels of a large frame would take most of the time."""
_MEMORY_S: Final = 3.0
"""Time constant of the background. What stands still for two to four times as long belongs to it."""
_NOISE_MEMORY_S: Final = 10.0
_NOISE_FACTOR: Final = 4.0
"""A change counts from this multiple of the mean deviation of its cell, as at the edges of a shaking picture."""
_MAX_RAISE: Final = 2.0
"""Maximum of the limit, as a multiple of the threshold: where the picture is restless, a face must still be seen."""
_ANOTHER_SCENE: Final = 0.5
"""Fraction of changed cells from which on the background begins again: the light was switched, or the camera moves."""
_MAX_SHIFT: Final = 2.5
"""Maximum shift, in cells, that is taken for shaking."""
_LEAST_CELLS: Final = 16
"""In a smaller picture no shift is measured."""
_BETTER: Final = 0.5
"""A shift is taken for shaking if it explains this fraction of the changed cells, or more."""
_GAIN: Final = (0.5, 2.0)
_LONGEST_STEP_S: Final = 1.0


class ChangeDetector:
    """The background of one fixed camera. It follows changes of the light, and shaking of up to 2.5 cells (19 px of 720 lines).

    Any error is on the side of a change: where the light is switched, or the camera moves, everything has changed.
    """

    def __init__(self) -> None:
        """Begin without a frame."""
        self._background: FloatArray | None = None
        self._noise: FloatArray = np.zeros((1, 1), np.float32)
        self._window: FloatArray | None = None
        self._time_s = 0.0

    def update(self, bgr: BgrImage, time_s: float, threshold: float) -> bool:
        """Add a frame. Returns whether anything has changed since the frames of the last seconds; True for the first frame.

        Args:
            bgr: (H, W, 3) uint8, the frame or the part of it that matters.
            time_s: Its time.
            threshold: The change of the brightness, from 0 to 255, that counts.
        """
        cells = _cells(bgr)
        elapsed_s = min(max(time_s - self._time_s, 0.0), _LONGEST_STEP_S)
        self._time_s = time_s
        if self._background is None or self._background.shape != cells.shape:
            self._background, self._noise = cells, np.zeros_like(cells)
            self._window = _window(cells.shape)
            return True
        limit = np.clip(_NOISE_FACTOR * self._noise, threshold, _MAX_RAISE * threshold)
        change = _change(self._background, cells)
        share = float((change > limit).mean())
        if share > 0:
            steady = self._steadied(cells)
            steady_change = _change(self._background, steady)
            steady_share = float((steady_change > limit).mean())
            if steady_share < _BETTER * share:  # otherwise it is no shaking that has moved most of the edges
                cells, change, share = steady, steady_change, steady_share
        if share > _ANOTHER_SCENE:
            self._background = cells
            return True
        self._background += _weight(elapsed_s, _MEMORY_S) * (cells - self._background)
        self._noise += _weight(elapsed_s, _NOISE_MEMORY_S) * (np.minimum(change, threshold) - self._noise)
        return share > 0

    def _steadied(self, cells: FloatArray) -> FloatArray:
        """Return a picture without the shift against the background; unchanged where there is none that shaking explains."""
        if self._background is None or self._window is None:
            return cells
        copies = self._background.copy(), cells.copy()  # OpenCV 5.0 multiplies its arguments by the window, in place
        (x, y), _ = cv2.phaseCorrelate(*copies, self._window)
        if not 0 < max(abs(x), abs(y)) <= _MAX_SHIFT:
            return cells
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
        size = (cells.shape[1], cells.shape[0])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(cells, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _window(shape: tuple[int, ...]) -> FloatArray | None:
    """Return the weights with which a shift is measured; None for a picture that is too small."""
    if min(shape) < _LEAST_CELLS:
        return None
    return np.asarray(cv2.createHanningWindow((shape[1], shape[0]), cv2.CV_32F), np.float32)


def _cells(bgr: BgrImage) -> FloatArray:
    """Return a frame in grey, float32, with `_SHORT_SIDE` cells along its short side."""
    height, width = bgr.shape[:2]
    scale = _SHORT_SIDE / min(height, width)
    if scale >= 1:
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), np.float32)
    columns, rows = round(width * scale), round(height * scale)
    if _SAMPLES * scale < 1:
        bgr = np.asarray(cv2.resize(bgr, (_SAMPLES * columns, _SAMPLES * rows), interpolation=cv2.INTER_NEAREST), np.uint8)
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _change(background: FloatArray, cells: FloatArray) -> FloatArray:
    """Return the change of each cell, a mean over 3x3 cells, without the change of the light of the complete picture."""
    gain = float(np.clip(np.median((cells[::2, ::2] + 1) / (background[::2, ::2] + 1)), *_GAIN))
    difference = cells - np.minimum(gain * background, 255)
    return np.asarray(np.abs(cv2.blur(difference, (3, 3))), np.float32)


def _weight(elapsed_s: float, memory_s: float) -> float:
    """Return the weight of the newest value in a running mean."""
    return float(1 - np.exp(-elapsed_s / memory_s))
