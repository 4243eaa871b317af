"""Convert high dynamic range and wide colours (HLG, PQ, BT.2020, Display P3) to BT.709, which screens and models expect."""

import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter
from loguru import logger
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64]

WHITE_NITS: Final = 203.0
"""Luminance of SDR white: HDR Reference White (ITU-R BT.2408-7, 2.1)."""
PEAK_NITS: Final = 1000.0
"""Brightest light that does not clip: HLG's nominal peak (BT.2100-2, table 5), and the mastering peak of most PQ video."""

_D65: Final = (0.3127, 0.3290)
_PRIMARIES: Final[dict[int, tuple[tuple[float, float], ...]]] = {
    ColorPrimaries.BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),  # BT.709-6, 1.3
    ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020-2, table 3
    ColorPrimaries.SMPTE432: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3, SMPTE EG 432-1
}
"""Chromaticities x, y of red, green, blue."""
_WIDE: Final = frozenset({ColorPrimaries.BT2020.value, ColorPrimaries.SMPTE432.value})
_HDR: Final = frozenset({ColorTrc.SMPTE2084.value, ColorTrc.ARIB_STD_B67.value})
_SDR_GAMMA: Final = 2.4  # BT.1886, annex 1, with black at 0
_STEPS: Final = 33
"""Entries of the table along each of red, green, blue."""


@dataclass(frozen=True)
class Colours:
    """How a video encodes light."""

    transfer: int
    """Value of `VideoFrame.color_trc`."""
    primaries: int
    """Value of `VideoFrame.color_primaries`."""

    @classmethod
    def of(cls, frame: VideoFrame) -> "Colours | None":
        """Return the colours of a frame that must be converted; None for SDR video in BT.709."""
        hdr, wide = frame.color_trc in _HDR, frame.color_primaries in _WIDE
        if not hdr and not wide:
            return None
        is_known = frame.color_primaries in _PRIMARIES
        primaries = frame.color_primaries if is_known else ColorPrimaries.BT2020.value
        return cls(frame.color_trc if hdr else ColorTrc.BT709.value, primaries)


class ToSdr:
    """Convert frames with a colour table, FFmpeg's `lut3d`.

    The filter reads the table from a file. If no temporary file can be written, FFmpeg's own conversion is used: it is slower,
    and clips light above SDR white.
    """

    def __init__(self) -> None:
        """Build no filter; `convert` does."""
        self._without_table: VideoReformatter | None = None
        self._graph: av.filter.Graph | None = None
        self._built_for: tuple[int, int, Colours] | None = None

    def convert(self, rgb: VideoFrame, colours: Colours) -> VideoFrame:
        """Return a frame in BT.709, gamma 2.4.

        Args:
            rgb: A frame in `gbrp16le`.
            colours: Its transfer function and primaries.
        """
        wanted = (rgb.width, rgb.height, colours)
        if self._without_table is None and self._built_for != wanted:
            try:
                self._graph, self._built_for = _built(*wanted), wanted
            except OSError as error:
                logger.warning(
                    "HDR is converted slowly: no temporary file can be written ({}); set TMPDIR", error.strerror or error
                )
                self._graph, self._without_table = None, VideoReformatter()
        if self._graph is not None:
            self._graph.vpush(rgb)
            return self._graph.vpull()
        rgb.color_trc, rgb.color_primaries = colours.transfer, colours.primaries
        converter = self._without_table or VideoReformatter()
        to_709 = {"dst_color_trc": ColorTrc.BT709, "dst_color_primaries": ColorPrimaries.BT709}
        return converter.reformat(rgb, format="gbrp16le", threads=1, **to_709)


def _built(width: int, height: int, colours: Colours) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{width}x{height}",
        pix_fmt="gbrp16le",
        time_base="1/1000",
        pixel_aspect="1/1",
        colorspace="gbr",
        range="pc",
    )
    with tempfile.TemporaryDirectory(prefix="maskstream-") as folder:  # the filter reads the file once
        table = Path(folder, "to_sdr.cube")
        table.write_text(_cube(colours), "ascii")
        graph.link_nodes(source, graph.add("lut3d", file=str(table), interp="tetrahedral"), graph.add("buffersink"))
    graph.configure()
    return graph


@lru_cache(maxsize=8)
def _cube(colours: Colours) -> str:
    """Return the table as text of a .cube file: red changes fastest."""
    steps = np.linspace(0, 1, _STEPS)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    table = sdr_of(np.stack([red, green, blue], axis=-1).reshape(-1, 3), colours)
    lines = (f"{red:.5f} {green:.5f} {blue:.5f}" for red, green, blue in table.tolist())
    return "\n".join([f"LUT_3D_SIZE {_STEPS}", *lines, ""])


def sdr_of(signal_rgb: Values, colours: Colours) -> Values:
    """Convert a signal to SDR in BT.709.

    Args:
        signal_rgb: (N, 3), R'G'B' from 0 to 1 as the video has it.
        colours: Its transfer function and primaries.

    Returns:
        (N, 3), R'G'B' from 0 to 1 in BT.709, for a screen as in BT.1886. Colours outside of BT.709 are clipped.
    """
    if colours.transfer == ColorTrc.ARIB_STD_B67:
        light = _tone_mapped(_hlg_nits(signal_rgb)) / WHITE_NITS
    elif colours.transfer == ColorTrc.SMPTE2084:
        light = _tone_mapped(_pq_nits(signal_rgb)) / WHITE_NITS
    else:
        light = signal_rgb**_SDR_GAMMA
    to_709 = np.linalg.inv(_to_xyz(ColorPrimaries.BT709)) @ _to_xyz(colours.primaries)  # linear light, SMPTE RP 177
    in_709 = light @ to_709.T
    return np.clip(in_709, 0, 1) ** (1 / _SDR_GAMMA)


def _hlg_nits(signal_rgb: Values) -> Values:
    """Return displayed light: the inverse OETF and the OOTF of BT.2100-2, table 5, for a screen of 1000 nits."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal_rgb <= 0.5, signal_rgb**2 / 3, (np.exp((signal_rgb - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return np.asarray(PEAK_NITS * luminance[:, None] ** 0.2 * scene, np.float64)


_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _pq_nits(signal: Values) -> Values:
    """Return displayed light: the EOTF of BT.2100-2, table 4."""
    root = signal ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1), np.float64)


def _pq_signal(nits: Values) -> Values:
    """Return the inverse of `_pq_nits`."""
    powered = (np.maximum(nits, 0) / 10_000) ** _M1
    return ((_C1 + _C2 * powered) / (1 + _C3 * powered)) ** _M2


def _tone_mapped(nits_rgb: Values) -> Values:
    """Compress light of up to `PEAK_NITS` below `WHITE_NITS`: the EETF of BT.2390-11, 5.4.1, on the brightest of R, G, B.

    Light below 92 nits, as of most faces, is not changed. Hue and saturation are not changed either.
    """
    brightest = np.clip(nits_rgb.max(axis=1, keepdims=True), 1e-6, None)
    peak, white = _pq_signal(np.array([PEAK_NITS, WHITE_NITS]))
    highest = white / peak
    knee = 1.5 * highest - 0.5
    level = np.minimum(_pq_signal(brightest) / peak, 1)
    t = np.maximum(level - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * highest
    mapped = _pq_nits(np.where(level < knee, level, spline) * peak)
    return np.asarray(nits_rgb * (mapped / brightest), np.float64)


def _to_xyz(primaries: int) -> Values:
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (*_PRIMARIES[primaries], _D65)]).T
    return np.asarray(columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3]), np.float64)
