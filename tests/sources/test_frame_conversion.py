"""Frames with square pixels from video with any pixel aspect ratio."""

import struct
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import pytest
from av.video.reformatter import ColorRange, Colorspace

from maskstream import load_config
from maskstream.cli.opening import open_source
from maskstream.config.cameras import Camera
from maskstream.config.loading import Layer
from maskstream.config.schema import VideoConfig
from maskstream.sources import SOURCES, FileSource, UrlSource
from maskstream.sources.frame_conversion import square_size
from maskstream.stream.source_states import SourceStates
from maskstream.types import BgrImage, Frame
from tests.servers import http_server, rtsp_server, stream
from tests.sinks.test_video import annotate
from tests.video_files import BLUE, GREEN, MATRICES, RED, every, four_corners, plain, remux, set_matrix, write_video

STEADY = every(0.04, 12)


def video_config(**own: object) -> VideoConfig:
    return VideoConfig.model_validate({"segment_s": None, "crf": 23, "preset": "veryfast", **own})


def read(path: Path, video: VideoConfig | None = None) -> list[Frame]:
    with closing(FileSource(str(path), video=video)) as source:
        frames = list(source)
        assert (source.info.width, source.info.height) == (frames[0].width, frames[0].height)
        assert source.info.sample_aspect_ratio is None
        return frames


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(frame.width, frame.height) for frame in frames]


def middles(bgr: BgrImage) -> list[int]:
    """Return the colours in the centres of the four quadrants."""
    height, width = bgr.shape[:2]
    return bgr[height // 4 :: height // 2, width // 4 :: width // 2].reshape(-1).tolist()


FOUR = [*RED, *GREEN, *BLUE, 255, 255, 255]


@pytest.mark.parametrize(
    ("stored", "pixel_aspect", "shown"),
    [
        ((320, 360), 2, (640, 360)),
        ((352, 576), Fraction(128, 117), (385, 576)),  # half D1 in 4:3 would be 24:11
        ((720, 576), Fraction(64, 45), (1024, 576)),
        ((720, 576), Fraction(16, 15), (768, 576)),
        ((720, 480), Fraction(8, 9), (720, 540)),
        ((704, 288), Fraction(6, 11), (704, 528)),
        ((1440, 1080), Fraction(4, 3), (1920, 1080)),
        ((640, 360), 1, (640, 360)),
        ((640, 360), None, (640, 360)),
        ((640, 360), Fraction(0), (640, 360)),
        ((640, 360), Fraction(-2), (640, 360)),
        ((640, 360), Fraction(1000), (640, 360)),
        ((640, 360), Fraction(1, 1000), (640, 360)),
        ((1280, 720), Fraction(1280, 1281), (1280, 720)),
    ],
)
def test_size_in_square_pixels(stored: tuple[int, int], pixel_aspect: Fraction | None, shown: tuple[int, int]) -> None:
    assert square_size(*stored, pixel_aspect) == shown


def test_images_do_not_outgrow_the_limit() -> None:
    assert square_size(100, 100, 2.0, max_pixels=20_000) == (200, 100)
    assert square_size(100, 100, 2.0, max_pixels=19_999) == (100, 100)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize(
    ("stored", "pixel_aspect", "shown"), [((32, 64), Fraction(2), (64, 64)), ((64, 32), Fraction(1, 2), (64, 64))]
)
def test_pixels_become_square(
    tmp_path: Path, suffix: str, stored: tuple[int, int], pixel_aspect: Fraction, shown: tuple[int, int]
) -> None:
    path = write_video(
        tmp_path / f"clip.{suffix}",
        STEADY,
        size=stored,
        codec="mpeg4" if suffix == "avi" else "libx264",
        time_base=Fraction(1, 25),
        image=lambda _: four_corners(stored),
        pixel_aspect=pixel_aspect,
    )
    frames = read(path)
    assert sizes(frames) == [shown] * 12
    assert middles(frames[5].bgr) == pytest.approx(FOUR, abs=16)
    assert [frame.time_s for frame in frames] == pytest.approx(STEADY, abs=0.001)


def test_the_container_has_priority_over_the_codec(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", STEADY, size=(32, 64), pixel_aspect=Fraction(3))
    data = path.read_bytes()
    at = data.index(b"pasp") + 4
    path.write_bytes(data[:at] + struct.pack(">II", 2, 1) + data[at + 8 :])
    with av.open(path) as container:
        assert container.streams.video[0].sample_aspect_ratio == 2
        assert next(container.decode(video=0)).width == 32
        assert container.streams.video[0].codec_context.sample_aspect_ratio == 3
    assert sizes(read(path)) == [(64, 64)] * 12


def test_a_codec_without_pixel_aspect_ratio(tmp_path: Path) -> None:
    fast = {"deadline": "realtime", "cpu-used": "8"}
    path = write_video(tmp_path / "clip.mp4", STEADY, size=(32, 64), codec="libvpx-vp9", options=fast, pixel_aspect=Fraction(2))
    assert sizes(read(path)) == [(64, 64)] * 12


def test_pixels_become_square_before_the_rotation(tmp_path: Path) -> None:
    stored = four_corners((64, 32))
    path = write_video(tmp_path / "clip.mp4", STEADY, size=(64, 32), image=lambda _: stored, pixel_aspect=Fraction(2))
    frames = read(set_matrix(path, MATRICES["quarter turn right"]))
    assert sizes(frames) == [(32, 128)] * 12
    assert middles(frames[0].bgr) == pytest.approx([*BLUE, *RED, 255, 255, 255, *GREEN], abs=16)


@pytest.mark.parametrize(("codec", "widths"), [("libx264", (77, 102)), ("mpeg2video", (77, 103))])
def test_the_ratio_may_change_during_a_stream(tmp_path: Path, codec: str, widths: tuple[int, int]) -> None:
    """As in a broadcast between 4:3 and 16:9."""
    parts = [
        write_video(
            tmp_path / f"{number}.ts",
            STEADY,
            size=(72, 58),
            codec=codec,
            pixel_aspect=aspect,
            options={"bf": "2", "b": "1M"},
            time_base=Fraction(1, 25),
        )
        for number, aspect in enumerate([Fraction(16, 15), Fraction(64, 45)])
    ]
    later = remux([parts[1]], tmp_path / "later.ts", shift_s=0.48)
    both = tmp_path / "both.ts"
    both.write_bytes(parts[0].read_bytes() + later.read_bytes())
    assert sizes(read(both)) == [(widths[0], 58)] * 12 + [(widths[1], 58)] * 12


@pytest.mark.parametrize("said", ["20/1", "1/20", "1001/1000"])
def test_impossible_ratios_are_ignored(tmp_path: Path, said: str) -> None:
    path = write_video(tmp_path / "clip.ts", STEADY, options={"x264-params": f"sar={said}"})
    assert sizes(read(path)) == [(64, 48)] * 12


@pytest.mark.parametrize("said", [None, Fraction(4, 3)])
def test_the_setting_has_priority_over_the_video(tmp_path: Path, said: Fraction | None) -> None:
    path = write_video(tmp_path / "clip.mp4", STEADY, pixel_aspect=said)
    assert sizes(read(path, video_config(pixel_aspect=0.5))) == [(64, 96)] * 12
    config = load_config(layers=[Layer.of_assignment("video.pixel_aspect=2.0")])
    with closing(SOURCES["file"](str(path), "clip", config)) as source:
        assert source.info.width == 128


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "colorspace"),
    [
        ("camera.avi", "mjpeg", "yuvj420p", None),  # JPEG is BT.601 at any size
        ("phone.mp4", "libx264", "yuv420p10le", Colorspace.ITU709),
        ("small.mp4", "libx264", "yuv420p", None),
    ],
)
@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, (40, 120, 200)])
def test_colours_of_sdr(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, colorspace: Colorspace | None, colour: tuple[int, int, int]
) -> None:
    size = (160, 120) if name == "small.mp4" else (1280, 720)
    color_range = ColorRange.JPEG if codec == "mjpeg" else ColorRange.MPEG
    path = write_video(
        tmp_path / name,
        [0],
        size=size,
        codec=codec,
        pix_fmt=pix_fmt,
        time_base=Fraction(1, 25),
        image=lambda _: plain(colour, size),
        colorspace=colorspace,
        color_range=color_range,
    )
    assert read(path)[0].bgr[60, 80].tolist() == pytest.approx(colour, abs=8)


def test_output_has_square_pixels(tmp_path: Path) -> None:
    stored = four_corners((32, 64))
    path = write_video(tmp_path / "clip.mp4", STEADY, size=(32, 64), image=lambda _: stored, pixel_aspect=Fraction(2))
    with av.open(annotate(path, tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.sample_aspect_ratio in (None, 1)
        assert stream.codec_context.sample_aspect_ratio in (None, 1)
    assert [(frame.width, frame.height) for frame in frames] == [(64, 64)] * 12
    assert middles(frames[5].reformat(format="bgr24").to_ndarray()) == pytest.approx(FOUR, abs=16)


@pytest.fixture
def squeezed(tmp_path: Path) -> Path:
    stored = (80, 96)
    return write_video(
        tmp_path / "clip.ts",
        every(0.04, 50),
        size=stored,
        image=lambda _: four_corners(stored),
        pixel_aspect=Fraction(2),
        options={"g": "5"},
    )


@pytest.fixture
def camera_url(squeezed: Path) -> Iterator[str]:
    with http_server({"/live": stream(squeezed.read_bytes(), "video/mp2t", lasts_s=0.2)}) as address:
        yield f"{address}/live"


def test_camera_on_a_server(camera_url: str) -> None:
    config = load_config()
    with closing(UrlSource(camera_url, config.network)) as source:
        assert source.info.live
        assert (source.info.width, source.info.height) == (160, 96)
        frames = list(islice(source, 5))
    assert sizes(frames) == [(160, 96)] * 5
    with closing(UrlSource(camera_url, config.network, video=video_config(pixel_aspect=0.5))) as source:
        assert (source.info.width, source.info.height) == (80, 192)


def test_the_setting_reaches_a_camera(camera_url: str) -> None:
    config = load_config(layers=[Layer.of_assignment("video.pixel_aspect=0.5")])
    with closing(open_source(Camera("gate", camera_url, config), SourceStates(), alone=True)) as source:
        assert sizes(list(islice(source, 2))) == [(80, 192)] * 2


def test_rtsp_camera(rtsp_tools: None, squeezed: Path) -> None:
    with rtsp_server(squeezed) as camera, closing(UrlSource(camera.url(), load_config().network)) as source:
        assert (source.info.width, source.info.height) == (160, 96)
        assert middles(next(iter(source)).bgr) == pytest.approx(FOUR, abs=40)
