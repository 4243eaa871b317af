"""A bounded queue between two threads."""

from collections import deque
from collections.abc import Callable
from enum import Enum
from threading import Condition
from time import perf_counter
from typing import Generic, TypeVar

T = TypeVar("T")


def wait(changed: Condition, until: Callable[[], bool], timeout_s: float | None = None) -> float:
    """Wait for something that changes, and return how long, in seconds."""
    started_s = perf_counter()
    changed.wait_for(until, timeout_s)
    return perf_counter() - started_s


class Overflow(Enum):
    """What happens to a new item when a channel is full."""

    WAIT = "wait"
    """The writer waits: nothing is lost. For files."""
    DROP_OLDEST = "drop_oldest"
    """The oldest item makes room: readers get the newest. For live sources."""


class Channel(Generic[T]):
    """A bounded first-in-first-out queue that either side can end.

    The writer ends it with `finish`: what is in it can still be read. Either side abandons it with `close`: what is in it is
    lost, and whoever waits is released.
    """

    def __init__(self, capacity: int, overflow: Overflow, changed: Condition | None = None) -> None:
        """Make an empty channel.

        Args:
            capacity: Most items in it.
            overflow: What happens beyond that.
            changed: Shared by channels that one reader waits for together; None for one of its own.
        """
        self.dropped = 0
        """Items that made room for newer ones."""
        self.writer_waited_s = self.reader_waited_s = 0.0
        """Time the writer spent in waiting for room, and the reader in `get`."""
        self.changed = changed or Condition()
        self._capacity = capacity
        self._overflow = overflow
        self._items: deque[T] = deque()
        self._finished = False
        self._closed = False

    def keep(self, capacity: int) -> None:
        """Lose nothing from now on, and hold so many items."""
        with self.changed:
            self._overflow, self._capacity = Overflow.WAIT, capacity

    def put(self, item: T) -> bool:
        """Add an item; return False, without it, where the channel was closed."""
        with self.changed:
            if self._overflow is Overflow.WAIT:
                self.writer_waited_s += wait(self.changed, lambda: self._closed or len(self._items) < self._capacity)
            elif len(self._items) >= self._capacity:
                self._items.popleft()
                self.dropped += 1
            if self._closed:
                return False
            self._items.append(item)
            self.changed.notify_all()
            return True

    def poll(self) -> T | None:
        """Take the oldest item, or None where there is none now."""
        with self.changed:
            if not self._items:
                return None
            item = self._items.popleft()
            self.changed.notify_all()
            return item

    def get(self, timeout_s: float) -> T | None:
        """Take the oldest item; None where there is none after `timeout_s`, or none will come any more."""
        with self.changed:
            self.reader_waited_s += wait(self.changed, lambda: bool(self._items) or self._finished, timeout_s)
            return self.poll()

    @property
    def exhausted(self) -> bool:
        """Whether nothing is in it and nothing will come."""
        with self.changed:
            return self._finished and not self._items

    def __len__(self) -> int:
        return len(self._items)

    def finish(self, last: T | None = None) -> None:
        """Say, as the writer, that nothing more will come but a last item, for which there is always room."""
        with self.changed:
            if last is not None and not self._closed:
                self._items.append(last)
            self._finished = True
            self.changed.notify_all()

    def close(self) -> None:
        """Abandon the channel: drop what is in it and release whoever waits."""
        with self.changed:
            self._closed = self._finished = True
            self._items.clear()
            self.changed.notify_all()
