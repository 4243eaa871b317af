"""HDR and wide colours after conversion to SDR."""

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc

from maskstream.sources import FileSource
from maskstream.sources.hdr import PEAK_NITS, WHITE_NITS, Colours, ToSdr, Values, sdr_of
from maskstream.types import BgrImage
from tests.conftest import DEMO
from tests.video_files import INTERLACED, every, write_video

HLG = Colours(ColorTrc.ARIB_STD_B67, ColorPrimaries.BT2020)
PQ = Colours(ColorTrc.SMPTE2084, ColorPrimaries.BT2020)
WIDE = Colours(ColorTrc.BT709, ColorPrimaries.BT2020)
P3 = Colours(ColorTrc.BT709, ColorPrimaries.SMPTE432)
ALL = {"hlg": HLG, "pq": PQ, "wide": WIDE, "p3": P3}

FROM_709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""Light of BT.709 in the primaries of BT.2020 (ITU-R BT.2087-0, annex 2)."""


def grey(signal: float, colours: Colours) -> float:
    """Return the SDR signal of a grey, which remains grey."""
    shown = sdr_of(np.full((1, 3), signal), colours)[0]
    assert shown == pytest.approx([shown[0]] * 3, abs=1e-3)
    return float(shown[0])


@pytest.mark.parametrize(
    ("colours", "signal", "nits"),
    [(HLG, 0.38, 26), (HLG, 0.22, 6.8), (PQ, 0.38, 26), (PQ, 0.508, 100.0 * 0.917)],
    ids=["grey card in HLG", "black card in HLG", "grey card in PQ", "just below the knee in PQ"],
)
def test_what_is_not_brighter_than_faces_keeps_its_light(colours: Colours, signal: float, nits: float) -> None:
    """Signals and luminances of ITU-R BT.2408-7, table 1."""
    assert grey(signal, colours) ** 2.4 * WHITE_NITS == pytest.approx(nits, rel=0.1)


@pytest.mark.parametrize(("colours", "white"), [(HLG, 0.75), (PQ, 0.58)], ids=["HLG", "PQ"])
def test_white_is_nearly_white_and_the_peak_is_white(colours: Colours, white: float) -> None:
    """HDR Reference White of BT.2408-7, table 1: 203 nits."""
    assert 0.87 < grey(white, colours) < 0.93
    assert grey(1.0, colours) == pytest.approx(1.0, abs=0.002)


@pytest.mark.parametrize("colours", ALL.values(), ids=ALL)
def test_brighter_stays_brighter(colours: Colours) -> None:
    ends_at = 0.75 if colours is PQ else 1.0  # PQ of 1000 nits
    shown = [grey(signal, colours) for signal in np.linspace(0, ends_at, 100)]
    assert shown[0] == pytest.approx(0, abs=0.01)
    assert min(np.diff(shown)) > 0


def hlg_signal(scene: Values) -> Values:
    """Return the OETF of HLG (BT.2100-2, table 5)."""
    bright = 0.17883277 * np.log(12 * scene.clip(1 / 12) - 0.28466892) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def test_hlg_and_pq_of_the_same_light_look_the_same() -> None:
    scene = np.random.default_rng(0).uniform(0, 1, (100, 3))
    light = PEAK_NITS * (scene @ [0.2627, 0.6780, 0.0593])[:, None] ** 0.2 * scene
    hlg = hlg_signal(scene)
    powered = (light / 10_000) ** 0.1593017578125
    pq = ((0.8359375 + 18.8515625 * powered) / (1 + 18.6875 * powered)) ** 78.84375
    assert sdr_of(hlg, HLG) == pytest.approx(sdr_of(pq, PQ), abs=1e-4)


@pytest.mark.parametrize("rgb", [(0.9, 0.05, 0.05), (0.1, 0.8, 0.1), (0.1, 0.1, 0.9), (0.8, 0.6, 0.5)])
def test_colours_of_bt709_come_back_from_bt2020(rgb: tuple[float, float, float]) -> None:
    wide = (FROM_709 @ np.array(rgb) ** 2.4) ** (1 / 2.4)
    assert sdr_of(wide[None], WIDE)[0] == pytest.approx(rgb, abs=0.01)


@pytest.mark.parametrize("colours", ALL.values(), ids=ALL)
def test_the_table_equals_the_formulas(colours: Colours) -> None:
    signal = np.random.default_rng(0).integers(0, 65536, (48, 64, 3), np.uint16)
    shown = ToSdr().convert(VideoFrame.from_ndarray(signal, format="gbrp16le"), colours).to_ndarray() / 65535
    exact = sdr_of(signal.reshape(-1, 3) / 65535, colours).reshape(48, 64, 3)
    assert np.abs(shown - exact).mean() < 0.005


@pytest.mark.parametrize(
    ("transfer", "primaries", "expected"),
    [
        (ColorTrc.UNSPECIFIED, ColorPrimaries.UNSPECIFIED, None),
        (ColorTrc.BT709, ColorPrimaries.BT709, None),
        (ColorTrc.SMPTE170M, ColorPrimaries.SMPTE170M, None),
        (ColorTrc.GAMMA28, ColorPrimaries.BT470BG, None),
        (ColorTrc.IEC61966_2_1, ColorPrimaries.BT709, None),
        (ColorTrc.ARIB_STD_B67, ColorPrimaries.BT2020, HLG),
        (ColorTrc.SMPTE2084, ColorPrimaries.BT2020, PQ),
        (ColorTrc.SMPTE2084, ColorPrimaries.UNSPECIFIED, PQ),
        (ColorTrc.BT2020_10, ColorPrimaries.BT2020, WIDE),
        (ColorTrc.IEC61966_2_1, ColorPrimaries.SMPTE432, P3),
    ],
)
def test_what_is_converted(transfer: ColorTrc, primaries: ColorPrimaries, expected: Colours | None) -> None:
    frame = VideoFrame(16, 16, "yuv420p")
    frame.color_trc, frame.color_primaries = transfer, primaries
    assert Colours.of(frame) == expected


GREY_CARD = (64 + round(0.38 * 876), 512, 512)
"""Y, Cb, Cr in 10 bits of 38 % in HLG: 26 nits."""
BARS = [
    (180, 180, 180),
    (16, 180, 180),
    (180, 180, 16),
    (16, 180, 16),
    (180, 16, 180),
    (16, 16, 180),
    (180, 16, 16),
    (80, 110, 200),
]


def bars(_: int) -> BgrImage:
    """Return colour bars of 75 %, and one of skin."""
    return np.repeat(np.repeat(np.array([BARS], np.uint8), 96, axis=0), 16, axis=1)


CONVERSIONS = {
    "hlg": ("t=arib-std-b67", "arib-std-b67"),
    "pq": ("t=smpte2084", "smpte2084"),
    "wide": ("t=2020_10", "bt2020-10"),
}
"""Names in FFmpeg's `zscale` and in x265."""
TAGGED = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
LINEAR = "zscale=t=linear:npl=203,format=gbrpf32le"  # SDR's white becomes HDR Reference White
TAGS = ["log-level=error", "colorprim=bt2020", "colormatrix=bt2020nc"]


def converted(ffmpeg: str, source: Path, target: Path, kind: str, length_s: float = 0.2) -> Path:
    """Write the first frames of an SDR video as an HDR camera records them: 10 bits, HEVC, tagged."""
    to, tag = CONVERSIONS[kind]
    filters = f"{TAGGED},{LINEAR},zscale=p=2020:m=2020_ncl:r=limited:npl=203:{to},format=yuv420p10le"
    coding = ["-c:v", "libx265", "-crf", "12", "-preset", "ultrafast", "-x265-params", ":".join([*TAGS, f"transfer={tag}"])]
    inputs = ["-v", "error", "-y", "-i", str(source), "-t", str(length_s), "-an"]
    subprocess.run([ffmpeg, *inputs, "-vf", filters, *coding, "-tag:v", "hvc1", str(target)], check=True)
    return target


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_hdr_looks_like_its_sdr_original(tmp_path: Path, system_tool: Callable[[str], str], kind: str) -> None:
    hdr = converted(system_tool("ffmpeg"), DEMO, tmp_path / "hdr.mp4", kind)
    with av.open(hdr) as container:
        untreated = next(container.decode(video=0)).reformat(format="bgr24").to_ndarray()
    with closing(FileSource(str(DEMO))) as source, closing(FileSource(str(hdr))) as other:
        before, after = ([frame.bgr.astype(np.int16) for frame in islice(each, 5)] for each in (source, other))
    distances = [np.abs(one - two).mean() for one, two in zip(before, after, strict=True)]
    assert max(distances) < 6
    assert max(distances) < np.abs(before[0] - untreated).mean() / (3 if kind != "wide" else 1.5)


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_colour_bars(tmp_path: Path, system_tool: Callable[[str], str], kind: str) -> None:
    """`zscale` makes the others: it applies the OOTF of HLG to R, G and B separately, while BT.2100 uses the luminance."""
    if kind == "hlg":
        path = write_hlg_bars(tmp_path / "hlg.mkv")
    else:
        sdr = write_video(tmp_path / "sdr.mp4", every(0.04, 5), size=(128, 96), image=bars, colorspace=Colorspace.ITU709)
        path = converted(system_tool("ffmpeg"), sdr, tmp_path / "hdr.mp4", kind)
    with closing(FileSource(str(path))) as source:
        shown = next(iter(source)).bgr
    assert shown[48, 8::16].astype(int) == pytest.approx(bars(0)[48, 8::16].astype(int), abs=14)


def write_hlg_bars(path: Path) -> Path:
    light = WHITE_NITS / PEAK_NITS * (bars(0)[..., ::-1] / 255) ** 2.4 @ FROM_709.T
    luminance = light @ [0.2627, 0.6780, 0.0593]
    signal = hlg_signal(light * luminance[..., None] ** (1 / 1.2 - 1))
    rgb = VideoFrame.from_ndarray(np.round(signal * 65535).astype(np.uint16), format="gbrp16le")
    frame = rgb.reformat(format="yuv420p10le", dst_colorspace=Colorspace.BT2020)
    return write_frames(path, [frame])


def write_frames(path: Path, frames: Sequence[VideoFrame], pixel_aspect: Fraction = Fraction(1), **options: str) -> Path:
    """Write frames of 10 bits as HLG."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4", **options})
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = frames[0].width, frames[0].height, "yuv420p10le"
        context.sample_aspect_ratio = pixel_aspect
        context.color_trc, context.color_primaries, context.colorspace = HLG.transfer, HLG.primaries, Colorspace.BT2020
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_hdr_of_interlaced_oblong_pixels(tmp_path: Path) -> None:
    """All in one video, as in broadcasts: HLG in 1080i of 1440 x 1080."""
    frames = [VideoFrame(144, 108, "yuv420p10le") for _ in range(4)]
    for plane, value in [pair for frame in frames for pair in zip(frame.planes, GREY_CARD, strict=True)]:
        plane.update(np.full(plane.buffer_size // 2, value, np.uint16))
    path = write_frames(tmp_path / "clip.mkv", frames, Fraction(4, 3), **INTERLACED)
    with av.open(path) as container:
        assert next(container.decode(video=0)).interlaced_frame
    with closing(FileSource(str(path))) as source:
        shown = list(source)
    assert [(frame.width, frame.height) for frame in shown] == [(192, 108)] * 4
    assert [frame.bgr.mean() for frame in shown] == pytest.approx([255 * (26 / WHITE_NITS) ** (1 / 2.4)] * 4, abs=3)


def test_no_place_for_temporary_files(monkeypatch: pytest.MonkeyPatch, warnings_logged: list[str]) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    signal = np.full((48, 64, 3), round(0.38 * 65535), np.uint16)
    to_sdr = ToSdr()
    shown = [to_sdr.convert(VideoFrame.from_ndarray(signal, format="gbrp16le"), PQ).to_ndarray() for _ in range(2)]
    assert [each.mean() / 65535 for each in shown] == pytest.approx([grey(0.38, PQ)] * 2, abs=0.01)
    (line,) = warnings_logged
    assert "TMPDIR" in line
