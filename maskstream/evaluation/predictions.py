"""Predictions as files: our own, and what others write."""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from maskstream.evaluation.types import PicturePredictions, Prediction
from maskstream.types import Face, FloatArray, Label

FILE_KIND: Final = "maskstream predictions"
_DIGITS: Final = 6


def to_record(name: str, width: int, height: int, faces: tuple[Face, ...]) -> dict[str, Any]:
    """Return the JSON record of a picture; each face as in the records of `run_stream.py --jsonl`, boxes tight."""
    return {"file": name, "width": width, "height": height, "faces": [_face_record(face) for face in faces]}


def _face_record(face: Face) -> dict[str, Any]:
    found = face.detection
    rows = np.column_stack([found.keypoints_xy, found.keypoint_scores]).tolist()
    points = {name: row for name, row in zip(found.keypoint_names, rows, strict=True) if np.isfinite(row).all()}
    return {
        "label": face.label.value,
        "confidence": None if face.confidence is None else round(face.confidence, _DIGITS),
        "score": round(found.score, _DIGITS),
        "box": dict(zip(("x1", "y1", "x2", "y2"), _rounded(face.face_box_xyxy.tolist()), strict=True)),
        "keypoints": {name: _rounded(row) for name, row in points.items()},
    }


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


def from_record(record: Mapping[str, Any]) -> PicturePredictions:
    """Return the predictions of a record; `ValueError`, `KeyError` or `TypeError` where it is none.

    A face without a box, as records write what is not finite, is left out.
    """
    faces = [_face(face) for face in record["faces"] if all(edge is not None for edge in face["box"].values())]
    faces.sort(key=lambda found: -found.score)
    return PicturePredictions(str(record["file"]), int(record.get("width") or 0), int(record.get("height") or 0), tuple(faces))


def _face(record: Mapping[str, Any]) -> Prediction:
    label, confidence = Label(record["label"]), record.get("confidence")
    keypoints = {name: _point(row) for name, row in (record.get("keypoints") or {}).items() if None not in row}
    return Prediction(
        box_xyxy([record["box"][edge] for edge in ("x1", "y1", "x2", "y2")]),
        probability(record["score"]),
        label,
        None if confidence is None else probability(confidence),
        keypoints,
    )


def _point(row: list[float]) -> tuple[float, float, float]:
    x, y, score = map(float, row)
    return x, y, score


def box_xyxy(edges: list[float]) -> FloatArray:
    """Return a box (4,) of numbers; `ValueError` where they are no box."""
    box = np.array(edges, np.float32)
    if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] < box[:2]).any():
        raise ValueError(f"{edges} is no box")
    return box


def probability(value: float) -> float:
    """Return a number in [0, 1]; `ValueError` where it is none."""
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{value} is no probability")
    return number


def to_json(header: Mapping[str, Any], records: list[Mapping[str, Any]]) -> str:
    """Return the text of a predictions file: a header, then one picture per line."""
    head = json.dumps({"kind": FILE_KIND, **header}, allow_nan=False)[:-1]
    lines = ",\n".join(json.dumps(record, allow_nan=False) for record in records)
    return f'{head}, "pictures": [\n{lines}\n]}}\n'
