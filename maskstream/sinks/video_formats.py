"""What annotated video can be written as, by the suffix of its name."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

import av

from maskstream.config.schema import VideoConfig
from maskstream.errors import SinkError
from maskstream.io.files import tighten
from maskstream.io.output_paths import require_regular_file, require_writable
from maskstream.types import SourceInfo

FALLBACK_FPS: Final = 25.0

_MILLISECOND: Final = Fraction(1, 1000)
_FRAGMENT_S: Final = 0.5
"""So much is lost at most where the program is killed, and what the encoder still holds."""
_WAIT_FOR_SOUND_S: Final = 0.1
_HYBRID_SINCE: Final = (61, 7, 0)  # libavformat
_FALLBACK_TIME_BASE: Final = Fraction(1, 90_000)
_MP4_LONGEST_UNITS: Final = 2**31 - 2**16
"""How long a frame may be shown in an MP4, in units of time, with some room."""
_AVI_LONGEST_UNITS: Final = 59_000
"""FFmpeg refuses to leave out more than 60,000 pictures of an AVI in a row."""
_AVI_LONGEST_S: Final = 60.0
"""Players read an AVI slowly whose sound lies far from its pictures."""
_AVI_FINE_FPS: Final = 100.0
_AVI_RATES: Final = (24_000 / 1001, 30_000 / 1001, 60_000 / 1001)
_WORST_CRF_OF_VP9: Final = 63
_CRF_OF_VP9: Final = 1.5
"""Times that of H.264: of `assets/demo.mp4` in this way, files of both are as large and as good, at 23."""


@dataclass(frozen=True)
class Container:
    """A kind of file for annotated video."""

    muxer: str
    """FFmpeg's name for it."""
    video_encoder: str
    """FFmpeg's name for what encodes the pictures."""
    sound_encoder: str
    """FFmpeg's name for what encodes sound that is not copied."""
    copied: frozenset[str] | None
    """Codecs of sound that are copied, as far as the muxer takes them; None: all of those."""
    longest_units: int
    """How long a frame may be shown, in units of the time base; see `longest`."""
    time_base: Callable[[SourceInfo, float], Fraction]
    """Returns the unit of time for a source, of which so many seconds will be shown."""
    options: Mapping[str, str]
    """Of the muxer."""
    longest_s: float = inf
    """How long a frame may be shown, in seconds."""
    has_times: bool = True
    """Whether it says when a packet is due; where it does not, picture and sound begin at 0, and gaps are filled."""

    def copies(self, codec: str, target: av.container.OutputContainer) -> bool:
        """Return whether sound of this codec is copied as it is."""
        return (self.copied is None or codec in self.copied) and codec in target.supported_codecs

    def longest(self, unit_s: Fraction) -> int:
        """Return how long a frame may be shown, in units of this length."""
        return int(min(self.longest_units, self.longest_s / unit_s))

    def encoder_options(self, config: VideoConfig) -> dict[str, str]:
        """Return the options of the encoder of pictures.

        VP9 has its own scale of quality, 0 to 63, and takes 1.5 times `video.crf`; its speed is fixed.
        """
        if self.video_encoder == "libx264":
            return {"crf": str(config.crf), "preset": config.preset, "tune": "zerolatency"}
        crf = min(round(config.crf * _CRF_OF_VP9), _WORST_CRF_OF_VP9)
        fast = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "lag-in-frames": "0", "auto-alt-ref": "0"}
        return {"crf": str(crf)} | fast

    def open(self, path: str) -> av.container.OutputContainer:
        """Create or replace the file, readable by whom `privacy.readable_by` allows."""
        always = {"flush_packets": "1", "max_interleave_delta": str(round(_WAIT_FOR_SOUND_S * 1e6))}
        container = av.open(f"file:{path}", "w", format=self.muxer, container_options=always | dict(self.options))
        tighten(path)
        return container


def container_of(path: str) -> Container:
    """Return the container for a name that ends in one of the suffixes of `CONTAINERS`."""
    return CONTAINERS[Path(path).suffix.lower()]


def _mp4_time_base(info: SourceInfo, lasts_s: float) -> Fraction:
    """The source's own unit of time, divided where it is too coarse for frames out of step, coarser where it lasts very long.

    In an MP4 the unit is what the denominator says, and no frame may be shown longer than `_MP4_LONGEST_UNITS` of it.
    """
    own = info.time_base or _FALLBACK_TIME_BASE
    fine = own if own <= _MILLISECOND else own / 1000
    most_units_per_s = max(_MILLISECOND.denominator, int(_MP4_LONGEST_UNITS / (lasts_s + 1)))
    return fine if fine.denominator <= most_units_per_s else Fraction(1, most_units_per_s)


def _matroska_time_base(_info: SourceInfo, _lasts_s: float) -> Fraction:
    """FFmpeg writes whole milliseconds."""
    return _MILLISECOND


def _avi_time_base(info: SourceInfo, _lasts_s: float) -> Fraction:
    """One picture of the file's constant rate, which is that of the source where it can be constant there.

    An AVI has no times: a frame is shown until the next one, and pictures in between are left empty.
    """
    fps = info.average_fps
    if not info.live and fps and (abs(fps - round(fps)) < 1e-3 * fps or any(abs(fps - rate) < 1e-4 * fps for rate in _AVI_RATES)):
        return 1 / Fraction(fps).limit_denominator(1001)
    return Fraction(1, round(max(_AVI_FINE_FPS, 2 * (fps or 0.0))))


def _mp4() -> Container:
    hybrid = tuple(av.library_versions["libavformat"]) >= _HYBRID_SINCE
    movflags = "+hybrid_fragmented+delay_moov" if hybrid else "+empty_moov+delay_moov+default_base_moof"
    played = frozenset({"aac", "mp3", "opus", "flac"})  # by browsers
    options = {"movflags": movflags, "frag_duration": str(round(_FRAGMENT_S * 1e6))}
    return Container("mp4", "libx264", "aac", played, _MP4_LONGEST_UNITS, _mp4_time_base, options)


def _matroska(muxer: str, video_encoder: str, sound_encoder: str) -> Container:
    options = {"cluster_time_limit": str(round(_FRAGMENT_S * 1e3))}
    return Container(muxer, video_encoder, sound_encoder, None, _MP4_LONGEST_UNITS, _matroska_time_base, options)


def _avi() -> Container:
    copied: frozenset[str] = frozenset()  # gaps in it would be lost
    return Container(
        "avi", "libx264", "libmp3lame", copied, _AVI_LONGEST_UNITS, _avi_time_base, {}, _AVI_LONGEST_S, has_times=False
    )


CONTAINERS: Final = {
    ".mp4": _mp4(),
    ".m4v": _mp4(),
    ".mov": _mp4(),
    ".mkv": _matroska("matroska", "libx264", "aac"),
    ".webm": _matroska("webm", "libvpx-vp9", "libopus"),
    ".avi": _avi(),
}
VIDEO_SUFFIXES: Final = tuple(CONTAINERS)


def require_video_path(path: str) -> None:
    """Leave everything as it is, or raise `SinkError` where no annotated video can be written to `path`."""
    _require_video_suffix(path)
    require_writable(path)
    require_regular_file(path, "a video is written in several places at a time")


def require_recording_path(path: str) -> None:
    """Raise `SinkError` where no recording can be made that has this name, or one with a number behind it.

    Files that are there do not matter. No file with a name is made, not for a moment: another program may look for a free one.
    """
    _require_video_suffix(path)
    folder = Path(path).parent
    try:
        with suppress(FileNotFoundError):
            Path(path).lstat()  # is the name too long?
        if not folder.is_dir():
            raise SinkError(f"{path}: cannot be written: the folder {folder} does not exist; create it or choose another")
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def _require_video_suffix(path: str) -> None:
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise SinkError(f"{path}: annotated video is not written as that; let the name end in {', '.join(VIDEO_SUFFIXES)}")
