"""Pass items between two threads through a bounded queue."""

from collections import deque
from collections.abc import Callable
from enum import Enum
from threading import Condition
from time import perf_counter
from typing import Generic, TypeVar

T = TypeVar("T")


def wait(changed: Condition, until: Callable[[], bool], timeout_s: float | None = None) -> float:
    """Wait until a condition holds, and return the time waited in seconds."""
    started_s = perf_counter()
    changed.wait_for(until, timeout_s)
    return perf_counter() - started_s


class Overflow(Enum):
    """The behaviour of a full channel when an item is added."""

    WAIT = "wait"
    """The writer waits: nothing is lost. For files."""
    DROP_OLDEST = "drop_oldest"
    """The oldest item is dropped: readers get the newest. For live sources."""


class Channel(Generic[T]):
    """A bounded first-in-first-out queue that either side can end.

    The writer ends it with `finish`: its items can still be read. Either side ends it at once with `close`: its items are
    dropped, and waiting threads continue.
    """

    def __init__(self, capacity: int, overflow: Overflow, changed: Condition | None = None) -> None:
        """Make an empty channel.

        Args:
            capacity: The maximum number of items.
            overflow: What happens when the channel is full.
            changed: Shared by channels for which one reader waits together; None for a separate condition.
        """
        self.dropped = 0
        """Number of items dropped for newer ones."""
        self.writer_waited_s = self.reader_waited_s = 0.0
        """Time that the writer waited for room, and the reader in `get`."""
        self.changed = changed or Condition()
        self._capacity = capacity
        self._overflow = overflow
        self._items: deque[T] = deque()
        self._finished = False
        self._closed = False

    def keep(self, capacity: int) -> None:
        """Drop no items from now on, and hold up to `capacity` items."""
        with self.changed:
            self._overflow, self._capacity = Overflow.WAIT, capacity

    def put(self, item: T) -> bool:
        """Add an item. Returns False, and adds nothing, if the channel was closed."""
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
        """Take the oldest item; None if the channel is empty."""
        with self.changed:
            if not self._items:
                return None
            item = self._items.popleft()
            self.changed.notify_all()
            return item

    def get(self, timeout_s: float) -> T | None:
        """Take the oldest item; None if none arrives within `timeout_s`, or the channel is finished and empty."""
        with self.changed:
            self.reader_waited_s += wait(self.changed, lambda: bool(self._items) or self._finished, timeout_s)
            return self.poll()

    def is_filled(self, count: int) -> bool:
        """Return whether it holds so many items, or as many as it can, or the last ones."""
        return bool(self._items) and (self._finished or len(self._items) >= min(count, self._capacity))

    @property
    def exhausted(self) -> bool:
        """Whether the channel is finished and empty."""
        with self.changed:
            return self._finished and not self._items

    def __len__(self) -> int:
        return len(self._items)

    def finish(self, last: T | None = None) -> None:
        """End the channel as its writer. A last item is always accepted, also when the channel is full."""
        with self.changed:
            if last is not None and not self._closed:
                self._items.append(last)
            self._finished = True
            self.changed.notify_all()

    def close(self) -> None:
        """End the channel at once: drop its items and let waiting threads continue."""
        with self.changed:
            self._closed = self._finished = True
            self._items.clear()
            self.changed.notify_all()
