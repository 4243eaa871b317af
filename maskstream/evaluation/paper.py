"""Contain the published counts of "Face Mask Detection using Human Keypoints", which the report shows beside ours."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from maskstream.evaluation.metrics import paper_ratios

SOURCE: Final = "Face Mask Detection using Human Keypoints"
IMAGES: Final = 1174
MASKED_FACES: Final = 1264
BARE_FACES: Final = 1091


@dataclass(frozen=True)
class PairCounts:
    """Number of pairs of a label and a prediction that overlap by more than a threshold."""

    tp: int
    """Labelled mask, classified mask."""
    fn: int
    fp: int
    tn: int

    @property
    def pairs(self) -> int:
        """Number of all pairs."""
        return self.tp + self.fn + self.fp + self.tn

    @property
    def ratios(self) -> dict[str, float]:
        """Accuracy, precision, recall, F1 and false positive rate."""
        counts = np.array([[self.tp, self.fn], [self.fp, self.tn]])
        return {name: float(value) for name, value in paper_ratios(counts).items()}

    @property
    def labelled_share_at_most(self) -> float:
        """Upper limit of the fraction of labelled faces found with the right label, if each right pair were another face."""
        return min(1.0, (self.tp + self.tn) / (MASKED_FACES + BARE_FACES))


PUBLISHED: Final[dict[str, PairCounts]] = {
    "0.05": PairCounts(1572, 14, 165, 1229),
    "0.10": PairCounts(1441, 9, 127, 1100),
    "0.15": PairCounts(1381, 9, 102, 1050),
    "0.20": PairCounts(1333, 5, 76, 995),
    "0.25": PairCounts(1314, 5, 69, 942),
    "0.30": PairCounts(1267, 3, 54, 860),
}
"""Counts by IoU threshold, from the paper's evaluation history. Below 0.25 there are more pairs than faces: some count twice."""
