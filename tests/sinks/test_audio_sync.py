from collections.abc import Sequence

import pytest

from maskstream.sinks.audio_sync import AudioSync, drop_stray_packets

Packet = tuple[float, float]
STEP_S = 0.02


def line(start_s: float, count: int) -> list[Packet]:
    """Return packets of 20 ms in sequence."""
    return [(start_s + index * STEP_S, STEP_S) for index in range(count)]


def kept(packets: Sequence[Packet]) -> list[Packet]:
    return list(drop_stray_packets(packets, lambda packet: packet))


@pytest.mark.parametrize(
    "packets",
    [
        line(0, 200),
        line(36_000, 200),
        line(-20, 200),
        line(0, 100) + line(5, 100),
        line(0, 100) + line(3600, 100),
        line(0, 200) + line(0, 200) + line(0, 200),
        line(0, 10) + line(3600, 10),
        [(0.0, 0.0), (0.3, 0.0), (0.6, 0.0)],
        [(float(index), 1.0) for index in range(5)],
        line(0, 10) + line(20, 10) + line(40, 10) + line(70, 10),
        [],
    ],
    ids=[
        "plain",
        "hours late",
        "early",
        "gap",
        "long gap",
        "joined",
        "a little after a gap",
        "no durations",
        "long",
        "several gaps",
        "none",
    ],
)
def test_packets_in_sequence_are_kept(packets: list[Packet]) -> None:
    assert kept(packets) == packets


@pytest.mark.parametrize("stray_s", [20_000.0, 5.0, -30.0])
@pytest.mark.parametrize("count", [1, 8, 40])
@pytest.mark.parametrize("at", [0, 100])
def test_packets_with_a_wrong_time_are_left_out(stray_s: float, count: int, at: int) -> None:
    whole = line(0, 300)
    damaged = whole[:at] + [(start_s + stray_s, length_s) for start_s, length_s in whole[at : at + count]] + whole[at + count :]
    assert kept(damaged) == whole[:at] + whole[at + count :]


def test_different_wrong_times_are_left_out() -> None:
    whole = line(0, 200)
    strays = [(1e5 - start_s * 1e4, length_s) for start_s, length_s in whole[50:60]]
    assert kept(whole[:50] + strays + whole[60:]) == whole[:50] + whole[60:]


def test_audio_follows_a_video_that_begins_again() -> None:
    sync = AudioSync()
    sync.add_frame(0.0, 0.0)
    sync.add_frame(9.9, 9.9)
    assert sync.audio_output_s(9.8) == 9.8
    assert sync.audio_output_s(0.1) is None
    assert sync.audio_output_s(0.1) is None
    sync.add_frame(0.0, 10.0)
    assert sync.output_s == 10.0
    assert sync.audio_output_s(0.1) == pytest.approx(10.1)
    assert sync.audio_output_s(0.2) == pytest.approx(10.2)


def test_audio_may_end_after_the_video_has_begun_again() -> None:
    sync = AudioSync()
    sync.add_frame(9.9, 9.9)
    sync.add_frame(0.0, 10.0)
    assert sync.audio_output_s(9.95) == 9.95
    assert sync.audio_output_s(0.0) == pytest.approx(10.0)


def test_a_frame_with_a_wrong_time_is_no_part() -> None:
    sync = AudioSync()
    for own_s, output_s in ((9.9, 9.9), (5.0, 9.94), (9.98, 9.98)):
        sync.add_frame(own_s, output_s)
    assert sync.audio_output_s(9.9) == 9.9
    assert sync.audio_output_s(0.0) is None
    sync.add_frame(0.0, 10.0)
    assert sync.audio_output_s(0.0) == pytest.approx(10.0)


def test_several_parts_in_sequence() -> None:
    sync = AudioSync()
    sync.add_frame(3.0, 3.0)
    heard = []
    for part in range(1, 4):
        sync.add_frame(0.0, 3.0 * part)
        sync.add_frame(3.0, 3.0 * part + 3.0)
        assert sync.audio_output_s(3.0) == pytest.approx(3.0 * part)
        heard.append(sync.audio_output_s(0.0))
    assert heard == pytest.approx([3.0, 6.0, 9.0])
