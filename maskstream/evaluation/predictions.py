"""Contain predictions of faces, and read and write their records in predictions.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Final, Literal

import numpy as np

from maskstream.config.schema import IncorrectAs
from maskstream.inference.analyzer import verdict
from maskstream.types import Face, FloatArray, Label
from maskstream.vision.geometry import are_pixels, is_box

FILE_KIND: Final = "maskstream predictions"
_DIGITS: Final = 6
_CLASSES_WITH_INCORRECT: Final = {"mask", "no_mask", "incorrect"}

BoxKind = Literal["face", "head"]
"""What a box contains: the tight face from forehead to chin, or the complete head with hair."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """One face that a system has found."""

    box_xyxy: FloatArray
    """(4,) pixels of the upright image."""
    score: float
    """Probability in [0, 1] that this is a face."""
    label: Label
    confidence: float | None
    """Probability of `label` in [0, 1]; None for `unknown`, and for a system that has no such probability."""
    keypoints: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """x and y in pixels, and score, by COCO's names; empty for a system without keypoints."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Probability of each class; empty unless the classifier has the class `incorrect`."""

    @property
    def knows_incorrect(self) -> bool:
        """Whether the system of this prediction has the class `incorrect`."""
        return bool(self.probabilities) or self.label is Label.INCORRECT

    def with_incorrect_as(self, incorrect_as: IncorrectAs) -> "Prediction":
        """Return the prediction with `incorrect` as a label of its own, or merged with `no_mask`."""
        if self.probabilities:
            label, confidence = verdict(self.probabilities, incorrect_as)
            return replace(self, label=label, confidence=confidence)
        if self.label is Label.INCORRECT and incorrect_as == "no_mask":
            return replace(self, label=Label.NO_MASK)
        return self


@dataclass(frozen=True, eq=False)
class ImagePredictions:
    """All faces that a system has found in one image."""

    name: str
    """Name of the image, as in `LabelledImage.name`."""
    width: int
    height: int
    faces: tuple[Prediction, ...]
    """The highest score first."""
    unusable: int = 0
    """Number of answers with numbers that are not finite."""


def to_record(name: str, width: int, height: int, faces: tuple[Face, ...], unusable: int = 0) -> dict[str, Any]:
    """Return the JSON record of an image, with faces as in the records of `--jsonl`.

    A face without a finite box and score is left out. A face without a finite confidence is `unknown`. The record has `unusable`,
    the number of such answers, if there were any.
    """
    plain = [face for face in faces if is_box(face.face_box_xyxy) and isfinite(face.detection.score)]
    record = {"file": name, "width": width, "height": height, "faces": [_face_record(face) for face in plain]}
    return record | {"unusable": unusable} if unusable else record


def _face_record(face: Face) -> dict[str, Any]:
    found = face.detection
    rows = np.column_stack([found.keypoints_xy, found.keypoint_scores]).tolist()
    points = {name: row for name, row in zip(found.keypoint_names, rows, strict=True) if np.isfinite(row).all()}
    is_judged = face.confidence is not None and isfinite(face.confidence)
    record = {
        "label": (face.label if is_judged else Label.UNKNOWN).value,
        "confidence": round(face.confidence, _DIGITS) if face.confidence is not None and is_judged else None,
        "score": round(found.score, _DIGITS),
        "box": dict(zip(("x1", "y1", "x2", "y2"), _rounded(face.face_box_xyxy.tolist()), strict=True)),
        "keypoints": {name: _rounded(row) for name, row in points.items()},
    }
    if is_judged and set(face.class_probabilities) == _CLASSES_WITH_INCORRECT:
        record["probabilities"] = {name: round(value, _DIGITS) for name, value in face.class_probabilities.items()}
    return record


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


def from_record(record: Mapping[str, Any]) -> ImagePredictions:
    """Return the predictions of a record.

    A face without a box or a score is left out, and so is a keypoint without a place: records have null for a number that is not
    finite.

    Raises:
        ValueError, KeyError, TypeError: This is no such record.
    """
    faces = [_face(face) for face in record["faces"] if None not in (*face["box"].values(), face["score"])]
    faces.sort(key=lambda found: -found.score)
    return ImagePredictions(
        str(record["file"]), _side(record.get("width")), _side(record.get("height")), tuple(faces), record.get("unusable", 0)
    )


def _face(record: Mapping[str, Any]) -> Prediction:
    label, confidence = Label(record["label"]), record.get("confidence")
    keypoints = {}
    for name, row in (record.get("keypoints") or {}).items():
        if None not in row:
            x, y, point_score = map(plain_number, row)
            if are_pixels(np.array([x, y, point_score])):
                keypoints[name] = (x, y, point_score)
    return Prediction(
        box_xyxy([record["box"][edge] for edge in ("x1", "y1", "x2", "y2")]),
        probability(record["score"]),
        label,
        None if confidence is None else probability(confidence),
        keypoints,
        _class_probabilities(record.get("probabilities") or {}),
    )


def _class_probabilities(record: Mapping[str, Any]) -> dict[str, float]:
    if record and set(record) != _CLASSES_WITH_INCORRECT:
        raise ValueError(f"probabilities has the classes {', '.join(record)}; expected mask, no_mask, incorrect")
    return {name: probability(value) for name, value in record.items()}


def _side(value: Any) -> int:
    """Return the width or height of an image; 0 if the record does not have it."""
    side = plain_number(value or 0)
    if not 0 <= side < 2**31:
        raise ValueError(f"{value} is no width or height of an image")
    return int(side)


def plain_number(value: Any) -> float:
    """Return a number; raise `ValueError` or `TypeError` for anything else and for an integer that is too large."""
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("a number is too large") from error


def box_xyxy(edges: list[float]) -> FloatArray:
    """Return a box (4,) from its edges; raise `ValueError` if they are not a box."""
    box = np.array([plain_number(edge) for edge in edges])
    if box.shape != (4,) or not is_box(box):
        raise ValueError(f"{edges} is not a box")
    return box.astype(np.float32)


def probability(value: float) -> float:
    """Return a number in [0, 1]; raise `ValueError` for any other."""
    number = plain_number(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{value} is not a probability")
    return number


def to_json(header: Mapping[str, Any], records: list[Mapping[str, Any]]) -> str:
    """Return the text of predictions.json: a header, then one image on each line."""
    head = json.dumps({"kind": FILE_KIND, **header}, allow_nan=False)[:-1]
    lines = ",\n".join(json.dumps(record, allow_nan=False) for record in records)
    return f'{head}, "pictures": [\n{lines}\n]}}\n'
