"""Convert decoded frames to BGR: upright, with square pixels, in the colours of BT.709."""

from collections import deque
from math import inf
from typing import Any, Final

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from maskstream.sources.hdr import Colours, ToSdr
from maskstream.types import BgrImage

_UNSPECIFIED_COLORSPACE: Final = 2  # AVCOL_SPC_UNSPECIFIED
_BT709_FROM_HEIGHT: Final = 720  # the assumption of players if a file states no colour space
_TINY: Final = (16, 16)
_MAX_PIXEL_ASPECT: Final = 4
"""No video has wider pixels, or narrower ones than the inverse: half D1 in 16:9 has 2.9, two fields side by side 0.5."""
_MIN_ASPECT_ERROR: Final = 0.01
"""A smaller difference from square comes from rounding; no resampling for it."""


def square_size(width: int, height: int, pixel_aspect: float | None, max_pixels: float = inf) -> tuple[int, int]:
    """Return the size of a frame in square pixels. One side grows, so that no pixel is lost.

    Args:
        width: Pixels of the video.
        height: Pixels of the video.
        pixel_aspect: Width of a pixel divided by its height; None and implausible values count as square.
        max_pixels: A frame that would become larger keeps its size.
    """
    if not pixel_aspect or not 1 / _MAX_PIXEL_ASPECT <= pixel_aspect <= _MAX_PIXEL_ASPECT:
        return width, height
    if abs(pixel_aspect - 1) < _MIN_ASPECT_ERROR:
        return width, height
    wide, high = (round(width * pixel_aspect), height) if pixel_aspect > 1 else (width, round(height / pixel_aspect))
    return (wide, high) if wide * high <= max_pixels else (width, height)


def with_square_pixels(bgr: BgrImage, pixel_aspect: float | None) -> BgrImage:
    """Return an image, (H, W, 3) uint8, in square pixels; see `square_size`."""
    size = square_size(bgr.shape[1], bgr.shape[0], pixel_aspect)
    return np.asarray(cv2.resize(bgr, size), np.uint8) if size != bgr.shape[1::-1] else bgr


class FrameConverter:
    """Convert the decoded frames of a stream to BGR with one reformatter: PyAV would make one per frame, with threads.

    The display matrix is read from key frames: it changes only there. The pixel aspect ratio may change with any packet. It
    applies from the frame of that packet on, while the decoder still returns earlier frames.
    """

    def __init__(self, stream: av.VideoStream, pixel_aspect: float | None = None, max_pixels: float = inf) -> None:
        """Read the pixel aspect ratio of the container.

        Args:
            stream: Not decoded yet.
            pixel_aspect: Width of a pixel divided by its height; None for the value of the video.
            max_pixels: Frames do not become larger than this by making their pixels square.
        """
        self._decoder = stream.codec_context
        stated = stream.sample_aspect_ratio  # of the container if it has one, else of the decoder
        self._fixed_aspect = pixel_aspect or (float(stated) if stated and stated != self._decoder.sample_aspect_ratio else None)
        self._max_pixels = max_pixels
        self._aspect = 1.0
        self._decoder_aspect = float("nan")
        self._coming_aspects: deque[tuple[int | None, float]] = deque()
        """Pixel aspect ratios of the decoder, each with the timestamp from which on it applies."""
        self._to_bgr, self._to_rgb, self._to_tiny = VideoReformatter(), VideoReformatter(), VideoReformatter()
        self._to_sdr = ToSdr()
        self._matrix: NDArray[np.int32] | None = None
        self._after_key: bool | None = None

    def packet_decoded(self, pts: int | None) -> None:
        """Store the pixel aspect ratio after the decoder has received a packet, before its frame is converted."""
        aspect = self._fixed_aspect or float(self._decoder.sample_aspect_ratio or 1)
        if aspect != self._decoder_aspect:
            self._decoder_aspect = aspect
            self._coming_aspects.append((pts, aspect))

    def to_bgr(self, video_frame: VideoFrame) -> BgrImage:
        """Return (H, W, 3) uint8, BGR; the frames of a stream are given in order."""
        is_key = video_frame.key_frame
        if self._after_key is None or (is_key and not self._after_key):
            self._matrix = self._display_matrix(video_frame)
        self._after_key = is_key
        bgr = self._converted(video_frame).to_ndarray()
        if self._matrix is None:
            return np.asarray(bgr, np.uint8)
        (x_to_x, x_to_y), (y_to_x, y_to_y) = self._matrix
        transposed = bool(abs(x_to_y) > abs(x_to_x))
        upright = bgr.transpose(1, 0, 2) if transposed else bgr
        flip_x, flip_y = (y_to_x < 0, x_to_y < 0) if transposed else (x_to_x < 0, y_to_y < 0)
        return np.ascontiguousarray(upright[:: -1 if flip_y else 1, :: -1 if flip_x else 1], np.uint8)

    def _converted(self, video_frame: VideoFrame) -> VideoFrame:
        pts = video_frame.pts
        while self._coming_aspects and (pts is None or (self._coming_aspects[0][0] or 0) <= pts):
            self._aspect = self._coming_aspects.popleft()[1]
        unspecified = video_frame.colorspace == _UNSPECIFIED_COLORSPACE
        width, height = square_size(video_frame.width, video_frame.height, self._aspect, self._max_pixels)
        colours = Colours.of(video_frame)
        if colours is None:
            source = Colorspace.ITU709 if unspecified and video_frame.height >= _BT709_FROM_HEIGHT else None
            return self._to_bgr.reformat(video_frame, width, height, "bgr24", src_colorspace=source, threads=1)
        source = Colorspace.BT2020 if unspecified else None
        rgb = self._to_rgb.reformat(video_frame, width, height, "gbrp16le", src_colorspace=source, threads=1)
        return self._to_bgr.reformat(self._to_sdr.convert(rgb, colours), format="bgr24", threads=1)

    def _display_matrix(self, video_frame: VideoFrame) -> NDArray[np.int32] | None:
        """Return [[x to x', x to y'], [y to x', y to y']]; None if the frame is shown as it is stored.

        A PyAV frame whose side data were read refers to itself and stays in memory. Therefore a tiny copy is read here.
        """
        tiny = self._to_tiny.reformat(video_frame, *_TINY, format="gray8", threads=1)
        matrix: Any = tiny.side_data.get("DISPLAYMATRIX")  # has the buffer interface
        return None if matrix is None else np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2].copy()
