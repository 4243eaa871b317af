import pytest

from maskstream.evaluation.history import history
from maskstream.evaluation.paper import PUBLISHED
from tests.evaluation.made import empty_metrics, full_metrics


def test_rows_are_the_paper_script_s() -> None:
    metrics = full_metrics()
    rows = history(metrics)
    assert [row[0] for row in rows["eval_data"]] == [round(0.05 * step, 2) for step in range(1, 20)]
    at_half = metrics.paper["0.50"]
    assert rows["eval_data"][9] == [0.5, 590, 12, 14, 505]
    assert rows["eval_metrics"][9] == [
        0.5,
        *(getattr(at_half, name) for name in ("accuracy", "precision", "recall", "f1", "fpr")),
    ]
    assert rows["eval_metrics"][9][1] == pytest.approx(1095 / 1121, abs=1e-6)


def test_undefined_is_null() -> None:
    rows = history(empty_metrics())
    assert rows["eval_data"][0] == [0.05, 0, 0, 0, 0]
    assert rows["eval_metrics"][0] == [0.05, None, None, None, None, None]


def test_published_metrics_follow_from_the_published_counts() -> None:
    at_30 = PUBLISHED["0.30"]
    figures = tuple(at_30.ratios[name] for name in ("accuracy", "precision", "recall", "f1", "fpr"))
    assert figures == pytest.approx((2127 / 2184, 1267 / 1321, 1267 / 1270, 2534 / 2591, 54 / 914))
    assert f"{at_30.labelled_share_at_most:.1%}" == "90.3%"
    assert PUBLISHED["0.05"].pairs > 1264 + 1091
    assert PUBLISHED["0.05"].labelled_share_at_most == 1
