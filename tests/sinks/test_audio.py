"""Audio and video of files that are damaged, or whose clocks differ."""

from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from time import process_time

import av
import numpy as np
import pytest

from maskstream.sinks import VideoSink
from maskstream.sinks.audio_encoding import AudioEncoder, AudioPacket
from maskstream.sources import FileSource
from tests.sinks.test_video import CONFIG, annotate, audio_codec, onset_s, read
from tests.video_files import every, grey_index, output_of, packets_of, remux, sound_of, write_video

HOURS_S = 36_000.0
IN_ORDER = {"bf": "0"}
"""Frames are stored as they are shown: Matroska has one timestamp for both."""
PACKET = 188
AUDIO, VIDEO = 0xC0, 0xE0
"""Ids of streams in MPEG-TS."""


def shifted(source: Path, target: Path, *, video_s: float = 0.0, audio_s: float = 0.0) -> Path:
    """Copy a file with video and audio delayed by these times."""
    with av.open(source) as before, av.open(target, "w") as after:
        copies = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        packets = [packet for packet in before.demux() if packet.dts is not None]
        for packet in packets:
            later = round(Fraction(video_s if packet.stream.type == "video" else audio_s) / packet.time_base)
            packet.pts, packet.dts = packet.pts + later, packet.dts + later
            packet.stream = copies[packet.stream.index]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            after.mux(packet)
    return target


def broadcast(path: Path, codec: str = "mp2", end_s: float = 3.0) -> Path:
    return write_video(path, every(0.04, round(end_s / 0.04)), audio=(codec, 0.0, end_s))


def set_pts(path: Path, stream: int, number: int, later_s: float) -> Path:
    """Increase a timestamp of a broadcast: that of the PES packet with this number, from 0, of a stream."""
    data = bytearray(path.read_bytes())
    starts = [at for at in range(0, len(data), PACKET) if data[at + 1] & 0x40]
    heads = [at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0) for at in starts]
    at = [head for head in heads if data[head : head + 4] == bytes((0, 0, 1, stream))][number] + 9
    first, second, third, fourth, fifth = data[at : at + 5]
    pts = (first >> 1 & 7) << 30 | second << 22 | third >> 1 << 15 | fourth << 7 | fifth >> 1
    pts = pts + round(later_s * 90_000)
    data[at : at + 5] = (
        first & 0xF1 | (pts >> 30 & 7) << 1,
        *(pts >> 22 & 0xFF, (pts >> 15 & 0x7F) << 1 | 1, pts >> 7 & 0xFF, (pts & 0x7F) << 1 | 1),
    )
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("codec", ["aac", "ac3"])
@pytest.mark.parametrize("began_s", [HOURS_S, 1.7e9], ids=["ten hours", "time of day"])
def test_a_file_with_a_late_clock_begins_with_its_video(tmp_path: Path, suffix: str, codec: str, began_s: float) -> None:
    plain = write_video(tmp_path / f"clip.{suffix}", every(0.04, 50, start_s=0.2), audio=(codec, 0.0, 2.0), options=IN_ORDER)
    source = shifted(plain, tmp_path / f"late.{suffix}", video_s=began_s, audio_s=began_s)
    target = annotate(source, tmp_path / "out.mp4")
    assert [frame.time_s for frame in read(target)] == pytest.approx(every(0.04, 50), abs=0.002)
    assert onset_s(target) == pytest.approx(0.0, abs=0.15)
    assert sound_of(target)[0] + len(sound_of(target)[1]) / 48_000 == pytest.approx(1.8, abs=0.1)
    assert len(packets_of(target, "audio")) < 120


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("audio_s", [HOURS_S, 20.0])
def test_audio_that_begins_after_the_video_is_left_out(tmp_path: Path, codec: str, audio_s: float, said: list[str]) -> None:
    plain = write_video(tmp_path / "clip.mkv", every(0.04, 25), audio=(codec, 0.0, 1.0), options=IN_ORDER)
    source = shifted(plain, tmp_path / "late.mkv", audio_s=audio_s)
    target = annotate(source, tmp_path / "out.mp4")
    assert len(read(target)) == 25
    assert audio_codec(target) is None
    assert said == [f"WARNING {source}: its audio is before or after the video and is left out\n"]


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_audio_before_the_video_is_left_out(tmp_path: Path, codec: str, said: list[str]) -> None:
    plain = write_video(tmp_path / "clip.mkv", every(0.04, 50), audio=(codec, 0.0, 8.0), options=IN_ORDER)
    source = shifted(plain, tmp_path / "late.mkv", video_s=5.0)
    target = annotate(source, tmp_path / "out.mp4")
    assert read(target)[0].time_s == pytest.approx(0.0, abs=0.002)
    assert sound_of(target)[0] == pytest.approx(0.0, abs=0.15)
    assert sound_of(target)[0] + len(sound_of(target)[1]) / 48_000 == pytest.approx(3.0, abs=0.1)
    assert said[0] == f"WARNING {source}: the audio before the video is left out\n"


def test_audio_that_ends_before_the_video_is_left_out(tmp_path: Path, said: list[str]) -> None:
    plain = write_video(tmp_path / "clip.mkv", every(0.04, 50), audio=("aac", 0.0, 1.0), options=IN_ORDER)
    source = shifted(plain, tmp_path / "late.mkv", video_s=50.0)
    assert audio_codec(annotate(source, tmp_path / "out.mp4")) is None
    assert said == [f"WARNING {source}: its audio is before or after the video and is left out\n"]


def test_audio_that_is_longer_than_the_video_is_cut(tmp_path: Path, said: list[str]) -> None:
    source = write_video(tmp_path / "clip.mkv", every(0.04, 25), audio=("aac", 0.0, 20.0))
    start_s, samples, rate = sound_of(annotate(source, tmp_path / "out.mp4"))
    assert start_s + len(samples) / rate == pytest.approx(3.0, abs=0.1)
    assert said == [f"WARNING {source}: the audio continues after the video, which ends at 1.0 s; it is cut 2 s later\n"]


def test_a_jump_of_the_video_is_not_filled_with_silence(tmp_path: Path) -> None:
    times_s = [0.0, 0.04, 3500.0, 3500.04, 3504.0]
    plain = write_video(tmp_path / "clip.mkv", times_s, audio=("aac", 0.0, 3.0), options=IN_ORDER)
    source = shifted(plain, tmp_path / "late.mkv", audio_s=3501.0)
    target = annotate(source, tmp_path / "out.mp4")
    assert [frame.time_s for frame in read(target)] == pytest.approx(times_s, abs=0.002)
    assert len(packets_of(target, "audio")) < 1000
    with av.open(target) as container:
        loud_s = [frame.time for frame in container.decode(audio=0) if np.abs(frame.to_ndarray()).max() > 0.1]
    assert loud_s[0] == pytest.approx(3501.0, abs=0.1)


@pytest.mark.parametrize("codec", ["mp2", "aac"])
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("stream", [AUDIO, VIDEO])
def test_a_damaged_timestamp_moves_no_other_packet(tmp_path: Path, codec: str, number: int, stream: int) -> None:
    source = set_pts(broadcast(tmp_path / "clip.ts", codec), stream, number, 20_000.0)
    whole = len(packets_of(source, "audio"))
    target = annotate(source, tmp_path / "out.mp4")
    assert [frame.time_s for frame in read(target)] == pytest.approx(every(0.04, 75), abs=0.1)
    packets = packets_of(target, "audio")
    assert packets[-1][0] == pytest.approx(3.0, abs=0.1)
    assert whole / 2 < len(packets) < whole * 1.3


@pytest.mark.parametrize("codec", ["mp2", "aac"])
def test_the_audio_of_joined_parts(tmp_path: Path, codec: str) -> None:
    """The time begins again in each part."""
    joined = tmp_path / "joined.ts"
    parts = [broadcast(tmp_path / f"{number}.ts", codec, end_s) for number, end_s in ((1, 2.0), (2, 3.0), (3, 1.5))]
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    target = annotate(joined, tmp_path / "out.mp4")
    assert [frame.time_s for frame in read(target)] == pytest.approx(every(0.04, 163), abs=0.05)
    start_s, samples, rate = sound_of(target)
    assert start_s == pytest.approx(0.0, abs=0.1)
    assert len(samples) / rate == pytest.approx(6.5, abs=0.2)
    loud = np.abs(samples.reshape(-1)[: len(samples) // 4800 * 4800].reshape(-1, 4800)).max(1) > 0.2
    assert loud.mean() > 0.95


def test_audio_whose_sample_rate_changes(tmp_path: Path) -> None:
    first, second = broadcast(tmp_path / "1.ts", "mp2", 2.0), broadcast(tmp_path / "2.ts", "mp2", 2.0)
    slower = tmp_path / "slower.ts"
    with av.open(second) as before, av.open(slower, "w") as after:
        image = after.add_stream_from_template(before.streams.video[0])
        audio = after.add_stream("mp2", rate=32_000)
        resampler = av.AudioResampler("s16", "mono", 32_000)
        for packet in before.demux():
            if packet.stream.type == "video" and packet.dts is not None:
                packet.stream = image
                after.mux(packet)
            elif packet.stream.type == "audio":
                for frame in packet.decode():
                    for resampled in resampler.resample(frame):
                        after.mux(audio.encode(resampled))
        after.mux(audio.encode(None))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + slower.read_bytes())
    start_s, samples, rate = sound_of(annotate(joined, tmp_path / "out.mp4"))
    assert start_s + len(samples) / rate == pytest.approx(4.0, abs=0.2)
    assert np.abs(samples[round(2.5 * rate) : round(3.5 * rate)]).max() > 0.2


def adts_lengths(data: bytearray) -> None:
    """Change the length in headers of AAC frames."""
    for at in range(0, len(data) - 1, 1):
        if data[at] == 0xFF and data[at + 1] & 0xF6 == 0xF0 and at % 3 == 0:
            data[at + 4] ^= 0x41


def test_damaged_audio_is_left_out_and_the_video_is_complete(tmp_path: Path, said: list[str]) -> None:
    source = broadcast(tmp_path / "clip.ts", "aac")
    data = bytearray(source.read_bytes())
    adts_lengths(data)
    source.write_bytes(data)
    assert len(read(annotate(source, tmp_path / "out.mp4"))) >= 70
    assert said.count(f"WARNING {source}: some of its audio is damaged and left out\n") == 1


def test_a_stream_that_appears_later_does_not_end_the_video(tmp_path: Path) -> None:
    """PyAV raises an IndexError there."""
    plain = write_video(tmp_path / "1.ts", every(0.04, 50))
    voiced = remux([broadcast(tmp_path / "2.ts", "mp2", 2.0), broadcast(tmp_path / "3.ts", "aac", 2.0)], tmp_path / "both.ts")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(plain.read_bytes() + voiced.read_bytes())
    assert len(read(annotate(joined, tmp_path / "out.mp4"))) >= 99


@pytest.mark.parametrize("rate", [2**31 - 1, 2**32 - 1, 1, 0])
def test_an_impossible_frame_rate_is_ignored(tmp_path: Path, rate: int) -> None:
    source = write_video(tmp_path / "clip.avi", every(0.04, 12), codec="mpeg4", time_base=Fraction(1, 25))
    data = bytearray(source.read_bytes())
    at = data.index(b"strh") + 8 + 24
    data[at : at + 4] = rate.to_bytes(4, "little")
    source.write_bytes(data)
    assert len(read(annotate(source, tmp_path / "out.mp4"))) == 12


def test_a_signal_stops_the_writing_of_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audio belongs to one frame that is shown for 60 s; the signal comes while it is written."""
    source = write_video(tmp_path / "clip.mkv", [0.0, 0.04, 60.0, 60.04], audio=("mp2", 0.0, 60.0), options=IN_ORDER)
    target = tmp_path / "out.webm"
    with closing(FileSource(str(source))) as opened, closing(VideoSink(str(target), opened.info, CONFIG)) as sink:
        encoded = AudioEncoder.packets

        def packets(self: AudioEncoder, packet: AudioPacket, offset_s: float) -> Iterator[AudioPacket]:
            if packet.pts * packet.time_base > 20:
                sink.hurry()
            return encoded(self, packet, offset_s)

        monkeypatch.setattr(AudioEncoder, "packets", packets)
        for frame in opened:
            sink.write(output_of(frame))
    assert len(read(target)) == 4
    assert 15 < packets_of(target, "audio")[-1][0] < 25


def clock_set(source: Path, target: Path, at_s: float, *, video_s: float, audio_s: float) -> Path:
    """Copy a file with clocks that jump forward at a time."""
    with av.open(source) as before, av.open(target, "w") as after:
        copies = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        packets = [packet for packet in before.demux() if packet.dts is not None]
        for packet in packets:
            later_s = video_s if packet.stream.type == "video" else audio_s
            later = round(Fraction(later_s if packet.dts * packet.time_base >= at_s else 0.0) / packet.time_base)
            packet.pts, packet.dts = packet.pts + later, packet.dts + later
            packet.stream = copies[packet.stream.index]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            after.mux(packet)
    return target


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("codec", ["aac", "ac3"])
@pytest.mark.parametrize("at_s", [0.01, 1.2])
def test_audio_follows_a_video_whose_clock_jumps_forward(
    tmp_path: Path, suffix: str, codec: str, at_s: float, said: list[str]
) -> None:
    """By ten hours, after a second or after the first frame."""
    plain = write_video(tmp_path / "clip.mkv", every(0.04, 75), audio=(codec, 0.5, 3.0), options=IN_ORDER)
    source = clock_set(plain, tmp_path / f"set.{suffix}", at_s, video_s=HOURS_S, audio_s=HOURS_S)
    target = annotate(source, tmp_path / "out.mp4")
    shown_s = [frame.time_s for frame in read(target)]
    assert [each_s - shown_s[0] for each_s in shown_s] == pytest.approx(every(0.04, 75), abs=0.05)
    if suffix == "ts" and at_s < 1:  # the audio begins ten hours after the first frame of the file
        return
    assert onset_s(target) - shown_s[0] == pytest.approx(0.5, abs=0.1)
    start_s, samples, rate = sound_of(target)
    assert start_s + len(samples) / rate == pytest.approx(3.0, abs=0.1)
    assert len(packets_of(target, "audio")) < 150
    jumps = [line for line in said if "its time jumps by" in line]
    assert len(jumps) == 1
    assert "jumps by 36000 s; out.mp4 leaves the gap out" in jumps[0]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_video_whose_clock_alone_jumps_forward_keeps_its_audio(tmp_path: Path, suffix: str) -> None:
    plain = write_video(tmp_path / "clip.mkv", every(0.04, 75), audio=("aac", 0.0, 3.0), options=IN_ORDER)
    target = annotate(clock_set(plain, tmp_path / f"set.{suffix}", 1.2, video_s=HOURS_S, audio_s=0.0), tmp_path / "out.mp4")
    assert [frame.time_s for frame in read(target)] == pytest.approx(every(0.04, 75), abs=0.01)
    assert sound_of(target)[0] + len(sound_of(target)[1]) / 48_000 == pytest.approx(3.0, abs=0.1)


def test_a_format_that_states_its_duration_from_the_first_frame_keeps_its_audio(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "clip.mkv", every(0.04, 50), audio=("aac", 0.0, 2.0), options=IN_ORDER)
    source = shifted(plain, tmp_path / "late.flv", video_s=HOURS_S, audio_s=HOURS_S)
    target = annotate(source, tmp_path / "out.mp4")
    assert sound_of(target)[0] + len(sound_of(target)[1]) / 48_000 == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("suffix", ["mkv", "flv", "mp4"])
def test_the_number_of_frames_is_estimated_from_the_first_frame(tmp_path: Path, suffix: str) -> None:
    plain = write_video(tmp_path / "clip.mkv", every(0.04, 50), options=IN_ORDER)
    with closing(FileSource(str(shifted(plain, tmp_path / f"late.{suffix}", video_s=HOURS_S)))) as source:
        assert source.info.average_fps is not None
        assert source.info.frame_count == pytest.approx(2 * source.info.average_fps, rel=0.05)


@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "2"}], ids=["in order", "B-frames"])
def test_frames_of_h264_in_an_avi_have_times_in_order(tmp_path: Path, options: dict[str, str]) -> None:
    source = write_video(tmp_path / "clip.avi", every(0.04, 25), time_base=Fraction(1, 25), options=options)
    frames = read(source)
    times_s = [frame.time_s for frame in frames]
    assert [grey_index(frame.bgr) for frame in frames] == [index % 11 for index in range(25)]
    assert [time_s - times_s[0] for time_s in times_s] == pytest.approx(every(0.04, 25))
    assert times_s[0] <= 0.08


@pytest.mark.parametrize("suffix", ["mp4", "webm", "avi"])
def test_an_odd_clock_costs_no_extra_time(tmp_path: Path, suffix: str) -> None:
    """In CPU time; ten hours of silence or of frames would cost hundreds of times more."""
    plain = write_video(tmp_path / "plain.mkv", every(0.04, 50), audio=("ac3", 0.0, 2.0), options=IN_ORDER)
    odd = [
        shifted(plain, tmp_path / "late.mp4", video_s=HOURS_S, audio_s=HOURS_S),
        shifted(plain, tmp_path / "audio.mkv", audio_s=1.7e9),
        shifted(plain, tmp_path / "video.mkv", video_s=HOURS_S),
        clock_set(plain, tmp_path / "set.mkv", 1.0, video_s=HOURS_S, audio_s=HOURS_S),
        clock_set(plain, tmp_path / "first.mkv", 0.01, video_s=HOURS_S, audio_s=HOURS_S),
        clock_set(plain, tmp_path / "apart.mkv", 1.0, video_s=0.0, audio_s=HOURS_S),
    ]
    annotate(plain, tmp_path / f"warm.{suffix}")
    took_s = {}
    for source in (plain, *odd):
        began_s = process_time()
        target = annotate(source, tmp_path / f"out.{suffix}")
        took_s[source.name] = process_time() - began_s
        assert len(read(target)) == 50
    assert max(took_s.values()) < 5 * took_s["plain.mkv"] + 0.5, took_s
