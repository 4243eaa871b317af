"""Deinterlacing: each frame gives one complete frame, and progressive frames are not changed."""

import weakref
from contextlib import closing
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

from maskstream import load_config
from maskstream.config.loading import Layer
from maskstream.sources import SOURCES, FileSource, UrlSource
from maskstream.sources.deinterlacing import Deinterlacer
from maskstream.types import BgrImage, Frame
from tests.servers import http_server, stream
from tests.sources.test_frame_conversion import video_config
from tests.video_files import INTERLACED, combing, every, grey_index, plain, remux, woven, write_video

STEADY = every(0.04, 12)
SIZE = (160, 120)
FLAGGED = {
    "h264.mp4": {"codec": "libx264", "options": INTERLACED},
    "h264.ts": {"codec": "libx264", "options": INTERLACED},
    "h264_10_bits.mkv": {"codec": "libx264", "options": INTERLACED, "pix_fmt": "yuv422p10le"},
    "dvd.mpg": {"codec": "mpeg2video", "options": {**INTERLACED, "b": "6M"}, "time_base": Fraction(1, 25)},
}


def write_woven(path: Path, times_s: list[float] = STEADY, **own: object) -> Path:
    return write_video(path, times_s, size=SIZE, **{"image": woven, "options": INTERLACED, **own})


def read(path: Path, mode: str | bool = "auto") -> list[Frame]:
    with closing(FileSource(str(path), video=video_config(deinterlace=mode))) as source:
        return list(source)


def stored(path: Path) -> list[VideoFrame]:
    with av.open(path) as container:
        return list(container.decode(video=0))


def distance(bgr: BgrImage, other: BgrImage) -> float:
    return float(np.abs(bgr.astype(np.int16) - other).mean())


@pytest.mark.parametrize("name", FLAGGED)
def test_fields_become_complete_frames(tmp_path: Path, name: str) -> None:
    path = write_woven(tmp_path / name, **FLAGGED[name])
    frames = read(path)
    assert [frame.time_s for frame in frames] == pytest.approx(STEADY, abs=0.001)
    assert [frame.index for frame in frames] == list(range(12))
    assert max(combing(frame.bgr) for frame in frames) < 0.5
    assert min(combing(frame.bgr) for frame in read(path, mode=False)) > 1
    for index, frame in enumerate(frames):
        assert distance(frame.bgr[::2], woven(index)[::2]) < 6, "the half picture that came first stays, and its colours"


@pytest.mark.parametrize("mode", ["auto", True])
def test_frames_that_are_not_marked_as_interlaced(tmp_path: Path, mode: str | bool) -> None:
    path = write_video(tmp_path / "clip.mp4", STEADY, size=SIZE, image=woven, options={"crf": "10"})
    frames = read(path, mode)
    assert len(frames) == 12
    combs = [combing(frame.bgr) for frame in frames]
    assert max(combs) < 0.5 if mode is True else min(combs) > 1


def test_the_setting_reaches_the_source(tmp_path: Path) -> None:
    path = write_woven(tmp_path / "clip.mp4")
    config = load_config(layers=[Layer.of_assignment("video.deinterlace=false")])
    with closing(SOURCES["file"](str(path), "clip", config)) as source:
        assert min(combing(frame.bgr) for frame in source) > 1


def test_progressive_frames_pass_at_once_and_unchanged(tmp_path: Path) -> None:
    deinterlacer: Deinterlacer[int] = Deinterlacer("auto", "clip")
    for index, frame in enumerate(stored(write_video(tmp_path / "clip.mp4", STEADY))):
        ((whole, companion),) = deinterlacer.push(frame, index)
        assert whole is frame
        assert companion == index
    assert list(deinterlacer.flush()) == []


def test_progressive_frames_of_another_size_pass_unchanged(tmp_path: Path) -> None:
    interlaced = stored(write_woven(tmp_path / "woven.mp4"))
    progressive = stored(write_video(tmp_path / "plain.mp4", STEADY))
    ready = passed([*interlaced, *progressive])
    assert [companion for _, companion in ready] == list(range(24))
    assert [whole is frame for (whole, _), frame in zip(ready[12:], progressive, strict=True)] == [True] * 12


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_last_frames_are_not_lost(tmp_path: Path, count: int) -> None:
    assert len(read(write_woven(tmp_path / "clip.mp4", every(0.04, count)))) == count


@pytest.mark.parametrize("color_range", [ColorRange.MPEG, ColorRange.JPEG])
@pytest.mark.parametrize("colorspace", [Colorspace.ITU601, Colorspace.ITU709])
def test_colours_stay(tmp_path: Path, colorspace: Colorspace, color_range: ColorRange) -> None:
    colour = (40, 120, 200)
    path = write_woven(tmp_path / "clip.mp4", image=lambda _: plain(colour, SIZE), colorspace=colorspace, color_range=color_range)
    assert read(path)[3].bgr[60, 80].tolist() == pytest.approx(colour, abs=6)
    for frame, (whole, _) in zip(stored(path), passed(stored(path)), strict=True):
        assert (whole.pts, whole.time_base) == (frame.pts, frame.time_base)
        assert (whole.colorspace, whole.color_range) == (frame.colorspace, frame.color_range)


def passed(frames: list[VideoFrame], mode: str | bool = "auto") -> list[tuple[VideoFrame, int]]:
    deinterlacer: Deinterlacer[int] = Deinterlacer(mode, "clip")
    ready = [pair for index, frame in enumerate(frames) for pair in deinterlacer.push(frame, index)]
    return ready + list(deinterlacer.flush())


def test_frames_keep_their_companions_where_sizes_and_flags_change(tmp_path: Path) -> None:
    interlaced = stored(write_woven(tmp_path / "woven.mp4"))
    progressive = stored(write_video(tmp_path / "plain.mp4", STEADY, size=SIZE))
    small = stored(write_video(tmp_path / "small.mp4", STEADY, size=(64, 48), options=INTERLACED))
    frames = [*progressive, *interlaced, *progressive, *small, *interlaced]
    ready = passed(frames)
    assert [companion for _, companion in ready] == list(range(60))
    assert [whole.width for whole, _ in ready] == [frame.width for frame in frames]
    for whole, frame in zip((whole for whole, _ in ready[24:36]), progressive, strict=True):
        assert np.array_equal(whole.to_ndarray(), frame.to_ndarray()), "progressive frames keep their pixels"
    images = [whole.reformat(format="bgr24").to_ndarray() for whole, _ in ready]
    assert [grey_index(bgr) for bgr in images[36:48]] == [grey_index(bgr) for bgr in images[:12]]
    assert max(combing(bgr) for bgr in images[12:24] + images[48:]) < 0.5


@pytest.mark.parametrize("shift_s", [-100.0, 100.0])
def test_a_jump_in_time_mixes_nothing(tmp_path: Path, shift_s: float) -> None:
    """Two scenes in sequence: no frame takes its missing lines from the other scene."""
    first = write_woven(tmp_path / "first.ts", every(0.04, 4, start_s=200))
    later = remux(
        [write_video(tmp_path / "second.ts", every(0.04, 4, start_s=200), size=SIZE, options=INTERLACED)],
        tmp_path / "later.ts",
        shift_s=shift_s,
    )
    frames = [*stored(first), *stored(later)]
    alone = [whole.to_ndarray() for part in (stored(first), stored(later)) for whole, _ in passed(part)]
    ready = passed(frames)
    assert [companion for _, companion in ready] == list(range(8))
    assert [np.array_equal(whole.to_ndarray(), other) for (whole, _), other in zip(ready, alone, strict=True)] == [True] * 8


def test_camera(tmp_path: Path) -> None:
    clip = write_woven(tmp_path / "clip.ts", every(0.04, 40), options={**INTERLACED, "g": "5"})
    with (
        http_server({"/live": stream(clip.read_bytes(), "video/mp2t", lasts_s=0.2)}) as address,
        closing(UrlSource(f"{address}/live", load_config().network)) as source,
    ):
        assert source.info.live
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(40))
    assert max(combing(frame.bgr) for frame in frames) < 0.5
    assert all(before.captured_at_s < after.captured_at_s for before, after in pairwise(frames))


class Companion:
    pass


def test_three_frames_are_held_at_most(tmp_path: Path) -> None:
    frames = stored(write_woven(tmp_path / "clip.mp4", every(0.04, 50)))
    deinterlacer: Deinterlacer[Companion] = Deinterlacer("auto", "clip")
    alive: weakref.WeakSet[Companion] = weakref.WeakSet()
    most = 0
    for frame in frames:
        companion = Companion()
        alive.add(companion)
        ready = list(deinterlacer.push(frame, companion))
        del companion, ready
        most = max(most, len(alive))
    assert most <= 3


def test_frames_that_cannot_be_deinterlaced_pass_unchanged(warnings_logged: list[str]) -> None:
    frames = []
    for index in range(5):
        frame = VideoFrame.from_ndarray(np.full((2, 2, 3), index, np.uint8), format="bgr24")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        frames.append(frame)
    ready = passed(frames, mode=True)
    assert [whole is frame for (whole, _), frame in zip(ready, frames, strict=True)] == [True] * 5
    assert [companion for _, companion in ready] == list(range(5))
    assert len(warnings_logged) == 1
    assert "clip" in warnings_logged[0]
