"""For any labels and predictions, metrics are fractions or not defined, counts add up, and nothing is NaN."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskstream.annotations.labelled_images import LabelledFace
from maskstream.evaluation.error_analysis import mistakes_csv
from maskstream.evaluation.matching import CLASSES
from maskstream.evaluation.predictions import Prediction
from maskstream.evaluation.scoring import ScoreSettings, score
from maskstream.types import Label
from tests.evaluation.sets import SETTINGS, face, found, labels, predictions
from tests.properties import examples

FEW_DRAWS = replace(SETTINGS, bootstrap=5)
SHARES = {
    "found",
    "judged_rightly",
    "end_to_end_accuracy",
    "precision",
    "recall",
    "specificity",
    "fpr",
    "f1",
    "balanced_accuracy",
}
SHARES |= {
    "face_precision",
    "unknown_share",
    "accuracy",
    "auc",
    "ece",
    "map50",
    "map50_95",
    "mask",
    "no_mask",
    "mask_50",
    "no_mask_50",
}
NAN, INF = float("nan"), float("inf")

EDGES = st.sampled_from([0.0, 10.0, 10.5, 20.0, 40.0, 41.0, 60.0, 100.0])


@st.composite
def boxes(draw: st.DrawFn, least_px: float = 0.0) -> tuple[float, float, float, float]:
    """A box that may be outside the image and have no area."""
    x, y, width, height = (draw(EDGES) for _ in range(4))
    return x, y, x + max(width, least_px), y + max(height, least_px)


POINTS = st.none() | st.lists(st.tuples(EDGES, EDGES), min_size=3, max_size=3)
LABELLED = st.builds(face, boxes(0.5), st.sampled_from(Label), ignore=st.sampled_from([False, False, True]), points=POINTS)


@st.composite
def predicted(draw: st.DrawFn) -> Prediction:
    """A prediction, now and then of a broken system."""
    numbers = st.one_of(EDGES, EDGES, EDGES, st.sampled_from([NAN, INF, 1e38]))
    names = draw(st.sampled_from([(), ("nose",), ("nose", "left_eye", "right_eye")]))
    points = {name: (draw(numbers), draw(numbers), draw(st.floats(0, 1))) for name in names}
    share = st.one_of(st.sampled_from([0.0, 0.05, 0.5, 1.0]), st.floats(0, 1))
    return found(draw(boxes()), draw(st.sampled_from(Label)), draw(share), draw(st.none() | share), **points)


SETS = st.lists(st.tuples(st.lists(LABELLED, max_size=3), st.lists(predicted(), max_size=4)), min_size=1, max_size=3)
SETTINGS_OF_ANY_KIND = st.builds(
    lambda box, predicted_box, incorrect_as: replace(FEW_DRAWS, box=box, predicted_box=predicted_box, incorrect_as=incorrect_as),
    *[st.sampled_from(["face", "head"])] * 2,
    st.sampled_from(["no_mask", "incorrect"]),
)


def numbers_of(value: Any, key: str = "") -> list[tuple[str, float]]:
    """Return all numbers of metrics with the last name above them."""
    if isinstance(value, dict):
        return [pair for name, each in value.items() for pair in numbers_of(each, str(name))]
    if isinstance(value, list):
        return [pair for each in value for pair in numbers_of(each, key)]
    return [(key, value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def scored(images: list[tuple[list[LabelledFace], list[Prediction]]], settings: ScoreSettings) -> tuple[dict[str, Any], str]:
    result = score(
        labels(*(tuple(labelled) for labelled, _ in images)), predictions(*(tuple(each) for _, each in images)), settings
    )
    return result.metrics.to_json(), mistakes_csv(result.mistakes)


@examples(0.6)
@given(images=SETS, settings=SETTINGS_OF_ANY_KIND)
@example(images=[([face((0, 0, 10, 10))], [found((5, 5, 5, 5))])], settings=FEW_DRAWS)
@example(images=[([], [])], settings=FEW_DRAWS)
@example(
    images=[
        (
            [face((0, 0, 10, 10), points=[(5, 5), (7, 3), (3, 3)])],
            [found((0, 0, 10, 10), nose=(INF, 0, 1), left_eye=(1e308, -1e308, 1), right_eye=(NAN, 0, 1))],
        )
    ],
    settings=FEW_DRAWS,
)
def test_metrics_are_fractions_or_not_defined(
    images: list[tuple[list[LabelledFace], list[Prediction]]], settings: ScoreSettings
) -> None:
    metrics, csv = scored(images, settings)
    json.dumps(metrics, allow_nan=False)
    assert "nan" not in csv
    for name, number in numbers_of(metrics):
        assert np.isfinite(number)
        assert name not in SHARES or 0 <= number <= 1 or isinstance(number, int), name
    faces = [label for labelled, _ in images for label in labelled if not label.ignore]
    for figures in metrics["one_to_one"].values():
        confusion = figures["confusion"]
        assert figures["labelled"] == len(faces) == sum(sum(confusion[label.value].values()) for label in CLASSES)
        assert figures["found_faces"] + sum(confusion[label.value]["missed"] for label in CLASSES) == len(faces)
        assert figures["right_faces"] <= figures["found_faces"]
    assert sum(figures["labelled"] for figures in metrics["sizes"].values()) == len(faces)
    shown = sum(prediction.score >= settings.min_score for _, each in images for prediction in each)
    reference = metrics["one_to_one"]["0.50"]
    assert reference["found_faces"] + reference["false_faces"] <= shown


@examples(0.3)
@given(images=SETS, data=st.data())
def test_the_order_in_files_makes_no_difference(
    images: list[tuple[list[LabelledFace], list[Prediction]]], data: st.DataObject
) -> None:
    """If no two predictions of an image have the same score."""
    unequal = [(labelled, list({each.score: each for each in found}.values())) for labelled, found in images]
    mixed = [(labelled, data.draw(st.permutations(found))) for labelled, found in unequal]
    assert scored(mixed, FEW_DRAWS) == scored(unequal, FEW_DRAWS)


@examples(0.3)
@given(
    images=st.lists(
        st.lists(st.sampled_from([(x, y) for x in (0, 60, 120) for y in (0, 50)]), unique=True, min_size=1, max_size=4),
        min_size=1,
        max_size=3,
    ),
    data=st.data(),
)
def test_a_perfect_system_has_perfect_metrics(images: list[list[tuple[int, int]]], data: st.DataObject) -> None:
    both = []
    for places in images:
        worn = [data.draw(st.sampled_from([Label.MASK, Label.NO_MASK])) for _ in places]
        spots = [(x, y, x + 30.0, y + 40.0) for x, y in places]
        both.append(
            (
                [face(spot, label) for spot, label in zip(spots, worn, strict=True)],
                [found(spot, label, 0.9, 1.0) for spot, label in zip(spots, worn, strict=True)],
            )
        )
    metrics, csv = scored(both, FEW_DRAWS)
    for figures in metrics["one_to_one"].values():
        assert figures["found"] == figures["end_to_end_accuracy"] == figures["face_precision"] == 1
        assert figures["false_faces"] == 0
    assert metrics["ap"]["map50_95"] == pytest.approx(1)
    assert sum(metrics["mistakes"].values()) == 0
    assert len(csv.splitlines()) == 1
