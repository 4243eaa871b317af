import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from maskstream.config.schema import VideoConfig
from maskstream.errors import SinkError
from maskstream.sinks import VideoSink
from maskstream.sources import FileSource
from maskstream.types import BgrImage, Frame, SourceInfo
from tests import command_lines
from tests.video_files import (
    BLUE,
    GREEN,
    MATRICES,
    RED,
    every,
    grey,
    grey_index,
    output_of,
    packets_of,
    plain,
    remux,
    set_matrix,
    sound_of,
    write_video,
)

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = VideoConfig(segment_s=None, crf=10, preset="veryfast")
STEADY = every(0.04, 12)
UNSTEADY = [0.0, 0.04, 0.1, 0.5, 0.54, 1.2]
MILLISECOND_S = 0.001


def annotate(source_path: Path, target: Path) -> Path:
    """Copy a video through source and sink, as a run does."""
    with closing(FileSource(str(source_path))) as source, closing(VideoSink(str(target), source.info, CONFIG)) as sink:
        for frame in source:
            sink.write(output_of(frame))
        sink.source_ended(source.info.source_id)
    return target


def write_images(path: Path, images: Iterable[tuple[float, BgrImage]], size: tuple[int, int] = (64, 48)) -> Path:
    """Write images at these times, as a source without a frame rate does."""
    with closing(VideoSink(str(path), live_info(size), CONFIG)) as sink:
        for index, (time_s, bgr) in enumerate(images):
            sink.write(output_of(Frame(bgr, index, "camera", time_s)))
    return path


def live_info(size: tuple[int, int] = (64, 48)) -> SourceInfo:
    return SourceInfo("camera", *size, live=True)


def read(path: Path) -> list[Frame]:
    with closing(FileSource(str(path))) as source:
        return list(source)


def probe(ffprobe: str, path: Path) -> dict[str, object]:
    command = [ffprobe, "-v", "error", "-select_streams", "v:0", "-show_streams", "-of", "json", str(path)]
    stream: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"][0]
    return stream


def onset_s(path: Path) -> float:
    """Return when the tone of a file begins."""
    start_s, samples, rate = sound_of(path)
    return start_s + int(np.argmax(np.abs(samples) > 0.1)) / rate


def audio_codec(path: Path) -> str | None:
    with av.open(path) as container:
        return container.streams.audio[0].codec_context.codec.canonical_name if container.streams.audio else None


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts"])
@pytest.mark.parametrize("times_s", [STEADY, UNSTEADY, every(0.04, 10, start_s=0.8)], ids=["steady", "unsteady", "late"])
def test_every_frame_keeps_its_time(tmp_path: Path, suffix: str, times_s: list[float]) -> None:
    source = write_video(tmp_path / f"clip.{suffix}", times_s, audio=("aac", 0.0, 1.3))
    before, after = read(source), read(annotate(source, tmp_path / "out.mp4"))
    assert [frame.time_s for frame in after] == pytest.approx([frame.time_s for frame in before], abs=MILLISECOND_S)
    assert [grey_index(frame.bgr) for frame in after] == [index % 11 for index in range(len(times_s))]


@pytest.mark.parametrize("times_s", [STEADY, UNSTEADY, every(1.0, 3), every(1 / 120, 40), [0.0]])
def test_the_complete_duration_is_kept(tmp_path: Path, times_s: list[float]) -> None:
    source = write_video(tmp_path / "clip.mp4", times_s, time_base=Fraction(1, 120_000), options={"bf": "0"})
    before, after = FileSource(str(source)), FileSource(str(annotate(source, tmp_path / "out.mp4")))
    with closing(before), closing(after):
        assert after.info.duration_s == pytest.approx(before.info.duration_s, abs=MILLISECOND_S)
        assert after.info.frame_count == len(list(after)) == len(times_s)
        assert [frame.duration_s for frame in before] == pytest.approx(
            [frame.duration_s for frame in read(tmp_path / "out.mp4")], abs=MILLISECOND_S
        )


def test_browsers_play_the_video(tmp_path: Path, system_tool: Callable[[str], str]) -> None:
    stream = probe(system_tool("ffprobe"), annotate(write_video(tmp_path / "clip.mp4", STEADY), tmp_path / "out.mp4"))
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert [stream[f"color_{what}"] for what in ("space", "primaries", "transfer")] == ["bt709"] * 3
    assert stream["color_range"] == "tv"


@pytest.mark.parametrize(("size", "even"), [((63, 47), (64, 48)), ((64, 47), (64, 48)), ((3, 5), (4, 6)), ((1, 1), (2, 2))])
def test_odd_size_is_padded_to_even(tmp_path: Path, size: tuple[int, int], even: tuple[int, int]) -> None:
    source = write_video(tmp_path / "clip.mkv", STEADY, size=size, codec="ffv1", pix_fmt="bgr0")
    frames = read(annotate(source, tmp_path / "out.mp4"))
    assert {(frame.width, frame.height) for frame in frames} == {even}
    assert [frame.bgr[-1, -1].mean() for frame in frames] == pytest.approx([grey(i).mean() for i in range(12)], abs=6)


def test_a_rotated_video_is_written_upright(tmp_path: Path) -> None:
    source = set_matrix(write_video(tmp_path / "clip.mp4", STEADY), MATRICES["quarter turn right"])
    after = read(annotate(source, tmp_path / "out.mp4"))
    assert {(frame.width, frame.height) for frame in after} == {(48, 64)}


@pytest.mark.parametrize("color", [RED, GREEN, BLUE, (40, 120, 200)])
def test_colours_are_kept(tmp_path: Path, color: tuple[int, int, int]) -> None:
    path = write_images(tmp_path / "out.mp4", [(0.0, plain(color))])
    assert read(path)[0].bgr[24, 32].tolist() == pytest.approx(color, abs=6)


def test_the_annotated_image_is_written(tmp_path: Path) -> None:
    output = output_of(Frame(plain(RED), 0, "camera", 0.0))
    painted = type(output)(output.frame, output.result, True, lambda frame, result: plain(GREEN))
    with closing(VideoSink(str(tmp_path / "out.mp4"), live_info(), CONFIG)) as sink:
        sink.write(painted)
    assert read(tmp_path / "out.mp4")[0].bgr[24, 32].tolist() == pytest.approx(GREEN, abs=6)


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "libopus", "flac"])
def test_audio_that_browsers_play_is_copied(tmp_path: Path, codec: str) -> None:
    source = write_video(tmp_path / "clip.mkv", STEADY, audio=(codec, 0.0, 1.5))
    target = annotate(source, tmp_path / "out.mp4")
    assert audio_codec(target) == audio_codec(source)
    assert [data for _, data in packets_of(target, "audio")] == [data for _, data in packets_of(source, "audio")]
    assert onset_s(target) == pytest.approx(onset_s(source), abs=0.03)


@pytest.mark.parametrize(("codec", "suffix"), [("ac3", "mkv"), ("pcm_s16le", "mkv"), ("pcm_s16le", "avi"), ("mp2", "ts")])
def test_other_audio_becomes_aac(tmp_path: Path, codec: str, suffix: str) -> None:
    video = {"codec": "mpeg4", "time_base": Fraction(1, 25)}
    source = write_video(tmp_path / f"clip.{suffix}", STEADY, audio=(codec, 0.0, 1.5), **video)
    target = annotate(source, tmp_path / "out.mp4")
    before, after = sound_of(source), sound_of(target)
    assert audio_codec(target) == "aac"
    assert len(after[1]) / after[2] == pytest.approx(len(before[1]) / before[2], abs=0.06)
    assert np.abs(after[1]).max() == pytest.approx(0.3, abs=0.05)
    assert onset_s(target) == pytest.approx(onset_s(source), abs=0.03)


@pytest.mark.parametrize("shift_s", [0.0, 1000.0])
def test_audio_of_a_broadcast_recording(tmp_path: Path, shift_s: float) -> None:
    clip = write_video(tmp_path / "clip.ts", every(0.04, 20, start_s=0.8), audio=("aac", 0.0, 1.6))
    source = remux([clip], tmp_path / "shifted.ts", shift_s=shift_s)
    target = annotate(source, tmp_path / "out.mp4")
    assert read(target)[0].time_s - onset_s(target) == pytest.approx(0.8, abs=0.03)
    assert len(packets_of(target, "audio")) == len(packets_of(source, "audio"))


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize(("video_s", "audio_s"), [(0.8, 0.0), (0.0, 0.6)], ids=["late video", "late audio"])
def test_audio_stays_synchronised(tmp_path: Path, codec: str, video_s: float, audio_s: float) -> None:
    source = write_video(tmp_path / "clip.mkv", every(0.04, 20, start_s=video_s), audio=(codec, audio_s, 1.6))
    target = annotate(source, tmp_path / "out.mp4")
    assert read(target)[0].time_s == pytest.approx(video_s, abs=MILLISECOND_S)
    assert onset_s(target) == pytest.approx(audio_s, abs=0.03)


def test_a_gap_in_the_audio_stays_a_gap(tmp_path: Path) -> None:
    first = write_video(tmp_path / "first.mkv", every(0.04, 50), audio=("pcm_s16le", 0.0, 0.5))
    second = write_video(tmp_path / "second.mkv", every(0.04, 50), audio=("pcm_s16le", 1.0, 1.5))
    source = join_sound(first, second, tmp_path / "gap.mkv")
    start_s, samples, rate = sound_of(annotate(source, tmp_path / "out.mp4"))
    times_s = {start_s + at / rate for at in np.flatnonzero(np.abs(samples) > 0.25)}
    assert all(time_s < 0.55 or 0.95 < time_s < 1.55 for time_s in times_s)
    assert any(time_s > 1.4 for time_s in times_s)


def join_sound(first: Path, second: Path, target: Path) -> Path:
    with av.open(first) as one, av.open(second) as other, av.open(target, "w") as output:
        video, audio = (output.add_stream_from_template(stream) for stream in (one.streams.video[0], one.streams.audio[0]))
        packets = [packet for packet in one.demux() if packet.dts is not None]
        packets += [packet for packet in other.demux(audio=0) if packet.dts is not None]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            packet.stream = audio if packet.stream.type == "audio" else video
            output.mux(packet)
    return target


def test_a_source_without_audio(tmp_path: Path) -> None:
    assert audio_codec(annotate(write_video(tmp_path / "clip.mp4", STEADY), tmp_path / "out.mp4")) is None


def test_audio_ends_with_the_video_where_the_run_was_stopped(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", every(0.1, 30), audio=("aac", 0.0, 3.0))
    target = tmp_path / "out.mp4"
    with closing(FileSource(str(path))) as source, closing(VideoSink(str(target), source.info, CONFIG)) as sink:
        for frame in source:
            sink.write(output_of(frame))
            if frame.index == 9:
                break
    start_s, samples, rate = sound_of(target)
    assert start_s + len(samples) / rate == pytest.approx(1.0, abs=0.15)


def test_frame_of_another_size_is_letterboxed(tmp_path: Path) -> None:
    wide = plain(RED, (64, 12))
    path = write_images(tmp_path / "out.mp4", [(0.0, plain(GREEN)), (0.1, wide), (0.2, plain(BLUE, (128, 96)))])
    first, second, third = (frame.bgr for frame in read(path))
    assert first.shape == second.shape == third.shape == (48, 64, 3)
    assert second[24, 32].tolist() == pytest.approx(RED, abs=10)
    assert second[4, 32].tolist() == second[44, 32].tolist() == pytest.approx((0, 0, 0), abs=6)
    assert third[4, 4].tolist() == third[44, 60].tolist() == pytest.approx(BLUE, abs=6)


@pytest.mark.parametrize("size", [(1000, 1), (1, 1000), (65, 48), (64, 49)])
def test_frame_of_an_extreme_size_is_letterboxed(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_images(tmp_path / "out.mp4", [(0.0, plain(RED)), (0.1, plain(RED, size))])
    assert [(frame.width, frame.height) for frame in read(path)] == [(64, 48)] * 2


def test_frames_with_repeated_or_earlier_times_stay_in_order(tmp_path: Path) -> None:
    times_s = [0.0, 0.1, 0.1, 0.05, 0.2]
    path = write_images(tmp_path / "out.mp4", [(time_s, grey(index)) for index, time_s in enumerate(times_s)])
    frames = read(path)
    assert [grey_index(frame.bgr) for frame in frames] == [0, 1, 2, 3, 4]
    assert all(before.time_s < after.time_s for before, after in pairwise(frames))
    assert [frames[index].time_s for index in (0, 1, 4)] == pytest.approx([0.0, 0.1, 0.2], abs=MILLISECOND_S)


def test_joined_parts_keep_their_speed(tmp_path: Path) -> None:
    """The time begins again in each part."""
    joined = tmp_path / "joined.ts"
    parts = [write_video(tmp_path / f"{number}.ts", every(0.04, count)) for number, count in ((1, 50), (2, 75), (3, 40))]
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    shown_s = [frame.time_s for frame in read(annotate(joined, tmp_path / "out.mp4"))]
    assert shown_s == pytest.approx(every(0.04, 165), abs=MILLISECOND_S)


def test_one_frame_with_a_wrong_time_moves_no_other(tmp_path: Path) -> None:
    times_s = [5.0, 5.1, 0.3, 5.2, 5.3]
    path = write_images(tmp_path / "out.mp4", [(time_s, grey(index)) for index, time_s in enumerate(times_s)])
    shown_s = [frame.time_s for frame in read(path)]
    assert [shown_s[index] for index in (0, 1, 3, 4)] == pytest.approx([5.0, 5.1, 5.2, 5.3], abs=MILLISECOND_S)
    assert 5.1 < shown_s[2] < 5.2


@pytest.mark.parametrize(
    ("hours", "time_base", "duration_s"),
    [
        (1, None, 11 * 3600.0),
        (0.9, Fraction(1, 10_000_000), 7200.0),
        (1, Fraction(1001, 30_000), 3600.0),
        (1, None, 1e12),
        (0.05, Fraction(1, 10_000_000), None),
    ],
)
def test_a_gap_may_be_long(tmp_path: Path, hours: float, time_base: Fraction | None, duration_s: float | None) -> None:
    times_s = [0.0, 3600 * hours, 3600 * hours + 0.04]
    info = SourceInfo("door", 64, 48, live=False, time_base=time_base, duration_s=duration_s)
    with closing(VideoSink(str(tmp_path / "out.mp4"), info, CONFIG)) as sink:
        for index, time_s in enumerate(times_s):
            sink.write(output_of(Frame(grey(index), index, "door", time_s)))
    assert [frame.time_s for frame in read(tmp_path / "out.mp4")] == pytest.approx(times_s, abs=MILLISECOND_S)


def test_an_unexpected_gap_is_shortened_to_the_longest_duration(tmp_path: Path) -> None:
    info = SourceInfo("door", 64, 48, live=False, time_base=Fraction(1, 10_000_000))
    with closing(VideoSink(str(tmp_path / "out.mp4"), info, CONFIG)) as sink:
        for index, time_s in enumerate((0.0, 0.04, 3600.0, 3600.04)):
            sink.write(output_of(Frame(grey(index), index, "door", time_s)))
    shown_s = [frame.time_s for frame in read(tmp_path / "out.mp4")]
    assert all(after > before for before, after in pairwise(shown_s))
    assert 200 < shown_s[2] < 0.04 + 2**31 / 1e7


def test_one_frame_an_hour_is_a_valid_rate(tmp_path: Path) -> None:
    info = SourceInfo("door", 64, 48, live=False, average_fps=1 / 3600, duration_s=7200.0)
    with closing(VideoSink(str(tmp_path / "out.mp4"), info, CONFIG)) as sink:
        for index in range(2):
            sink.write(output_of(Frame(grey(index), index, "door", 3600.0 * index)))
    assert [frame.time_s for frame in read(tmp_path / "out.mp4")] == pytest.approx([0.0, 3600.0], abs=MILLISECOND_S)


def test_existing_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old" * 1_000_000)
    write_images(target, [(0.0, plain(RED))])
    assert target.stat().st_size < 100_000
    assert len(read(target)) == 1


@pytest.mark.parametrize("name", ["no such folder/out.mp4", "out.wmv", "out", "out.jpg", "folder.mp4"])
def test_unwritable(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    path = tmp_path / name
    with pytest.raises(SinkError) as caught:
        VideoSink(str(path), live_info(), CONFIG)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not path.is_file()


@pytest.mark.parametrize("size", [(20_000, 2), (40_000, 40_000)])
def test_size_that_the_encoder_refuses_leaves_no_file(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "out.mp4"
    with pytest.raises(SinkError, match=r"out\.mp4"):
        VideoSink(str(path), live_info(size), CONFIG)
    assert not path.exists()


@pytest.mark.parametrize("link", [False, True])
def test_source_is_not_overwritten(tmp_path: Path, link: bool) -> None:
    source = write_video(tmp_path / "clip.mp4", STEADY)
    content = source.read_bytes()
    target = tmp_path / "link.mp4" if link else source
    if link:
        target.symlink_to(source)
    with closing(FileSource(str(source))) as opened, pytest.raises(SinkError, match="its own source"):
        VideoSink(str(target), opened.info, CONFIG)
    assert source.read_bytes() == content


@pytest.mark.parametrize("name", ["12:30.mp4", "-out.mp4", "déjà vu.mp4", "out %03d.mp4"])
def test_strange_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(Path(name), [(0.0, plain(RED))])
    assert len(read(tmp_path / name)) == 1


def test_no_frame_leaves_no_file(tmp_path: Path) -> None:
    with closing(VideoSink(str(tmp_path / "out.mp4"), live_info(), CONFIG)) as sink:
        sink.source_ended("camera")
    assert list(tmp_path.iterdir()) == []


def test_close_twice(tmp_path: Path) -> None:
    sink = VideoSink(str(tmp_path / "out.mp4"), live_info(), CONFIG)
    sink.write(output_of(Frame(plain(RED), 0, "camera", 0.0)))
    sink.close()
    sink.close()
    assert len(read(tmp_path / "out.mp4")) == 1


KILLED = """
import os, signal, sys
from maskstream.sinks import VideoSink
from maskstream.sources import FileSource
from tests.sinks.test_video import CONFIG
from tests.video_files import output_of

source = FileSource(sys.argv[1])
sink = VideoSink(sys.argv[2], source.info, CONFIG)
for frame in source:
    sink.write(output_of(frame))
    if frame.time_s >= 4:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("suffix", "audio"),
    [
        ("mp4", None),
        ("mp4", ("pcm_s16le", 0.0, 6.0)),
        ("mp4", ("aac", 5.0, 6.0)),
        ("mp4", ("aac", 0.0, 1.0)),
        *[(suffix, ("pcm_s16le", 0.0, 6.0)) for suffix in ("mov", "mkv", "webm", "avi")],
        *[(suffix, ("aac", 0.0, 1.0)) for suffix in ("mkv", "webm", "avi")],
    ],
)
def test_a_killed_program_leaves_a_file_up_to_a_second_before(
    tmp_path: Path, suffix: str, audio: tuple[str, float, float] | None
) -> None:
    source, target = write_video(tmp_path / "clip.mkv", every(0.1, 60), audio=audio), tmp_path / f"out.{suffix}"
    child = command_lines.run([sys.executable, "-c", KILLED, str(source), str(target)], cwd=REPOSITORY)
    assert child.returncode == -signal.SIGKILL
    assert read(target)[-1].time_s >= 3.0


def test_a_file_is_finished_where_its_last_frames_cannot_be_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = VideoSink(str(tmp_path / "out.mp4"), live_info(), VideoConfig(segment_s=None, crf=23, preset="ultrafast"))
    for index in range(30):
        sink.write(output_of(Frame(grey(index), index, "camera", index * 0.04)))

    def broken(_frame: object) -> None:
        raise ZeroDivisionError("while encoding")

    monkeypatch.setattr(sink, "_encode", broken)
    with pytest.raises(ZeroDivisionError):
        sink.close()
    assert len(read(tmp_path / "out.mp4")) > 20
    assert str(tmp_path / "out.mp4") not in {each.path for each in psutil.Process().open_files()}
