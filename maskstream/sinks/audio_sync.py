"""Synchronise the audio of a file with its annotated video, also where clocks jump, begin again or are damaged."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final, TypeVar

from maskstream.stream.rates import CLOCK_TOLERANCE_S

MARGIN_S: Final = 2.0
"""Audio further than this before or after the video is left out; recordings of broadcasts begin with audio."""

_CONVINCING_S: Final = 1.0
"""After this much audio in a row at an unexpected time, that time is accepted."""
_CONVINCING_COUNT: Final = 64
_MAX_PARTS: Final = 64
"""Parts of the video that wait for their audio: a damaged video may begin again with every frame."""

_Packet = TypeVar("_Packet")


def drop_stray_packets(packets: Iterable[_Packet], timing: Callable[[_Packet], tuple[float, float]]) -> Iterator[_Packet]:
    """Leave out packets with a wrong time: those after which time continues as if they did not exist.

    Packets after a jump that lasts are kept: it is a gap, or the beginning of another part.

    Args:
        packets: Audio, in the order of the file.
        timing: Returns the start of a packet and its duration, in seconds.
    """
    expected_s, doubtful_end_s, doubtful_duration_s = 0.0, 0.0, 0.0
    doubtful: list[_Packet] = []
    for packet in packets:
        start_s, duration_s = timing(packet)
        if abs(start_s - expected_s - doubtful_duration_s) <= CLOCK_TOLERANCE_S:
            doubtful, doubtful_duration_s, expected_s = [], 0.0, start_s + duration_s
            yield packet
            continue
        if doubtful and start_s > doubtful_end_s + CLOCK_TOLERANCE_S:  # a little audio between two gaps
            yield from doubtful
            doubtful, doubtful_duration_s, expected_s = [], 0.0, doubtful_end_s
        elif doubtful and start_s < doubtful_end_s - CLOCK_TOLERANCE_S:
            doubtful = []
        doubtful.append(packet)
        doubtful_duration_s += duration_s
        doubtful_end_s = start_s + duration_s
        if doubtful_end_s - timing(doubtful[0])[0] > _CONVINCING_S or len(doubtful) > _CONVINCING_COUNT:
            yield from doubtful
            doubtful, doubtful_duration_s, expected_s = [], 0.0, doubtful_end_s
    yield from doubtful


@dataclass(frozen=True)
class _Part:
    """A part of the video with its own clock."""

    first_s: float
    """The own time of its first frame."""
    offset_s: float
    """Time in the output minus own time."""
    is_ahead: bool
    """Whether its clock jumped forward."""


class AudioSync:
    """Maps the times of audio packets to times in the output, from the times of the video frames of the same file."""

    def __init__(self) -> None:
        """Begin with audio and video at their own times."""
        self.output_s = -inf
        """The time of the latest frame in the output."""
        self._frame_s = -inf
        self._parts: deque[_Part] = deque(maxlen=_MAX_PARTS)
        """Parts of the video without audio so far."""
        self._offset_s = 0.0
        self._audio_s = 0.0
        self._ran_back = False
        self._jumped = False

    def add_frame(self, own_s: float, output_s: float) -> None:
        """Add a frame of the video.

        Args:
            own_s: Its own time.
            output_s: Its time in the output.
        """
        is_ahead = (own_s - self._frame_s) - (output_s - self.output_s) > CLOCK_TOLERANCE_S
        if is_ahead or self._frame_s - own_s > CLOCK_TOLERANCE_S:
            self._parts.append(_Part(own_s, output_s - own_s, is_ahead))
        self._frame_s, self.output_s = own_s, output_s

    def audio_output_s(self, own_s: float) -> float | None:
        """Return the time of an audio packet in the output; None while the video of its part has not begun.

        Args:
            own_s: Its own time. Packets come in the order of the file, each one or several times.
        """
        self._ran_back = self._ran_back or self._audio_s - own_s > CLOCK_TOLERANCE_S
        self._jumped = self._jumped or own_s - self._audio_s > CLOCK_TOLERANCE_S
        self._audio_s = own_s
        if (self._ran_back or self._jumped) and not self._find_part(own_s):
            return None
        return own_s + self._offset_s

    def _find_part(self, own_s: float) -> bool:
        """Use the part of the video that audio belongs to after a jump; return False where that part has not begun."""
        part = next((part for part in self._parts if self._belongs(part, own_s)), None)
        if part is None and self._ran_back:
            return False
        if part is not None:
            self._offset_s = part.offset_s
            while self._parts.popleft() is not part:  # forget it and the parts before it
                pass
        self._ran_back = False
        self._jumped = part is None and own_s + self._offset_s >= self.output_s
        return True

    def _belongs(self, part: _Part, own_s: float) -> bool:
        """Return whether audio that ran back or jumped belongs to a part of the video."""
        if self._ran_back:
            return abs(part.first_s - own_s) <= MARGIN_S
        return part.is_ahead and part.first_s - own_s <= MARGIN_S
