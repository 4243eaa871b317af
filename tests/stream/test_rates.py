import pytest

from maskstream.stream.rates import Pace, per_second


def paced(*times_s: float) -> Pace:
    pace = Pace()
    for time_s in times_s:
        pace.step(time_s)
    return pace


def test_patience_is_as_asked_for_where_frames_come_quickly() -> None:
    assert paced().patience(1.5) == 1.5
    assert paced(0.0, 0.04, 0.08).patience(1.5) == 1.5


@pytest.mark.parametrize("step_s", [1.0, 2.0, 5.0])
def test_patience_grows_with_the_steps(step_s: float) -> None:
    assert paced(0.0, step_s).patience(0.5) == pytest.approx(2.5 * step_s)
    assert paced(*(step_s * number for number in range(6))).patience(0.5) == pytest.approx(2.5 * step_s)


def test_a_single_gap_is_not_waited_for() -> None:
    assert paced(0.0, 0.04, 0.08, 3600.0).patience(1.5) == 1.5
    assert paced(0.0, 3600.0).patience(1.5) == 12.5


def test_time_that_runs_back_stands_still() -> None:
    assert paced(10.0, 0.0, 0.04, 0.08).patience(0.0) == pytest.approx(0.1)


def test_rate() -> None:
    assert per_second([0.0, 0.5, 1.0], 1.0) == pytest.approx(2.0)
    assert per_second([0.0], 1.0) == 0.0
