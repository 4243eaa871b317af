"""The table of sets on cases worked out by hand."""

from dataclasses import replace

import pytest

from maskstream.evaluation.predictions import Prediction
from maskstream.evaluation.set_metrics import faces_at
from maskstream.evaluation.sets_json import SetFaces
from maskstream.types import Label
from tests.evaluation.sets import SETTINGS, face, found, labels, predictions

MASK, BARE, INCORRECT, UNKNOWN = Label.MASK, Label.NO_MASK, Label.INCORRECT, Label.UNKNOWN
A, B, C, D = (0, 0, 40, 40), (50, 0, 90, 40), (100, 0, 140, 40), (150, 0, 190, 40)
HALF_B = (50, 0, 90, 18)  # IoU 0.45 with B
FAR = (60, 60, 80, 80)


def measured(labelled: tuple, predicted: tuple, iou: float = 0.3, **settings: object) -> SetFaces:
    every = replace(SETTINGS, **settings)
    return faces_at(iou, labels(labelled).images, predictions(predicted), every)


def with_probabilities(box: tuple, mask: float, no_mask: float, incorrect: float) -> Prediction:
    by_class = {"mask": mask, "no_mask": no_mask, "incorrect": incorrect}
    label = Label(max(by_class, key=lambda name: by_class[name]))
    return replace(found(box, label, confidence=by_class[label]), probabilities=by_class)


def test_faces_are_counted_by_label_with_incorrect_as_no_mask() -> None:
    labelled = (face(A), face(B, BARE), face(C, INCORRECT), face(D, BARE))
    of_set = measured(labelled, (found(A, BARE), found(HALF_B, MASK), found(C, BARE), found(FAR)))
    assert (of_set.labelled, of_set.found_faces, of_set.right_faces, of_set.false_faces) == (4, 3, 1, 1)
    assert (of_set.found, of_set.right, of_set.false_per_image) == (0.75, 0.25, 1)
    assert (of_set.bare_as_mask, of_set.found_bare, of_set.mask_as_bare) == (1, 1, 1)  # the other bare face is missed
    assert (of_set.incorrect_right, of_set.labelled_incorrect) == (1, 1)
    assert of_set.incorrect is None
    assert of_set.calibration_error == pytest.approx(abs(0.8 - 1 / 3), abs=1e-6)
    at_half = measured(labelled, (found(A, BARE), found(HALF_B, MASK), found(C, BARE), found(FAR)), iou=0.5)
    assert (at_half.found_faces, at_half.false_faces, at_half.bare_as_mask) == (2, 2, None)


def test_a_set_without_faces_has_false_faces_only() -> None:
    of_set = measured((), (found(A), found(B, score=0.4)))
    assert (of_set.false_per_image, of_set.found, of_set.right, of_set.calibration_error) == (1, None, None, None)
    assert of_set.ci95["false_per_image"] == (1, 1)
    assert of_set.ci95["found"] is None


def test_incorrect_is_also_a_class_of_its_own_if_the_classifier_has_it() -> None:
    labelled = (face(A), face(B, BARE), face(C, INCORRECT), face(D, INCORRECT))
    predicted = (
        with_probabilities(A, 0.4, 0.25, 0.35),  # mask of three classes, no mask of two
        with_probabilities(B, 0.1, 0.2, 0.7),
        with_probabilities(C, 0.1, 0.2, 0.7),
        with_probabilities(D, 0.6, 0.1, 0.3),
    )
    for merged in ("no_mask", "incorrect"):
        of_set = measured(labelled, predicted, incorrect_as=merged)
        assert (of_set.right_faces, of_set.mask_as_bare, of_set.bare_as_mask, of_set.incorrect_right) == (2, 1, 0, 0.5)
        assert of_set.incorrect is not None
        assert (of_set.incorrect.labelled, of_set.incorrect.classified, of_set.incorrect.right) == (2, 2, 1)
        assert (of_set.incorrect.recall, of_set.incorrect.precision) == (0.5, 0.5)
    wrong = (*predicted, replace(with_probabilities(FAR, 0, 0, 1), score=0.6))
    with_false_face = measured(labelled, wrong).incorrect
    assert with_false_face is not None
    assert with_false_face.precision == pytest.approx(1 / 3, abs=1e-6)


def test_a_prediction_of_an_ignored_head_is_no_false_face() -> None:
    # the face of a head from (60, 20) to (97.0, 64.7): the rule of `geometry` makes it nearly the ignored head
    tight, head = (66, 31, 91, 61), (60, 20, 97, 64.6)
    of_set = measured((face(head, UNKNOWN, ignore=True),), (found(tight),), iou=0.9, box="head")
    assert (of_set.labelled, of_set.false_faces) == (0, 0)
    assert measured((), (found(tight),), box="head").false_faces == 1


@pytest.mark.parametrize(
    ("inside", "false_faces"),
    [((100, 40, 120, 60), 0), ((131, 40, 151, 60), 0), ((129, 40, 149, 60), 0), ((132, 40, 152, 60), 1)],
)
def test_a_prediction_mostly_inside_an_ignored_face_is_no_false_face(inside: tuple, false_faces: int) -> None:
    ignored = face((62, 0, 142, 100), UNKNOWN, ignore=True)  # IoU with all of them is under 0.1
    assert measured((ignored,), (found(inside),)).false_faces == false_faces


def test_a_labelled_face_comes_before_an_ignored_one() -> None:
    of_set = measured((face(A), face((0, 0, 40, 38), UNKNOWN, ignore=True)), (found(A), found((0, 0, 40, 38), score=0.8)))
    assert (of_set.found_faces, of_set.false_faces) == (1, 0)
