"""Read a live stream in a separate thread when it arrives, while its frames wait until they are due."""

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition, Thread
from typing import Final, Generic, TypeVar

from maskstream.clock import MONOTONIC, Clock
from maskstream.sources.read_guard import ReadGuard

T = TypeVar("T")

_MAX_WAITING_BYTES: Final = 32 * 2**20
"""About 15 s of 4K video. When more waits, the server has to wait."""
_JOIN_S: Final = 0.2


class ReadAhead(Generic[T]):
    """Take items from an iterator in a separate thread, and keep them until they are read.

    An exception of the iterator is raised after the items that came before it.
    """

    def __init__(
        self,
        items: Iterator[T],
        size: Callable[[T], int],
        release: Callable[[], None],
        clock: Clock = MONOTONIC,
        max_bytes: int = _MAX_WAITING_BYTES,
    ) -> None:
        """Begin to read.

        Args:
            items: From now on only the thread reads it.
            size: Returns the size of an item in bytes.
            release: Closes what the iterator reads; called once, never during a read.
            clock: Times the arrival of items.
            max_bytes: Total size of the items that may wait.
        """
        self._items = items
        self._size = size
        self._clock = clock
        self._max_bytes = max_bytes
        self._guard = ReadGuard(release)
        self._changed = Condition()
        self._waiting: deque[tuple[T, float]] = deque()
        self._bytes = 0
        self._error: BaseException | None = None
        self._is_over = self._is_closed = False
        self._thread = Thread(target=self._read, name="reading ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[T, float]]:
        """Yield each item and its time of arrival; wait for the next one until `close` is called."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_over or self._is_closed)
                if self._is_closed:
                    return
                if not self._waiting:
                    break
                item, arrived_s = self._waiting.popleft()
                self._bytes -= self._size(item)
                self._changed.notify_all()
            yield item, arrived_s
        if self._error is not None:
            raise self._error

    def skip_to_last(self, is_wanted: Callable[[T], bool]) -> int:
        """Drop the items that wait before the last one for which `is_wanted` is true; return their number."""
        with self._changed:
            last = max((number for number, (item, _) in enumerate(self._waiting) if is_wanted(item)), default=0)
            for _ in range(last):
                item, _ = self._waiting.popleft()
                self._bytes -= self._size(item)
            self._changed.notify_all()
        return last

    def stop(self) -> None:
        """End waiting for items in both threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop and release, and wait at most a second for a read that hangs. A second call does nothing."""
        self.stop()
        self._guard.close()
        self._thread.join(_JOIN_S)

    def _read(self) -> None:
        try:
            while (item := self._guard.read(lambda: next(self._items, None))) is not None and self._keep(item):
                pass
        except BaseException as error:  # raised again by `__iter__`
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _keep(self, item: T) -> bool:
        """Store an item when there is room; return False if the reading was stopped."""
        arrived_s = self._clock.now_s()
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < self._max_bytes or self._is_closed)
            self._waiting.append((item, arrived_s))
            self._bytes += self._size(item)
            self._changed.notify_all()
            return not self._is_closed
