"""Match predictions with labels in one image, by the one-to-one protocol and by the paper's protocol."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskstream.annotations.labelled_images import LabelledFace, LabelledImage
from maskstream.config.schema import IncorrectAs
from maskstream.evaluation.predictions import ImagePredictions, Prediction
from maskstream.types import FloatArray, Label
from maskstream.vision.geometry import box_fraction_inside, box_iou

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CLASSES: Final = (Label.MASK, Label.NO_MASK, Label.INCORRECT, Label.UNKNOWN)
ROWS: Final = (*(label.value for label in CLASSES), "nothing")
"""Labelled class; `nothing` for a false positive."""
COLUMNS: Final = (*(label.value for label in CLASSES), "missed")
"""Classified as; `missed` for a face that was not found."""
MASK: Final = CLASSES.index(Label.MASK)
UNKNOWN: Final = CLASSES.index(Label.UNKNOWN)
NOTHING: Final = len(CLASSES)
MISSED: Final = len(CLASSES)
NONE: Final = -1
MOSTLY_INSIDE: Final = 0.5
"""A prediction with a larger fraction of its box inside a label that does not count is no false positive."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Labels and predictions of one image, and their overlaps."""

    image: LabelledImage
    predictions: tuple[Prediction, ...]
    """P, the highest score first; the boxes are of the kind of the labelled boxes."""
    faces: tuple[LabelledFace, ...]
    """L labelled faces that count."""
    labels: IntArray
    """(L,) index in `ROWS`."""
    label_boxes: FloatArray
    """(L, 4)."""
    answers: IntArray
    """(P,) index in `COLUMNS`."""
    scores: FloatArray
    """(P,) in descending order."""
    boxes: FloatArray
    """(P, 4)."""
    iou: NDArray[np.float64]
    """(P, L)."""
    ignored_iou: NDArray[np.float64]
    """(P,) largest IoU with a label that does not count; 0 without one."""
    inside_ignored: NDArray[np.float64]
    """(P,) largest fraction of the box that is inside a label that does not count; 0 without one."""

    @classmethod
    def of(cls, image: LabelledImage, predicted: ImagePredictions, incorrect_as: IncorrectAs) -> "Overlaps":
        """Compare the labels of an image with predictions whose boxes are of the same kind."""
        predictions = tuple(sorted(predicted.faces, key=lambda found: -found.score))
        counting = tuple(face for face in image.faces if not face.ignore)
        ignored = _stack([face.box_xyxy for face in image.faces if face.ignore])
        boxes = _stack([found.box_xyxy for found in predictions])
        label_boxes = _stack([face.box_xyxy for face in counting])
        return cls(
            image=image,
            predictions=predictions,
            faces=counting,
            labels=np.array([class_index(face.label, incorrect_as) for face in counting], np.int64),
            label_boxes=label_boxes,
            answers=np.array([class_index(found.label, incorrect_as) for found in predictions], np.int64),
            scores=np.array([found.score for found in predictions], np.float32),
            boxes=boxes,
            iou=box_iou(boxes, label_boxes),
            ignored_iou=box_iou(boxes, ignored).max(axis=1, initial=0),
            inside_ignored=box_fraction_inside(boxes, ignored).max(axis=1, initial=0),
        )


@dataclass(frozen=True, eq=False)
class Matches:
    """The matches at one IoU threshold."""

    taken: IntArray
    """(P,) index of the label that each prediction matches, or `NONE`."""
    excused: BoolArray
    """(P,) True for a prediction without a match that overlaps, or is mostly inside, a label that does not count."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The N outcomes: one for each label that counts, and one for each false positive."""

    label: IntArray
    """(N,) index of the label, `NONE` for a false positive."""
    prediction: IntArray
    """(N,) index of the prediction, `NONE` for a missed face."""
    row: IntArray
    """(N,) index in `ROWS`."""
    column: IntArray
    """(N,) index in `COLUMNS`."""
    size_px: FloatArray
    """(N,) shorter side of the labelled box; for a false positive, of its own box."""


def class_index(label: Label, incorrect_as: IncorrectAs) -> int:
    """Return the index of a label in `ROWS` and `COLUMNS`."""
    merged = Label.NO_MASK if label is Label.INCORRECT and incorrect_as == "no_mask" else label
    return CLASSES.index(merged)


def match(overlaps: Overlaps, min_iou: float) -> Matches:
    """Match each prediction, the highest score first, with the free label that it overlaps most, by at least `min_iou`.

    The match of a prediction depends on higher scores only, so that a higher threshold of the score keeps the matches.
    """
    free = np.ones(len(overlaps.labels), bool)
    taken = np.full(len(overlaps.predictions), NONE, np.int64)
    for index, row in enumerate(overlaps.iou):
        reachable = np.where(free & (row >= min_iou), row, -1.0)
        if reachable.size and reachable.max() >= 0:
            taken[index] = int(reachable.argmax())
            free[taken[index]] = False
    is_of_ignored = (overlaps.ignored_iou >= min_iou) | (overlaps.inside_ignored > MOSTLY_INSIDE)
    return Matches(taken, (taken == NONE) & is_of_ignored)


def outcomes(overlaps: Overlaps, matches: Matches, min_score: float) -> Outcomes:
    """Return the outcome of each label, and the false positives among the predictions with a score of at least `min_score`."""
    shown = overlaps.scores >= min_score
    matched = np.flatnonzero(shown & (matches.taken != NONE))
    false = np.flatnonzero(shown & (matches.taken == NONE) & ~matches.excused)
    is_missed = np.ones(len(overlaps.labels), bool)
    is_missed[matches.taken[matched]] = False
    missed = np.flatnonzero(is_missed)
    return Outcomes(
        label=np.concatenate([matches.taken[matched], missed, np.full(len(false), NONE)]),
        prediction=np.concatenate([matched, np.full(len(missed), NONE), false]),
        row=np.concatenate([overlaps.labels[matches.taken[matched]], overlaps.labels[missed], np.full(len(false), NOTHING)]),
        column=np.concatenate([overlaps.answers[matched], np.full(len(missed), MISSED), overlaps.answers[false]]),
        size_px=np.concatenate(
            [
                _short_side(overlaps.label_boxes[matches.taken[matched]]),
                _short_side(overlaps.label_boxes[missed]),
                _short_side(overlaps.boxes[false]),
            ]
        ),
    )


def tabulate(found: Outcomes, which: BoolArray | None = None) -> IntArray:
    """Count outcomes, all or those in `which` (N,): (5, 5), `ROWS` by `COLUMNS`."""
    table = np.zeros((len(ROWS), len(COLUMNS)), np.int64)
    chosen = slice(None) if which is None else which
    np.add.at(table, (found.row[chosen], found.column[chosen]), 1)
    return table


def paper_pairs(overlaps: Overlaps, above_iou: float, min_score: float) -> IntArray:
    """Count all pairs that overlap by more than `above_iou`: (2, 2), labelled mask or not by classified mask or not.

    This is the protocol of "Face Mask Detection using Human Keypoints". A label without a prediction and a prediction without a
    label do not count, and a face found twice counts twice. Pairs with an unknown class on either side are left out.
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
