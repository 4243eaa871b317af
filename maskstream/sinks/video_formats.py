"""File formats of annotated video, chosen by the suffix of `--output`, and whether a path can be written as one."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

import av
from loguru import logger

from maskstream.config.schema import VideoConfig
from maskstream.errors import SinkError
from maskstream.io.files import tighten
from maskstream.io.gpu_video import NVENC, nvenc_problem
from maskstream.io.output_paths import require_regular_file, require_writable
from maskstream.types import SourceInfo

FALLBACK_FPS: Final = 25.0

_MILLISECOND: Final = Fraction(1, 1000)
_FRAGMENT_S: Final = 0.5
"""At most this much video, and the frames in the encoder, is lost where the program is killed."""
_WAIT_FOR_AUDIO_S: Final = 0.1
_HYBRID_SINCE: Final = (61, 7, 0)  # libavformat
_FALLBACK_TIME_BASE: Final = Fraction(1, 90_000)
_MP4_MAX_UNITS: Final = 2**31 - 2**16
"""The longest duration of a frame in an MP4, in units of the time base, with a margin."""
_AVI_MAX_UNITS: Final = 59_000
"""FFmpeg refuses more than 60,000 empty frames in a row in an AVI."""
_AVI_MAX_S: Final = 60.0
"""Players read an AVI slowly whose audio is stored far from its video."""
_AVI_FINE_FPS: Final = 100.0
_AVI_RATES: Final = (24_000 / 1001, 30_000 / 1001, 60_000 / 1001)
_X264: Final = "libx264"
_NVENC_PRESETS: Final = {
    "ultrafast": "p1",
    "superfast": "p1",
    "veryfast": "p2",
    "faster": "p3",
    "fast": "p4",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
    "veryslow": "p7",
}
"""NVENC's names of the speeds of `video.preset`."""
_WORST_VP9_CRF: Final = 63
_VP9_CRF_FACTOR: Final = 1.5
"""At a `video.crf` of 23, H.264 and VP9 files of `assets/demo.mp4` have the same size and quality with this factor."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """A file format for annotated video."""

    muxer: str
    """FFmpeg's name of the format."""
    video_encoder: str
    """FFmpeg's name of the video encoder."""
    audio_encoder: str
    """FFmpeg's name of the encoder for audio that is not copied."""
    copied_codecs: frozenset[str] | None
    """Audio codecs that are copied where the muxer supports them; None: all that it supports."""
    max_units: int
    """The longest duration of a frame, in units of the time base."""
    max_s: float = inf
    """The longest duration of a frame, in seconds."""
    time_base: Callable[[SourceInfo, float], Fraction]
    """Returns the time base for a source and the seconds that it lasts."""
    options: Mapping[str, str]
    """Of the muxer."""
    has_timestamps: bool = True
    """Whether packets have timestamps. Without them, video and audio begin at 0, and gaps are filled."""

    def copies(self, codec: str, target: av.container.OutputContainer) -> bool:
        """Return whether audio of this codec is copied without encoding."""
        return (self.copied_codecs is None or codec in self.copied_codecs) and codec in target.supported_codecs

    def longest_duration(self, unit_s: Fraction) -> int:
        """Return the longest duration of a frame, in units of `unit_s` seconds."""
        return int(min(self.max_units, self.max_s / unit_s))

    def encoder_for(self, path: str, size: tuple[int, int], config: VideoConfig) -> str:
        """Return FFmpeg's name of the video encoder: NVENC where `video.encode_on` asks for it and it can encode this size."""
        if config.encode_on != "cuda" or self.video_encoder != _X264:
            return self.video_encoder
        problem = nvenc_problem(*size)
        if problem is not None:
            logger.warning("{}: video.encode_on: cuda is not possible here ({}); the CPU encodes", Path(path).name, problem)
        return self.video_encoder if problem else NVENC

    def encoder_options(self, config: VideoConfig, encoder: str) -> dict[str, str]:
        """Return the options of the video encoder, which is `video_encoder` or NVENC.

        VP9 has a scale of quality from 0 to 63 and gets 1.5 times `video.crf`; its speed is fixed. NVENC has 0 for automatic.
        """
        if encoder == NVENC:
            quality = {"rc": "vbr", "cq": str(config.crf), "tune": "ll"} if config.crf else {"tune": "lossless"}
            return quality | {"preset": _NVENC_PRESETS[config.preset], "bf": "0", "delay": "0", "zerolatency": "1"}
        if encoder == _X264:
            return {"crf": str(config.crf), "preset": config.preset, "tune": "zerolatency"}
        crf = min(round(config.crf * _VP9_CRF_FACTOR), _WORST_VP9_CRF)
        fast = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "lag-in-frames": "0", "auto-alt-ref": "0"}
        return {"crf": str(crf)} | fast

    def open(self, path: str) -> av.container.OutputContainer:
        """Create or replace the file, with the mode of `privacy.readable_by`."""
        always = {"flush_packets": "1", "max_interleave_delta": str(round(_WAIT_FOR_AUDIO_S * 1e6))}
        container = av.open(f"file:{path}", "w", format=self.muxer, container_options=always | dict(self.options))
        tighten(path)
        return container


def container_of(path: str) -> Container:
    """Return the container of a path; its suffix must be one of `VIDEO_SUFFIXES`."""
    return CONTAINERS[Path(path).suffix.lower()]


def _mp4_time_base(info: SourceInfo, lasts_s: float) -> Fraction:
    """Return the time base of the source: finer where it is coarser than 1 ms, coarser where a frame could last too long.

    MP4 stores the denominator of the time base only, and no frame may last longer than `_MP4_MAX_UNITS` of it.
    """
    own = info.time_base or _FALLBACK_TIME_BASE
    fine = own if own <= _MILLISECOND else own / 1000
    max_units_per_s = max(_MILLISECOND.denominator, int(_MP4_MAX_UNITS / (lasts_s + 1)))
    return fine if fine.denominator <= max_units_per_s else Fraction(1, max_units_per_s)


def _matroska_time_base(_info: SourceInfo, _lasts_s: float) -> Fraction:
    """Return one millisecond: FFmpeg writes no finer times to Matroska."""
    return _MILLISECOND


def _avi_time_base(info: SourceInfo, _lasts_s: float) -> Fraction:
    """Return the duration of one frame: that of the source where its rate can be constant, 1/100 s or finer otherwise.

    An AVI has no timestamps. A frame is shown until the next one, and the frames in between are left empty.
    """
    fps = info.average_fps
    if fps and not info.live:
        is_whole = abs(fps - round(fps)) < 1e-3 * fps
        if is_whole or any(abs(fps - rate) < 1e-4 * fps for rate in _AVI_RATES):
            return 1 / Fraction(fps).limit_denominator(1001)
    return Fraction(1, round(max(_AVI_FINE_FPS, 2 * (fps or 0.0))))


def _mp4() -> Container:
    can_be_hybrid = tuple(av.library_versions["libavformat"]) >= _HYBRID_SINCE
    movflags = "+hybrid_fragmented+delay_moov" if can_be_hybrid else "+empty_moov+delay_moov+default_base_moof"
    return Container(
        muxer="mp4",
        video_encoder=_X264,
        audio_encoder="aac",
        copied_codecs=frozenset({"aac", "mp3", "opus", "flac"}),  # which browsers play
        max_units=_MP4_MAX_UNITS,
        time_base=_mp4_time_base,
        options={"movflags": movflags, "frag_duration": str(round(_FRAGMENT_S * 1e6))},
    )


def _matroska(muxer: str, video_encoder: str, audio_encoder: str) -> Container:
    return Container(
        muxer=muxer,
        video_encoder=video_encoder,
        audio_encoder=audio_encoder,
        copied_codecs=None,
        max_units=_MP4_MAX_UNITS,
        time_base=_matroska_time_base,
        options={"cluster_time_limit": str(round(_FRAGMENT_S * 1e3))},
    )


def _avi() -> Container:
    return Container(
        muxer="avi",
        video_encoder=_X264,
        audio_encoder="libmp3lame",
        copied_codecs=frozenset(),  # copied audio would lose its gaps
        max_units=_AVI_MAX_UNITS,
        max_s=_AVI_MAX_S,
        time_base=_avi_time_base,
        options={},
        has_timestamps=False,
    )


CONTAINERS: Final = {
    ".mp4": _mp4(),
    ".m4v": _mp4(),
    ".mov": _mp4(),
    ".mkv": _matroska("matroska", _X264, "aac"),
    ".webm": _matroska("webm", "libvpx-vp9", "libopus"),
    ".avi": _avi(),
}
VIDEO_SUFFIXES: Final = tuple(CONTAINERS)


def require_video_path(path: str) -> None:
    """Raise `SinkError` where annotated video cannot be written to `path`; changes nothing."""
    _require_video_suffix(path)
    require_writable(path)
    require_regular_file(path, "a video is written at several positions")


def require_recording_path(path: str) -> None:
    """Raise `SinkError` where no recording with this name, or with a number after it, can be written.

    Existing files do not matter. No file with the name is created, not even briefly: another program may look for a free name.
    """
    _require_video_suffix(path)
    folder = Path(path).parent
    try:
        with suppress(FileNotFoundError):
            Path(path).lstat()  # raises an error where the name is too long
        if not folder.is_dir():
            raise SinkError(f"{path}: cannot be written: the folder {folder} does not exist; create it or choose another")
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def _require_video_suffix(path: str) -> None:
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        suffixes = ", ".join(VIDEO_SUFFIXES)
        raise SinkError(f"{path}: annotated video is not written in this format; let the name end in {suffixes}")
