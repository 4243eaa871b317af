"""Both protocols on cases worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from maskstream.evaluation.scoring import score
from maskstream.types import Label
from maskstream.vision.geometry import box_fraction_inside, box_iou
from tests.evaluation.sets import SETTINGS, face, found, labels, predictions, scored

A, B, FAR = (0, 0, 40, 40), (100, 0, 140, 40), (60, 60, 80, 80)
NEARLY_A = (0, 0, 40, 36)  # IoU 0.9 with A
HALF_A = (0, 0, 40, 20)  # IoU exactly 0.5 with A
MASK, BARE, INCORRECT, UNKNOWN = Label.MASK, Label.NO_MASK, Label.INCORRECT, Label.UNKNOWN


def test_iou_of_hand_computed_boxes() -> None:
    boxes = np.array([A, (20, 20, 60, 60), (200, 200, 210, 210), (5, 5, 5, 5)], np.float32)
    expected = [1, 400 / 2800, 0, 0]
    assert box_iou(boxes[:1], boxes)[0] == pytest.approx(expected)
    assert box_iou(boxes[:0], boxes).shape == (0, 4)
    assert box_iou(boxes[3:], boxes[3:])[0, 0] == 0  # no area
    assert box_fraction_inside(boxes[:1], boxes)[0] == pytest.approx([1, 400 / 1600, 0, 0])
    assert box_fraction_inside(boxes[3:], boxes)[0].tolist() == [0, 0, 0, 0]  # no area


def test_one_label_with_two_detections_is_one_hit_and_one_false_face_but_two_hits_for_the_paper() -> None:
    metrics = scored((face(A),), (found(A), found(NEARLY_A, score=0.8))).metrics.to_json()
    ours, paper = metrics["one_to_one"]["0.50"], metrics["paper"]["0.50"]
    assert (ours["found_faces"], ours["right_faces"], ours["false_faces"]) == (1, 1, 1)
    assert (ours["end_to_end_accuracy"], ours["precision"], ours["recall"], ours["false_per_image"]) == (1, 0.5, 1, 1)
    assert ours["f1"] == pytest.approx(2 / 3, abs=1e-6)
    assert (paper["tp"], paper["fn"], paper["fp"], paper["tn"]) == (2, 0, 0, 0)
    assert (paper["accuracy"], paper["precision"], paper["fpr"]) == (1, 1, None)


def test_a_missed_face_and_a_false_face_are_invisible_to_the_paper() -> None:
    metrics = scored((face(A), face(B, BARE)), (found(A), found(FAR))).metrics.to_json()
    ours, paper = metrics["one_to_one"]["0.30"], metrics["paper"]["0.30"]
    assert ours["found"] == ours["end_to_end_accuracy"] == 0.5
    assert ours["judged_rightly"] == 1
    assert ours["confusion"]["no_mask"] == {"mask": 0, "no_mask": 0, "incorrect": 0, "unknown": 0, "missed": 1}
    assert ours["confusion"]["nothing"]["mask"] == 1
    assert (ours["specificity"], ours["fpr"], ours["balanced_accuracy"]) == (0, 0, 0.5)
    assert (paper["tp"], paper["accuracy"], paper["f1"]) == (1, 1, 1)


def test_every_overlapping_pair_counts_for_the_paper() -> None:
    close = (10, 0, 50, 40)  # IoU 0.6 with A
    paper = scored((face(A), face(close, BARE)), (found(A), found(close, BARE))).metrics.to_json()["paper"]
    # each label with each prediction: two right, one no mask as mask, one mask as no mask
    assert [paper["0.50"][name] for name in ("tp", "fn", "fp", "tn")] == [1, 1, 1, 1]
    assert [paper["0.65"][name] for name in ("tp", "fn", "fp", "tn")] == [1, 0, 0, 1]


def test_the_threshold_itself_is_enough_one_to_one_and_not_for_the_paper() -> None:
    metrics = scored((face(A),), (found(HALF_A),)).metrics.to_json()
    assert [metrics["one_to_one"][iou]["found"] for iou in ("0.50", "0.55")] == [1, 0]
    assert [metrics["paper"][iou]["tp"] for iou in ("0.45", "0.50")] == [1, 0]


def test_the_higher_score_chooses_first_and_takes_what_it_overlaps_most() -> None:
    near = (4, 0, 44, 40)
    confident_but_shifted = found(near, BARE, score=0.95)
    ours = scored((face(A),), (found(A, MASK, score=0.9), confident_but_shifted)).metrics.to_json()["one_to_one"]["0.50"]
    assert ours["confusion"]["mask"]["no_mask"] == 1
    assert ours["confusion"]["nothing"]["mask"] == 1
    both = scored((face(A), face(near, BARE)), (found(A, MASK, score=0.9), confident_but_shifted)).metrics.to_json()
    assert both["one_to_one"]["0.50"]["end_to_end_accuracy"] == 1


def test_scores_below_the_operating_threshold_do_not_count() -> None:
    metrics = scored((face(A),), (found(A, score=0.49), found(B, score=0.51))).metrics.to_json()
    assert (metrics["one_to_one"]["0.50"]["found"], metrics["one_to_one"]["0.50"]["false_faces"]) == (0, 1)
    points = {point["min_score"]: point for point in metrics["operating_points"]}
    assert (points[0.45]["found"], points[0.55]["found"]) == (1, 0)
    assert (points[0.5]["false_per_image"], points[0.55]["false_per_image"]) == (1, 0)


def test_faces_to_ignore_are_neither_right_nor_wrong() -> None:
    metrics = scored((face(A), face(B, ignore=True)), (found(A), found(B, BARE))).metrics.to_json()
    ours = metrics["one_to_one"]["0.50"]
    assert (ours["labelled"], ours["found"], ours["false_faces"]) == (1, 1, 0)
    assert metrics["paper"]["0.50"]["tp"] == 1
    assert metrics["paper"]["0.50"]["fp"] == 0
    missed = scored((face(A), face(B, ignore=True)), (found(A),)).metrics.to_json()["one_to_one"]["0.50"]
    assert missed["found"] == 1


def test_a_face_of_unknown_class_counts_as_found_and_for_no_accuracy() -> None:
    ours = scored((face(A, UNKNOWN), face(B, BARE)), (found(A), found(B, BARE))).metrics.to_json()["one_to_one"]["0.50"]
    assert (ours["labelled"], ours["known_class"], ours["found"], ours["end_to_end_accuracy"]) == (2, 1, 1, 1)
    assert (ours["precision"], ours["specificity"]) == (None, 1)  # no face of known class was classified as mask


def test_an_answer_of_unknown_is_found_and_not_right() -> None:
    metrics = scored((face(A),), (found(A, UNKNOWN),)).metrics.to_json()
    ours = metrics["one_to_one"]["0.50"]
    assert (ours["found"], ours["judged_rightly"], ours["recall"], ours["unknown_share"]) == (1, 0, 0, 1)
    assert metrics["paper"]["0.50"]["tp"] + metrics["paper"]["0.50"]["fn"] == 0
    assert sum(metrics["mistakes"].values()) == 0


def test_incorrect_is_no_mask_or_a_class_of_its_own() -> None:
    labelled, predicted = (face(A, INCORRECT), face(B, BARE)), (found(A, BARE), found(B, INCORRECT))
    merged = scored(labelled, predicted).metrics.to_json()
    assert merged["classes"] == ["mask", "no_mask"]
    assert merged["one_to_one"]["0.50"]["end_to_end_accuracy"] == 1
    apart = scored(labelled, predicted, replace(SETTINGS, incorrect_as="incorrect")).metrics.to_json()
    assert apart["classes"] == ["mask", "no_mask", "incorrect"]
    assert apart["one_to_one"]["0.50"]["end_to_end_accuracy"] == 0
    assert apart["one_to_one"]["0.50"]["specificity"] == 1  # of the question whether a mask protects
    assert sum(apart["mistakes"].values()) == 0


def test_heads_are_met_by_the_rule_of_geometry() -> None:
    tight, head = (100, 40, 120, 60), (95.2, 32.6, 124.8, 62.4)
    as_head = replace(SETTINGS, box="head")
    assert scored((face(head),), (found(tight),), as_head).metrics.to_json()["one_to_one"]["0.95"]["found"] == 1
    assert scored((face(head),), (found(head),), as_head).metrics.to_json()["one_to_one"]["0.95"]["found"] == 0
    already = replace(SETTINGS, box="head", predicted_box="head")
    assert scored((face(head),), (found(head),), already).metrics.to_json()["one_to_one"]["0.95"]["found"] == 1


def test_images_without_faces_count_for_false_faces() -> None:
    metrics = score(labels((), (), (face(A),)), predictions((found(A),), (), (found(A),)), SETTINGS).metrics.to_json()
    ours = metrics["one_to_one"]["0.50"]
    assert (ours["pictures"], ours["false_per_image"], ours["found"]) == (3, pytest.approx(1 / 3, abs=1e-6), 1)


def test_without_labels_and_predictions_metrics_are_null() -> None:
    metrics = scored((), ()).metrics.to_json()
    ours = metrics["one_to_one"]["0.50"]
    assert [ours[name] for name in ("found", "precision", "f1", "end_to_end_accuracy")] == [None] * 4
    assert ours["false_per_image"] == 0
    assert ours["ci95"]["found"] is None
    assert (metrics["ap"]["map50"], metrics["roc"], metrics["calibration"], metrics["keypoints"]) == (None, None, None, None)
