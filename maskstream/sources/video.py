"""What video files and cameras behind a URL have in common: frames through PyAV."""

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
from maskstream.sources.frame_conversion import Images
from maskstream.sources.limits import limit_memory
from maskstream.sources.read_guard import ReadGuard
from maskstream.types import BgrImage, Frame, SourceInfo

VideoPacket: TypeAlias = "av.Packet[Any]"  # generic for type checkers alone

_CUT_SHORT_S = 1.0
_FALLBACK_FPS = 25
_FASTEST_FPS = 10_000
"""A rate beyond that is damage; cameras for crash tests stay below it."""
_MOST_PIXELS = 250e6
_GEN_PTS: int = 1  # AVFMT_FLAG_GENPTS
_PADDING = 100_000  # pixels; decoders count whole blocks


@dataclass(frozen=True)
class Origin:
    """Where a video comes from."""

    source_id: str
    """Its name in records and messages."""
    live: bool
    """Whether it is a camera: frames count from now on, not by the timestamps of a file."""
    path: str | None = None
    """The local file."""
    keeps_damaged: bool = True
    """Whether a frame counts of which a part was missing, and which the decoder has patched up."""
    most_pixels: float = _MOST_PIXELS
    """Larger frames are refused before memory is taken for them."""
    pixels_setting: str = "pictures.max_megapixels"
    """The setting that allows more, in megapixels."""
    video: VideoConfig | None = None
    """How its frames become pictures; None: as they say themselves."""


@dataclass(frozen=True, eq=False)
class _Arrived:
    """A decoded frame and when it was there."""

    video_frame: VideoFrame
    captured_at_s: float = field(default_factory=monotonic)
    wall_time: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, eq=False)
class Decoded:
    """A frame as it arrived, and its picture."""

    arrived: _Arrived
    bgr: BgrImage


class VideoSource:
    """The best video stream of an open container, every frame with its own time.

    `Frame.time_s` is the file's own timestamp, and video that starts late starts later than 0; only in containers whose clock
    begins anywhere (MPEG-TS) it counts from the start of the file. Variable frame rates come through as they are. For a camera it
    is the time since the source was opened. Pictures are whole, upright, of square pixels and in the colours of BT.709, whatever
    the video is (docs/sources.md). Damaged packets are skipped, and a file that was cut short gives what is there; both are said
    once, at the end.
    """

    def __init__(self, container: av.container.InputContainer, origin: Origin) -> None:
        """Take over an open container and decode its first frame.

        Raises:
            SourceOpenError: There is no video in it that can be decoded.
        """
        self._opened_at_s = monotonic()
        self._origin = origin
        self.damaged = 0
        """Packets and frames that were left out because they were damaged."""
        self._encrypted = 0
        self._ended_s = 0.0
        self._is_open = False
        self._promised_end_s: float | None = None
        self._container = container
        self._guard = ReadGuard(self._release)
        try:
            self._stream = _video_stream(container, origin.source_id)
            self._limit_pixels()
            self._images = Images(self._stream, origin.video.pixel_aspect if origin.video else None, origin.most_pixels)
            deinterlace = origin.video.deinterlace if origin.video else "auto"
            self._deinterlacer: Deinterlacer[_Arrived] = Deinterlacer(deinterlace, origin.source_id)
            # Threads per frame answer late, and lose good frames with a damaged one; with threads per slice no damage is seen.
            self._stream.thread_type = "SLICE" if origin.keeps_damaged else "NONE"
            if container.format.name == "avi":  # has no pts, and those that FFmpeg makes up are those of other frames
                container.flags &= ~_GEN_PTS
            self._zero_s = _zero_s(container)
            self._decoded = self._decode()
            self._first = next(self._decoded, None)
            if self._first is None:
                raise SourceOpenError(f"{origin.source_id}: {self._why_nothing()}")
            self.info = self._describe(self._first)
            self._is_open = True
        except BaseException:
            container.close()
            raise

    def _why_nothing(self) -> str:
        if self._encrypted:
            return "its video is encrypted, as with DRM; give a copy that is not"
        advice = "check the network, and that network.transport is tcp" if self._origin.live else "convert it with ffmpeg"
        return f"none of its video can be decoded: it is damaged; {advice}"

    def _limit_pixels(self) -> None:
        """Refuse frames that are too large by what the container says, and let the decoder refuse those that grow later."""
        codec, most = self._stream.codec_context, self._origin.most_pixels
        if codec.width * codec.height > most:
            size, advice = f"{codec.width}x{codec.height}", f"scale them down, or raise {self._origin.pixels_setting}"
            raise SourceRefused(f"{self._origin.source_id}: frames of {size} are over {most / 1e6:g} megapixels; {advice}")
        limit_memory(codec.width * codec.height)
        codec.options = {"max_pixels": str(round(most * 1.1) + _PADDING)}

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames from the first on; may be called once.

        Raises:
            StreamLost: A camera broke off.
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
        """Return a frame; None where nobody wants it any more."""
        arrived = decoded.arrived
        time_s, duration_s = self._time_s(arrived), self._duration_s(arrived.video_frame)
        self._ended_s = time_s + duration_s
        wall_time = arrived.wall_time if self.info.live else None
        return Frame(
            *(decoded.bgr, index, self.info.source_id, time_s, duration_s, arrived.captured_at_s, capture_ms, wall_time),
        )

    def close(self) -> None:
        """Close the container; a reader in another thread comes to its end."""
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
            self._images.packet_decoded(packet.pts)
            for video_frame in video_frames:
                if video_frame.is_corrupt and not self._origin.keeps_damaged:
                    self.damaged += 1
                    continue
                yield from self._seen(self._deinterlacer.push(video_frame, _Arrived(video_frame)))
        yield from self._seen(self._deinterlacer.flush())
        self._say_what_was_missing()

    def _seen(self, whole: Iterable[tuple[VideoFrame, _Arrived]]) -> Iterator[Decoded]:
        for video_frame, arrived in whole:
            try:
                bgr = self._images.bgr(video_frame)
            except av.FFmpegError:
                self.damaged += 1
            else:
                yield Decoded(arrived, bgr)

    def _packets(self) -> Iterator[VideoPacket]:
        """Yield what is to be decoded; what comes before an unreadable part of a file is all that it has."""
        try:
            yield from demuxed(self._container, self._stream)
        except av.FFmpegError as error:
            logger.warning("{}: reading broke off: {}", self._origin.source_id, error.strerror)

    def _say_what_was_missing(self) -> None:
        name = self._origin.source_id
        if self.damaged:
            logger.warning("{}: {} damaged packets were skipped", name, self.damaged)
        if self._encrypted and self._is_open:
            logger.warning("{}: {} packets are encrypted, as with DRM, and were skipped", name, self._encrypted)
        end_s = self._promised_end_s
        if end_s is not None and end_s - self._ended_s > _CUT_SHORT_S:
            logger.warning("{}: ends at {:.1f} s of {:.1f} s: the file was cut short", name, self._ended_s, end_s)

    def _time_s(self, arrived: _Arrived) -> float:
        video_frame = arrived.video_frame
        if self._origin.live:
            return arrived.captured_at_s - self._opened_at_s
        pts = video_frame.dts if video_frame.pts is None else video_frame.pts
        if pts is None or video_frame.time_base is None:
            return self._ended_s
        return float(pts * Fraction(video_frame.time_base) - self._zero_s)

    def _duration_s(self, video_frame: VideoFrame) -> float:
        own = 0 if self._origin.live else Fraction(video_frame.duration or 0) * Fraction(video_frame.time_base or 0)
        return float(own) or 1 / (self.info.average_fps or _FALLBACK_FPS)

    def _describe(self, first: Decoded) -> SourceInfo:
        stream, live = self._stream, self._origin.live
        stated = stream.average_rate or stream.guessed_rate
        rate = stated if stated and 0 < stated <= _FASTEST_FPS else None
        if not live:
            self._promised_end_s = _promised_end_s(self._container, stream, self._zero_s)
        duration_s = self._promised_end_s or (self._container.duration or 0) / av.time_base or None
        start_s = 0.0 if live else self._time_s(first.arrived)
        shown_s = (duration_s or 0.0) - start_s  # some say the duration from 0, and some from the first frame
        estimate = round((shown_s if shown_s > 0 else duration_s) * rate) if duration_s and rate else None
        height, width = first.bgr.shape[:2]
        return SourceInfo(
            source_id=self._origin.source_id,
            width=width,
            height=height,
            live=live,
            average_fps=float(rate) if rate else None,
            time_base=None if live else stream.time_base,
            frame_count=None if live else stream.frames or estimate,
            duration_s=None if live else duration_s,
            path=self._origin.path,
            origin_s=self._zero_s,
            start_s=start_s,
        )


def _zero_s(container: av.container.InputContainer) -> Fraction:
    """Return the timestamp that counts as 0: the start in containers whose clock begins anywhere, as in a broadcast."""
    starts_anywhere = av.format.Flags.ts_discont in av.format.Flags(container.format.flags)
    return Fraction(container.start_time or 0, av.time_base) if starts_anywhere else Fraction(0)


def _video_stream(container: av.container.InputContainer, source_id: str) -> av.VideoStream:
    images = av.stream.Disposition.attached_pic
    candidates = [stream for stream in container.streams.video if not stream.disposition & images and stream.codec_context]
    best = container.streams.best("video")
    if best in candidates:
        return container.streams.video[container.streams.video.index(best)]
    if not candidates:
        raise SourceOpenError(f"{source_id}: no video in it; give one that has a picture")
    return candidates[0]


def _promised_end_s(container: av.container.InputContainer, stream: av.VideoStream, zero_s: Fraction) -> float | None:
    """Return where the file says that a stream ends; Matroska says it in a tag, `HH:MM:SS.nnn`, and ASF counts from 0."""
    if stream.duration is not None:
        began = 0 if container.format.name == "asf" else stream.start_time or 0
        return float((began + stream.duration) * Fraction(stream.time_base or 0) - zero_s)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    return None if tag is None else int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
