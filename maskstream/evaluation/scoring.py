"""Score predictions against labels: compute all metrics that labels and predictions decide."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from maskstream.annotations.labelled_images import Annotations, LabelledImage
from maskstream.config.schema import IncorrectAs
from maskstream.evaluation.average_precision import average_precision
from maskstream.evaluation.breakdowns import Reference, by_class, by_group, by_score, by_size, operating_points
from maskstream.evaluation.curves import calibration, classified_faces, keypoint_errors, precision_recall, roc
from maskstream.evaluation.error_analysis import Mistake, count_mistakes, find_mistakes
from maskstream.evaluation.matching import CLASSES, IntArray, Overlaps, match, outcomes, paper_pairs, tabulate
from maskstream.evaluation.metrics import IOU_THRESHOLDS, draw_images, one_to_one_metrics, paper_metrics
from maskstream.evaluation.metrics_json import ScoreMetrics, iou_key
from maskstream.evaluation.predictions import BoxKind, ImagePredictions
from maskstream.vision.geometry import head_box


@dataclass(frozen=True)
class ScoreSettings:
    """The settings that decide about a score."""

    box: BoxKind
    """What the labelled boxes contain."""
    predicted_box: BoxKind
    """What the predicted boxes contain; faces are turned into heads by the rule of `geometry`."""
    min_score: float
    """Operating threshold: predictions with a lower score count for the curves only."""
    score_floor: float
    iou: float
    """Reference IoU, one of `IOU_THRESHOLDS`."""
    incorrect_as: IncorrectAs
    bootstrap: int
    group_by: re.Pattern[str] | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """The result of `score`."""

    metrics: ScoreMetrics
    mistakes: tuple[Mistake, ...]
    """Errors at the reference IoU, by kind, the worst first."""
    names: tuple[str, ...]
    """Names of the P images."""
    one_to_one: IntArray
    """(P, 19, 5, 5) confusion tables by image and IoU."""
    paper: IntArray
    """(P, 19, 2, 2) pair counts by image and IoU."""


def score(annotations: Annotations, predictions: Mapping[str, ImagePredictions], settings: ScoreSettings) -> Scored:
    """Score predictions by both protocols.

    Args:
        annotations: The labels.
        predictions: By image name; an image without an entry has no predictions.
        settings: See `ScoreSettings`.
    """
    overlaps = [Overlaps.of(image, placed(image, predictions, settings), settings.incorrect_as) for image in annotations.images]
    reference = _at_iou(overlaps, settings.iou, settings.min_score)
    one_to_one = np.stack([_at_iou(overlaps, iou, settings.min_score).tables for iou in IOU_THRESHOLDS], axis=1)
    paper = np.array([[paper_pairs(each, iou, settings.min_score) for iou in IOU_THRESHOLDS] for each in overlaps])
    draws = draw_images(len(overlaps), settings.bootstrap)
    classes = tuple(label.value for label in CLASSES[: 2 if settings.incorrect_as == "no_mask" else 3])
    mistakes = find_mistakes(overlaps, reference.outcomes)
    classified = classified_faces(overlaps, reference.matches, settings.min_score)
    metrics = ScoreMetrics(
        classes=classes,
        one_to_one={iou_key(iou): one_to_one_metrics(one_to_one[:, step], draws) for step, iou in enumerate(IOU_THRESHOLDS)},
        paper={iou_key(iou): paper_metrics(paper[:, step], draws) for step, iou in enumerate(IOU_THRESHOLDS)},
        ap=average_precision(overlaps, classes, draws),
        roc=roc(classified, draws) if settings.incorrect_as == "no_mask" else None,
        calibration=calibration(classified, draws),
        precision_recall=precision_recall(overlaps, reference.matches, classes),
        keypoints=keypoint_errors(overlaps, reference.matches, settings.min_score, draws),
        sizes=by_size(reference, draws),
        by_class=by_class(reference.tables, draws),
        groups=by_group(reference, settings.group_by, settings.bootstrap),
        scores=by_score(reference),
        operating_points=operating_points(reference, settings.score_floor),
        mistakes=count_mistakes(mistakes),
    )
    return Scored(metrics, mistakes, tuple(image.name for image in annotations.images), one_to_one, paper)


def placed(image: LabelledImage, predictions: Mapping[str, ImagePredictions], settings: ScoreSettings) -> ImagePredictions:
    """Return the predictions of an image with boxes of the kind of the labelled boxes."""
    predicted = predictions.get(image.name, ImagePredictions(image.name, image.width, image.height, ()))
    if (settings.box, settings.predicted_box) == ("head", "face"):
        heads = [head_box(face.box_xyxy, image.width, image.height) for face in predicted.faces]
        faces = tuple(replace(face, box_xyxy=head) for face, head in zip(predicted.faces, heads, strict=True))
        predicted = replace(predicted, faces=faces)
    return predicted


def _at_iou(overlaps: list[Overlaps], iou: float, min_score: float) -> Reference:
    """Match predictions with labels in all images at one IoU threshold."""
    matches = [match(each, iou) for each in overlaps]
    found = [outcomes(each, matched, min_score) for each, matched in zip(overlaps, matches, strict=True)]
    return Reference(overlaps, matches, found, np.array([tabulate(each) for each in found]))
