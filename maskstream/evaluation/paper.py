"""What "Face Mask Detection using Human Keypoints" publishes of itself, to be shown beside our own figures."""

from dataclasses import dataclass
from typing import Final

SOURCE: Final = "Face Mask Detection using Human Keypoints"
PICTURES: Final = 1174
MASKED_FACES: Final = 1264
BARE_FACES: Final = 1091


@dataclass(frozen=True)
class PairCounts:
    """Pairs of a label and a prediction that overlap by more than a threshold."""

    tp: int
    """Labelled mask, judged mask."""
    fn: int
    fp: int
    tn: int

    @property
    def pairs(self) -> int:
        """All of them."""
        return self.tp + self.fn + self.fp + self.tn

    @property
    def accuracy(self) -> float:
        """Pairs judged as labelled / pairs."""
        return (self.tp + self.tn) / self.pairs

    @property
    def precision(self) -> float:
        """Of those judged mask, how many are."""
        return self.tp / (self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Of those labelled mask, how many are judged mask; missed faces are not among them."""
        return self.tp / (self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn)

    @property
    def fpr(self) -> float:
        """Of those labelled no mask, how many are judged mask."""
        return self.fp / (self.fp + self.tn)

    @property
    def labelled_share_at_most(self) -> float:
        """The most that found and judged rightly can be, of all labelled faces: as if every right pair were another face."""
        return min(1.0, (self.tp + self.tn) / (MASKED_FACES + BARE_FACES))


PUBLISHED: Final[dict[str, PairCounts]] = {
    "0.05": PairCounts(1572, 14, 165, 1229),
    "0.10": PairCounts(1441, 9, 127, 1100),
    "0.15": PairCounts(1381, 9, 102, 1050),
    "0.20": PairCounts(1333, 5, 76, 995),
    "0.25": PairCounts(1314, 5, 69, 942),
    "0.30": PairCounts(1267, 3, 54, 860),
}
"""By IoU, as the paper's evaluation history lists them. Below 0.25 there are more pairs than faces: some are counted twice."""
