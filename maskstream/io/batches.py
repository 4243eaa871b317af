"""Read many files of one source a few at a time, and report those that cannot be read at the end."""

from collections import deque
from threading import Event, Lock
from typing import Final

from loguru import logger

from maskstream.errors import SourceError, SourceOpenError
from maskstream.io.file_names import natural_order
from maskstream.io.files import one_line

_AT_ONCE: Final = 2
"""The next file is opened and decoded while the models analyse the one before."""
_NAMED_AT_MOST: Final = 3


class Turns:
    """Admits a limited number of readers at a time, in the order of their requests."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        """Set the number of readers that are admitted at a time."""
        self._free = at_once
        self._lock = Lock()
        self._waiting: deque[Turn] = deque()

    def next(self) -> "Turn":
        """Return a turn after all earlier turns."""
        turn = Turn(self)
        with self._lock:
            self._waiting.append(turn)
            self._grant()
        return turn

    def give_back(self, turn: "Turn") -> None:
        """Admit the next reader, or remove a turn that is still waiting."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self._free += 1
                self._grant()

    def _grant(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.popleft().come.set()


class Turn:
    """The place of one reader in the order."""

    def __init__(self, turns: Turns) -> None:
        """Begin to wait."""
        self.come = Event()
        """Set when the reader is admitted, or the turn has ended."""
        self._turns = turns
        self._lock = Lock()
        self._is_over = False

    def end(self) -> None:
        """End the turn, admitted or not. A second call does nothing."""
        with self._lock:
            is_over, self._is_over = self._is_over, True
        if not is_over:
            self._turns.give_back(self)
            self.come.set()


class Batch:
    """The videos of a folder or pattern, and those that cannot be read. Several threads may call it."""

    def __init__(self, name: str, turns: Turns) -> None:
        """Begin without videos.

        Args:
            name: The folder or pattern.
            turns: The order in which the videos are read.
        """
        self.name = name
        self.turns = turns
        self._lock = Lock()
        self._joined = self._left = 0
        self._unreadable: dict[str, SourceError] = {}
        self._has_readable = False

    def join(self) -> None:
        """Count a video that will be read."""
        with self._lock:
            self._joined += 1

    def readable(self) -> None:
        """Record that a video can be read."""
        self._has_readable = True

    def unreadable(self, name: str, error: SourceError) -> None:
        """Record a video that cannot be read."""
        with self._lock:
            self._unreadable[name] = error

    def leave(self) -> None:
        """Count a video that has ended. With the last one, log the videos that could not be read, in natural order.

        Raises:
            SourceOpenError: None of the videos can be read.
        """
        with self._lock:
            self._left += 1
            if self._left < self._joined:
                return
            unreadable = [self._unreadable[name] for name in natural_order(self._unreadable)]
            self._unreadable = {}
        if len(unreadable) == self._joined and not self._has_readable:
            raise SourceOpenError(self._why_none(unreadable))
        if unreadable:
            logger.error("{}: {} of {} videos could not be read:", one_line(self.name), len(unreadable), self._joined)
        for error in unreadable:
            logger.error("{}", error)

    def _why_none(self, unreadable: list[SourceError]) -> str:
        if len(unreadable) == 1:
            return str(unreadable[0])
        named = [str(error) for error in unreadable[:_NAMED_AT_MOST]]
        more = len(unreadable) - len(named)
        return (
            f"{one_line(self.name)}: none of its {len(unreadable)} videos can be read: {'; '.join(named)}"
            f"{f'; and {more} more' if more else ''}"
        )
