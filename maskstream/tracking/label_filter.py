"""What a person wears, over time: the filter of a hidden Markov model.

Between looks the probability of each label moves towards that of all the others, since people put masks on and off; each look
then speaks for one label. Looks at the same face are far from independent, and the more alike the closer they follow each other,
so a look counts for the time it stands for: at 10 or at 50 frames per second the evidence of a second comes to the same.

Rabiner, "A Tutorial on Hidden Markov Models" (1989), forward algorithm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log
from typing import Final

from maskstream.types import Label

_LOOKS_PER_S: Final = 8.0
"""Most looks in a second that count as one each."""
_WORTH: Final = 2.0
"""A look at a large and sharp face that is sure of its answer changes the label at once; a doubtful one does not."""
_MOST_CERTAIN: Final = 0.98
"""A single look may be wrong in ways its confidence knows nothing of."""


@dataclass(frozen=True)
class SteadyRules:
    """How quickly a steady label follows what is seen."""

    memory_s: float
    """What was seen counts for 1/e of its worth after so long."""
    to_change: float
    """Log-odds against the present label that it takes to change it, and for one label over all others to leave `unknown`."""


class SteadyLabel:
    """The answer about one person: the evidence for each label in log-odds, and the label that holds.

    The label changes only where another one is `to_change` ahead (hysteresis), and is `unknown` until the first one is.
    """

    def __init__(self, rules: SteadyRules, labels: Sequence[Label]) -> None:
        """Begin without evidence; `labels` are those that a look may give."""
        self._rules = rules
        self._probability = dict.fromkeys(labels, 1 / len(labels))
        self._seen_s: float | None = None
        self.label = Label.UNKNOWN

    @property
    def confidence(self) -> float | None:
        """Probability of the label by the evidence so far, in [0, 1]; None for `unknown`."""
        return None if self.label is Label.UNKNOWN else self._probability[self.label]

    def look(self, time_s: float, label: Label, confidence: float, weight: float) -> None:
        """Take in one look; one of which a number is not finite says nothing.

        Args:
            time_s: When; never earlier than the last one.
            label: What was seen.
            confidence: Its probability; the others share the rest.
            weight: How far the look can be trusted, in [0, 1].
        """
        if not (isfinite(time_s) and isfinite(confidence) and isfinite(weight)):
            return
        since_s = 1 / _LOOKS_PER_S if self._seen_s is None else time_s - self._seen_s
        self._seen_s = time_s
        kept = exp(-since_s / self._rules.memory_s)
        worth = _WORTH * weight * min(1.0, since_s * _LOOKS_PER_S)
        certain = min(max(confidence, 1 - _MOST_CERTAIN), _MOST_CERTAIN)
        rest = (1 - certain) / (len(self._probability) - 1)
        even = 1 / len(self._probability)
        likely = {
            each: (before * kept + even * (1 - kept)) * (certain if each is label else rest) ** worth
            for each, before in self._probability.items()
        }
        whole = sum(likely.values())
        self._probability = {each: value / whole for each, value in likely.items()}
        self._decide()

    def _decide(self) -> None:
        """Change the label where the evidence suffices."""
        best, second, *_ = sorted(self._probability, key=self._probability.__getitem__, reverse=True)
        against = second if self.label is Label.UNKNOWN else self.label
        if log(self._probability[best] / self._probability[against]) >= self._rules.to_change:
            self.label = best
