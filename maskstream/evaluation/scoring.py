"""From labels and predictions to everything that is reported."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from maskstream.annotations.types import Annotations, LabelledImage
from maskstream.config.schema import IncorrectAs
from maskstream.evaluation.average_precision import average_precision
from maskstream.evaluation.breakdowns import Reference, breakdowns
from maskstream.evaluation.curves import calibration, judged_faces, keypoint_errors, precision_recall, roc
from maskstream.evaluation.error_analysis import count_mistakes, find_mistakes
from maskstream.evaluation.matching import CLASSES, IntArray, Overlaps, match, outcomes, paper_pairs, tabulate
from maskstream.evaluation.metrics import (
    IOU_THRESHOLDS,
    Floats,
    describe_one_to_one,
    describe_paper,
    draw_images,
    iou_key,
)
from maskstream.evaluation.types import BoxKind, ImagePredictions, Mistake
from maskstream.vision.geometry import head_box


@dataclass(frozen=True)
class ScoreSettings:
    """What a score depends on besides labels and predictions."""

    box: BoxKind
    """What the labels are."""
    predicted_box: BoxKind
    """What the predictions are; faces become heads by the rule of `geometry`."""
    min_score: float
    """The operating threshold: predictions below it serve the curves only."""
    score_floor: float
    iou: float
    """The reference IoU, one of `IOU_THRESHOLDS`."""
    incorrect_as: IncorrectAs
    bootstrap: int
    group_by: re.Pattern[str] | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """What came out."""

    metrics: dict[str, Any]
    """The part of docs/evaluation.md's metrics.json that labels and predictions decide."""
    mistakes: tuple[Mistake, ...]
    """At the reference IoU, by kind, the worst first."""
    names: tuple[str, ...]
    """Of the P images."""
    one_to_one: IntArray
    """(P, 19, 5, 5) confusion tables by image and IoU."""
    paper: IntArray
    """(P, 19, 2, 2) pair counts by image and IoU."""


def score(annotations: Annotations, predictions: Mapping[str, ImagePredictions], settings: ScoreSettings) -> Scored:
    """Score predictions by both protocols.

    Args:
        annotations: The labels.
        predictions: By image; an image without an entry has none.
        settings: See there.
    """
    overlaps = [_overlaps(image, predictions, settings) for image in annotations.images]
    matches = {iou: [match(each, iou) for each in overlaps] for iou in IOU_THRESHOLDS}
    found = {
        iou: [outcomes(*pair, settings.min_score) for pair in zip(overlaps, matches[iou], strict=True)] for iou in IOU_THRESHOLDS
    }
    one_to_one = np.array([[tabulate(each) for each in found[iou]] for iou in IOU_THRESHOLDS]).swapaxes(0, 1)
    paper = np.array([[paper_pairs(each, iou, settings.min_score) for iou in IOU_THRESHOLDS] for each in overlaps])
    draws = draw_images(len(overlaps), settings.bootstrap)
    classes = [label.value for label in CLASSES[: 2 if settings.incorrect_as == "no_mask" else 3]]
    reference = Reference(overlaps, matches[settings.iou], found[settings.iou])
    mistakes = find_mistakes(overlaps, found[settings.iou])
    metrics = {
        "classes": classes,
        "one_to_one": {iou_key(iou): describe_one_to_one(one_to_one[:, step], draws) for step, iou in enumerate(IOU_THRESHOLDS)},
        "paper": {iou_key(iou): describe_paper(paper[:, step], draws) for step, iou in enumerate(IOU_THRESHOLDS)},
        "ap": average_precision(overlaps, classes, draws),
        **_curves(reference, classes, settings.min_score, draws),
        **breakdowns(reference, settings.score_floor, settings.group_by, draws),
        "mistakes": count_mistakes(mistakes),
    }
    return Scored(metrics, mistakes, tuple(image.name for image in annotations.images), one_to_one, paper)


def _overlaps(image: LabelledImage, predictions: Mapping[str, ImagePredictions], settings: ScoreSettings) -> Overlaps:
    predicted = predictions.get(image.name, ImagePredictions(image.name, image.width, image.height, ()))
    if (settings.box, settings.predicted_box) == ("head", "face"):
        heads = [head_box(face.box_xyxy, image.width, image.height) for face in predicted.faces]
        faces = tuple(replace(face, box_xyxy=head) for face, head in zip(predicted.faces, heads, strict=True))
        predicted = replace(predicted, faces=faces)
    return Overlaps.of(image, predicted, settings.incorrect_as)


def _curves(reference: Reference, classes: Sequence[str], min_score: float, draws: Floats) -> dict[str, Any]:
    overlaps, matches = reference.overlaps, reference.matches
    faces = judged_faces(overlaps, matches, min_score)
    is_binary = len(classes) == 2
    return {
        "roc": roc(faces, draws) if is_binary else None,
        "calibration": calibration(faces, draws),
        "precision_recall": precision_recall(overlaps, matches, classes),
        "keypoints": keypoint_errors(overlaps, matches, min_score, draws),
    }
