"""Annotated video: H.264 in MP4 that plays in browsers, at the right speed, also where the program was killed."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from math import ceil, inf
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from loguru import logger

from maskstream.errors import SinkError
from maskstream.files import tighten
from maskstream.settings import VideoConfig
from maskstream.sinks.audio import AudioTrack
from maskstream.sinks.letterbox import letterbox
from maskstream.sinks.names import claim
from maskstream.sinks.paths import require_video_path
from maskstream.sinks.sound_times import AROUND_S, BEGINS_ANEW_S
from maskstream.types import BgrImage, Output, SourceInfo

_HYBRID_SINCE = (61, 7, 0)  # libavformat
_FRAGMENT_US = 500_000
_WAIT_FOR_SOUND_US = 100_000
_KEYFRAME_EVERY_S = 2
_FALLBACK_FPS = 25.0
_FALLBACK_TIME_BASE = Fraction(1, 90_000)
_COARSEST_TIME_BASE = Fraction(1, 1000)
_SLOWEST = Fraction(1, 1001)
_LONGEST_UNITS = 2**31 - 2**16
"""How long a frame may be shown in an MP4, in units of time, with some room."""
_LONGEST_JUMP_S = 10.0
"""A frame that is later by more than this, and later than the file says that it ends, has a damaged time."""


class VideoSink:
    """One annotated video of one source, with the source's own timestamps and sound.

    A source that begins long after 0 begins at 0 here: so does a file with the time of day, or a part of a longer recording.
    The file is written in fragments of half a second; when it is closed it becomes an ordinary MP4 where FFmpeg can do that
    (`hybrid_fragmented`, since 7.1). Odd sizes are padded to even by repeating the last row and column.
    """

    wants_every_frame = True

    def __init__(self, path: str, info: SourceInfo, config: VideoConfig) -> None:
        """Create the file.

        Args:
            path: Ends in .mp4, .m4v or .mov; an existing file is replaced.
            info: The source that will be written.
            config: Quality and speed of the encoder.

        Raises:
            SinkError: It cannot be written there, or it would replace the source.
        """
        self.path = path
        """Where it is written."""
        self._size = (info.width + info.width % 2, info.height + info.height % 2)
        self._last_pts: int | None = None
        self._last_duration = 0
        self._moved = 0
        """How much later frames are shown than their own time says, since it began anew."""
        self._video_finished = False
        self._held: av.Packet[av.VideoStream] | None = None
        self._to_yuv = VideoReformatter()
        self._zero_s = info.start_s if abs(info.start_s) > AROUND_S else 0.0
        self._end_s = (info.duration_s or inf) - self._zero_s
        self._open = False
        require_video_path(path)
        if info.path and Path(path).exists() and Path(path).samefile(info.path):
            raise SinkError(f"{path}: the output would replace its own source; choose another name")
        self._container = _open_container(path)
        self._audio: AudioTrack | None = None
        try:
            with _sink_errors(path):
                self._time_base = _time_base(info.time_base, max(0.0, (info.duration_s or 0.0) - self._zero_s))
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
        fps = info.average_fps or _FALLBACK_FPS
        options = {"crf": str(config.crf), "preset": config.preset, "tune": "zerolatency"}
        stream = self._container.add_stream("libx264", rate=max(Fraction(fps).limit_denominator(1001), _SLOWEST), options=options)
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = stream.time_base = self._time_base
        context.gop_size = max(1, ceil(fps * _KEYFRAME_EVERY_S))
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        context.colorspace, context.color_range = 1, ColorRange.MPEG.value  # 1: BT.709
        context.color_primaries, context.color_trc = ColorPrimaries.BT709.value, ColorTrc.BT709.value
        return stream

    def _add_audio(self, info: SourceInfo) -> AudioTrack | None:
        try:
            return AudioTrack(info, self._zero_s, self._container) if info.path else None
        except LookupError:
            return None
        except (av.FFmpegError, ValueError) as error:
            logger.warning("{}: the sound of {} is left out: {}", self.path, info.source_id, error)
            return None

    def write(self, output: Output) -> None:
        """Encode one frame at its own time."""
        time_s = output.frame.time_s - self._zero_s
        longest = _LONGEST_UNITS // self._time_base.numerator
        pts = self._pts(round(time_s / self._time_base), longest)
        self._last_pts = pts
        self._last_duration = min(max(1, round(output.frame.duration_s / self._time_base)), longest)
        with _sink_errors(self.path):
            if self._audio:
                self._audio.advance(time_s, float(pts * self._time_base))
            self._mux(self._to_video_frame(_fit(output.annotated_bgr, self._size), pts))

    def _pts(self, own: int, longest: int) -> int:
        """Return when a frame is shown: at its own time, but after the last one, and not later than MP4 can say."""
        last = self._last_pts
        if last is None:
            return own
        pts = own if own > last else own + self._moved
        next_pts = last + self._last_duration
        if (last - pts) * self._time_base > BEGINS_ANEW_S:
            pts = next_pts
            self._moved = pts - own
        elif (pts - last) * self._time_base > _LONGEST_JUMP_S and pts * self._time_base > self._end_s + _LONGEST_JUMP_S:
            pts = next_pts
        return min(max(pts, last + 1), last + longest)

    def _to_video_frame(self, bgr: BgrImage, pts: int) -> av.VideoFrame:
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(bgr), format="bgr24")
        target = {"dst_colorspace": Colorspace.ITU709, "dst_color_range": ColorRange.MPEG}
        frame = self._to_yuv.reformat(picture, format="yuv420p", threads=1, **target)
        frame.pts, frame.time_base = pts, self._time_base
        return frame

    def source_ended(self, source_id: str) -> None:
        """Carry over the sound that outlasts the picture."""
        with _sink_errors(self.path):
            self._finish_video()
            if self._audio and self._last_pts is not None:
                self._audio.finish(float((self._last_pts + self._last_duration) * self._time_base))

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
            if self._last_pts is None:
                with _sink_errors(self.path):
                    Path(self.path).unlink(missing_ok=True)

    def _finish_video(self) -> None:
        if self._last_pts is not None and not self._video_finished:
            self._video_finished = True
            self._mux(None)
            self._mux_held(until_pts=self._last_pts + self._last_duration)

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


def _open_container(path: str) -> av.container.OutputContainer:
    hybrid = tuple(av.library_versions["libavformat"]) >= _HYBRID_SINCE
    movflags = "+hybrid_fragmented+delay_moov" if hybrid else "+empty_moov+delay_moov+default_base_moof"
    options = {
        "movflags": movflags,
        "frag_duration": str(_FRAGMENT_US),
        "flush_packets": "1",
        "max_interleave_delta": str(_WAIT_FOR_SOUND_US),
    }
    with _sink_errors(path):
        container = av.open(f"file:{path}", "w", format="mp4", container_options=options)
        tighten(path)
        return container


@contextmanager
def _sink_errors(path: str) -> Generator[None, None, None]:
    """Turn what FFmpeg or the system says into a `SinkError`."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SinkError(f"{path}: cannot be written: {reason}; choose another place or make room") from error


def _time_base(given: Fraction | None, lasts_s: float) -> Fraction:
    """The source's own unit of time, divided where it is too coarse for frames out of step, coarser where it lasts very long.

    In an MP4 the unit is what the denominator says, and no frame may be shown longer than `_LONGEST_UNITS` of it.
    """
    own = given or _FALLBACK_TIME_BASE
    fine = own if own <= _COARSEST_TIME_BASE else own / 1000
    most_units_per_s = max(_COARSEST_TIME_BASE.denominator, int(_LONGEST_UNITS / (lasts_s + 1)))
    return fine if fine.denominator <= most_units_per_s else Fraction(1, most_units_per_s)


def _fit(bgr: BgrImage, size: tuple[int, int]) -> BgrImage:
    """Pad a picture by the odd pixel, or letterbox one of another size, to (width, height)."""
    height, width = bgr.shape[:2]
    right, below = size[0] - width, size[1] - height
    if (right, below) == (0, 0):
        return bgr
    if right in (0, 1) and below in (0, 1):
        return np.asarray(cv2.copyMakeBorder(bgr, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    return letterbox(bgr, size)
