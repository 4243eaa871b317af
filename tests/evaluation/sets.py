"""Small sets of labels and predictions that can be worked out by hand."""

from pathlib import Path

import numpy as np

from maskstream.annotations.labelled_images import Annotations, LabelledFace, LabelledImage
from maskstream.evaluation.predictions import ImagePredictions, Prediction
from maskstream.evaluation.scoring import Scored, ScoreSettings, score
from maskstream.types import Label

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
