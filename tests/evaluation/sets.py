"""Small sets of labels and predictions that can be worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from maskstream.annotations.labelled_images import Annotations, LabelledFace, LabelledImage
from maskstream.evaluation.metrics_json import ErrorCounts, SystemInfo
from maskstream.evaluation.predictions import ImagePredictions, Prediction
from maskstream.evaluation.scoring import Scored, ScoreSettings, score
from maskstream.evaluation.set_metrics import faces_at
from maskstream.evaluation.sets_json import SetMetrics, SetsMetrics
from maskstream.types import Label

A, B, FAR = (0, 0, 40, 40), (100, 0, 140, 40), (60, 60, 80, 80)
NO_ERRORS = ErrorCounts(false_mask=0, false_no_mask=0, missed=0, false_face=0, missed_near=0, false_face_near=0)
HOSTILE = "<script>alert(1)</script>"


Box = tuple[float, float, float, float]
SETTINGS = ScoreSettings(
    *("face", "face"), min_score=0.5, score_floor=0.05, iou=0.5, incorrect_as="no_mask", bootstrap=100, group_by=None
)


def face(box: Box, label: Label = Label.MASK, *, ignore: bool = False, points: object = None) -> LabelledFace:
    keypoints = None if points is None else np.array(points, np.float32)
    return LabelledFace(np.array(box, np.float32), label, ignore, keypoints)


def found(
    box: Box, label: Label = Label.MASK, score: float = 0.9, confidence: float | None = 0.8, **points: tuple[float, float, float]
) -> Prediction:
    return Prediction(np.array(box, np.float32), score, label, None if label is Label.UNKNOWN else confidence, points)


def labels(*images: tuple[LabelledFace, ...], names: tuple[str, ...] = ()) -> Annotations:
    given = names or tuple(f"{index}.jpg" for index in range(len(images)))
    made = [LabelledImage(Path(name), name, 200, 100, faces) for name, faces in zip(given, images, strict=True)]
    return Annotations(tuple(made), "voc", "0" * 64)


def predictions(*images: tuple[Prediction, ...]) -> dict[str, ImagePredictions]:
    return {f"{index}.jpg": ImagePredictions(f"{index}.jpg", 200, 100, faces) for index, faces in enumerate(images)}


def scored(labelled: tuple[LabelledFace, ...], predicted: tuple[Prediction, ...], settings: ScoreSettings = SETTINGS) -> Scored:
    """Score one image."""
    return score(labels(labelled), predictions(predicted), settings)


def two_sets() -> SetsMetrics:
    """Three of four faces of the first set are right; the second set has no faces, and one false face."""
    street = labels((face(A), face(B, Label.NO_MASK)), (face(A), face(B)))
    answers = predictions((found(A), found(B, Label.NO_MASK)), (found(A), found(B, Label.NO_MASK)))
    of_street = SetMetrics(
        images=HOSTILE,
        labels="labels.json",
        box="head",
        pictures=2,
        faces=4,
        ignored=1,
        by_class={"mask": 3, "no_mask": 1, "incorrect": 0, "unknown": 0},
        problems=0,
        min_score=0.15,
        iou=0.3,
        at_iou={iou: faces_at(float(iou), street.images, answers, SETTINGS) for iou in ("0.30", "0.50")},
        map50=0.9,
        map50_ci95=(0.8, 1.0),
        mistakes=replace(NO_ERRORS, false_no_mask=1),
    )
    nobody = {iou: faces_at(float(iou), labels(()).images, predictions((found(FAR),)), SETTINGS) for iou in ("0.30", "0.50")}
    of_nobody = replace(of_street, labels=None, pictures=1, faces=0, by_class={}, at_iou=nobody, map50=None, map50_ci95=None)
    return SetsMetrics(
        maskstream="0.1.0",
        created_utc="2026-03-14T09:26:53+00:00",
        system=SystemInfo(name="maskstream", description=HOSTILE, weights={"a.safetensors": "5f" * 32}, device="cpu"),
        sets={"keypoints_paper": of_street, "no_people": replace(of_nobody, mistakes=replace(NO_ERRORS, false_face=1))},
        pictures_analysed=3,
        elapsed_s=1.5,
    )
