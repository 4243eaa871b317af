"""Write annotated video that keeps the timestamps of its source, and is readable where the program was killed."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from loguru import logger

from maskstream.config.schema import VideoConfig
from maskstream.errors import SinkError
from maskstream.io.file_names import claim
from maskstream.rendering.letterbox import letterbox
from maskstream.sinks.audio import AudioTrack
from maskstream.sinks.audio_sync import MARGIN_S
from maskstream.sinks.video_formats import FALLBACK_FPS, container_of, require_video_path
from maskstream.sinks.video_timestamps import VideoTimestamps
from maskstream.types import BgrImage, Output, SourceInfo

_KEYFRAME_EVERY_S = 2
_KEYFRAME_EVERY_FRAMES = 25  # the average rate is wrong where the clock of the source jumps
_SLOWEST = Fraction(1, 1001)
_LATE_S = 0.5
"""A longer delay of the video is logged."""
_JUMPED_S = 1.0
"""A longer jump that is left out is logged."""


@dataclass(frozen=True, eq=False)
class _Image:
    """A frame before it is encoded."""

    time_s: float
    """Its own time, from the beginning of the video."""
    duration_s: float
    source_id: str
    bgr: BgrImage


class VideoSink:
    """Writes one annotated video of one source, with the timestamps and the audio of the source.

    A source whose time begins more than 2 s from 0 begins at 0 in the video: a file with the time of day, or a part of a longer
    recording. The file is written in fragments of half a second. When it is closed, an MP4 becomes an ordinary one where FFmpeg
    can do that (`hybrid_fragmented`, since 7.1). Odd sizes are padded to even by repeating the last row and column.
    """

    wants_every_frame = True

    def __init__(self, path: str, info: SourceInfo, config: VideoConfig) -> None:
        """Create the file.

        Args:
            path: Its suffix, one of `VIDEO_SUFFIXES`, selects the format; an existing file is replaced.
            info: The source.
            config: Quality and speed of the encoder.

        Raises:
            SinkError: The file cannot be written, or would replace its source.
        """
        require_video_path(path)
        _require_other_file(path, info)
        self.path = path
        """Where the file is."""
        self._size = (info.width + info.width % 2, info.height + info.height % 2)
        self._logged_jump = self._logged_delay = False
        self._waiting: _Image | None = None
        self._video_finished = False
        self._held: av.Packet[av.VideoStream] | None = None
        self._to_yuv = VideoReformatter()
        self._kind = container_of(path)
        starts_near_0 = 0 <= info.start_s <= MARGIN_S
        self._zero_s = 0.0 if self._kind.has_timestamps and starts_near_0 else info.start_s
        lasts_s = (info.duration_s or 0.0) - self._zero_s
        self._lasts_s = lasts_s if lasts_s > 0 else None  # some files state the duration from 0, others from the first frame
        time_base = self._kind.time_base(info, self._lasts_s or 0.0)
        longest_units = self._kind.longest_duration(time_base)
        self._times = VideoTimestamps(time_base, longest_units, end_s=self._lasts_s or inf, average_fps=info.average_fps)
        self._audio: AudioTrack | None = None
        with _sink_errors(path):
            self._container = self._kind.open(path)
        try:
            with _sink_errors(path):
                self._stream = self._add_video(info, config)
                self._audio = self._add_audio(info)
                self._container.start_encoding()
        except SinkError:
            self._close_files()
            raise
        self._open = True

    def _add_video(self, info: SourceInfo, config: VideoConfig) -> av.VideoStream:
        fps = info.average_fps or FALLBACK_FPS
        rate = min(max(Fraction(fps).limit_denominator(1001), _SLOWEST), 1 / self._times.unit_s)
        encoder = self._kind.encoder_for(self.path, self._size, config)
        options = self._kind.encoder_options(config, encoder)
        stream = cast("av.VideoStream", self._container.add_stream(encoder, rate=rate, options=options))
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = stream.time_base = self._times.unit_s
        context.bit_rate = 0  # the quality is set instead
        context.gop_size = max(_KEYFRAME_EVERY_FRAMES, ceil(fps * _KEYFRAME_EVERY_S))
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        context.colorspace, context.color_range = 1, ColorRange.MPEG.value  # 1: BT.709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709.value, ColorTrc.BT709.value
        return stream

    def _add_audio(self, info: SourceInfo) -> AudioTrack | None:
        if not info.path:
            return None
        try:
            return AudioTrack(info, self._zero_s, self._lasts_s, self._container, self._kind)
        except LookupError:
            return None
        except (av.FFmpegError, ValueError) as error:
            logger.warning("{}: the audio of {} is left out: {}", self.path, info.source_id, error)
            return None

    def write(self, output: Output) -> None:
        """Encode one frame at its own time."""
        frame = output.frame
        image = _Image(
            time_s=frame.time_s - self._zero_s,
            duration_s=frame.duration_s,
            source_id=frame.source_id,
            bgr=_fit(output.annotated_bgr, self._size),
        )
        with _sink_errors(self.path):
            self._write_waiting(next_s=image.time_s)
            if self._times.jumps(image.time_s):
                self._waiting = image
            else:
                self._write(image, next_s=None)

    def _write_waiting(self, next_s: float | None) -> None:
        """Write the frame that was held back until the time of the next one is known."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._write(waiting, next_s)

    def _write(self, image: _Image, next_s: float | None) -> None:
        pts = self._times.pts(image.time_s, image.duration_s, next_s)
        self._log_wrong_times(image.source_id)
        if self._audio:
            self._audio.advance(self._times.own_s, float(pts * self._times.unit_s))
        bgr_frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image.bgr), format="bgr24")
        target = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
        frame = self._to_yuv.reformat(bgr_frame, format="yuv420p", threads=1, **target)
        frame.pts, frame.time_base = pts, self._times.unit_s
        self._encode(frame)

    def _log_wrong_times(self, source_id: str) -> None:
        """Log, once each, that the video leaves out a jump, or plays slower than its source."""
        name = Path(self.path).name
        if self._times.jumped_s > _JUMPED_S and not self._logged_jump:
            self._logged_jump = True
            logger.warning("{}: its time jumps by {:.0f} s; {} leaves the gap out", source_id, self._times.jumped_s, name)
        if self._times.late_s > _LATE_S and not self._logged_delay:
            self._logged_delay = True
            max_fps = float(1 / self._times.unit_s)
            logger.warning("{}: over {:g} frames per second; {} plays slower: let its name end in .mp4", source_id, max_fps, name)

    def hurry(self) -> None:
        """Leave out the rest of the audio: one frame that is shown for long may have an hour of it."""
        if self._audio:
            self._audio.hurry()

    def source_ended(self, source_id: str) -> None:
        """Write the last frames, and the audio that is left."""
        with _sink_errors(self.path):
            self._finish_video()
            if self._audio and self._times.last is not None:
                self._audio.finish(self._times.next_s)

    def close(self) -> None:
        """Finish the file; a file without frames is deleted. A second call does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            with _sink_errors(self.path):
                try:
                    self._finish_video()
                finally:
                    self._close_files()
        finally:
            if self._times.last is None:
                with _sink_errors(self.path):
                    Path(self.path).unlink(missing_ok=True)

    def _close_files(self) -> None:
        try:
            if self._audio:
                self._audio.close()
        finally:
            self._container.close()

    def _finish_video(self) -> None:
        self._write_waiting(next_s=None)
        if self._times.last is not None and not self._video_finished:
            self._video_finished = True
            self._encode(None)
            self._mux_held(until_pts=self._times.next)

    def _encode(self, video_frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(video_frame):
            self._mux_held(until_pts=packet.pts or 0)
            self._held = packet

    def _mux_held(self, until_pts: int) -> None:
        """Write a packet when its duration is known: FFmpeg starts the next fragment where this packet ends."""
        if self._held is not None:
            self._held.duration = until_pts - (self._held.pts or 0)
            self._container.mux(self._held)
            self._held = None


def new_video(path: str, info: SourceInfo, config: VideoConfig, first: int = 1) -> tuple[VideoSink, int]:
    """Create an annotated video under the first unused name; see `claim`.

    Returns:
        The sink, and the number in its name.

    Raises:
        SinkError: It cannot be written; no file is left.
    """
    claimed, number = claim(path, first)
    try:
        return VideoSink(claimed, info, config), number
    except BaseException:
        Path(claimed).unlink(missing_ok=True)
        raise


def _require_other_file(path: str, info: SourceInfo) -> None:
    if info.path and Path(path).exists() and Path(path).samefile(info.path):
        raise SinkError(f"{path}: the output would replace its own source; choose another name")


@contextmanager
def _sink_errors(path: str) -> Generator[None, None, None]:
    """Raise errors of FFmpeg and of the system as `SinkError`."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SinkError(f"{path}: cannot be written: {reason}; choose another place or make room") from error


def _fit(bgr: BgrImage, size: tuple[int, int]) -> BgrImage:
    """Return an image of size (width, height): padded by one pixel, or letterboxed where it has another size."""
    height, width = bgr.shape[:2]
    right, below = size[0] - width, size[1] - height
    if (right, below) == (0, 0):
        return bgr
    if right in (0, 1) and below in (0, 1):
        return np.asarray(cv2.copyMakeBorder(bgr, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    return letterbox(bgr, size)
