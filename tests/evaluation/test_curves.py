import re
from dataclasses import replace

import numpy as np
import pytest

from maskstream.evaluation.breakdowns import group_of
from maskstream.evaluation.curves import expected_calibration_error
from maskstream.evaluation.error_analysis import MistakeKind, mistakes_csv
from maskstream.evaluation.scoring import score
from maskstream.types import Label
from tests.evaluation.sets import SETTINGS, face, found, labels, predictions, scored

A, B, C, D, FAR = (0, 0, 40, 40), (50, 0, 90, 40), (100, 0, 140, 40), (150, 0, 190, 40), (60, 60, 80, 80)
BARE = Label.NO_MASK
FOUR = (face(A), face(B), face(C, BARE), face(D, BARE))


def test_roc_of_a_hand_computed_case() -> None:
    # probabilities of a mask: 0.9 and 0.4 where there is one, 0.6 and 0.2 where not; 3 of 4 pairs are in order
    predicted = (
        found(A, confidence=0.9),
        found(B, BARE, confidence=0.6),
        found(C, confidence=0.6),
        found(D, BARE, confidence=0.8),
    )
    roc = scored(FOUR, predicted).metrics.to_json()["roc"]
    assert (roc["faces"], roc["auc"]) == (4, 0.75)
    assert roc["points"][0] == [0, 0]
    assert roc["points"][-1] == [1, 1]


def test_no_roc_without_both_classes_or_probabilities() -> None:
    assert scored(FOUR[:2], (found(A), found(B))).metrics.to_json()["roc"] is None
    silent = tuple(found(box, label, confidence=None) for box, label in ((A, Label.MASK), (C, BARE)))
    assert scored(FOUR, silent).metrics.to_json()["roc"] is None
    assert scored(FOUR, silent).metrics.to_json()["calibration"] is None
    three = replace(SETTINGS, incorrect_as="incorrect")
    assert scored(FOUR, (found(A), found(C, BARE)), three).metrics.to_json()["roc"] is None


def test_calibration_of_a_hand_computed_case() -> None:
    # three at 0.9 of which two are right, one at 0.6 that is wrong
    predicted = (found(A, confidence=0.9), found(B, confidence=0.9), found(C, confidence=0.9), found(D, confidence=0.6))
    calibration = scored(FOUR, predicted).metrics.to_json()["calibration"]
    assert calibration["ece"] == pytest.approx((3 * (0.9 - 2 / 3) + 0.6) / 4, abs=1e-6)
    bins = {one["low"]: one for one in calibration["bins"] if one["faces"]}
    assert [one["faces"] for one in bins.values()] == [1, 3]
    assert len(calibration["bins"]) == 15
    assert expected_calibration_error(np.array([0.9, 0.9, 0.9, 0.6]), np.array([1, 1, 0, 0]) > 0) == pytest.approx(0.325)
    assert expected_calibration_error(np.ones(3), np.ones(3, bool)) == 0
    assert calibration["bins"][13]["accuracy"] == pytest.approx(2 / 3, abs=1e-6)


def test_precision_and_recall_from_the_highest_score_down() -> None:
    predicted = (found(A, score=0.9, confidence=1), found(FAR, score=0.8, confidence=1), found(B, score=0.3, confidence=1))
    curves = scored(FOUR[:2], predicted).metrics.to_json()["precision_recall"]
    expected = [[0.5, 1, 0.9], [0.5, 0.5, 0.8], [1, 0.66667, 0.3]]
    assert curves["face"] == [pytest.approx(point, abs=1e-5) for point in expected]
    assert curves["mask"] == curves["face"]
    assert curves["no_mask"] == []


def test_keypoint_errors_are_in_distances_of_the_labelled_eyes() -> None:
    labelled = face(A, points=[(20, 24), (28, 14), (12, 14)])  # eyes 16 apart
    points = {"nose": (20, 24, 1), "left_eye": (28, 18, 1), "right_eye": (12, 22, 1)}  # 0, 4 and 8 away
    keypoints = scored((labelled, face(C)), (found(A, **points), found(C))).metrics.to_json()["keypoints"]
    assert keypoints["faces"] == 1
    assert keypoints["by_name"] == {"nose": 0, "left_eye": 0.25, "right_eye": 0.5}
    assert keypoints["mean"] == keypoints["median"] == 0.25
    assert keypoints["ci95"] == [0.25, 0.25]


def test_sizes_are_those_of_the_shorter_side() -> None:
    labelled = (face((0, 0, 15, 90)), face((20, 0, 36, 40)), face((50, 0, 90, 70)))
    predicted = (found((20, 0, 36, 40)), found((50, 0, 90, 70)), found((100, 0, 128, 90)))
    sizes = scored(labelled, predicted).metrics.to_json()["sizes"]
    assert list(sizes) == ["<16", "16-32", "32-64", "64-128", ">128"]
    seen = {name: (each["labelled"], each["found"], each["false_faces"]) for name, each in sizes.items()}
    assert seen == {"<16": (1, 0, 0), "16-32": (1, 1, 1), "32-64": (1, 1, 0), "64-128": (0, None, 0), ">128": (0, None, 0)}


def test_classes_and_scores() -> None:
    predicted = (found(A, score=0.95), found(C, score=0.55), found(FAR, score=0.12))
    metrics = scored(FOUR, predicted).metrics.to_json()
    assert (metrics["by_class"]["mask"]["found"], metrics["by_class"]["mask"]["judged_rightly"]) == (0.5, 1)
    assert (metrics["by_class"]["no_mask"]["labelled"], metrics["by_class"]["no_mask"]["judged_rightly"]) == (2, 0)
    bins = {one["low"]: (one["predictions"], one["labelled"], one["right"]) for one in metrics["scores"] if one["predictions"]}
    assert bins == {0.1: (1, 0, 0), 0.5: (1, 1, 0), 0.9: (1, 1, 1)}


def test_groups_of_names() -> None:
    names = ("partA_1.jpg", "partA_2.jpg", "partB_1.jpg", "rest.jpg")
    set_ = labels((face(A),), (face(A),), (face(A),), (face(A),), names=names)
    predicted = {name: replace(predictions((found(A),))["0.jpg"], name=name) for name in names[1:3]}
    groups = score(set_, predicted, replace(SETTINGS, group_by=re.compile("part([A-Z])"))).metrics.to_json()["groups"]
    assert {name: (each["pictures"], each["found"]) for name, each in groups.items()} == {
        "A": (2, 0.5),
        "B": (1, 1),
        "other": (1, 0),
    }
    assert group_of("partA_1.jpg", re.compile("part.")) == "partA"
    assert scored(FOUR, ()).metrics.to_json()["groups"] == {}


def test_errors_come_worst_first_and_as_csv() -> None:
    labelled = (*FOUR, face((0, 50, 20, 70)), face((30, 50, 90, 95)))
    predicted = (found(A, BARE, confidence=0.7), found(B, BARE, confidence=0.9), found(C, confidence=0.99), found(FAR, score=0.6))
    made = scored(labelled, predicted)
    kinds = [(mistake.kind, round(mistake.badness, 2)) for mistake in made.mistakes]
    expected = [(MistakeKind.FALSE_MASK, 0.99), (MistakeKind.FALSE_NO_MASK, 0.9), (MistakeKind.FALSE_NO_MASK, 0.7)]
    expected += [(MistakeKind.MISSED, 45), (MistakeKind.MISSED, 40), (MistakeKind.MISSED, 20), (MistakeKind.FALSE_FACE, 0.6)]
    assert kinds == expected
    counts = {"false_mask": 1, "false_no_mask": 2, "missed": 3, "false_face": 1, "missed_near": 1, "false_face_near": 1}
    assert made.metrics.to_json()["mistakes"] == counts
    lines = mistakes_csv(made.mistakes).splitlines()
    assert lines[1] == "false_mask,0.jpg,no_mask,mask,0.99,0.9,40.0,1.0,100.0,0.0,140.0,40.0,100.0,0.0,140.0,40.0"
    assert lines[4] == "missed,0.jpg,mask,,,,45.0,0.148,30.0,50.0,90.0,95.0,,,,"
    assert lines[7].startswith("false_face,0.jpg,,mask,0.8,0.6,20.0,0.148,,,,,60.0")
    renamed = replace(made.mistakes[0], name="=1+1.jpg", prediction=found((-5, 0, 20, 20)))
    assert mistakes_csv([renamed]).splitlines()[1].startswith("false_mask,'=1+1.jpg,no_mask,mask,")
    assert ",-5.0,0.0,20.0,20.0" in mistakes_csv([renamed])


def test_a_duplicate_is_near_no_missed_face() -> None:
    made = scored((face(A), face(B)), (found(A), found((0, 0, 40, 36), score=0.6), found((50, 25, 90, 65))))
    nearest = {(mistake.kind, mistake.prediction and mistake.prediction.score): mistake.nearest_iou for mistake in made.mistakes}
    near = pytest.approx(15 / 65)
    assert nearest == {(MistakeKind.MISSED, None): near, (MistakeKind.FALSE_FACE, 0.9): near, (MistakeKind.FALSE_FACE, 0.6): 0}
