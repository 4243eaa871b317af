"""What evaluation is about: predictions of an image, and what can be wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from maskstream.types import FloatArray, Label

BoxKind = Literal["face", "head"]
"""What a box goes around: the tight face, forehead to chin, or the whole head with hair."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """One face as some system sees it."""

    box_xyxy: FloatArray
    """(4,) pixels of the upright image."""
    score: float
    """Certainty in [0, 1] that there is a face."""
    label: Label
    confidence: float | None
    """Probability of `label` in [0, 1]; None for `unknown`, and where a system has no such probability beside its score."""
    keypoints: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """x, y in pixels and score, by COCO's names; empty where a system has none."""


@dataclass(frozen=True, eq=False)
class ImagePredictions:
    """All that a system sees in one image."""

    name: str
    """The image's, as in `LabelledImage.name`."""
    width: int
    height: int
    faces: tuple[Prediction, ...]
    """The most certain first."""
    unusable: int = 0
    """Answers about it that were no finite numbers."""


class MistakeKind(StrEnum):
    """The four ways to be wrong."""

    FALSE_MASK = "false_mask"
    """A face without a mask was judged to wear one: the dangerous one."""
    FALSE_NO_MASK = "false_no_mask"
    MISSED = "missed"
    """A labelled face was not found."""
    FALSE_FACE = "false_face"
    """A face was found where none is labelled."""


@dataclass(frozen=True, eq=False)
class Mistake:
    """One mistake at the reference IoU and the operating threshold."""

    kind: MistakeKind
    name: str
    """The image's."""
    badness: float
    """The larger, the worse: the confidence of a wrong answer, the score of a false face, the size of a missed one."""
    label: Label | None
    """What is labelled; None for a false face."""
    label_box_xyxy: FloatArray | None
    prediction: Prediction | None
    """Its box is of the kind that the labels are. None for a missed face."""
    nearest_iou: float = 0.0
    """Of a missed face with a false face, or the other way round: where it is not nearly 0, the face was seen and the boxes
    disagree. Of the two boxes otherwise."""
    nearest_box_xyxy: FloatArray | None = None
    """Of that false or missed face; None without one."""

    @property
    def size_px(self) -> float:
        """Shorter side of the labelled box; of a false face that of its own."""
        box = self.prediction.box_xyxy if self.prediction and self.label_box_xyxy is None else self.label_box_xyxy
        return 0.0 if box is None else float((box[2:] - box[:2]).min())
