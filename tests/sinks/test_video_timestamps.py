"""Clocks that jump, run back or are damaged: all frames stay in order, and none is shown for too long."""

from fractions import Fraction
from itertools import accumulate, pairwise
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskstream.sinks.video_timestamps import LONGEST_STILL_S, VideoTimestamps
from tests.properties import examples

STEP_S = 0.04
HOURS_S = 36_000.0
MILLISECOND = Fraction(1, 1000)
STEADY = [STEP_S * index for index in range(10)]


def shown(times_s: list[float], times: VideoTimestamps | None = None) -> list[float]:
    """Return the times of frames; like the sink, hold back a frame that jumps until the next one is known."""
    times = times or VideoTimestamps(MILLISECOND, 2**31)
    pts = []
    for time_s, next_s in zip(times_s, [*times_s[1:], None], strict=True):
        pts.append(times.pts(time_s, STEP_S, next_s if times.jumps(time_s) else None))
    return [float(each * times.unit_s) for each in pts]


@pytest.mark.parametrize("jump_s", [HOURS_S, 3700.0, 1e9, -HOURS_S, -1.5])
@pytest.mark.parametrize("at", [1, 5, 9])
def test_a_clock_that_jumps_during_the_video(jump_s: float, at: int) -> None:
    times_s = [time_s + (jump_s if index >= at else 0.0) for index, time_s in enumerate(STEADY)]
    assert shown(times_s) == pytest.approx(STEADY, abs=0.002)


@pytest.mark.parametrize("stray_s", [HOURS_S, 12.0, 1e9, -HOURS_S, -1.5])
@pytest.mark.parametrize("at", [3, 5, 8])
@pytest.mark.parametrize("after_s", [0.0, HOURS_S], ids=["own clock", "clock that was set"])
def test_one_wrong_time_moves_no_other_frame(stray_s: float, at: int, after_s: float) -> None:
    times_s = [time_s + (after_s if index > 0 else 0.0) for index, time_s in enumerate(STEADY)]
    times_s[at] += stray_s
    shown_s = shown(times_s)
    assert [shown_s[index] for index in range(10) if index != at] == pytest.approx(
        [STEADY[index] for index in range(10) if index != at], abs=0.002
    )
    assert shown_s[at - 1] < shown_s[at] < shown_s[at + 1]


def test_some_wrong_times_in_a_row_move_no_other_frame() -> None:
    times_s = [time_s + (HOURS_S if 3 <= index < 6 else 0.0) for index, time_s in enumerate(STEADY)]
    assert shown(times_s) == pytest.approx(STEADY, abs=0.002)


@pytest.mark.parametrize("gap_s", [0.5, 60.0, 3500.0])
def test_a_gap_stays_a_gap(gap_s: float) -> None:
    times_s = [0.0, 0.04, 0.08 + gap_s, 0.12 + gap_s]
    times = VideoTimestamps(MILLISECOND, 2**31)
    assert shown(times_s, times) == pytest.approx(times_s, abs=0.002)
    assert times.jumped_s == 0


def test_the_length_of_a_jump_is_reported() -> None:
    times = VideoTimestamps(MILLISECOND, 2**31)
    shown([0.0, 0.04, HOURS_S, HOURS_S + 0.04], times)
    assert times.jumped_s == pytest.approx(HOURS_S, abs=0.1)


def test_frames_two_hours_apart_are_a_valid_rate() -> None:
    times_s = [7200.0 * index for index in range(4)]
    assert shown(times_s, VideoTimestamps(MILLISECOND, 2**31, average_fps=1 / 7200)) == times_s
    assert shown(times_s)[-1] < 1.0


def test_a_jump_beyond_the_stated_end_is_damage() -> None:
    times_s = [0.0, 0.04, 100.0, 100.04]
    assert shown(times_s, VideoTimestamps(MILLISECOND, 2**31, end_s=20.0)) == pytest.approx(STEADY[:4], abs=0.002)
    assert shown(times_s, VideoTimestamps(MILLISECOND, 2**31, end_s=95.0)) == pytest.approx(times_s, abs=0.002)


def test_a_gap_is_limited_to_the_longest_duration_of_the_container() -> None:
    times = VideoTimestamps(MILLISECOND, 50_000)
    assert shown([0.0, 0.04, 100.0, 100.04], times) == pytest.approx([0.0, 0.04, 50.04, 50.08], abs=0.002)
    assert times.jumped_s == pytest.approx(50.0, abs=0.1)


def test_the_last_frame_lasts_no_longer_than_longest_still() -> None:
    times = VideoTimestamps(MILLISECOND, 2**31)
    times.pts(0.0, HOURS_S)
    assert times.next_s == pytest.approx(STEP_S, abs=0.001)


JUMPS = st.sampled_from(
    [STEP_S, STEP_S, STEP_S, 0.0, 0.001, -0.02, -0.9, -1.1, 11.0, 3599.0, HOURS_S, -HOURS_S, 95_443.7, -95_443.7, 1e9]
)


@examples(1.0)
@given(
    steps_s=st.lists(JUMPS, max_size=25),
    unit_s=st.sampled_from([MILLISECOND, Fraction(1, 90_000), Fraction(1, 25), Fraction(1, 10_000_000)]),
    longest=st.sampled_from([2**31, 50_000]),
    end_s=st.sampled_from([inf, 1.0, 36_001.0]),
)
@example(steps_s=[3599.0, -3599.0] * 3, unit_s=MILLISECOND, longest=2**31, end_s=inf)
def test_pts_rise_and_the_video_is_not_longer_than_its_source(
    steps_s: list[float], unit_s: Fraction, longest: int, end_s: float
) -> None:
    times_s = list(accumulate(steps_s, initial=0.0))
    shown_s = shown(times_s, VideoTimestamps(unit_s, longest, end_s))
    assert len(shown_s) == len(times_s)
    assert all(after > before for before, after in pairwise(shown_s))
    allowed_s = sum(step_s if STEP_S < step_s <= LONGEST_STILL_S + 1 else STEP_S + float(unit_s) for step_s in map(abs, steps_s))
    assert shown_s[-1] - shown_s[0] <= allowed_s + 1.1 * len(times_s)
