"""Annotated video that plays at the right speed, also where the program was killed."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
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
from maskstream.sinks.audio_sync import AROUND_S
from maskstream.sinks.video_formats import FALLBACK_FPS, container_of, require_video_path
from maskstream.sinks.video_timestamps import VideoTimestamps
from maskstream.types import BgrImage, Output, SourceInfo

_KEYFRAME_EVERY_S = 2
_KEYFRAME_EVERY_FRAMES = 25  # the average rate of a file whose clock jumps says nothing
_SLOWEST = Fraction(1, 1001)
_LATE_S = 0.5
"""So much later than it should be is noticed, and said."""
_JUMPED_S = 1.0


@dataclass(frozen=True, eq=False)
class _Shown:
    """A frame as it is encoded."""

    time_s: float
    """Its own time, from where the video begins."""
    duration_s: float
    name: str
    """Of its source."""
    bgr: BgrImage


class VideoSink:
    """One annotated video of one source, with the source's own timestamps and sound.

    A source that begins long after 0 begins at 0 here: so does a file with the time of day, or a part of a longer recording.
    The file is written in pieces of half a second; when it is closed an MP4 becomes an ordinary one where FFmpeg can do that
    (`hybrid_fragmented`, since 7.1). Odd sizes are padded to even by repeating the last row and column. `CONTAINERS` says what
    the suffixes of names mean.
    """

    wants_every_frame = True

    def __init__(self, path: str, info: SourceInfo, config: VideoConfig) -> None:
        """Create the file.

        Args:
            path: Ends in one of `VIDEO_SUFFIXES`, which chooses the container; an existing file is replaced.
            info: The source that will be written.
            config: Quality and speed of the encoder.

        Raises:
            SinkError: It cannot be written there, or it would replace the source.
        """
        self.path = path
        """Where it is written."""
        self._size = (info.width + info.width % 2, info.height + info.height % 2)
        self._said: set[str] = set()
        self._waiting: _Shown | None = None
        self._video_finished = False
        self._held: av.Packet[av.VideoStream] | None = None
        self._to_yuv = VideoReformatter()
        self._open = False
        require_video_path(path)
        if info.path and Path(path).exists() and Path(path).samefile(info.path):
            raise SinkError(f"{path}: the output would replace its own source; choose another name")
        self._kind = container_of(path)
        self._zero_s = 0.0 if self._kind.has_times and 0 <= info.start_s <= AROUND_S else info.start_s
        lasts_s = (info.duration_s or 0.0) - self._zero_s
        self._lasts_s = lasts_s if lasts_s > 0 else None  # some count the duration from 0, and some from the first frame
        time_base = self._kind.time_base(info, self._lasts_s or 0.0)
        self._times = VideoTimestamps(time_base, self._kind.longest(time_base), self._lasts_s or inf, info.average_fps)
        with _sink_errors(path):
            self._container = self._kind.open(path)
        self._audio: AudioTrack | None = None
        try:
            with _sink_errors(path):
                self._stream = self._add_video(info, config)
                self._audio = self._add_audio(info)
                self._container.start_encoding()
        except SinkError:
            if self._audio:
                self._audio.close()
            self._container.close()
            raise
        self._open = True

    def _add_video(self, info: SourceInfo, config: VideoConfig) -> av.VideoStream:
        fps = info.average_fps or FALLBACK_FPS
        rate = min(max(Fraction(fps).limit_denominator(1001), _SLOWEST), 1 / self._times.unit_s)
        options = self._kind.encoder_options(config)
        stream = cast("av.VideoStream", self._container.add_stream(self._kind.video_encoder, rate=rate, options=options))
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = stream.time_base = self._times.unit_s
        context.bit_rate = 0  # only the quality counts
        context.gop_size = max(_KEYFRAME_EVERY_FRAMES, ceil(fps * _KEYFRAME_EVERY_S))
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        context.colorspace, context.color_range = 1, ColorRange.MPEG.value  # 1: BT.709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709.value, ColorTrc.BT709.value
        return stream

    def _add_audio(self, info: SourceInfo) -> AudioTrack | None:
        try:
            return AudioTrack(info, self._zero_s, self._lasts_s, self._container, self._kind) if info.path else None
        except LookupError:
            return None
        except (av.FFmpegError, ValueError) as error:
            logger.warning("{}: the sound of {} is left out: {}", self.path, info.source_id, error)
            return None

    def write(self, output: Output) -> None:
        """Encode one frame at its own time."""
        shown = _Shown(
            *(output.frame.time_s - self._zero_s, output.frame.duration_s, output.frame.source_id),
            _fit(output.annotated_bgr, self._size),
        )
        with _sink_errors(self.path):
            self._write_waiting(shown.time_s)
            if self._times.jumps(shown.time_s):
                self._waiting = shown
            else:
                self._write(shown)

    def _write_waiting(self, next_s: float | None) -> None:
        """Write the frame that waited for the next one to tell whether its time is wrong."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._write(waiting, next_s)

    def _write(self, shown: _Shown, next_s: float | None = None) -> None:
        pts = self._times.pts(shown.time_s, shown.duration_s, next_s)
        self._say_what_is_not_shown(shown.name)
        if self._audio:
            self._audio.advance(self._times.own_s, float(pts * self._times.unit_s))
        self._mux(self._to_video_frame(shown.bgr, pts))

    def _say_what_is_not_shown(self, name: str) -> None:
        if self._times.jumped_s > _JUMPED_S and "jump" not in self._said:
            self._said.add("jump")
            jumped_s, file = self._times.jumped_s, Path(self.path).name
            logger.warning(
                "{}: its time jumps by {:.0f} s, which {} does not show: the picture goes on at once", name, jumped_s, file
            )
        if self._times.late_s > _LATE_S and "late" not in self._said:
            self._said.add("late")
            most, file = float(1 / self._times.unit_s), Path(self.path).name
            logger.warning("{}: over {:g} frames per second; {} plays slower: let its name end in .mp4", name, most, file)

    def _to_video_frame(self, bgr: BgrImage, pts: int) -> av.VideoFrame:
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(bgr), format="bgr24")
        target = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
        frame = self._to_yuv.reformat(image, format="yuv420p", threads=1, **target)
        frame.pts, frame.time_base = pts, self._times.unit_s
        return frame

    def hurry(self) -> None:
        """Leave out the sound from now on: beside a picture that stands still there may be an hour of it."""
        if self._audio:
            self._audio.hurry()

    def source_ended(self, source_id: str) -> None:
        """Carry over the sound that outlasts the picture."""
        with _sink_errors(self.path):
            self._finish_video()
            if self._audio and self._times.last is not None:
                self._audio.finish(self._times.next_s)

    def close(self) -> None:
        """Finish the file; a file without any frame is removed."""
        if not self._open:
            return
        self._open = False
        try:
            with _sink_errors(self.path), ExitStack() as steps:  # the last one is taken first, and all of them whatever fails
                steps.callback(self._container.close)
                if self._audio:
                    steps.callback(self._audio.close)
                steps.callback(self._finish_video)
        finally:
            if self._times.last is None:
                with _sink_errors(self.path):
                    Path(self.path).unlink(missing_ok=True)

    def _finish_video(self) -> None:
        self._write_waiting(next_s=None)
        if self._times.last is not None and not self._video_finished:
            self._video_finished = True
            self._mux(None)
            self._mux_held(until_pts=self._times.next)

    def _mux(self, video_frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(video_frame):
            self._mux_held(until_pts=packet.pts or 0)
            self._held = packet

    def _mux_held(self, until_pts: int) -> None:
        """Write a packet once it is known how long it is shown: FFmpeg moves the next fragment to where this one ends."""
        if self._held is not None:
            self._held.duration = until_pts - (self._held.pts or 0)
            self._container.mux(self._held)
            self._held = None


def new_video(path: str, info: SourceInfo, config: VideoConfig, first: int = 1) -> tuple[VideoSink, int]:
    """Create an annotated video under the first name that no file has; see `claim`.

    Returns:
        The sink, and the number of its name.

    Raises:
        SinkError: It cannot be written there; nothing is left behind.
    """
    claimed, number = claim(path, first)
    try:
        return VideoSink(claimed, info, config), number
    except BaseException:
        Path(claimed).unlink(missing_ok=True)
        raise


@contextmanager
def _sink_errors(path: str) -> Generator[None, None, None]:
    """Turn what FFmpeg or the system says into a `SinkError`."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SinkError(f"{path}: cannot be written: {reason}; choose another place or make room") from error


def _fit(bgr: BgrImage, size: tuple[int, int]) -> BgrImage:
    """Pad a picture by the odd pixel, or letterbox one of another size, to (width, height)."""
    height, width = bgr.shape[:2]
    right, below = size[0] - width, size[1] - height
    if (right, below) == (0, 0):
        return bgr
    if right in (0, 1) and below in (0, 1):
        return np.asarray(cv2.copyMakeBorder(bgr, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    return letterbox(bgr, size)
