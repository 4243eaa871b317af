"""Measure how long nodes are overloaded, and how many cameras were moved lately."""

from collections import deque
from dataclasses import dataclass
from typing import Final

_TOO_MUCH: Final = 0.5
"""The part of dropped frames above which a node is overloaded."""
_WINDOW_S: Final = 60.0


@dataclass(frozen=True)
class _Overload:
    since_s: float
    seen_s: float


class OverloadWatch:
    """How long each node has dropped more than half of its frames without interruption."""

    def __init__(self) -> None:
        """Begin without nodes."""
        self._overloads: dict[str, _Overload] = {}

    def observe(self, node: str, dropped_share: float, now_s: float) -> None:
        """Note the part of its frames that a node drops now, in [0, 1]."""
        if dropped_share > _TOO_MUCH:
            before = self._overloads.get(node)
            self._overloads[node] = _Overload(now_s if before is None else before.since_s, now_s)
        else:
            self.forget(node)

    def forget(self, node: str) -> None:
        """Begin anew for a node that is not overloaded, from which a camera was moved, or that is lost."""
        self._overloads.pop(node, None)

    def durations_s(self) -> dict[str, float]:
        """Return how long each overloaded node is overloaded, up to its latest answer."""
        return {node: overload.seen_s - overload.since_s for node, overload in self._overloads.items()}


class MoveCounter:
    """Counts the moves of the last 60 s."""

    def __init__(self) -> None:
        """Begin without moves."""
        self._times_s: deque[float] = deque()

    def add(self, now_s: float) -> None:
        """Count a move."""
        self._times_s.append(now_s)

    def recent(self, now_s: float) -> int:
        """Return how many moves were counted in the last 60 s."""
        while self._times_s and self._times_s[0] <= now_s - _WINDOW_S:
            self._times_s.popleft()
        return len(self._times_s)
