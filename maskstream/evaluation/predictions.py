"""Predictions as files: our own, and what others write."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import numpy as np

from maskstream.evaluation.types import ImagePredictions, Prediction
from maskstream.types import Face, FloatArray, Label
from maskstream.vision.geometry import are_pixels, is_box

FILE_KIND: Final = "maskstream predictions"
_DIGITS: Final = 6


def to_record(name: str, width: int, height: int, faces: tuple[Face, ...], unusable: int = 0) -> dict[str, Any]:
    """Return the JSON record of an image; each face as in the records of `run_stream.py --jsonl`, boxes tight.

    What a system that is out of order says is left out where it is no box or score, and unknown where it is no confidence. The
    record has `unusable`, the number of such answers, where there were any.
    """
    plain = [face for face in faces if is_box(face.face_box_xyxy) and isfinite(face.detection.score)]
    record = {"file": name, "width": width, "height": height, "faces": [_face_record(face) for face in plain]}
    return record | {"unusable": unusable} if unusable else record


def _face_record(face: Face) -> dict[str, Any]:
    found = face.detection
    rows = np.column_stack([found.keypoints_xy, found.keypoint_scores]).tolist()
    points = {name: row for name, row in zip(found.keypoint_names, rows, strict=True) if np.isfinite(row).all()}
    is_judged = face.confidence is not None and isfinite(face.confidence)
    return {
        "label": (face.label if is_judged else Label.UNKNOWN).value,
        "confidence": round(face.confidence, _DIGITS) if face.confidence is not None and is_judged else None,
        "score": round(found.score, _DIGITS),
        "box": dict(zip(("x1", "y1", "x2", "y2"), _rounded(face.face_box_xyxy.tolist()), strict=True)),
        "keypoints": {name: _rounded(row) for name, row in points.items()},
    }


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


def from_record(record: Mapping[str, Any]) -> ImagePredictions:
    """Return the predictions of a record; `ValueError`, `KeyError` or `TypeError` where it is none.

    A face without a box or a score, as records write what is not finite, is left out, and so is a keypoint without a place.
    """
    faces = [_face(face) for face in record["faces"] if None not in (*face["box"].values(), face["score"])]
    faces.sort(key=lambda found: -found.score)
    return ImagePredictions(
        str(record["file"]), _side(record.get("width")), _side(record.get("height")), tuple(faces), record.get("unusable", 0)
    )


def _face(record: Mapping[str, Any]) -> Prediction:
    label, confidence = Label(record["label"]), record.get("confidence")
    rows = {name: _point(row) for name, row in (record.get("keypoints") or {}).items() if None not in row}
    return Prediction(
        box_xyxy([record["box"][edge] for edge in ("x1", "y1", "x2", "y2")]),
        probability(record["score"]),
        label,
        None if confidence is None else probability(confidence),
        {name: row for name, row in rows.items() if are_pixels(np.array(row))},
    )


def _point(row: list[float]) -> tuple[float, float, float]:
    x, y, score = map(plain_number, row)
    return x, y, score


def _side(value: Any) -> int:
    """Return a side of an image; 0 where it is not said."""
    side = plain_number(value or 0)
    if not 0 <= side < 2**31:
        raise ValueError(f"{value} is no side of a picture")
    return int(side)


def plain_number(value: Any) -> float:
    """Return a number; `ValueError` or `TypeError` where it is none, or larger than any."""
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("a number is too large") from error


def box_xyxy(edges: list[float]) -> FloatArray:
    """Return a box (4,) of numbers; `ValueError` where they are no box."""
    box = np.array([plain_number(edge) for edge in edges])
    if box.shape != (4,) or not is_box(box):
        raise ValueError(f"{edges} is no box")
    return box.astype(np.float32)


def probability(value: float) -> float:
    """Return a number in [0, 1]; `ValueError` where it is none."""
    share = plain_number(value)
    if not 0 <= share <= 1:
        raise ValueError(f"{value} is no probability")
    return share


def to_json(header: Mapping[str, Any], records: list[Mapping[str, Any]]) -> str:
    """Return the text of a predictions file: a header, then one image per line."""
    head = json.dumps({"kind": FILE_KIND, **header}, allow_nan=False)[:-1]
    lines = ",\n".join(json.dumps(record, allow_nan=False) for record in records)
    return f'{head}, "pictures": [\n{lines}\n]}}\n'
