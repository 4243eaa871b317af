from pathlib import Path

import numpy as np
import pytest

from maskstream.errors import SinkError
from maskstream.evaluation.metric_plots import confusion_matrix, fp_fn_vs_iou, metrics_vs_iou, write_plots
from maskstream.evaluation.metrics_json import Metrics
from maskstream.io.images import read_image
from tests.evaluation.made import empty_metrics, full_metrics, poor_metrics

MATRICES = {f"confusion_matrix_iou_{iou}" for iou in ("0.05", "0.10", "0.15", "0.20", "0.25", "0.30")}


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return full_metrics()


@pytest.mark.slow
def test_every_plot_is_an_image_with_colours(metrics: Metrics, tmp_path: Path) -> None:
    written = write_plots(metrics, tmp_path)
    assert set(written) == MATRICES | {"metrics_vs_iou", "fp_fn_vs_iou", "precision_recall", "roc", "calibration"}
    assert sorted(tmp_path.iterdir()) == sorted(written.values())
    for path in written.values():
        bgr = read_image(str(path))
        assert min(bgr.shape[:2]) >= 450
        assert np.ptp(bgr.astype(int), axis=2).max() > 60, f"{path.name} has no colours"
        assert 0.3 < (bgr == 255).mean() < 0.995, f"{path.name} is empty or has no paper"


def test_nothing_is_drawn_of_nothing_and_old_files_go(tmp_path: Path) -> None:
    (tmp_path / "roc.png").write_bytes(b"of an earlier run")
    (tmp_path / "mine.png").write_bytes(b"not ours")
    assert set(write_plots(poor_metrics(), tmp_path)) == MATRICES | {"metrics_vs_iou", "fp_fn_vs_iou"}
    assert write_plots(empty_metrics(), tmp_path) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_the_matrix_shows_counts_and_shares_of_rows(metrics: Metrics) -> None:
    figure = confusion_matrix(metrics, "0.30")
    assert figure is not None
    counts = metrics.paper["0.30"]
    axes = figure.axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts[0, 0] == f"{counts.tp}\n{counts.tp / (counts.tp + counts.fn):.1%}"
    assert texts[1, 0].startswith(f"{counts.fn}\n")
    assert texts[0, 1].startswith(f"{counts.fp}\n")
    assert texts[1, 1].startswith(f"{counts.tn}\n")
    assert [axes.get_xlabel(), axes.get_ylabel()] == ["classified as", "labelled as"]


def test_lines_are_the_metrics_and_undefined_ones_are_gaps(metrics: Metrics) -> None:
    figure = metrics_vs_iou(metrics)
    assert figure is not None
    left, right = figure.axes
    accuracy, found_and_right = left.lines[0], right.lines[0]
    assert accuracy.get_ydata()[9] == pytest.approx(1095 / 1121, abs=1e-6)
    assert np.isnan(accuracy.get_ydata()[18])  # not one pair at 0.95
    assert found_and_right.get_ydata()[9] == 0.9125
    assert len(left.collections) == 5  # the bands
    assert [line.get_label() for line in right.lines] == [
        "found with the right label",
        "found",
        "the paper's accuracy, for comparison",
    ]


def test_missed_and_false_faces_beside_the_pairs(metrics: Metrics) -> None:
    figure = fp_fn_vs_iou(metrics)
    assert figure is not None
    lines = [line.get_ydata()[9] for axes in figure.axes for line in axes.lines]
    assert lines == [14, 12, 67, 33]


def test_a_plot_that_cannot_be_written_is_one_line(metrics: Metrics, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"confusion_matrix_iou_0\.05\.png: cannot be written: No such file"):
        write_plots(metrics, tmp_path / "none")
