import gc
import threading
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from av.video.reformatter import ColorRange, Colorspace

from maskstream.errors import SourceOpenError
from maskstream.sources import FileSource
from maskstream.types import BgrImage, Frame
from tests.slowness import LONGEST_S, promised
from tests.video_files import (
    BLUE,
    GREEN,
    MATRICES,
    RED,
    every,
    four_corners,
    grey_index,
    plain,
    remux,
    set_matrix,
    write_sound,
    write_video,
)

STEADY = every(0.04, 12)
UNSTEADY = [0.0, 0.04, 0.1, 0.5, 0.54, 1.2]
AAC_PRIMING_S = 1024 / 48_000  # silence that an AAC encoder puts before the sound

CONTAINERS = {
    "mp4": {"codec": "libx264"},
    "mkv": {"codec": "libx264"},
    "mov": {"codec": "libx264"},
    "ts": {"codec": "libx264"},
    "flv": {"codec": "flv"},
    "wmv": {"codec": "wmv2"},
    "webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "gif": {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100)},
    "avi": {"codec": "mpeg4", "time_base": Fraction(1, 25)},
    "mpg": {"codec": "mpeg2video", "time_base": Fraction(1, 25)},
}
ONE_RATE_ONLY = {"avi", "mpg"}


def read(path: Path) -> list[Frame]:
    with closing(FileSource(str(path))) as source:
        return list(source)


def assert_times(path: Path, expected_s: list[float]) -> None:
    with closing(FileSource(str(path))) as source:
        frames, unit_s = list(source), float(source.info.time_base or 0)
    assert [frame.time_s for frame in frames] == pytest.approx(expected_s, abs=unit_s)
    assert [frame.index for frame in frames] == list(range(len(expected_s)))
    assert [grey_index(frame.bgr) for frame in frames] == [index % 11 for index in range(len(expected_s))]


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_times_of_a_constant_frame_rate(tmp_path: Path, suffix: str) -> None:
    assert_times(write_video(tmp_path / f"clip.{suffix}", STEADY, **CONTAINERS[suffix]), STEADY)


@pytest.mark.parametrize("suffix", sorted(CONTAINERS.keys() - ONE_RATE_ONLY))
def test_times_of_a_variable_frame_rate(tmp_path: Path, suffix: str) -> None:
    assert_times(write_video(tmp_path / f"clip.{suffix}", UNSTEADY, **CONTAINERS[suffix]), UNSTEADY)


@pytest.mark.parametrize(("fps", "count"), [(1, 5), (120, 60), (Fraction(30_000, 1001), 30)])
def test_slow_fast_and_broken_frame_rates(tmp_path: Path, fps: Fraction | int, count: int) -> None:
    times_s = [index / float(fps) for index in range(count)]
    path = write_video(tmp_path / "clip.mp4", times_s, time_base=1 / Fraction(fps))
    assert_times(path, times_s)
    with closing(FileSource(str(path))) as source:
        assert source.info.average_fps == pytest.approx(float(fps))
        assert [frame.duration_s for frame in source] == pytest.approx([1 / float(fps)] * count, rel=0.01)


@pytest.mark.parametrize("size", [(63, 47), (3, 5), (1, 1), (2, 1)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "clip.mkv", STEADY, size=size, codec="ffv1", pix_fmt="bgr0")
    with closing(FileSource(str(path))) as source:
        assert (source.info.width, source.info.height) == size
        assert {(frame.width, frame.height) for frame in source} == {size}
    assert_times(path, STEADY)


def test_info_of_an_ordinary_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", STEADY)
    with closing(FileSource(str(path), "entrance")) as source:
        assert source.info.source_id == next(iter(source)).source_id == "entrance"
        assert (source.info.width, source.info.height, source.info.live) == (64, 48, False)
        assert (source.info.frame_count, source.info.average_fps, source.info.path) == (12, 25, str(path))
        assert source.info.duration_s == pytest.approx(0.48)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_audio_that_is_longer_than_the_video_does_not_count(tmp_path: Path, warnings_logged: list[str], suffix: str) -> None:
    path = write_video(tmp_path / f"clip.{suffix}", STEADY, audio=("aac", 0.0, 3.0))
    with closing(FileSource(str(path))) as source:
        assert len(list(source)) == 12
    assert warnings_logged == []


def test_frames_leave_no_threads_and_no_images_behind(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", every(0.04, 60))
    gc.collect()
    gc.disable()
    kept_by_others = {id(each) for each in gc.get_objects() if type(each) is av.VideoFrame}
    try:
        with closing(FileSource(str(path))) as source:
            threads = [psutil.Process().num_threads() for _ in source]
        left = [
            each
            for each in gc.get_objects()
            if type(each) is av.VideoFrame and each.width > 16 and id(each) not in kept_by_others
        ]
    finally:
        gc.enable()
    assert len(threads) == 60
    assert threads[-1] <= threads[0]
    assert left == []


@pytest.mark.parametrize("turn", MATRICES)
def test_image_is_turned_upright(tmp_path: Path, turn: str) -> None:
    stored = four_corners((64, 32))
    path = set_matrix(write_video(tmp_path / "clip.mp4", [0, 0.04], size=(64, 32), image=lambda _: stored), MATRICES[turn])
    upright = {
        "upright": stored,
        "quarter turn right": np.rot90(stored, -1),
        "half turn": np.rot90(stored, 2),
        "quarter turn left": np.rot90(stored, 1),
        "mirrored": stored[:, ::-1],
        "upside down": stored[::-1],
    }[turn]
    with closing(FileSource(str(path))) as source:
        first = next(iter(source)).bgr
        assert (source.info.height, source.info.width) == first.shape[:2] == upright.shape[:2]
    assert corners(first) == pytest.approx(corners(upright), abs=12)


def corners(bgr: BgrImage) -> list[int]:
    height, width = bgr.shape[:2]
    return bgr[height // 4 :: height // 2, width // 4 :: width // 2].reshape(-1).tolist()


def test_video_that_starts_late_keeps_its_own_times(tmp_path: Path) -> None:
    times_s = every(0.04, 10, start_s=0.8)
    assert_times(write_video(tmp_path / "clip.mp4", times_s, audio=("aac", 0.0, 1.2)), times_s)


@pytest.mark.parametrize("shift_s", [0.0, 1000.0, 95_000.0])
def test_times_count_from_the_start_where_a_clock_begins_anywhere(tmp_path: Path, shift_s: float) -> None:
    times_s = every(0.04, 10, start_s=0.8)
    clip = write_video(tmp_path / "clip.ts", times_s, audio=("aac", 0.0, 1.2))
    assert [frame.time_s for frame in read(remux([clip], tmp_path / "shifted.ts", shift_s=shift_s))] == pytest.approx(
        [time_s + AAC_PRIMING_S for time_s in times_s], abs=0.001
    )


def test_best_of_several_video_streams_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    small = write_video(tmp_path / "small.mp4", STEADY)
    large = write_video(tmp_path / "large.mp4", STEADY, size=(128, 96), image=lambda index: np.roll(noise, index))
    both = remux([small, large], tmp_path / "both.mp4", main=1)
    assert {(frame.width, frame.height) for frame in read(both)} == {(128, 96)}


def test_cover_image_is_not_video(tmp_path: Path) -> None:
    cover = plain(RED, (200, 200))
    clip = write_video(tmp_path / "clip.mp4", STEADY)
    assert_times(remux([clip], tmp_path / "covered.mp4", cover=cover), STEADY)
    song = remux([write_sound(tmp_path / "song.m4a")], tmp_path / "song.mp4", cover=cover)
    with pytest.raises(SourceOpenError, match=r"song\.mp4: it contains no video"):
        FileSource(str(song))


@pytest.mark.parametrize("color", [RED, GREEN, BLUE, (40, 120, 200)])
@pytest.mark.parametrize(
    ("colorspace", "color_range"),
    [
        (None, ColorRange.MPEG),
        (Colorspace.ITU601, ColorRange.MPEG),
        (Colorspace.ITU709, ColorRange.MPEG),
        (Colorspace.ITU601, ColorRange.JPEG),
        (Colorspace.ITU709, ColorRange.JPEG),
    ],
)
def test_colours(tmp_path: Path, color: tuple[int, int, int], colorspace: Colorspace | None, color_range: ColorRange) -> None:
    path = write_video(tmp_path / "clip.mp4", [0], image=lambda _: plain(color), colorspace=colorspace, color_range=color_range)
    assert read(path)[0].bgr[24, 32].tolist() == pytest.approx(color, abs=6)


def test_high_definition_that_does_not_say_its_colours_is_bt709(tmp_path: Path) -> None:
    untagged = write_untagged_bt709(tmp_path / "clip.mkv", (1280, 720))
    assert read(untagged)[0].bgr[360, 640].tolist() == pytest.approx(RED, abs=6)


def write_untagged_bt709(path: Path, size: tuple[int, int]) -> Path:
    """Write red in BT.709, Y = 63, Cb = 102, Cr = 240 (ITU-R BT.709-6, 3.3-3.5), without stating the colour space."""
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        planes = np.broadcast_to(np.array([63, 102, 240], np.uint8)[:, None, None], (3, size[1], size[0]))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv444p")
        frame.pts, frame.time_base = 0, Fraction(1)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi"])
def test_a_truncated_file_is_read_to_its_last_frame_and_logged(tmp_path: Path, warnings_logged: list[str], suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    path = write_video(
        tmp_path / f"clip.{suffix}", every(0.1, 60), codec="mpeg4", time_base=Fraction(1, 10), image=lambda i: np.roll(noise, i)
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    frames = read(path)
    assert 15 < len(frames) < 45
    assert [frame.time_s for frame in frames] == pytest.approx(every(0.1, len(frames)), abs=0.001)
    assert any(str(path) in message for message in warnings_logged) or suffix == "ts"  # a TS does not know its length


@pytest.mark.parametrize("damaged", [0, 5, 10, 11])
def test_only_damaged_packets_are_skipped(tmp_path: Path, warnings_logged: list[str], damaged: int) -> None:
    path = write_video(tmp_path / "clip.avi", STEADY, codec="magicyuv", pix_fmt="gbrp", time_base=Fraction(1, 25))
    content = bytearray(path.read_bytes())
    at = [at for at in range(len(content)) if content[at : at + 4] == b"MAGY"][1:][damaged]  # the first names the codec
    content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    assert [grey_index(frame.bgr) for frame in read(path)] == [index % 11 for index in range(12) if index != damaged]
    assert any("1 damaged" in message for message in warnings_logged)


def test_a_complete_file_logs_no_warning(tmp_path: Path, warnings_logged: list[str]) -> None:
    read(write_video(tmp_path / "clip.mp4", STEADY))
    assert warnings_logged == []


def make_folder(path: Path) -> None:
    path.mkdir()


def make_text(path: Path) -> None:
    path.write_text("not a film\n" * 100)


UNREADABLE = {
    "missing": lambda path: None,
    "folder": make_folder,
    "empty": Path.touch,
    "text": make_text,
    "sound only": lambda path: write_sound(path),
    "without index": lambda path: path.write_bytes(write_video(path, STEADY).read_bytes()[:1500]),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_unreadable_source(tmp_path: Path, what: str) -> None:
    path = tmp_path / "clip.mp4"
    UNREADABLE[what](path)
    with pytest.raises(SourceOpenError) as caught:
        FileSource(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["12:30.mp4", "http:clip.mp4", "clip %03d.mp4", "déjà vu.mp4", "-clip.mp4"])
def test_strange_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_video(tmp_path / "plain.mp4", STEADY).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(Path(name))) == 12


def test_close_twice_ends_the_reading(tmp_path: Path) -> None:
    source = FileSource(str(write_video(tmp_path / "clip.mp4", STEADY)))
    frames = iter(source)
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


def test_close_ends_a_reader_in_another_thread(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", every(0.04, 2000), options={"preset": "ultrafast"})
    source = FileSource(str(path))
    started = threading.Event()
    indices: list[int] = []

    def read_all() -> None:
        for frame in source:
            indices.append(frame.index)
            started.set()
            threading.Event().wait(0.005)

    reader = threading.Thread(target=read_all)
    reader.start()
    assert started.wait(LONGEST_S)
    with promised(1):
        source.close()
        reader.join(LONGEST_S)
    assert not reader.is_alive()
    assert len(indices) < 2000
