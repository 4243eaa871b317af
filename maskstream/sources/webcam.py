"""Webcams through OpenCV."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import count
from time import monotonic, perf_counter
from typing import Final, Protocol, TypeAlias

import cv2
import numpy as np
from av.video.frame import VideoFrame

from maskstream.config.schema import VideoConfig, WebcamConfig
from maskstream.errors import SourceOpenError, StreamLost
from maskstream.sources.deinterlacing import Deinterlacer
from maskstream.sources.frame_conversion import made_square
from maskstream.sources.read_guard import ReadGuard
from maskstream.types import BgrImage, Frame, SourceInfo

_BACKENDS: Final = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
_MJPG: Final = cv2.VideoWriter.fourcc(*"MJPG")
_FIRST_IMAGE_S: Final = 5.0  # a webcam may give nothing while it wakes up
_FAILED_READS: Final = 10  # in a row; a cheap webcam sends a damaged picture now and then

_Arrival: TypeAlias = tuple[float, datetime]
"""When a picture was there, by `monotonic` and by the clock on the wall."""


class Device(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool: ...  # noqa: D102, N802
    def set(self, prop: int, value: float, /) -> bool: ...  # noqa: D102
    def get(self, prop: int, /) -> float: ...  # noqa: D102
    def read(self) -> tuple[bool, BgrImage | None]: ...  # noqa: D102
    def release(self) -> None: ...  # noqa: D102


def open_device(index: int | str) -> Device:
    """Return a webcam by its number or path, through the platform's best backend.

    OpenCV's own log stays silent: the caller says what is wrong.
    """
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(index, _BACKENDS.get(sys.platform, cv2.CAP_ANY))  # type: ignore[return-value]  # same methods
    finally:
        cv2.utils.logging.setLogLevel(before)


class WebcamSource:
    """A webcam. It is live: `Frame.time_s` counts from its opening.

    OpenCV does not tell whether its pictures are interlaced, or the shape of their pixels: the configuration does.
    """

    def __init__(
        self,
        index: int | str,
        config: WebcamConfig,
        source_id: str | None = None,
        open_device: Callable[[int | str], Device] = open_device,
        video: VideoConfig | None = None,
    ) -> None:
        """Open the device and wait for its first picture.

        Args:
            index: Number of the device, from 0, or its path.
            config: Size and rate to ask for, mirroring.
            source_id: Its name in records; None for the index.
            open_device: Opens it; another one stands in for the hardware.
            video: Says `deinterlace: true` or a `pixel_aspect` where it needs that.

        Raises:
            SourceOpenError: There is no such device, or it gives no picture.
        """
        self._name = source_id or str(index)
        self._mirror = config.mirror
        self._pixel_aspect = video.pixel_aspect if video else None
        interlaced = video is not None and video.deinterlace is True
        self._deinterlacer: Deinterlacer[_Arrival] | None = Deinterlacer(True, self._name) if interlaced else None
        self._opened_at_s = monotonic()
        self._device = open_device(index)
        self._guard = ReadGuard(self._device.release)
        try:
            if not self._device.isOpened():
                raise SourceOpenError(f"webcam {index}: there is no such device, or no permission for it; try another number")
            self._configure(config)
            self._first: Frame | None = self._wait_for_image(index)
        except BaseException:
            self._guard.close()
            raise
        fps = self._device.get(cv2.CAP_PROP_FPS)
        self.info = SourceInfo(
            *(self._name, self._first.width, self._first.height), live=True, average_fps=fps if 0 < fps < float("inf") else None
        )

    def _configure(self, config: WebcamConfig) -> None:
        """Ask for MJPG first: uncompressed video of this size seldom fits through USB at full rate."""
        wanted = {
            cv2.CAP_PROP_FOURCC: _MJPG,
            cv2.CAP_PROP_FRAME_WIDTH: config.width,
            cv2.CAP_PROP_FRAME_HEIGHT: config.height,
            cv2.CAP_PROP_FPS: config.fps,
            cv2.CAP_PROP_BUFFERSIZE: 1,
        }
        for prop, value in wanted.items():
            if value is not None:
                self._device.set(prop, value)

    def _wait_for_image(self, index: int | str) -> Frame:
        deadline = monotonic() + _FIRST_IMAGE_S
        while monotonic() < deadline:
            frame = self._read(0)
            if frame is not None:
                return frame
        raise SourceOpenError(f"webcam {index}: opened, but gives no picture; close other programs that use it")

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they come; may be called once.

        Raises:
            StreamLost: The device gives no more pictures.
        """
        for index in count():
            frame = self._guard.read(partial(self._next, index))
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """Give the device back; a reader in another thread comes to its end."""
        self._guard.close()

    def _next(self, index: int) -> Frame:
        first, self._first = self._first, None
        reads = (self._read(index) for _ in range(_FAILED_READS))
        frame = first or next((frame for frame in reads if frame), None)
        if frame is None:
            raise StreamLost(f"{self._name}: the webcam gives no more pictures; check whether it is plugged in")
        return frame

    def _read(self, index: int) -> Frame | None:
        started = perf_counter()
        there, bgr = self._device.read()
        if not there or bgr is None:
            return None
        whole = self._whole(np.asarray(bgr, np.uint8), (monotonic(), datetime.now(UTC)))
        if whole is None:
            return None
        bgr, (captured_at_s, wall_time) = whole
        image = np.ascontiguousarray(bgr[:, ::-1]) if self._mirror else bgr
        time_s, capture_ms = captured_at_s - self._opened_at_s, (perf_counter() - started) * 1000
        return Frame(image, index, self._name, time_s, 0.0, captured_at_s, capture_ms, wall_time)

    def _whole(self, bgr: BgrImage, arrival: _Arrival) -> tuple[BgrImage, _Arrival] | None:
        """Return the picture that is ready, in square pixels; None where it waits for the next one."""
        if self._deinterlacer:
            ready = list(self._deinterlacer.push(VideoFrame.from_ndarray(bgr, format="bgr24"), arrival))
            if not ready:
                return None
            whole, arrival = ready[-1]
            bgr = np.asarray(whole.reformat(format="bgr24", threads=1).to_ndarray(), np.uint8)
        return made_square(bgr, self._pixel_aspect), arrival
