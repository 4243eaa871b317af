"""Metrics and keypoint calibration of a detector in training, computed by `maskstream.evaluation`."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import nn

from maskstream.annotations import Annotations, LabelledImage
from maskstream.evaluation.matching import Overlaps, match
from maskstream.evaluation.metrics_json import OperatingPoint, ScoreMetrics
from maskstream.evaluation.predictions import ImagePredictions, Prediction
from maskstream.evaluation.scoring import ScoreSettings, score
from maskstream.models.detections import KeypointCalibration
from maskstream.models.keypoint_rcnn import KeypointRCNNDetector
from maskstream.models.options import DetectorOptions
from maskstream.training.calibration import fit_logistic
from maskstream.training.task import set_of
from maskstream.types import FACE_KEYPOINTS, Detection, Label

MAX_KEYPOINT_ERROR: Final = 0.1
"""A keypoint is correct up to this distance, as a fraction of the square root of the face's area."""
_SCORE_FLOOR: Final = 0.05
_MAX_FACES: Final = 100
_MIN_IMAGES_OF_SET: Final = 10
_RAW_SCORES: Final = KeypointCalibration(scale=0.05, bias=0.0)
"""Not calibrated: a small scale, so that probabilities of logits up to about 300 differ in float32."""


def as_detector(module: nn.Module, device: torch.device) -> KeypointRCNNDetector:
    """Return a copy of the trained module as a detector of the stream. Its keypoint scores are not calibrated."""
    options = DetectorOptions(str(device), min_score=_SCORE_FLOOR, max_faces=_MAX_FACES)
    return KeypointRCNNDetector(deepcopy(module), FACE_KEYPOINTS, _RAW_SCORES, options)


def validation_metrics(annotations: Annotations, detections: Mapping[str, list[Detection]]) -> dict[str, float | None]:
    """Return the metrics of detections of faces of any class. Every face is given the same class first.

    Args:
        annotations: The labels.
        detections: By image name, with a low minimum score.

    Returns:
        `ap50` and `ap` (0.50:0.95). At the score with the best F1 at IoU 0.5: `score`, `f1`, `found_50`, `false_per_picture`.
        `keypoint_error` as a fraction of the distance between the eyes; left out where no keypoint was found. A metric that is
        not defined is None; `ap50`, `ap` and `f1`, which select the best weights and score, are 0.
    """
    metrics = _scored(annotations.images, annotations, detections)
    best = max(metrics.operating_points, key=_f1)
    keypoints = metrics.keypoints
    return {
        "ap50": metrics.ap.by_class["mask_50"] or 0.0,
        "ap": metrics.ap.by_class["mask"] or 0.0,
        "score": best.min_score,
        "f1": _f1(best),
        "found_50": best.found,
        "false_per_picture": best.false_per_image,
        **({"keypoint_error": keypoints.mean} if keypoints else {}),
    }


def metrics_by_set(
    annotations: Annotations, detections: Mapping[str, list[Detection]], min_score: float
) -> dict[str, dict[str, float]]:
    """Return metrics of each set of images; the name of a set is the text before the first `_` in the names of its images.

    Args:
        annotations: The labels.
        detections: By image name.
        min_score: The score that all sets are compared at, one of `operating_points`.

    Returns:
        `found_50` and `false_per_picture`, for sets of at least 10 images.
    """
    by_set: dict[str, list[LabelledImage]] = {}
    for image in annotations.images:
        by_set.setdefault(set_of(image.name), []).append(image)
    result = {}
    for name, images in by_set.items():
        if len(images) < _MIN_IMAGES_OF_SET:
            continue
        points = _scored(tuple(images), annotations, detections).operating_points
        point = min(points, key=lambda point: abs(point.min_score - min_score))
        values = {"found_50": point.found, "false_per_picture": point.false_per_image}
        result[name] = {key: value for key, value in values.items() if value is not None}
    return result


def _scored(
    images: tuple[LabelledImage, ...], annotations: Annotations, detections: Mapping[str, list[Detection]]
) -> ScoreMetrics:
    same_class = tuple(replace(image, faces=tuple(replace(face, label=Label.MASK) for face in image.faces)) for image in images)
    predictions = {image.name: _as_predictions(image, detections.get(image.name, [])) for image in same_class}
    settings = ScoreSettings("face", "face", _SCORE_FLOOR, _SCORE_FLOOR, 0.5, "no_mask", bootstrap=0)
    return score(replace(annotations, images=same_class), predictions, settings).metrics


def _f1(point: OperatingPoint) -> float:
    precision, recall = point.precision or 0.0, point.recall or 0.0
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def _as_predictions(image: LabelledImage, detections: Sequence[Detection]) -> ImagePredictions:
    faces = []
    for detection in detections:
        keypoints = {}
        for name, (x, y) in zip(detection.keypoint_names, detection.keypoints_xy.tolist(), strict=True):
            keypoints[name] = (x, y, 1.0)
        faces.append(Prediction(detection.box_xyxy, detection.score, Label.MASK, None, keypoints))
    return ImagePredictions(image.name, image.width, image.height, tuple(faces))


def calibrate_keypoints(annotations: Annotations, detections: Mapping[str, list[Detection]]) -> tuple[float, float] | None:
    """Fit scale and bias that turn a keypoint's logit into the probability that the keypoint is correct.

    Returns None where no detected face has labelled keypoints.
    """
    logits, is_correct = [], []
    for image in annotations.images:
        overlaps = Overlaps.of(image, _as_predictions(image, detections.get(image.name, [])), "no_mask")
        found = sorted(detections.get(image.name, []), key=lambda each: -each.score)
        for detection, taken in zip(found, match(overlaps, 0.5).taken, strict=True):
            face = overlaps.faces[taken] if taken >= 0 else None
            if face is not None and face.keypoints_xy is not None:
                size = float(np.sqrt(np.prod(face.box_xyxy[2:] - face.box_xyxy[:2])))
                scores = detection.keypoint_scores.astype(np.float64).clip(1e-12, 1 - 1e-12)
                logits.append(np.asarray(np.log(scores / (1 - scores)) / _RAW_SCORES.scale, np.float32))
                errors_px = np.linalg.norm(detection.keypoints_xy - face.keypoints_xy, axis=1)
                is_correct.append(errors_px < MAX_KEYPOINT_ERROR * size)
    if not logits:
        return None
    return fit_logistic(torch.from_numpy(np.concatenate(logits)), torch.from_numpy(np.concatenate(is_correct)))
