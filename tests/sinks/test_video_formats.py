"""The same video in every format: each frame at its time, with synchronised audio."""

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from maskstream.config.schema import VideoConfig
from maskstream.errors import SinkError
from maskstream.sinks import VideoSink
from maskstream.sinks.segmented_recording import SegmentedRecordingSink
from maskstream.sinks.video_formats import CONTAINERS, VIDEO_SUFFIXES, container_of, require_recording_path, require_video_path
from maskstream.types import Frame, SourceInfo
from tests.sinks.test_video import CONFIG, annotate, audio_codec, live_info, onset_s, read
from tests.video_files import GREEN, every, grey, grey_index, output_of, packets_of, plain, sound_of, write_video

SUFFIXES = [".mp4", ".mov", ".mkv", ".webm", ".avi"]
IN_ORDER = {"bf": "0"}
NEAR_S = {".avi": 0.021}
"""Half a frame; half a millisecond for other formats."""
UNSTEADY = [0.0, 0.04, 0.12, 0.52, 0.56, 1.2, 1.24]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("times_s", [every(0.04, 25), UNSTEADY, [0.0]], ids=["steady", "unsteady", "one"])
def test_every_frame_has_its_time_and_the_audio_is_synchronised(tmp_path: Path, suffix: str, times_s: list[float]) -> None:
    source = write_video(tmp_path / "clip.mkv", times_s, audio=("aac", 0.3, 1.2), options=IN_ORDER)
    target = annotate(source, tmp_path / f"out{suffix}")
    frames = read(target)
    assert [frame.time_s for frame in frames] == pytest.approx(times_s, abs=NEAR_S.get(suffix, 0.002))
    assert [grey_index(frame.bgr) for frame in frames] == [index % 11 for index in range(len(times_s))]
    if len(times_s) > 1:
        assert onset_s(target) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("start_s", [0.8, 5.0])
def test_a_video_that_begins_after_its_audio(tmp_path: Path, suffix: str, start_s: float) -> None:
    source = write_video(tmp_path / "clip.mkv", every(0.04, 50, start_s=start_s), audio=("aac", 1.4, 8.0), options=IN_ORDER)
    target = annotate(source, tmp_path / f"out{suffix}")
    first_s = read(target)[0].time_s
    assert onset_s(target) - first_s == pytest.approx(max(1.4 - start_s, 0.0), abs=0.1)
    if suffix == ".avi":
        assert first_s == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_video_with_negative_times_begins_at_0(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out{suffix}"
    times_s = every(0.04, 25, start_s=-0.3)
    with closing(VideoSink(str(target), replace(live_info(), live=False, average_fps=25.0, start_s=-0.3), CONFIG)) as sink:
        for index, time_s in enumerate(times_s):
            sink.write(output_of(Frame(grey(index), index, "camera", time_s, 0.04)))
    assert [frame.time_s for frame in read(target)] == pytest.approx(every(0.04, 25), abs=NEAR_S.get(suffix, 0.002))
    with av.open(target) as container:
        assert container.duration / av.time_base == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("suffix", "codec", "written"),
    [
        *[(".mkv", codec, codec) for codec in ("aac", "ac3", "flac", "pcm_s16le", "mp2")],
        (".mkv", "pcm_mulaw", "aac"),
        (".webm", "libopus", "opus"),
        *[(".webm", codec, "opus") for codec in ("aac", "pcm_s16le")],
        *[(".avi", codec, "mp3") for codec in ("libmp3lame", "aac", "pcm_mulaw")],
        *[(".mov", codec, "aac") for codec in ("aac", "pcm_s16le", "ac3")],
    ],
)
def test_audio_is_copied_where_the_container_supports_it(tmp_path: Path, suffix: str, codec: str, written: str) -> None:
    source = write_video(tmp_path / "clip.mov", every(0.04, 25), audio=(codec, 0.0, 1.0)) if codec == "pcm_mulaw" else None
    source = source or write_video(tmp_path / "clip.mkv", every(0.04, 25), audio=(codec, 0.0, 1.0))
    target = annotate(source, tmp_path / f"out{suffix}")
    assert audio_codec(target) == written
    _, samples, rate = sound_of(target)
    assert len(samples) / rate == pytest.approx(1.0, abs=0.1)
    if written == codec:
        assert [data for _, data in packets_of(target, "audio")] == [data for _, data in packets_of(source, "audio")]


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "h264"), (".m4v", "h264"), (".mkv", "h264"), (".webm", "vp9"), (".avi", "h264")]
)
def test_metadata_for_players(tmp_path: Path, suffix: str, codec: str, system_tool: Callable[[str], str]) -> None:
    target = annotate(write_video(tmp_path / "clip.mp4", every(0.04, 12)), tmp_path / f"out{suffix.upper()}")
    command = [system_tool("ffprobe"), "-v", "error", "-show_streams", "-of", "json", str(target)]
    (stream,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]
    assert (stream["codec_name"], stream["pix_fmt"], stream["has_b_frames"]) == (codec, "yuv420p", 0)
    assert [stream[f"color_{what}"] for what in ("space", "primaries", "transfer")] == ["bt709"] * 3
    assert stream["color_range"] == "tv"
    assert stream.get("sample_aspect_ratio", "1:1") in ("1:1", "0:1")
    assert Fraction(stream["r_frame_rate"]) == 25
    assert not stream.get("side_data_list")
    with av.open(target) as container:
        assert container.duration == pytest.approx(0.48e6, abs=1e3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colours_are_kept(tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "clip.mkv", every(0.04, 3), image=lambda _: plain(GREEN), codec="ffv1", pix_fmt="bgr0")
    assert read(annotate(source, tmp_path / f"out{suffix}"))[-1].bgr[24, 32].tolist() == pytest.approx(GREEN, abs=8)


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi"])
def test_a_file_can_be_read_while_it_is_written(tmp_path: Path, suffix: str) -> None:
    """It is also the file of a program that was killed."""
    path = tmp_path / f"out{suffix}"
    info = SourceInfo("door", 64, 48, live=False, average_fps=25.0)
    with closing(VideoSink(str(path), info, CONFIG)) as sink:
        for index in range(100):
            sink.write(output_of(Frame(grey(index), index, "door", index * 0.04, 0.04)))
        there = tmp_path / f"there{suffix}"
        there.write_bytes(path.read_bytes())
        assert read(there)[-1].time_s >= 3.0


@pytest.mark.parametrize(
    ("live", "fps", "frames_per_s"),
    [
        (False, 25.0, 25),
        (False, 30_000 / 1001, Fraction(30_000, 1001)),
        (False, 24.31, 100),
        (True, 25.0, 100),
        (False, None, 100),
    ],
)
def test_an_avi_has_the_constant_rate_of_its_source(
    tmp_path: Path, live: bool, fps: float | None, frames_per_s: Fraction | int
) -> None:
    info = SourceInfo("door", 64, 48, live=live, average_fps=fps)
    assert 1 / container_of("out.avi").time_base(info, 0.0) == frames_per_s


def test_a_long_gap_in_an_avi_is_filled_and_a_longer_one_is_left_out_and_logged(tmp_path: Path, said: list[str]) -> None:
    times_s = [0.0, 0.04, 50.0, 50.04, 1000.04, 1000.08]
    info = SourceInfo("door", 64, 48, live=False, average_fps=25.0, duration_s=1001.0)
    with closing(VideoSink(str(tmp_path / "out.avi"), info, CONFIG)) as sink:
        for index, time_s in enumerate(times_s):
            sink.write(output_of(Frame(grey(index), index, "door", time_s, 0.04)))
    shown_s = [frame.time_s for frame in read(tmp_path / "out.avi")]
    assert shown_s[:4] == pytest.approx(times_s[:4], abs=0.01)
    assert shown_s[4:] == pytest.approx([110.04, 110.08], abs=0.01)
    assert [line for line in said if "WARNING" in line] == ["WARNING door: its time jumps by 890 s; out.avi leaves the gap out\n"]


@pytest.mark.parametrize(("suffix", "is_logged"), [(".mkv", True), (".webm", True), (".mp4", False)])
def test_a_frame_rate_above_the_time_base_plays_slower_and_is_logged(
    tmp_path: Path, suffix: str, is_logged: bool, said: list[str]
) -> None:
    info = SourceInfo("door", 16, 16, live=False, average_fps=4000.0)
    config = VideoConfig(segment_s=None, crf=40, preset="ultrafast")
    with closing(VideoSink(str(tmp_path / f"out{suffix}"), info, config)) as sink:
        for index in range(720):
            sink.write(output_of(Frame(grey(index, (16, 16)), index, "door", index / 4000, 1 / 4000)))
    frames = read(tmp_path / f"out{suffix}")
    assert len(frames) == 720
    assert all(after.time_s > before.time_s for before, after in pairwise(frames))
    name = f"out{suffix}"
    slower = f"WARNING door: over 1000 frames per second; {name} plays slower: let its name end in .mp4\n"
    assert said.count(slower) == is_logged


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_segments_of_a_recording(tmp_path: Path, suffix: str) -> None:
    config = CONFIG.model_copy(update={"segment_s": 1.0})
    with closing(
        SegmentedRecordingSink(str(tmp_path / f"cam{suffix}"), lambda: SourceInfo("cam", 0, 0, live=True), config)
    ) as sink:
        for index, time_s in enumerate(every(0.1, 25, start_s=40.0)):
            sink.write(output_of(Frame(grey(index), index, "cam", time_s, 0.1)))
    names = [f"cam{suffix}", f"cam_002{suffix}", f"cam_003{suffix}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    parts = [[frame.time_s for frame in read(tmp_path / name)] for name in names]
    assert [len(part) for part in parts] == [10, 10, 5]
    assert parts[1] == pytest.approx(every(0.1, 10), abs=0.011)


@pytest.mark.parametrize("name", ["out.wmv", "out", "out.gif", "out.mp4.part"])
def test_other_suffixes_are_refused_with_the_supported_ones(tmp_path: Path, name: str) -> None:
    for require in (require_video_path, require_recording_path):
        with pytest.raises(SinkError, match=r"\.mp4, \.m4v, \.mov, \.mkv, \.webm, \.avi$"):
            require(str(tmp_path / name))
    assert tuple(CONTAINERS) == VIDEO_SUFFIXES


@pytest.mark.parametrize(("crf", "vp9"), [(0, "0"), (18, "27"), (23, "34"), (51, "63")])
def test_crf_gives_both_encoders_the_same_quality(crf: int, vp9: str) -> None:
    config = VideoConfig(segment_s=None, crf=crf, preset="fast")
    assert container_of("out.webm").encoder_options(config, "libvpx-vp9")["crf"] == vp9
    assert container_of("out.mkv").encoder_options(config, "libx264") == {
        "crf": str(crf),
        "preset": "fast",
        "tune": "zerolatency",
    }
