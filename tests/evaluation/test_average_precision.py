from dataclasses import replace

import pytest

from maskstream.evaluation.scoring import score
from maskstream.types import Label
from tests.evaluation.sets import SETTINGS, Box, face, found, labels, predictions, scored

A, B, C, FAR = (0, 0, 40, 40), (50, 0, 90, 40), (100, 0, 140, 40), (150, 50, 190, 90)
BARE = Label.NO_MASK


def shifted(box: Box, by: float) -> Box:
    return box[0] + by, box[1], box[2] + by, box[3]


def test_average_precision_of_a_hand_computed_case() -> None:
    # right, wrong, right of three labels: precision 1 up to recall 1/3, then 2/3 up to 2/3, then nothing;
    # at COCO's 101 recalls that is 34 times 1 and 33 times 2/3
    predicted = (found(A, score=0.9), found(FAR, score=0.8), found(B, score=0.7))
    ap = scored((face(A), face(B), face(C)), predicted).metrics.to_json()["ap"]
    expected = (34 * 1 + 33 * 2 / 3) / 101
    assert ap["mask_50"] == pytest.approx(expected, abs=1e-6)
    assert ap["mask"] == pytest.approx(expected, abs=1e-6)  # the boxes fit perfectly, at every IoU
    assert (ap["no_mask"], ap["map50"]) == (None, ap["mask_50"])


def test_a_loose_box_counts_at_low_ious_only() -> None:
    ap = scored((face(A),), (found(shifted(A, 8)),)).metrics.to_json()["ap"]  # IoU 32/48 = 2/3: 0.50, 0.55, 0.60, 0.65
    assert (ap["mask_50"], ap["mask"], ap["map50_95"]) == (1, pytest.approx(0.4), pytest.approx(0.4))


def test_the_mean_is_over_classes_that_have_labels() -> None:
    ap = scored((face(A), face(B, BARE)), (found(A), found(B))).metrics.to_json()["ap"]
    assert (ap["mask_50"], ap["no_mask_50"], ap["map50"]) == (1, 0, 0.5)


def test_confidence_ranks_besides_the_score() -> None:
    # the false one is the surer face and the less sure mask: 0.95 * 0.5 < 0.9 * 0.9
    predicted = (found(FAR, score=0.95, confidence=0.5), found(A, score=0.9, confidence=0.9))
    assert scored((face(A),), predicted).metrics.to_json()["ap"]["mask_50"] == 1
    alone = tuple(replace(each, confidence=None) for each in predicted)
    assert scored((face(A),), alone).metrics.to_json()["ap"]["mask_50"] == pytest.approx(0.5)


def test_predictions_below_the_operating_threshold_are_part_of_the_curve() -> None:
    assert scored((face(A),), (found(A, score=0.1),)).metrics.to_json()["ap"]["mask_50"] == 1


def test_ignored_faces_and_faces_of_unknown_class_are_left_out() -> None:
    labelled = (face(A), face(B, ignore=True), face(C, Label.UNKNOWN))
    predicted = (found(B, score=0.99), found(C, score=0.98), found(A, score=0.5))
    assert scored(labelled, predicted).metrics.to_json()["ap"]["mask_50"] == 1


def test_no_prediction_at_all_is_zero() -> None:
    assert scored((face(A),), ()).metrics.to_json()["ap"]["map50"] == 0


def test_the_interval_is_over_images() -> None:
    sure = score(labels(*[(face(A),)] * 20), predictions(*[(found(A),)] * 20), SETTINGS).metrics.to_json()["ap"]
    assert sure["ci95"]["mask_50"] == [1, 1]
    half = predictions(*[(found(A),), ()] * 10)
    mixed = score(labels(*[(face(A),)] * 20), half, SETTINGS).metrics.to_json()["ap"]
    low, high = mixed["ci95"]["mask_50"]
    assert mixed["mask_50"] == pytest.approx(0.5, abs=0.01)
    assert 0.2 < low < 0.4 < 0.6 < high < 0.8
