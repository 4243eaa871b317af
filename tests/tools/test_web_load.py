"""The load of viewers on a run."""

from dataclasses import replace

import pytest

from tests.conftest import DEMO
from tools.web_load import Load, Report, Round, measure

LOAD = Load(cameras=4, viewers=4, throttled=1, width=320, rate=8.0, round_s=10.0, rounds=2, clip=str(DEMO))


def test_the_report_compares_neighbouring_rounds() -> None:
    unseen = Round(viewers=0, fps=10.0, frame_ms=100.0, cpu=1.0, tiles_share=0.0, memory_mb=500.0)
    seen = replace(unseen, viewers=4, frame_ms=102.0, memory_mb=505.0)
    report = Report(LOAD, [unseen, seen, replace(unseen, frame_ms=200.0), replace(seen, frame_ms=202.0)])
    assert report.slowdown == pytest.approx(0.015)
    assert report.growth_mb == 0
    assert report.record()["slowdown"] == report.slowdown


@pytest.mark.slow
def test_viewers_cost_a_run_little_and_a_throttled_one_takes_nothing_from_the_others() -> None:
    """Processor time is compared, and not the rate of the analysis, as other programs may use this machine too."""
    report = measure(LOAD)
    for each in report.rounds[1::2]:
        *free, throttled = each.tiles_per_s
        assert min(free) > 0.9 * max(free) > 0
        assert throttled <= max(free) + 0.5
        assert each.tiles_share < 0.03
    assert all(each.fps > 0 for each in report.rounds)
    assert report.rounds[-1].memory_mb - report.rounds[0].memory_mb < 200
