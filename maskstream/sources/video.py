"""Decode video with PyAV: the base class of video files, pipes and cameras behind a URL."""

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from itertools import count
from time import monotonic, perf_counter
from typing import Any, TypeAlias

import av
from av.video.frame import VideoFrame
from loguru import logger

from maskstream.config.schema import VideoConfig
from maskstream.errors import SourceOpenError, SourceRefused
from maskstream.io.demuxing import demuxed
from maskstream.sources.deinterlacing import Deinterlacer
from maskstream.sources.frame_conversion import FrameConverter
from maskstream.sources.limits import limit_memory
from maskstream.sources.read_guard import ReadGuard
from maskstream.types import BgrImage, Frame, SourceInfo

VideoPacket: TypeAlias = "av.Packet[Any]"  # generic for type checkers only

_TRUNCATED_S = 1.0
_FALLBACK_FPS = 25
_MAX_FPS = 10_000
"""A higher rate is damage; cameras for crash tests stay below it."""
_MAX_PIXELS = 250e6
_GEN_PTS: int = 1  # AVFMT_FLAG_GENPTS
_PADDING = 100_000  # pixels; decoders count complete blocks


@dataclass(frozen=True)
class Origin:
    """Where a video comes from, and how it is decoded."""

    source_id: str
    """Name of the source in records and messages."""
    live: bool
    """Whether it is a camera: time counts from the opening, not by the timestamps of a file."""
    path: str | None = None
    """The local file."""
    keep_damaged: bool = True
    """Whether to keep frames with missing parts that the decoder has concealed."""
    max_pixels: float = _MAX_PIXELS
    """Larger frames are refused before memory is allocated for them."""
    pixels_setting: str = "pictures.max_megapixels"
    """The setting that allows more, in megapixels."""
    video: VideoConfig | None = None
    """Deinterlacing and pixel aspect ratio; None: as the video states."""


@dataclass(frozen=True, eq=False)
class _Arrived:
    """A decoded frame and when it arrived."""

    video_frame: VideoFrame
    captured_at_s: float = field(default_factory=monotonic)
    wall_time: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, eq=False)
class Decoded:
    """A frame as it arrived, and its pixels."""

    arrived: _Arrived
    bgr: BgrImage


class VideoSource:
    """The best video stream of an open container, each frame with its own time.

    `Frame.time_s` is the timestamp of the file. A video that starts late starts later than 0. Only in containers whose clock
    begins at any value (MPEG-TS), time counts from the start of the file. Variable frame rates are kept. For a camera it is the
    time since the source was opened.

    Frames are deinterlaced, upright, with square pixels and in the colours of BT.709 (docs/sources.md). Damaged packets are
    skipped, and a truncated file is read up to its last frame; both are logged once, at the end.
    """

    def __init__(self, container: av.container.InputContainer, origin: Origin) -> None:
        """Take over an open container and decode its first frame.

        Raises:
            SourceOpenError: It contains no video that can be decoded.
        """
        self._opened_at_s = monotonic()
        self._origin = origin
        self.damaged = 0
        """Packets and frames that were skipped because they were damaged."""
        self._encrypted = 0
        self._ended_s = 0.0
        self._is_open = False
        self._stated_end_s: float | None = None
        self._container = container
        self._guard = ReadGuard(self._release)
        try:
            self._stream = _video_stream(container, origin.source_id)
            self._limit_pixels()
            self._converter = FrameConverter(self._stream, origin.video.pixel_aspect if origin.video else None, origin.max_pixels)
            deinterlace = origin.video.deinterlace if origin.video else "auto"
            self._deinterlacer: Deinterlacer[_Arrived] = Deinterlacer(deinterlace, origin.source_id)
            # Frame threads add delay, and lose good frames with a damaged one. Slice threads do not report damage.
            self._stream.thread_type = "SLICE" if origin.keep_damaged else "NONE"
            if container.format.name == "avi":  # has no pts, and FFmpeg generates those of other frames
                container.flags &= ~_GEN_PTS
            # The start counts as 0 in containers whose clock begins at any value, as in a broadcast.
            starts_anywhere = av.format.Flags.ts_discont in av.format.Flags(container.format.flags)
            self._zero_s = Fraction(container.start_time or 0, av.time_base) if starts_anywhere else Fraction(0)
            self._decoded = self._decode()
            self._first = next(self._decoded, None)
            if self._first is None:
                raise SourceOpenError(f"{origin.source_id}: {self._why_no_frame()}")
            self.info = self._live_info(self._first) if origin.live else self._file_info(self._first)
            self._is_open = True
        except BaseException:
            container.close()
            raise

    def _why_no_frame(self) -> str:
        if self._encrypted:
            return "its video is encrypted (DRM); give a copy that is not"
        advice = "check the network, and that network.transport is tcp" if self._origin.live else "convert it with ffmpeg"
        return f"no frame of its video can be decoded: it is damaged; {advice}"

    def _limit_pixels(self) -> None:
        """Refuse frames whose stated size is too large, and let the decoder refuse those that grow later."""
        codec, max_pixels = self._stream.codec_context, self._origin.max_pixels
        if codec.width * codec.height > max_pixels:
            size, advice = f"{codec.width}x{codec.height}", f"scale them down, or raise {self._origin.pixels_setting}"
            raise SourceRefused(f"{self._origin.source_id}: frames of {size} are over {max_pixels / 1e6:g} megapixels; {advice}")
        limit_memory(codec.width * codec.height)
        codec.options = {"max_pixels": str(round(max_pixels * 1.1) + _PADDING)}

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames from the first on; may be called once.

        Raises:
            StreamLost: The connection to a camera broke off.
        """
        for index in count():
            started = perf_counter()
            decoded = self._guard.read(self._next)
            if decoded is None:
                return
            frame = self._frame(index, decoded, capture_ms=(perf_counter() - started) * 1000)
            if frame is None:
                return
            yield frame

    def _frame(self, index: int, decoded: Decoded, capture_ms: float) -> Frame | None:
        """Return a frame; None if the source was closed meanwhile."""
        arrived = decoded.arrived
        time_s, video_frame = self._time_s(arrived), arrived.video_frame
        stated = 0 if self._origin.live else Fraction(video_frame.duration or 0) * Fraction(video_frame.time_base or 0)
        duration_s = float(stated) or 1 / (self.info.average_fps or _FALLBACK_FPS)
        self._ended_s = time_s + duration_s
        return Frame(
            bgr=decoded.bgr,
            index=index,
            source_id=self.info.source_id,
            time_s=time_s,
            duration_s=duration_s,
            captured_at_s=arrived.captured_at_s,
            capture_ms=capture_ms,
            wall_time=arrived.wall_time if self.info.live else None,
        )

    def close(self) -> None:
        """Close the container and end reading, also in another thread."""
        self._guard.close()

    def _release(self) -> None:
        self._decoded.close()
        self._container.close()

    def _next(self) -> Decoded | None:
        first, self._first = self._first, None
        return first or next(self._decoded, None)

    def _decode(self) -> Generator[Decoded, None, None]:
        for packet in self._packets():
            if packet.has_sidedata("encryption_info"):
                self._encrypted += 1
                continue
            try:
                video_frames = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                continue
            self._converter.packet_decoded(packet.pts)
            for video_frame in video_frames:
                if video_frame.is_corrupt and not self._origin.keep_damaged:
                    self.damaged += 1
                    continue
                yield from self._converted(self._deinterlacer.push(video_frame, _Arrived(video_frame)))
        yield from self._converted(self._deinterlacer.flush())
        self._log_missing()

    def _converted(self, frames: Iterable[tuple[VideoFrame, _Arrived]]) -> Iterator[Decoded]:
        for video_frame, arrived in frames:
            try:
                bgr = self._converter.to_bgr(video_frame)
            except av.FFmpegError:
                self.damaged += 1
            else:
                yield Decoded(arrived, bgr)

    def _packets(self) -> Iterator[VideoPacket]:
        """Yield the packets to decode. Where a file becomes unreadable, it ends."""
        try:
            yield from demuxed(self._container, self._stream)
        except av.FFmpegError as error:
            logger.warning("{}: reading broke off: {}", self._origin.source_id, error.strerror)

    def _log_missing(self) -> None:
        name = self._origin.source_id
        if self.damaged:
            logger.warning("{}: {} damaged packets were skipped", name, self.damaged)
        if self._encrypted and self._is_open:
            logger.warning("{}: {} packets are encrypted (DRM) and were skipped", name, self._encrypted)
        end_s = self._stated_end_s
        if end_s is not None and end_s - self._ended_s > _TRUNCATED_S:
            logger.warning("{}: ends at {:.1f} s of {:.1f} s: the file is truncated", name, self._ended_s, end_s)

    def _time_s(self, arrived: _Arrived) -> float:
        video_frame = arrived.video_frame
        if self._origin.live:
            return arrived.captured_at_s - self._opened_at_s
        pts = video_frame.dts if video_frame.pts is None else video_frame.pts
        if pts is None or video_frame.time_base is None:
            return self._ended_s
        return float(pts * Fraction(video_frame.time_base) - self._zero_s)

    def _live_info(self, first: Decoded) -> SourceInfo:
        fps = _stated_fps(self._stream)
        return SourceInfo(
            source_id=self._origin.source_id,
            width=first.bgr.shape[1],
            height=first.bgr.shape[0],
            live=True,
            average_fps=float(fps) if fps else None,
            path=self._origin.path,
            origin_s=self._zero_s,
        )

    def _file_info(self, first: Decoded) -> SourceInfo:
        stream, fps = self._stream, _stated_fps(self._stream)
        self._stated_end_s = _stated_end_s(self._container, stream, self._zero_s)
        duration_s = self._stated_end_s or (self._container.duration or 0) / av.time_base or None
        start_s = self._time_s(first.arrived)
        estimated_count = None
        if duration_s and fps:
            from_first_s = duration_s - start_s  # some files state the duration from 0, others from the first frame
            estimated_count = round((from_first_s if from_first_s > 0 else duration_s) * fps)
        return SourceInfo(
            source_id=self._origin.source_id,
            width=first.bgr.shape[1],
            height=first.bgr.shape[0],
            live=False,
            average_fps=float(fps) if fps else None,
            time_base=stream.time_base,
            frame_count=stream.frames or estimated_count,
            duration_s=duration_s,
            path=self._origin.path,
            origin_s=self._zero_s,
            start_s=start_s,
        )


def _video_stream(container: av.container.InputContainer, source_id: str) -> av.VideoStream:
    cover_image = av.stream.Disposition.attached_pic
    candidates = [stream for stream in container.streams.video if not stream.disposition & cover_image and stream.codec_context]
    best = container.streams.best("video")
    if best in candidates:
        return container.streams.video[container.streams.video.index(best)]
    if not candidates:
        raise SourceOpenError(f"{source_id}: it contains no video; give a file or stream that does")
    return candidates[0]


def _stated_fps(stream: av.VideoStream) -> Fraction | None:
    """Return the frame rate that the video states; None if it states none, or an impossible one."""
    fps = stream.average_rate or stream.guessed_rate
    return fps if fps and 0 < fps <= _MAX_FPS else None


def _stated_end_s(container: av.container.InputContainer, stream: av.VideoStream, zero_s: Fraction) -> float | None:
    """Return the stated end of a stream. Matroska states it in a tag, `HH:MM:SS.nnn`; ASF counts from 0."""
    if stream.duration is not None:
        start = 0 if container.format.name == "asf" else stream.start_time or 0
        return float((start + stream.duration) * Fraction(stream.time_base or 0) - zero_s)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    return None if tag is None else int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
