from collections.abc import Sequence

import pytest

from maskstream.sinks.audio_sync import AudioSync, in_step

Piece = tuple[float, float]
STEP_S = 0.02


def line(start_s: float, count: int) -> list[Piece]:
    """Return pieces of 20 ms, one after the other."""
    return [(start_s + index * STEP_S, STEP_S) for index in range(count)]


def kept(pieces: Sequence[Piece]) -> list[Piece]:
    return list(in_step(pieces, lambda piece: piece))


@pytest.mark.parametrize(
    "pieces",
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
        "a little behind a gap",
        "no durations",
        "long",
        "now and then",
        "none",
    ],
)
def test_what_goes_on_in_step_is_kept(pieces: list[Piece]) -> None:
    assert kept(pieces) == pieces


@pytest.mark.parametrize("stray_s", [20_000.0, 5.0, -30.0])
@pytest.mark.parametrize("count", [1, 8, 40])
@pytest.mark.parametrize("at", [0, 100])
def test_what_has_a_wrong_time_is_left_out(stray_s: float, count: int, at: int) -> None:
    whole = line(0, 300)
    damaged = whole[:at] + [(start_s + stray_s, length_s) for start_s, length_s in whole[at : at + count]] + whole[at + count :]
    assert kept(damaged) == whole[:at] + whole[at + count :]


def test_wrong_times_that_differ_are_left_out() -> None:
    whole = line(0, 200)
    strays = [(1e5 - start_s * 1e4, length_s) for start_s, length_s in whole[50:60]]
    assert kept(whole[:50] + strays + whole[60:]) == whole[:50] + whole[60:]


def test_sound_follows_an_image_that_begins_anew() -> None:
    times = AudioSync()
    times.frame(0.0, 0.0)
    times.frame(9.9, 9.9)
    assert times.heard_s(9.8) == 9.8
    assert times.heard_s(0.1) is None
    assert times.heard_s(0.1) is None
    times.frame(0.0, 10.0)
    assert times.until_s == 10.0
    assert times.heard_s(0.1) == pytest.approx(10.1)
    assert times.heard_s(0.2) == pytest.approx(10.2)


def test_sound_may_end_after_the_image_has_begun_anew() -> None:
    times = AudioSync()
    times.frame(9.9, 9.9)
    times.frame(0.0, 10.0)
    assert times.heard_s(9.95) == 9.95
    assert times.heard_s(0.0) == pytest.approx(10.0)


def test_a_frame_with_a_wrong_time_is_no_part() -> None:
    times = AudioSync()
    for own_s, shown_s in ((9.9, 9.9), (5.0, 9.94), (9.98, 9.98)):
        times.frame(own_s, shown_s)
    assert times.heard_s(9.9) == 9.9
    assert times.heard_s(0.0) is None
    times.frame(0.0, 10.0)
    assert times.heard_s(0.0) == pytest.approx(10.0)


def test_one_part_after_the_other() -> None:
    times = AudioSync()
    times.frame(3.0, 3.0)
    heard = []
    for part in range(1, 4):
        times.frame(0.0, 3.0 * part)
        times.frame(3.0, 3.0 * part + 3.0)
        assert times.heard_s(3.0) == pytest.approx(3.0 * part)
        heard.append(times.heard_s(0.0))
    assert heard == pytest.approx([3.0, 6.0, 9.0])
