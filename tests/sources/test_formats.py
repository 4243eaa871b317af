"""Containers, codecs and pixel formats of `tests/inputs/` that no other test writes: frames, times and sizes."""

from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskstream.config.loading import load_config
from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceOpenError
from maskstream.io.locations import location_kind
from maskstream.sources import FileSource, UrlSource
from maskstream.types import Frame
from tests.servers import LOGIN, content, http_server, locked
from tests.video_files import every, grey_index, write_video

STEADY = every(0.04, 12)
RATE = Fraction(1, 25)
BEGINS_AT_MOST_S = 0.081
"""In a container without times before 0, the video begins later by the delay of its B-frames."""
X265 = {"x265-params": "log-level=error", "preset": "ultrafast"}
QUICK_VP8 = {"deadline": "realtime", "cpu-used": "8"}
PAL = (720, 576)
DNXHR: dict[str, Any] = {"codec": "dnxhd", "pix_fmt": "yuv422p", "size": (256, 128), "options": {"profile": "dnxhr_sq"}}

CONTAINERS: dict[str, dict[str, Any]] = {
    "h265.mp4": {"codec": "libx265", "options": X265},
    "av1.mp4": {"codec": "libsvtav1", "size": (64, 64), "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "mjpeg.mp4": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "clip.m4v": {"codec": "libx264"},
    "clip.f4v": {"codec": "libx264"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "prores4444.mov": {"codec": "prores_ks", "pix_fmt": "yuva444p10le"},
    "dnxhr.mov": DNXHR,
    "animation.mov": {"codec": "qtrle", "pix_fmt": "rgb24"},
    "png.mov": {"codec": "png", "pix_fmt": "rgba"},
    "cineform.mov": {"codec": "cfhd", "pix_fmt": "yuv422p10le"},
    "jpeg2000.mov": {"codec": "jpeg2000", "pix_fmt": "yuv420p"},
    "h265_10.mkv": {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": X265},
    "ffv1.mkv": {"codec": "ffv1"},
    "vc2.mkv": {"codec": "vc2", "options": {"b": "20M"}, "size": (128, 96)},
    "vp8.webm": {"codec": "libvpx", "options": QUICK_VP8},
    "av1.webm": {"codec": "libsvtav1", "size": (64, 64), "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "divx.avi": {"codec": "msmpeg4"},
    "h264.avi": {"codec": "libx264", "options": {"bf": "0"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "huffyuv.avi": {"codec": "huffyuv", "pix_fmt": "yuv422p"},
    "ffvhuff.avi": {"codec": "ffvhuff"},
    "utvideo.avi": {"codec": "utvideo"},
    "raw.avi": {"codec": "rawvideo"},
    "rgb.avi": {"codec": "rawvideo", "pix_fmt": "bgr24"},
    "dv.avi": {"codec": "dvvideo", "size": PAL, "shown": (768, 576)},
    "clip.dv": {"codec": "dvvideo", "size": PAL, "shown": (768, 576)},
    "h264.flv": {"codec": "libx264"},
    "clip.swf": {"codec": "flv"},
    "mpeg1.mpg": {"codec": "mpeg1video"},
    "clip.vob": {"codec": "mpeg2video"},
    "h265.ts": {"codec": "libx265", "options": X265},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "clip.m2ts": {"codec": "libx264", "container_options": {"mpegts_m2ts_mode": "1"}},
    "h263.3gp": {"codec": "h263", "size": (176, 144), "shown": (192, 144)},
    "clip.3g2": {"codec": "mpeg4"},
    "clip.asf": {"codec": "msmpeg4v2"},
    "clip.wtv": {"codec": "mpeg2video"},
    "clip.rm": {"codec": "rv20", "size": (176, 144)},
    "mpeg2.mxf": {"codec": "mpeg2video"},
    "dnxhr.mxf": DNXHR,
    "clip.nut": {"codec": "ffv1"},
    "clip.ivf": {"codec": "libvpx", "options": QUICK_VP8},
    "clip.obu": {"codec": "libsvtav1", "size": (64, 64), "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "clip.apng": {"codec": "apng", "pix_fmt": "rgb24"},
    "clip.y4m": {"codec": "wrapped_avframe"},
    "clip.h264": {"codec": "libx264"},
    "clip.h265": {"codec": "libx265", "options": X265},
    "clip.mjpeg": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "clip.m2v": {"codec": "mpeg2video"},
}
PIXEL_FORMATS: dict[str, dict[str, Any]] = {
    "yuv422p": {"codec": "libx264"},
    "yuv444p": {"codec": "libx264"},
    "yuv422p10le": {"codec": "libx264"},
    "rgb24": {"codec": "libx264rgb"},
    "yuv444p12le": {"codec": "libx265", "options": X265},
    "yuva420p": {"codec": "libvpx-vp9", "options": QUICK_VP8},
    "gbrp16le": {"codec": "ffv1"},
}
STRUCTURES: dict[str, dict[str, Any]] = {
    "B-frames": {"options": {"bf": "3", "b_strategy": "0"}},
    "a pyramid of B-frames": {"options": {"bf": "8", "x264-params": "b-pyramid=strict:b-adapt=0"}},
    "open GOP": {"options": {"bf": "3", "g": "5", "x264-params": "open-gop=1"}},
    "key frames alone": {"options": {"g": "1"}},
    "slices": {"size": (128, 128), "options": {"slices": "4"}},
    "fragmented": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "index at the beginning": {"container_options": {"movflags": "faststart"}},
    "sound": {"audio": ("aac", 0.0, 0.48)},
    "sound in Opus": {"audio": ("libopus", 0.0, 0.48)},
}


def read(path: Path) -> list[Frame]:
    with closing(FileSource(str(path))) as source:
        return list(source)


def assert_whole(path: Path, size: tuple[int, int], within_s: float = 0.001) -> None:
    frames = read(path)
    assert 0 <= frames[0].time_s <= BEGINS_AT_MOST_S
    assert [frame.time_s - frames[0].time_s for frame in frames] == pytest.approx(STEADY, abs=within_s)
    assert [grey_index(frame.bgr) for frame in frames] == [index % 11 for index in range(len(STEADY))]
    assert {(frame.width, frame.height) for frame in frames} == {size}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_and_codecs(tmp_path: Path, name: str) -> None:
    how = {"size": (64, 48), **CONTAINERS[name]}
    shown = how.pop("shown", how["size"])  # in square pixels
    assert_whole(write_video(tmp_path / name, STEADY, time_base=RATE, **how), shown, within_s=0.0011)


@pytest.mark.parametrize("name", CONTAINERS)
def test_they_are_distinguished_from_images(tmp_path: Path, name: str) -> None:
    how = {"size": (64, 48), **CONTAINERS[name]}
    how.pop("shown", None)
    assert location_kind(str(write_video(tmp_path / name, every(0.04, 3), time_base=RATE, **how))) == "file"


@pytest.mark.parametrize("pix_fmt", PIXEL_FORMATS)
def test_pixel_formats(tmp_path: Path, pix_fmt: str) -> None:
    path = write_video(tmp_path / "clip.mkv", STEADY, pix_fmt=pix_fmt, **PIXEL_FORMATS[pix_fmt])
    assert_whole(path, (64, 48))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_structures(tmp_path: Path, structure: str) -> None:
    how = {"size": (64, 48), **STRUCTURES[structure]}
    assert_whole(write_video(tmp_path / "clip.mp4", STEADY, **how), how["size"])


@pytest.mark.parametrize("name", ["clip", "clip.avi", "clip.txt", "CLIP.MP4", "clip.", "x" * 240 + ".mp4", "a#b?c=d.mp4"])
def test_the_name_does_not_matter(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "made.mp4", STEADY).rename(tmp_path / name)
    assert_whole(tmp_path / name, (64, 48))


@pytest.mark.parametrize(("movflags", "least"), [("faststart", 1), ("frag_every_frame+empty_moov", 4)])
def test_truncated_mp4_gives_what_is_there(tmp_path: Path, movflags: str, least: int) -> None:
    path = write_video(tmp_path / "clip.mp4", STEADY, options={"g": "4"}, container_options={"movflags": movflags})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 9 // 10])
    frames = read(path)
    assert least <= len(frames) < len(STEADY)
    assert [frame.time_s - frames[0].time_s for frame in frames] == pytest.approx(STEADY[: len(frames)], abs=0.001)


def test_encrypted_video_is_refused(tmp_path: Path) -> None:
    key = {"encryption_key": "76a6c65c5ea762046bd749a2e632ccbb", "encryption_kid": "a7e61c373e219033c21091fa607bf3b8"}
    path = write_video(tmp_path / "clip.mp4", STEADY, container_options={"encryption_scheme": "cenc-aes-ctr", **key})
    with pytest.raises(SourceOpenError, match=r"clip\.mp4: its video is encrypted"):
        FileSource(str(path))


def test_text_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello\n" * 100)
    with pytest.raises(SourceOpenError, match=r"notes\.txt: not a video"):
        FileSource(str(path))


def test_a_file_with_its_index_at_the_end_behind_a_login(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)  # of which FFmpeg cannot keep all in its buffer
    path = write_video(tmp_path / "clip.mp4", STEADY, size=(640, 480), image=lambda index: np.roll(noise, index))
    assert path.stat().st_size > 2**19
    answers = {
        "/parts.mp4": locked(content(path.read_bytes(), "video/mp4")),
        "/whole.mp4": locked(content(path.read_bytes(), "video/mp4", ranges=False)),
    }
    with http_server(answers) as address:
        login = address.replace("//", f"//{LOGIN}")
        with closing(UrlSource(f"{login}/parts.mp4", network())) as source:
            assert len(list(source)) == len(STEADY)
        with pytest.raises(SourceOpenError):
            UrlSource(f"{login}/whole.mp4", network())


def network() -> NetworkConfig:
    return NetworkConfig.model_validate(load_config().network.model_dump() | {"max_reconnects": 0})
