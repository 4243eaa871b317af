from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.sources.pacing import Pacer

FRAME_S = 0.04


@dataclass(frozen=True)
class Shown:
    """A frame that was yielded."""

    pts_s: float
    time_s: float
    at_s: float


def played(frames: Iterator[tuple[float | None, float]] | list[tuple[float | None, float]], work_s: float = 0.0) -> list[Shown]:
    """Yield frames, given as timestamp and arrival, like a reader that waits until each has arrived and is due.

    Args:
        frames: Of the stream, in order.
        work_s: How long one is busy with each.
    """
    pacer, now_s = Pacer(), 0.0
    shown: list[Shown] = []
    for pts_s, arrived_s in frames:
        now_s = max(now_s, arrived_s)
        schedule = pacer.schedule(pts_s, arrived_s, now_s)
        now_s = max(now_s, schedule.due_s)
        shown.append(Shown(pts_s or 0.0, schedule.time_s, now_s))
        now_s += work_s
    return shown


def bursts(
    lasts_s: float, every_s: float, *, camera_speed: float = 1.0, ahead: int = 1, first_pts_s: float = 0.0
) -> list[tuple[float | None, float]]:
    """Return a stream that arrives in bursts: each contains what a camera captured since the last one.

    Args:
        lasts_s: By our clock.
        every_s: Of the camera's clock.
        camera_speed: Of the camera's clock, by ours.
        ahead: How many bursts are there at the beginning.
        first_pts_s: Timestamp of the first frame.
    """
    count = int(lasts_s * camera_speed / FRAME_S)
    frame_s = [number * FRAME_S for number in range(count)]
    return [(first_pts_s + at_s, max(0.0, (at_s // every_s + 1 - ahead) * every_s / camera_speed)) for at_s in frame_s]


def steps(shown: list[Shown]) -> list[float]:
    return [after.at_s - before.at_s for before, after in pairwise(shown)]


@pytest.mark.parametrize("every_s", [0.5, 2.0, 6.0, 10.0])
@pytest.mark.parametrize("first_pts_s", [0.0, 36_000.0, -5.0])
def test_bursts_are_handed_out_evenly(every_s: float, first_pts_s: float) -> None:
    shown = played(bursts(100, every_s, ahead=2, first_pts_s=first_pts_s))
    assert all(FRAME_S / 1.06 < step_s < FRAME_S + 1e-6 for step_s in steps(shown))
    assert [each.time_s for each in shown] == pytest.approx([number * FRAME_S for number in range(len(shown))])


def test_a_late_frame_is_yielded_at_once_and_the_rest_evenly() -> None:
    """The third burst is 1.5 s late: one pause, no speed-up, and no pause for later bursts with the same delay."""
    late = [(pts_s, arrived_s + (1.5 if pts_s >= 4 else 0)) for pts_s, arrived_s in bursts(20, 2.0)]
    shown = played(late)
    pauses = [step_s for step_s in steps(shown) if step_s > FRAME_S + 1e-6]
    assert pauses == [pytest.approx(1.5 + FRAME_S)]
    assert min(steps(shown)) == pytest.approx(FRAME_S)


def test_a_slow_reader_catches_up_without_a_burst() -> None:
    pacer = Pacer()
    now_s = 0.0
    at_s = []
    for number in range(200):
        schedule = pacer.schedule(number * FRAME_S, 0.0, now_s)
        now_s = max(now_s, schedule.due_s)
        at_s.append(now_s)
        now_s += 1.0 if number == 50 else 0.0
    after = [later - earlier for earlier, later in pairwise(at_s[51:])]
    assert min(after) == pytest.approx(FRAME_S / 1.25)
    assert at_s[-1] == pytest.approx(199 * FRAME_S)  # as if nothing had happened


@pytest.mark.parametrize("drift", [-0.01, -0.001, 0.001, 0.01])
@pytest.mark.parametrize("every_s", [FRAME_S, 6.0])
def test_clocks_that_differ_neither_stutter_nor_add_up(drift: float, every_s: float) -> None:
    """Much more than real clocks: 0.01 is 9 s in the 15 minutes of this test, and 2 s in the period that is stored."""
    shown = played(bursts(900, every_s, camera_speed=1 + drift, ahead=2))
    ages_s = [each.at_s - each.pts_s / (1 + drift) for each in shown]  # 0: as early as a burst allows that is there at once
    assert max(ages_s[len(shown) // 3 :]) < max(0.2, 0.25 * every_s) + abs(drift) * 130
    assert max(steps(shown)) < FRAME_S * 1.5 + abs(drift) * every_s
    assert min(steps(shown)) >= FRAME_S / 1.25 - 1e-6


@pytest.mark.parametrize("jump_s", [-36_000, -7.0, -0.5, 11.0, 95_443.7])
def test_another_clock_continues_the_one_before(jump_s: float) -> None:
    frames = bursts(40, 6.0, ahead=2)
    jumped = [(pts_s + (jump_s if pts_s >= 18 else 0), arrived_s) for pts_s, arrived_s in frames]
    shown = played(jumped)
    assert all(FRAME_S / 1.26 < step_s < FRAME_S + 1e-3 for step_s in steps(shown))
    assert [each.time_s for each in shown] == pytest.approx([number * FRAME_S for number in range(len(shown))], abs=1e-3)


def test_what_is_missing_is_waited_for_as_long_as_it_would_have_lasted() -> None:
    """A segment of 6 s was not available: the frames after it are not yielded too early."""
    shown = played([(pts_s, at_s) for pts_s, at_s in bursts(40, 6.0, ahead=2) if not 12 <= pts_s < 18])
    assert max(steps(shown)) == pytest.approx(6.0 + FRAME_S)
    assert max(after.time_s - before.time_s for before, after in pairwise(shown)) == pytest.approx(6.0 + FRAME_S)


def test_an_outage_with_another_clock_behind_it_took_its_time() -> None:
    before = [(number * FRAME_S, number * FRAME_S) for number in range(50)]
    after = [(7000 + number * FRAME_S, 32.0 + number * FRAME_S) for number in range(50)]
    shown = played(before + after)
    assert shown[50].time_s - shown[49].time_s == pytest.approx(32.0 - 49 * FRAME_S)
    assert [each.at_s for each in shown[50:]] == pytest.approx([32.0 + number * FRAME_S for number in range(50)])


def test_frames_without_timestamps_follow_at_the_usual_distance() -> None:
    frames = [(None if number % 3 == 1 else number * FRAME_S, 0.0) for number in range(60)]
    assert steps(played(frames)) == pytest.approx([FRAME_S] * 59)


@given(
    frames=st.lists(
        st.tuples(
            st.none() | st.floats(-1e6, 1e6),
            st.floats(0, 30),
            st.floats(0, 3),
        ),
        min_size=2,
        max_size=60,
    )
)
def test_time_advances_without_long_waits_for_any_timestamps(frames: list[tuple[float | None, float, float]]) -> None:
    pacer, now_s, arrived_s = Pacer(), 0.0, 0.0
    out_s, time_s = 0.0, -1.0
    for pts_s, later_s, work_s in frames:
        arrived_s += later_s
        now_s = max(now_s, arrived_s)
        schedule = pacer.schedule(pts_s, arrived_s, now_s)
        assert schedule.time_s > time_s
        assert schedule.time_s - time_s <= max(10.0, arrived_s - out_s) + 1.001
        assert schedule.due_s - now_s <= 10.001
        assert schedule.due_s >= arrived_s - 1e-6
        now_s = out_s = max(now_s, schedule.due_s)
        time_s = schedule.time_s
        now_s += work_s


@given(
    every_s=st.floats(0.04, 12),
    ahead=st.integers(1, 3),
    late_s=st.lists(st.floats(0, 3), min_size=1, max_size=8),
    drift=st.floats(-1e-3, 1e-3),
)
def test_no_burst_is_handed_out_as_one(every_s: float, ahead: int, late_s: list[float], drift: float) -> None:
    frames = bursts(60, every_s, camera_speed=1 + drift, ahead=ahead)
    arrival_s = 0.0
    jittered = []
    for number, (pts_s, arrived_s) in enumerate(frames):
        arrival_s = max(arrival_s, arrived_s + late_s[int(number * FRAME_S / every_s) % len(late_s)])
        jittered.append((pts_s, arrival_s))
    shown = played(jittered)
    assert min(steps(shown)) >= FRAME_S / 1.25 - 1e-6
    assert sum(step_s - FRAME_S for step_s in steps(shown) if step_s > FRAME_S + 1e-6) <= every_s + max(late_s) + 60 * 1e-3 + 0.1
