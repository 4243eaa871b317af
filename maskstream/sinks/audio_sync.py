"""When the sound of a file is heard beside its picture: clocks that jump, begin anew, or are damaged."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final, TypeVar

from maskstream.stream.rates import CLOCK_TOLERANCE_S

AROUND_S: Final = 2.0
"""Sound that lies further outside the picture is left out; recordings of broadcasts begin with the sound."""

_CONVINCING_S: Final = 1.0
"""So much sound in a row, at another time than expected, is believed."""
_CONVINCING_COUNT: Final = 64
_MOST_PARTS: Final = 64
"""Of the picture that wait for their sound: one that is damaged may begin anew with every frame."""

_Piece = TypeVar("_Piece")


def in_step(pieces: Iterable[_Piece], timing: Callable[[_Piece], tuple[float, float]]) -> Iterator[_Piece]:
    """Leave out pieces with a wrong time: those after which time goes on as if they had not been there.

    A jump that lasts is a gap, or the beginning of another part, and stays.

    Args:
        pieces: Of sound, in the order of the file.
        timing: Returns when a piece starts and how long it lasts, in seconds.
    """
    expected_s, doubtful_s, lasted_s = 0.0, 0.0, 0.0
    doubtful: list[_Piece] = []
    for piece in pieces:
        start_s, duration_s = timing(piece)
        if abs(start_s - expected_s - lasted_s) <= CLOCK_TOLERANCE_S:
            doubtful, lasted_s, expected_s = [], 0.0, start_s + duration_s
            yield piece
            continue
        if doubtful and start_s > doubtful_s + CLOCK_TOLERANCE_S:  # a little sound between two gaps
            yield from doubtful
            doubtful, lasted_s, expected_s = [], 0.0, doubtful_s
        elif doubtful and start_s < doubtful_s - CLOCK_TOLERANCE_S:
            doubtful = []
        doubtful.append(piece)
        lasted_s, doubtful_s = lasted_s + duration_s, start_s + duration_s
        if doubtful_s - timing(doubtful[0])[0] > _CONVINCING_S or len(doubtful) > _CONVINCING_COUNT:
            yield from doubtful
            doubtful, lasted_s, expected_s = [], 0.0, doubtful_s
    yield from doubtful


@dataclass(frozen=True)
class _Part:
    """Of the picture, with a clock of its own."""

    first_s: float
    """The own time of its first frame."""
    later_s: float
    """How much later its frames are shown than their own time says."""
    is_ahead: bool
    """Whether its clock jumped forward."""


class AudioSync:
    """Says when a piece of sound is heard, from when the frames of the same file are shown."""

    def __init__(self) -> None:
        """Begin with sound and picture at their own times."""
        self.until_s = -inf
        """When the latest frame is shown."""
        self._own_s = -inf
        self._begun: deque[_Part] = deque(maxlen=_MOST_PARTS)
        """Parts of the picture whose sound was not heard yet."""
        self._later_s = 0.0
        self._heard_s = 0.0
        self._ran_back = False
        self._jumped = False

    def frame(self, own_s: float, shown_s: float) -> None:
        """Take note of a frame: its own time, and when it is shown."""
        is_ahead = (own_s - self._own_s) - (shown_s - self.until_s) > CLOCK_TOLERANCE_S
        if is_ahead or self._own_s - own_s > CLOCK_TOLERANCE_S:
            self._begun.append(_Part(own_s, shown_s - own_s, is_ahead))
        self._own_s, self.until_s = own_s, shown_s

    def heard_s(self, own_s: float) -> float | None:
        """Return when a piece of sound is heard; None where the picture of its part has not begun yet.

        Args:
            own_s: Its own time; pieces are asked for in the order of the file, and may be asked for again.
        """
        self._ran_back = self._ran_back or self._heard_s - own_s > CLOCK_TOLERANCE_S
        self._jumped = self._jumped or own_s - self._heard_s > CLOCK_TOLERANCE_S
        self._heard_s = own_s
        if self._ran_back or self._jumped:
            fitting = next((index for index, part in enumerate(self._begun) if self._fits(part, own_s)), None)
            if fitting is None and self._ran_back:
                return None
            if fitting is not None:
                self._later_s = self._begun[fitting].later_s
                for _ in range(fitting + 1):
                    self._begun.popleft()
            self._ran_back = False
            self._jumped = fitting is None and own_s + self._later_s >= self.until_s
        return own_s + self._later_s

    def _fits(self, part: _Part, own_s: float) -> bool:
        """Return whether a piece of sound that ran back or jumped belongs to a part of the picture."""
        return abs(part.first_s - own_s) <= AROUND_S if self._ran_back else part.is_ahead and part.first_s - own_s <= AROUND_S
