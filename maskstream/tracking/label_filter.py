"""Filter the labels of a person over time with a hidden Markov model.

Between classifications the probabilities of the labels move towards each other, because people put masks on and off. Each
classification then adds evidence for one label. Classifications shortly after one another are not independent. Each is therefore
weighted by the time since the one before: the evidence of a second is the same at 10 and at 50 frames per second.

Rabiner, "A Tutorial on Hidden Markov Models" (1989), forward algorithm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Final

from maskstream.types import Label

_FULL_WEIGHT_PER_S: Final = 8.0
"""The maximum rate of classifications that count fully."""
_WEIGHT: Final = 2.0
"""With this weight one confident classification of a large and sharp face changes the label. An uncertain one does not."""
_MAX_CONFIDENCE: Final = 0.98
"""A single classification may be wrong for reasons that its confidence does not include."""


@dataclass(frozen=True)
class SteadyRules:
    """How fast a steady label follows the classifications."""

    memory_s: float
    """The time after which the weight of a classification has fallen to 1/e."""
    to_change: float
    """Log-odds against the current label that change it, or for one label over all others that end `unknown`."""


class SteadyLabel:
    """The steady label of one person, and the probability of each label.

    The label changes only when another one is ahead by `to_change` (hysteresis). It is `unknown` until one label is.
    """

    def __init__(self, rules: SteadyRules, labels: Sequence[Label]) -> None:
        """Begin without evidence; `labels` are the possible labels."""
        self._rules = rules
        self._probability = dict.fromkeys(labels, 1 / len(labels))
        self._seen_s: float | None = None
        self.label = Label.UNKNOWN

    @property
    def confidence(self) -> float | None:
        """Probability of the label, in [0, 1]; None for `unknown`."""
        return None if self.label is Label.UNKNOWN else self._probability[self.label]

    def update(self, time_s: float, label: Label, confidence: float, weight: float) -> None:
        """Add one classification. One with a number that is not finite is ignored.

        Args:
            time_s: Its time, not earlier than the last one.
            label: Its label.
            confidence: Its probability. The other labels share the rest.
            weight: Its reliability, in [0, 1].
        """
        if not (isfinite(time_s) and isfinite(confidence) and isfinite(weight)):
            return
        since_s = 1 / _FULL_WEIGHT_PER_S if self._seen_s is None else time_s - self._seen_s
        self._seen_s = time_s
        kept = exp(-since_s / self._rules.memory_s)
        exponent = _WEIGHT * weight * min(1.0, since_s * _FULL_WEIGHT_PER_S)
        limited = min(max(confidence, 1 - _MAX_CONFIDENCE), _MAX_CONFIDENCE)
        rest = (1 - limited) / (len(self._probability) - 1)
        even = 1 / len(self._probability)
        likely = {
            each: (before * kept + even * (1 - kept)) * (limited if each is label else rest) ** exponent
            for each, before in self._probability.items()
        }
        total = sum(likely.values())
        self._probability = {each: value / total for each, value in likely.items()}
        best, second, *_ = sorted(self._probability, key=self._probability.__getitem__, reverse=True)
        against = second if self.label is Label.UNKNOWN else self.label
        if log(self._probability[best] / self._probability[against]) >= self._rules.to_change:
            self.label = best
