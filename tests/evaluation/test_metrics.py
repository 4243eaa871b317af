import numpy as np
import pytest

from maskstream.evaluation.metrics import draw_images, interval, one_to_one_metrics, paper_metrics, resample
from maskstream.evaluation.paper import PUBLISHED

# rows: mask, no_mask, incorrect, unknown, nothing; columns: mask, no_mask, incorrect, unknown, missed
TABLE = np.array([[40, 5, 0, 1, 4], [3, 30, 0, 2, 5], [0, 0, 0, 0, 0], [6, 2, 0, 0, 2], [7, 3, 0, 1, 0]])
NO_DRAWS = np.zeros((0, 1))


def test_metrics_of_a_table_worked_out_by_hand() -> None:
    metrics = one_to_one_metrics(TABLE[None], NO_DRAWS).to_json()
    counts = {name: metrics[name] for name in ("labelled", "known_class", "found_faces", "right_faces", "false_faces")}
    assert counts == {"labelled": 100, "known_class": 90, "found_faces": 89, "right_faces": 70, "false_faces": 11}
    expected = {
        "found": 89 / 100,
        "judged_rightly": 70 / 81,
        "end_to_end_accuracy": 70 / 90,
        "precision": 40 / 50,
        "recall": 40 / 50,
        "specificity": 30 / 40,
        "fpr": 3 / 40,
        "f1": 0.8,
        "balanced_accuracy": (40 / 50 + 30 / 40) / 2,
        "face_precision": 89 / 100,
        "false_per_image": 11,
        "unknown_share": 3 / 89,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert metrics["confusion"]["unknown"]["missed"] == 2
    assert metrics["ci95"]["found"] is None  # nothing was drawn


def test_the_papers_own_counts_give_the_papers_own_metrics() -> None:
    counts = PUBLISHED["0.30"]
    metrics = paper_metrics(np.array([[[counts.tp, counts.fn], [counts.fp, counts.tn]]]), NO_DRAWS)
    assert metrics.accuracy == pytest.approx(2127 / 2184, abs=1e-6)
    assert metrics.fpr == pytest.approx(54 / 914, abs=1e-6)


def test_the_bootstrap_draws_complete_images() -> None:
    draws = draw_images(50, 300)
    assert draws.shape == (300, 50)
    assert (draws.sum(1) == 50).all()
    assert (draws == draw_images(50, 300)).all()
    counts = np.arange(50 * 4).reshape(50, 2, 2)
    drawn = np.repeat(np.arange(50), draws[7].astype(int))
    assert (resample(draws, counts)[7] == counts[drawn].sum(0)).all()


def test_the_interval_is_that_of_a_binomial_when_each_image_has_one_face() -> None:
    tables = np.zeros((400, 5, 5), int)
    tables[:360, 0, 0], tables[360:, 0, 4] = 1, 1  # 90 % found
    low, high = one_to_one_metrics(tables, draw_images(400, 2000)).ci95["found"]
    spread = 1.96 * np.sqrt(0.9 * 0.1 / 400)
    assert (low, high) == pytest.approx((0.9 - spread, 0.9 + spread), abs=0.005)


def test_faces_of_one_image_widen_the_interval() -> None:
    tables = np.zeros((40, 5, 5), int)
    tables[:36, 0, 0], tables[36:, 0, 4] = 10, 10  # the same share, but ten at a time
    low, high = one_to_one_metrics(tables, draw_images(40, 2000)).ci95["found"]
    assert high - low > 2 * 2 * 1.96 * np.sqrt(0.9 * 0.1 / 400) * 0.75


def test_undefined_draws_are_left_out_of_an_interval() -> None:
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1, 1)
    assert interval(np.array([np.nan])) is None
