"""List every error, the worst of each kind first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskstream.annotations.labelled_images import LabelledFace
from maskstream.evaluation.matching import MASK, MISSED, NOTHING, UNKNOWN, Outcomes, Overlaps
from maskstream.evaluation.metrics_json import ErrorCounts
from maskstream.evaluation.predictions import Prediction
from maskstream.io.files import csv_text
from maskstream.types import FloatArray, Label

CSV_COLUMNS: Final = (
    *("kind", "picture", "labelled", "judged", "confidence", "score", "size_px", "nearest_iou"),
    *("label_x1", "label_y1", "label_x2", "label_y2", "x1", "y1", "x2", "y2"),
)
NEAR_IOU: Final = 0.1


class MistakeKind(StrEnum):
    """The four kinds of errors."""

    FALSE_MASK = "false_mask"
    """A face without a mask was classified as mask. This is the dangerous kind."""
    FALSE_NO_MASK = "false_no_mask"
    """A face with a mask was classified as no mask."""
    MISSED = "missed"
    """A labelled face was not found."""
    FALSE_FACE = "false_face"
    """False positive: a face was found where none is labelled."""


@dataclass(frozen=True, eq=False)
class Mistake:
    """One error at the reference IoU and the operating threshold."""

    kind: MistakeKind
    name: str
    """Name of the image."""
    badness: float
    """Orders the errors of a kind: confidence of a wrong label, score of a false positive, size of a missed face."""
    label: Label | None
    """None for a false positive."""
    label_box_xyxy: FloatArray | None
    """None for a false positive."""
    prediction: Prediction | None
    """Its box is of the kind of the labelled boxes. None for a missed face."""
    nearest_iou: float = 0.0
    """Largest overlap of a missed face with a false positive, or of a false positive with a missed face. The face was found with
    a wrong box. For a wrong label: the overlap of its two boxes."""
    nearest_box_xyxy: FloatArray | None = None
    """Box of that false positive or missed face."""

    @property
    def size_px(self) -> float:
        """Shorter side of the labelled box; for a false positive, of its own box."""
        box = self.label_box_xyxy
        if box is None and self.prediction is not None:
            box = self.prediction.box_xyxy
        return 0.0 if box is None else float((box[2:] - box[:2]).min())


def find_mistakes(overlaps: Sequence[Overlaps], found: Sequence[Outcomes]) -> tuple[Mistake, ...]:
    """Return all errors by kind, the worst of each kind first."""
    mistakes: list[Mistake] = []
    for each, of_image in zip(overlaps, found, strict=True):
        mistakes += _mistakes(each, of_image)
    kinds = list(MistakeKind)
    return tuple(sorted(mistakes, key=lambda mistake: (kinds.index(mistake.kind), -mistake.badness)))


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
    for index, (row, column) in enumerate(zip(found.row.tolist(), found.column.tolist(), strict=True)):
        label, prediction = found.label[index], found.prediction[index]
        kind = _kind(row, column)
        if kind is MistakeKind.MISSED:
            iou, box = _nearest(overlaps.iou[false, label], overlaps.boxes[false])
            yield _missed(overlaps, overlaps.faces[label], float(found.size_px[index]), iou, box)
        elif kind is MistakeKind.FALSE_FACE:
            iou, box = _nearest(overlaps.iou[prediction, missed], overlaps.label_boxes[missed])
            yield _false_positive(overlaps, overlaps.predictions[prediction], iou, box)
        elif kind is not None:
            face, answer = overlaps.faces[label], overlaps.predictions[prediction]
            yield Mistake(
                kind=kind,
                name=overlaps.image.name,
                badness=answer.confidence or answer.score,
                label=face.label,
                label_box_xyxy=face.box_xyxy,
                prediction=answer,
                nearest_iou=float(overlaps.iou[prediction, label]),
            )


def _missed(overlaps: Overlaps, face: LabelledFace, size_px: float, iou: float, nearest: FloatArray | None) -> Mistake:
    return Mistake(
        kind=MistakeKind.MISSED,
        name=overlaps.image.name,
        badness=size_px,
        label=face.label,
        label_box_xyxy=face.box_xyxy,
        prediction=None,
        nearest_iou=iou,
        nearest_box_xyxy=nearest,
    )


def _false_positive(overlaps: Overlaps, answer: Prediction, iou: float, nearest: FloatArray | None) -> Mistake:
    return Mistake(
        kind=MistakeKind.FALSE_FACE,
        name=overlaps.image.name,
        badness=answer.score,
        label=None,
        label_box_xyxy=None,
        prediction=answer,
        nearest_iou=iou,
        nearest_box_xyxy=nearest,
    )


def _nearest(iou: NDArray[np.float64], boxes: FloatArray) -> tuple[float, FloatArray | None]:
    """Return the largest of overlaps (N,) and its box of (N, 4); None if nothing overlaps."""
    largest = float(iou.max(initial=0))
    return largest, boxes[iou.argmax()] if largest > 0 else None


def _kind(row: int, column: int) -> MistakeKind | None:
    """Return the kind of error of an outcome.

    Returns:
        None for a right label, for `unknown` on either side, and for `no_mask` against `incorrect`.
    """
    if row == NOTHING:
        return MistakeKind.FALSE_FACE
    if column == MISSED:
        return MistakeKind.MISSED
    if UNKNOWN in (row, column) or (row == MASK) == (column == MASK):
        return None
    return MistakeKind.FALSE_MASK if column == MASK else MistakeKind.FALSE_NO_MASK


def mistakes_csv(mistakes: Sequence[Mistake], *, bom: bool = False) -> str:
    """Return errors as CSV with a header, and with a byte order mark if `bom`; boxes are of the kind of the labelled boxes."""
    rows: list[tuple[object, ...]] = [CSV_COLUMNS]
    for mistake in mistakes:
        found = mistake.prediction
        rows.append(
            (
                mistake.kind.value,
                mistake.name,
                None if mistake.label is None else mistake.label.value,
                None if found is None else found.label.value,
                None if found is None else found.confidence,
                None if found is None else round(found.score, 4),
                round(mistake.size_px, 1),
                round(mistake.nearest_iou, 3),
                *_corners(mistake.label_box_xyxy),
                *_corners(None if found is None else found.box_xyxy),
            )
        )
    return csv_text(rows, bom=bom)


def _corners(box_xyxy: FloatArray | None) -> list[float | None]:
    return [None] * 4 if box_xyxy is None else [round(edge, 2) for edge in box_xyxy.tolist()]
