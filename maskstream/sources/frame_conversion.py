"""Pictures as they are meant to be seen: upright, of square pixels, in the colours of BT.709."""

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
_BT709_FROM_HEIGHT: Final = 720  # what players assume where a file does not say
_TINY: Final = (16, 16)
_WIDEST: Final = 4
"""No video has pixels wider than this, or narrower than its inverse: half D1 in 16:9 has 2.9, two fields side by side 0.5."""
_NOTICEABLE: Final = 0.01
"""What is nearer to square is due to rounding, and not worth a resampling."""


def square_size(width: int, height: int, pixel_aspect: float | None, most_pixels: float = inf) -> tuple[int, int]:
    """Return the size of a picture in square pixels: one side grows, so that no pixel is lost.

    Args:
        width: In the pixels of the video.
        height: The same.
        pixel_aspect: Width of a pixel over its height; None, and what cannot be meant, counts as square.
        most_pixels: A picture that would become larger stays as it is.
    """
    if not pixel_aspect or not 1 / _WIDEST <= pixel_aspect <= _WIDEST or abs(pixel_aspect - 1) < _NOTICEABLE:
        return width, height
    wide, high = (round(width * pixel_aspect), height) if pixel_aspect > 1 else (width, round(height / pixel_aspect))
    return (wide, high) if wide * high <= most_pixels else (width, height)


def made_square(bgr: BgrImage, pixel_aspect: float | None) -> BgrImage:
    """Return a picture, (H, W, 3) uint8, in square pixels; see `square_size`."""
    size = square_size(bgr.shape[1], bgr.shape[0], pixel_aspect)
    return np.asarray(cv2.resize(bgr, size), np.uint8) if size != bgr.shape[1::-1] else bgr


class Images:
    """Turns decoded frames into BGR pictures with one converter: PyAV gives each frame one of its own, with threads.

    The display matrix is taken from a stream's key frames: it changes there alone. The shape of the pixels may change with any
    packet, and holds from the frame of that packet on, while the decoder still hands out earlier ones.
    """

    def __init__(self, stream: av.VideoStream, pixel_aspect: float | None = None, most_pixels: float = inf) -> None:
        """Look at what the container says.

        Args:
            stream: Has not been decoded yet.
            pixel_aspect: Width of a pixel over its height; None for what the video says.
            most_pixels: Pictures do not become larger than this by making their pixels square.
        """
        self._decoder = stream.codec_context
        said = stream.sample_aspect_ratio  # the container's, if it has one, else what the decoder knows
        self._always = pixel_aspect or (float(said) if said and said != self._decoder.sample_aspect_ratio else None)
        self._most_pixels = most_pixels
        self._aspect = 1.0
        self._said = float("nan")
        self._coming: deque[tuple[int | None, float]] = deque()
        """What the decoder has said, and the timestamp from which on it holds."""
        self._to_bgr, self._to_rgb, self._to_tiny = VideoReformatter(), VideoReformatter(), VideoReformatter()
        self._to_sdr = ToSdr()
        self._matrix: NDArray[np.int32] | None = None
        self._after_key: bool | None = None

    def packet_decoded(self, pts: int | None) -> None:
        """Take note that the decoder has taken in the packet of this timestamp, and before its frame is given to `bgr`."""
        said = self._always or float(self._decoder.sample_aspect_ratio or 1)
        if said != self._said:
            self._said = said
            self._coming.append((pts, said))

    def bgr(self, video_frame: VideoFrame) -> BgrImage:
        """Return the picture of a frame; the frames of a stream are given in order."""
        is_key = video_frame.key_frame
        if self._after_key is None or (is_key and not self._after_key):
            self._matrix = self._display_matrix(video_frame)
        self._after_key = is_key
        self._aspect = self._aspect_at(video_frame.pts)
        bgr = self._converted(video_frame).to_ndarray()
        if self._matrix is None:
            return np.asarray(bgr, np.uint8)
        (x_to_x, x_to_y), (y_to_x, y_to_y) = self._matrix
        transposed = bool(abs(x_to_y) > abs(x_to_x))
        upright = bgr.transpose(1, 0, 2) if transposed else bgr
        flip_x, flip_y = (y_to_x < 0, x_to_y < 0) if transposed else (x_to_x < 0, y_to_y < 0)
        return np.ascontiguousarray(upright[:: -1 if flip_y else 1, :: -1 if flip_x else 1], np.uint8)

    def _aspect_at(self, pts: int | None) -> float:
        while self._coming and (pts is None or (self._coming[0][0] or 0) <= pts):
            self._aspect = self._coming.popleft()[1]
        return self._aspect

    def _converted(self, video_frame: VideoFrame) -> VideoFrame:
        unsaid = video_frame.colorspace == _UNSPECIFIED_COLORSPACE
        width, height = square_size(video_frame.width, video_frame.height, self._aspect, self._most_pixels)
        colours = Colours.of(video_frame)
        if colours is None:
            source = Colorspace.ITU709 if unsaid and video_frame.height >= _BT709_FROM_HEIGHT else None
            return self._to_bgr.reformat(video_frame, width, height, "bgr24", src_colorspace=source, threads=1)
        source = Colorspace.BT2020 if unsaid else None
        rgb = self._to_rgb.reformat(video_frame, width, height, "gbrp16le", src_colorspace=source, threads=1)
        return self._to_bgr.reformat(self._to_sdr.convert(rgb, colours), format="bgr24", threads=1)

    def _display_matrix(self, video_frame: VideoFrame) -> NDArray[np.int32] | None:
        """Return [[x to x', x to y'], [y to x', y to y']], or None where the picture is to be shown as it is stored.

        A frame whose side data were looked at refers to itself and lingers: here that is a tiny copy.
        """
        tiny = self._to_tiny.reformat(video_frame, *_TINY, format="gray8", threads=1)
        matrix: Any = tiny.side_data.get("DISPLAYMATRIX")  # has the buffer interface
        return None if matrix is None else np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2].copy()
