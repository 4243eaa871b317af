"""Read webcams through OpenCV."""

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
from maskstream.sources.frame_conversion import with_square_pixels
from maskstream.sources.read_guard import ReadGuard
from maskstream.types import BgrImage, Frame, SourceInfo

_BACKENDS: Final = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
_MJPG: Final = cv2.VideoWriter.fourcc(*"MJPG")
_FIRST_FRAME_S: Final = 5.0  # a webcam may send nothing while it starts
_FAILED_READS: Final = 10  # in a row; a cheap webcam sometimes sends a damaged frame

_Arrival: TypeAlias = tuple[float, datetime]
"""When a frame arrived, on the clock `monotonic` and in UTC."""


class Device(Protocol):
    """The methods of `cv2.VideoCapture` that are used."""

    def isOpened(self) -> bool: ...  # noqa: D102, N802
    def set(self, prop: int, value: float, /) -> bool: ...  # noqa: D102
    def get(self, prop: int, /) -> float: ...  # noqa: D102
    def read(self) -> tuple[bool, BgrImage | None]: ...  # noqa: D102
    def release(self) -> None: ...  # noqa: D102


def open_device(index: int | str) -> Device:
    """Open a webcam by number or path, through the best backend of the platform.

    OpenCV's own log is silent meanwhile: the caller reports errors.
    """
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(index, _BACKENDS.get(sys.platform, cv2.CAP_ANY))  # type: ignore[return-value]  # same methods
    finally:
        cv2.utils.logging.setLogLevel(before)


class WebcamSource:
    """A webcam. It is live: `Frame.time_s` counts from its opening.

    OpenCV does not report whether frames are interlaced, or their pixel aspect ratio. `VideoConfig` states both.
    """

    def __init__(
        self,
        index: int | str,
        config: WebcamConfig,
        source_id: str | None = None,
        open_device: Callable[[int | str], Device] = open_device,
        video: VideoConfig | None = None,
    ) -> None:
        """Open the device and wait for its first frame.

        Args:
            index: Number of the device, from 0, or its path.
            config: Size and rate to request; mirroring.
            source_id: Name of the source in records; None for the index.
            open_device: Opens the device; tests replace it.
            video: Contains `deinterlace: true` or `pixel_aspect` if the device needs them.

        Raises:
            SourceOpenError: The device does not exist, or sends no frame.
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
                raise SourceOpenError(f"webcam {index}: it does not exist, or you have no permission for it; try another number")
            self._configure(config)
            first = self._wait_for_frame(index)
        except BaseException:
            self._guard.close()
            raise
        self._first: Frame | None = first
        fps = self._device.get(cv2.CAP_PROP_FPS)
        average_fps = fps if 0 < fps < float("inf") else None
        self.info = SourceInfo(self._name, first.width, first.height, live=True, average_fps=average_fps)

    def _configure(self, config: WebcamConfig) -> None:
        """Request MJPG first: uncompressed video of this size rarely fits through USB at full rate."""
        requested = {
            cv2.CAP_PROP_FOURCC: _MJPG,
            cv2.CAP_PROP_FRAME_WIDTH: config.width,
            cv2.CAP_PROP_FRAME_HEIGHT: config.height,
            cv2.CAP_PROP_FPS: config.fps,
            cv2.CAP_PROP_BUFFERSIZE: 1,
        }
        for prop, value in requested.items():
            if value is not None:
                self._device.set(prop, value)

    def _wait_for_frame(self, index: int | str) -> Frame:
        deadline = monotonic() + _FIRST_FRAME_S
        while monotonic() < deadline:
            frame = self._read(0)
            if frame is not None:
                return frame
        raise SourceOpenError(f"webcam {index}: opened, but sends no frame; close other programs that use it")

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they arrive; may be called once.

        Raises:
            StreamLost: The device sends no more frames.
        """
        for index in count():
            frame = self._guard.read(partial(self._next, index))
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        """Release the device and end reading, also in another thread."""
        self._guard.close()

    def _next(self, index: int) -> Frame:
        first, self._first = self._first, None
        if first is not None:
            return first
        for _ in range(_FAILED_READS):
            frame = self._read(index)
            if frame is not None:
                return frame
        raise StreamLost(f"{self._name}: the webcam sends no more frames; check that it is plugged in")

    def _read(self, index: int) -> Frame | None:
        started = perf_counter()
        has_frame, bgr = self._device.read()
        if not has_frame or bgr is None:
            return None
        ready = self._deinterlaced(np.asarray(bgr, np.uint8), (monotonic(), datetime.now(UTC)))
        if ready is None:
            return None
        bgr, (captured_at_s, wall_time) = ready
        return Frame(
            bgr=np.ascontiguousarray(bgr[:, ::-1]) if self._mirror else bgr,
            index=index,
            source_id=self._name,
            time_s=captured_at_s - self._opened_at_s,
            captured_at_s=captured_at_s,
            capture_ms=(perf_counter() - started) * 1000,
            wall_time=wall_time,
        )

    def _deinterlaced(self, bgr: BgrImage, arrival: _Arrival) -> tuple[BgrImage, _Arrival] | None:
        """Return the frame that is ready, in square pixels; None if the deinterlacer waits for the next frame."""
        if self._deinterlacer:
            ready = list(self._deinterlacer.push(VideoFrame.from_ndarray(bgr, format="bgr24"), arrival))
            if not ready:
                return None
            video_frame, arrival = ready[-1]
            bgr = np.asarray(video_frame.reformat(format="bgr24", threads=1).to_ndarray(), np.uint8)
        return with_square_pixels(bgr, self._pixel_aspect), arrival
