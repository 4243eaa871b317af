"""Video files of every container and codec that FFmpeg reads, through PyAV."""

import re
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from threading import Lock
from time import monotonic, perf_counter
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from loguru import logger
from numpy.typing import NDArray

from maskstream.errors import SourceOpenError
from maskstream.types import BgrImage, Frame, SourceInfo

_UNSPECIFIED_COLORSPACE = 2  # AVCOL_SPC_UNSPECIFIED
_BT709_FROM_HEIGHT = 720  # what players assume where a file does not say
_CUT_SHORT_S = 1.0
_CLOSE_S = 1.0  # a read that hangs longer, on a dead network drive, keeps its file


class FileSource:
    """The best video stream of a file, every frame with its own timestamp.

    `Frame.time_s` is the file's own timestamp, and video that starts late starts later than 0; only in containers whose clock
    begins anywhere (MPEG-TS) it counts from the start of the file. Variable frame rates come through as they are. Rotation and
    mirroring from the metadata are applied. Damaged packets are skipped, and a file that was cut short gives what is there; both
    are said once, at the end.
    """

    def __init__(self, path: str, source_id: str | None = None) -> None:
        """Open the file and decode its first frame.

        Args:
            path: A local file.
            source_id: Its name in records; None for the path.

        Raises:
            SourceOpenError: There is no such file, or no video in it that can be decoded.
        """
        self._path = path
        self._lock = Lock()  # a container must not be closed while it decodes
        self._closed = False
        self._damaged = 0
        self._ended_s = 0.0
        self._promised_end_s: float | None = None
        self._container = _open_container(path)
        try:
            self._stream = _video_stream(self._container, path)
            self._stream.thread_type = "SLICE"  # threads per frame answer late, and lose good frames with a damaged one
            self._origin_s = _origin_s(self._container)
            self._decoded = self._decode()
            self._first = next(self._decoded, None)
            if self._first is None:
                raise SourceOpenError(f"{path}: none of its video can be decoded; it is damaged, convert it with ffmpeg")
            self.info = self._describe(*self._first, source_id or path)
        except BaseException:
            self._container.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames from the first on; may be called once."""
        index = 0
        while (decoded := self._next()) is not None:
            video_frame, bgr, capture_ms = decoded
            time_s = self._time_s(video_frame)
            duration_s = float(Fraction(video_frame.duration or 0) * Fraction(video_frame.time_base or 0)) or 1 / (
                self.info.average_fps or 25
            )
            self._ended_s = time_s + duration_s
            yield Frame(bgr, index, self.info.source_id, time_s, duration_s, monotonic(), capture_ms)
            index += 1

    def close(self) -> None:
        """Close the file; a reader in another thread comes to its end."""
        self._closed = True
        if self._lock.acquire(timeout=_CLOSE_S):
            self._decoded.close()
            self._container.close()
            self._lock.release()

    def _next(self) -> tuple[VideoFrame, BgrImage, float] | None:
        started = perf_counter()
        with self._lock:
            if self._closed:
                return None
            first, self._first = self._first, None
            decoded = first or next(self._decoded, None)
        return None if decoded is None else (*decoded, (perf_counter() - started) * 1000)

    def _decode(self) -> Generator[tuple[VideoFrame, BgrImage], None, None]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError) as end:
                if isinstance(end, av.FFmpegError):
                    logger.warning("{}: reading broke off: {}", self._path, end.strerror)
                break
            try:
                for video_frame in packet.decode():
                    yield video_frame, _to_upright_bgr(video_frame)
            except av.FFmpegError:
                self._damaged += 1
        self._say_what_was_missing()

    def _say_what_was_missing(self) -> None:
        if self._damaged:
            logger.warning("{}: {} damaged packets were skipped", self._path, self._damaged)
        end_s = self._promised_end_s
        if end_s is not None and end_s - self._ended_s > _CUT_SHORT_S:
            logger.warning("{}: ends at {:.1f} s of {:.1f} s: the file was cut short", self._path, self._ended_s, end_s)

    def _time_s(self, video_frame: VideoFrame) -> float:
        if video_frame.pts is None or video_frame.time_base is None:
            return self._ended_s
        return float(video_frame.pts * Fraction(video_frame.time_base) - self._origin_s)

    def _describe(self, first: VideoFrame, bgr: BgrImage, source_id: str) -> SourceInfo:
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate
        self._promised_end_s = _promised_end_s(stream, self._origin_s)
        duration_s = self._promised_end_s or (self._container.duration or 0) / av.time_base or None
        estimate = round(duration_s * rate) if duration_s and rate else None
        height, width = bgr.shape[:2]
        aspect = stream.sample_aspect_ratio or Fraction(1)
        return SourceInfo(
            source_id=source_id,
            width=width,
            height=height,
            live=False,
            average_fps=float(rate) if rate else None,
            time_base=stream.time_base,
            frame_count=stream.frames or estimate,
            duration_s=duration_s,
            sample_aspect_ratio=(1 / aspect if _is_transposed(_display_matrix(first)) else aspect) if aspect > 0 else None,
            path=self._path,
            origin_s=self._origin_s,
        )


def _open_container(path: str) -> av.container.InputContainer:
    file = Path(path)
    if not file.exists():
        raise SourceOpenError(f"{path}: no such file; check the path")
    if not file.is_file():
        raise SourceOpenError(f"{path}: not a file; give a video file")
    if file.stat().st_size == 0:
        raise SourceOpenError(f"{path}: the file is empty")
    try:
        return av.open(f"file:{path}", metadata_errors="replace")  # a colon in a name is no protocol
    except av.FFmpegError as error:
        raise SourceOpenError(f"{path}: not a video that FFmpeg can read: {error.strerror}; convert it with ffmpeg") from error


def _origin_s(container: av.container.InputContainer) -> Fraction:
    """Return the timestamp that counts as 0: the start in containers whose clock begins anywhere, as in a broadcast."""
    starts_anywhere = av.format.Flags.ts_discont in av.format.Flags(container.format.flags)
    return Fraction(container.start_time or 0, av.time_base) if starts_anywhere else Fraction(0)


def _video_stream(container: av.container.InputContainer, path: str) -> av.VideoStream:
    pictures = av.stream.Disposition.attached_pic
    candidates = [stream for stream in container.streams.video if not stream.disposition & pictures and stream.codec_context]
    best = container.streams.best("video")
    if best in candidates:
        return container.streams.video[container.streams.video.index(best)]
    if not candidates:
        raise SourceOpenError(f"{path}: no video in this file; give one that has a picture")
    return candidates[0]


def _promised_end_s(stream: av.VideoStream, origin_s: Fraction) -> float | None:
    """Return where the file says that a stream ends; Matroska says it in a tag, `HH:MM:SS.nnn`."""
    if stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * Fraction(stream.time_base or 0) - origin_s)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    return None if tag is None else int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])


def _to_upright_bgr(video_frame: VideoFrame) -> BgrImage:
    unsaid = video_frame.colorspace == _UNSPECIFIED_COLORSPACE and video_frame.height >= _BT709_FROM_HEIGHT
    bgr = video_frame.to_ndarray(format="bgr24", src_colorspace=Colorspace.ITU709 if unsaid else None)
    matrix = _display_matrix(video_frame)
    if matrix is None:
        return np.asarray(bgr, np.uint8)
    (x_to_x, x_to_y), (y_to_x, y_to_y) = matrix
    transposed = _is_transposed(matrix)
    upright = bgr.transpose(1, 0, 2) if transposed else bgr
    flip_x, flip_y = (y_to_x < 0, x_to_y < 0) if transposed else (x_to_x < 0, y_to_y < 0)
    return np.ascontiguousarray(upright[:: -1 if flip_y else 1, :: -1 if flip_x else 1], np.uint8)


def _display_matrix(video_frame: VideoFrame) -> NDArray[np.int32] | None:
    """Return [[x to x', x to y'], [y to x', y to y']], or None where the picture is to be shown as it is stored."""
    matrix: Any = video_frame.side_data.get("DISPLAYMATRIX")  # has the buffer interface
    return None if matrix is None else np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2]


def _is_transposed(matrix: NDArray[np.int32] | None) -> bool:
    return matrix is not None and bool(abs(matrix[0, 1]) > abs(matrix[0, 0]))
