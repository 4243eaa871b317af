"""Accumulate the evidence that a tracked object is a face: a log-odds state with limits, as in a sequential test.

A label alone does not show that an object is a face: a fist or a statue may be detected, tracked, and classified. In each
detection a face is seen well or badly. The evidence rises and falls with that, so that a track that is never well seen does not
reach `events.min_evidence`.

Wald, "Sequential Tests of Statistical Hypotheses" (1945).
"""

from math import isfinite, log
from typing import Final

from maskstream.config.values import MAX_FACE_EVIDENCE
from maskstream.types import Face

_EVEN_VISIBILITY: Final = 0.25
"""A detection with this visibility is no evidence. On the validation images, 94 % of the detected faces are above it. The highest
visibility of a detection without a face is 0.18."""
_UNKNOWN_BACKGROUND: Final = 0.3
"""The assumed probability of background where the classifier does not return one."""
_MIN_EVIDENCE: Final = -1.0
"""The lower limit is near: a face may be seen badly for long and well the next moment."""
_MAX_STEP: Final = 1.0
"""A single detection may be wrong for reasons that its scores do not include."""
_FULL_WEIGHT_PER_S: Final = 8.0
"""The maximum rate of detections that count fully."""


def visibility(face: Face) -> float:
    """Return how well a face is seen in a detection, in [0, 1].

    It is the product of the score of the detector, the score of the worse eye, and the probability of the classifier that the
    crop is not background.
    """
    eyes = min(face.detection.keypoint(name)[1] for name in ("left_eye", "right_eye"))
    background = _UNKNOWN_BACKGROUND if face.background is None else face.background
    return face.detection.score * eyes * (1 - background)


class FaceEvidence:
    """The log-odds that one tracked object is a face."""

    def __init__(self) -> None:
        """Begin without evidence."""
        self.value = 0.0
        """From `_MIN_EVIDENCE` to `MAX_FACE_EVIDENCE`; 0 where a face and no face are equally likely."""
        self._seen_s: float | None = None

    def update(self, time_s: float, face: Face) -> None:
        """Add one detection. One with a number that is not finite is ignored.

        Args:
            time_s: Its time, not earlier than the last one. A second adds the same evidence at 10 and at 50 frames per second.
            face: The face in that detection, not a propagated one.
        """
        seen = visibility(face)
        if not (isfinite(time_s) and isfinite(seen)):
            return
        since_s = 1 / _FULL_WEIGHT_PER_S if self._seen_s is None else time_s - self._seen_s
        self._seen_s = time_s
        step = min(max(_log_odds(seen) - _log_odds(_EVEN_VISIBILITY), -_MAX_STEP), _MAX_STEP)
        value = self.value + step * min(1.0, since_s * _FULL_WEIGHT_PER_S)
        self.value = min(max(value, _MIN_EVIDENCE), MAX_FACE_EVIDENCE)


def _log_odds(probability: float) -> float:
    limited = min(max(probability, 1e-6), 1 - 1e-6)
    return log(limited / (1 - limited))
