"""Which prediction meets which label: the two protocols, on one image."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskstream.annotations.types import LabelledFace, LabelledImage
from maskstream.config.schema import IncorrectAs
from maskstream.evaluation.types import ImagePredictions, Prediction
from maskstream.types import FloatArray, Label

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CLASSES: Final = (Label.MASK, Label.NO_MASK, Label.INCORRECT, Label.UNKNOWN)
ROWS: Final = (*(label.value for label in CLASSES), "nothing")
"""What is labelled; `nothing` under a false face."""
COLUMNS: Final = (*(label.value for label in CLASSES), "missed")
"""What was judged."""
MASK: Final = CLASSES.index(Label.MASK)
UNKNOWN: Final = CLASSES.index(Label.UNKNOWN)
NOTHING: Final = len(CLASSES)
MISSED: Final = len(CLASSES)
NONE: Final = -1


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Labels and predictions of one image, and how far they overlap."""

    image: LabelledImage
    predictions: tuple[Prediction, ...]
    """P, the highest score first; boxes of the kind that the labels are."""
    faces: tuple[LabelledFace, ...]
    """L, those that count."""
    labels: IntArray
    """(L,) index in `ROWS` of each label that counts."""
    label_boxes: FloatArray
    """(L, 4)."""
    answers: IntArray
    """(P,) index in `COLUMNS`."""
    scores: FloatArray
    """(P,) falling."""
    boxes: FloatArray
    """(P, 4)."""
    iou: NDArray[np.float64]
    """(P, L)."""
    ignored_iou: NDArray[np.float64]
    """(P,) the largest with a label that does not count; 0 without one."""

    @classmethod
    def of(cls, image: LabelledImage, predicted: ImagePredictions, incorrect_as: IncorrectAs) -> "Overlaps":
        """Compare an image's labels with predictions whose boxes are of the same kind."""
        predictions = tuple(sorted(predicted.faces, key=lambda found: -found.score))
        counting = tuple(face for face in image.faces if not face.ignore)
        ignored = [face.box_xyxy for face in image.faces if face.ignore]
        boxes = _stack([found.box_xyxy for found in predictions])
        label_boxes = _stack([face.box_xyxy for face in counting])
        return cls(
            *(image, predictions, counting),
            labels=np.array([class_index(face.label, incorrect_as) for face in counting], np.int64),
            label_boxes=label_boxes,
            answers=np.array([class_index(found.label, incorrect_as) for found in predictions], np.int64),
            scores=np.array([found.score for found in predictions], np.float32),
            boxes=boxes,
            iou=box_iou(boxes, label_boxes),
            ignored_iou=box_iou(boxes, _stack(ignored)).max(axis=1, initial=0),
        )


@dataclass(frozen=True, eq=False)
class Matches:
    """Who took whom at one IoU threshold."""

    taken: IntArray
    """(P,) index of the label that each prediction took, or `NONE`."""
    excused: BoolArray
    """(P,) took none, but meets a label that does not count."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Each label that counts once, and each false face once: N."""

    label: IntArray
    """(N,) index, `NONE` for a false face."""
    prediction: IntArray
    """(N,) index, `NONE` for a missed face."""
    row: IntArray
    """(N,) in `ROWS`."""
    column: IntArray
    """(N,) in `COLUMNS`."""
    size_px: FloatArray
    """(N,) shorter side of the labelled box; of its own for a false face."""


def class_index(label: Label, incorrect_as: IncorrectAs) -> int:
    """Return the place of a label in `ROWS` and `COLUMNS`."""
    merged = Label.NO_MASK if label is Label.INCORRECT and incorrect_as == "no_mask" else label
    return CLASSES.index(merged)


def box_iou(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4)."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    sides = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0)
    intersection = sides.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - intersection
    return np.asarray(np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0))


def match(overlaps: Overlaps, min_iou: float) -> Matches:
    """Let each prediction, the highest score first, take the free label that it overlaps most, by at least `min_iou`.

    What a prediction takes depends on higher scores alone: a higher threshold of the score needs no new matching.
    """
    free = np.ones(len(overlaps.labels), bool)
    taken = np.full(len(overlaps.predictions), NONE, np.int64)
    for index, row in enumerate(overlaps.iou):
        reachable = np.where(free & (row >= min_iou), row, -1.0)
        if reachable.size and reachable.max() >= 0:
            taken[index] = int(reachable.argmax())
            free[taken[index]] = False
    return Matches(taken, (taken == NONE) & (overlaps.ignored_iou >= min_iou))


def outcomes(overlaps: Overlaps, matches: Matches, min_score: float) -> Outcomes:
    """Say what became of each label, and which of the predictions of at least `min_score` are false faces."""
    shown = overlaps.scores >= min_score
    met = np.flatnonzero(shown & (matches.taken != NONE))
    false = np.flatnonzero(shown & (matches.taken == NONE) & ~matches.excused)
    is_missed = np.ones(len(overlaps.labels), bool)
    is_missed[matches.taken[met]] = False
    missed = np.flatnonzero(is_missed)
    return Outcomes(
        label=np.concatenate([matches.taken[met], missed, np.full(len(false), NONE)]),
        prediction=np.concatenate([met, np.full(len(missed), NONE), false]),
        row=np.concatenate([overlaps.labels[matches.taken[met]], overlaps.labels[missed], np.full(len(false), NOTHING)]),
        column=np.concatenate([overlaps.answers[met], np.full(len(missed), MISSED), overlaps.answers[false]]),
        size_px=np.concatenate(
            [
                _short_side(overlaps.label_boxes[matches.taken[met]]),
                _short_side(overlaps.label_boxes[missed]),
                _short_side(overlaps.boxes[false]),
            ]
        ),
    )


def tabulate(found: Outcomes, which: BoolArray | None = None) -> IntArray:
    """Count outcomes, or some (N,) of them, one to one: (5, 5), `ROWS` by `COLUMNS`."""
    table = np.zeros((len(ROWS), len(COLUMNS)), np.int64)
    chosen = slice(None) if which is None else which
    np.add.at(table, (found.row[chosen], found.column[chosen]), 1)
    return table


def paper_pairs(overlaps: Overlaps, above_iou: float, min_score: float) -> IntArray:
    """Count as the paper does: (2, 2), labelled mask or not by judged mask or not, of every pair that overlaps enough.

    "Face Mask Detection using Human Keypoints": a label without a prediction and a prediction without a label do not count, and a
    face found twice counts twice. Pairs of an unknown class on either side are left out.
    """
    shown = (overlaps.scores >= min_score) & (overlaps.answers != UNKNOWN)
    pairs = (overlaps.iou > above_iou) & shown[:, None] & (overlaps.labels != UNKNOWN)[None]
    predictions, labels = np.nonzero(pairs)
    table = np.zeros((2, 2), np.int64)
    np.add.at(table, ((overlaps.labels[labels] != MASK).astype(int), (overlaps.answers[predictions] != MASK).astype(int)), 1)
    return table


def _stack(boxes: list[FloatArray]) -> FloatArray:
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def _short_side(boxes: FloatArray) -> FloatArray:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf), np.float32)
