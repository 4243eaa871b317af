"""Every mistake by itself, the worst first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskstream.evaluation.matching import MASK, MISSED, NOTHING, UNKNOWN, Outcomes, Overlaps
from maskstream.evaluation.metrics_json import ErrorCounts
from maskstream.evaluation.types import Mistake, MistakeKind
from maskstream.io.files import csv_text
from maskstream.types import FloatArray, Label

CSV_COLUMNS: Final = (
    *("kind", "picture", "labelled", "judged", "confidence", "score", "size_px", "nearest_iou"),
    *("label_x1", "label_y1", "label_x2", "label_y2", "x1", "y1", "x2", "y2"),
)
NEAR_IOU: Final = 0.1


def find_mistakes(overlaps: Sequence[Overlaps], found: Sequence[Outcomes]) -> tuple[Mistake, ...]:
    """Return all mistakes by kind, the worst of each first."""
    every = [mistake for pair in zip(overlaps, found, strict=True) for mistake in _mistakes(*pair)]
    kinds = list(MistakeKind)
    return tuple(sorted(every, key=lambda mistake: (kinds.index(mistake.kind), -mistake.badness)))


def count_mistakes(mistakes: Sequence[Mistake]) -> ErrorCounts:
    """Count the errors of each kind, and those of a missed and a false face that overlap."""
    count = Counter(mistake.kind for mistake in mistakes)
    near = Counter(mistake.kind for mistake in mistakes if mistake.nearest_iou >= NEAR_IOU)
    return ErrorCounts(
        **{kind.value: count[kind] for kind in MistakeKind},
        missed_near=near[MistakeKind.MISSED],
        false_face_near=near[MistakeKind.FALSE_FACE],
    )


def _mistakes(overlaps: Overlaps, found: Outcomes) -> Iterator[Mistake]:
    false, missed = found.prediction[found.row == NOTHING], found.label[found.column == MISSED]
    for label, prediction, row, column, size_px in zip(
        found.label, found.prediction, found.row, found.column, found.size_px, strict=True
    ):
        kind = _kind(int(row), int(column))
        if kind is MistakeKind.MISSED:
            iou, box = _nearest(overlaps.iou[false, label], overlaps.boxes[false])
            face = overlaps.faces[label]
            yield Mistake(kind, overlaps.image.name, float(size_px), face.label, face.box_xyxy, None, iou, box)
        elif kind is MistakeKind.FALSE_FACE:
            iou, box = _nearest(overlaps.iou[prediction, missed], overlaps.label_boxes[missed])
            answer = overlaps.predictions[prediction]
            yield Mistake(kind, overlaps.image.name, answer.score, None, None, answer, iou, box)
        elif kind is not None:
            face, answer = overlaps.faces[label], overlaps.predictions[prediction]
            iou, badness = float(overlaps.iou[prediction, label]), answer.confidence or answer.score
            yield Mistake(kind, overlaps.image.name, badness, face.label, face.box_xyxy, answer, iou)


def _nearest(iou: NDArray[np.float64], boxes: FloatArray) -> tuple[float, FloatArray | None]:
    """Return the largest of overlaps (N,) and its box of (N, 4)."""
    largest = float(iou.max(initial=0))
    return largest, boxes[iou.argmax()] if largest > 0 else None


def _kind(row: int, column: int) -> MistakeKind | None:
    """Return how an outcome is wrong; None where it is right, not judged, or between two ways of wearing no proper mask."""
    if row == NOTHING:
        return MistakeKind.FALSE_FACE
    if column == MISSED:
        return MistakeKind.MISSED
    if UNKNOWN in (row, column) or (row == MASK) == (column == MASK):
        return None
    return MistakeKind.FALSE_MASK if column == MASK else MistakeKind.FALSE_NO_MASK


def mistakes_csv(mistakes: Sequence[Mistake], *, bom: bool = False) -> str:
    """Return mistakes as CSV with a header, after a byte order mark if wanted; boxes are of the kind that the labels are."""
    return csv_text([CSV_COLUMNS, *(_row(mistake) for mistake in mistakes)], bom=bom)


def _row(mistake: Mistake) -> tuple[object, ...]:
    found = mistake.prediction
    return (
        *(mistake.kind.value, mistake.name, _value(mistake.label), _value(found.label if found else None)),
        *(None if found is None else found.confidence, None if found is None else round(found.score, 4)),
        *(round(mistake.size_px, 1), round(mistake.nearest_iou, 3)),
        *(*_corners(mistake.label_box_xyxy), *_corners(None if found is None else found.box_xyxy)),
    )


def _value(label: Label | None) -> str | None:
    return None if label is None else label.value


def _corners(box_xyxy: FloatArray | None) -> list[float | None]:
    return [None] * 4 if box_xyxy is None else [round(edge, 2) for edge in box_xyxy.tolist()]
