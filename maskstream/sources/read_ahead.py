"""What a live stream sends is taken in when it arrives, while its frames wait for their turn."""

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition, Thread
from typing import Final, Generic, TypeVar

from maskstream.clock import MONOTONIC, Clock
from maskstream.sources.read_guard import ReadGuard

T = TypeVar("T")

_MOST_BYTES: Final = 32 * 2**20
"""Of what waits; a quarter of a minute of 4K video. Beyond that the server has to wait."""
_JOIN_S: Final = 0.2


class ReadAhead(Generic[T]):
    """Takes items from an iterator in a thread of its own, and keeps them until they are asked for.

    What the iterator raises is raised behind the items that came before.
    """

    def __init__(
        self,
        items: Iterator[T],
        size: Callable[[T], int],
        release: Callable[[], None],
        clock: Clock = MONOTONIC,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        """Begin to read.

        Args:
            items: Read by the thread alone from now on.
            size: Bytes of an item.
            release: Closes what is read; called once, never during a read.
            clock: Says when items arrive.
            most_bytes: How much may wait.
        """
        self._items = items
        self._size = size
        self._clock = clock
        self._most_bytes = most_bytes
        self._guard = ReadGuard(release)
        self._changed = Condition()
        self._waiting: deque[tuple[T, float]] = deque()
        self._bytes = 0
        self._error: BaseException | None = None
        self._is_over = self._is_closed = False
        self._thread = Thread(target=self._read, name="reading ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[T, float]]:
        """Yield each item and when it arrived; wait for the next one until `close` is called."""
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
        """Drop what waits in front of the last item that is wanted; return how many that were."""
        with self._changed:
            last = max((number for number, (item, _) in enumerate(self._waiting) if is_wanted(item)), default=0)
            for _ in range(last):
                item, _ = self._waiting.popleft()
                self._bytes -= self._size(item)
            self._changed.notify_all()
        return last

    def stop(self) -> None:
        """End the waiting for items, on both sides."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop and release; a read that hangs is not waited for longer than a second. A second call does nothing."""
        self.stop()
        self._guard.close()
        self._thread.join(_JOIN_S)

    def _read(self) -> None:
        try:
            while (item := self._guard.read(lambda: next(self._items, None))) is not None and self._keep(item):
                pass
        except BaseException as error:  # raised again where it is read
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _keep(self, item: T) -> bool:
        """Let an item wait, once there is room; return False where nobody wants it any more."""
        arrived_s = self._clock.now_s()
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < self._most_bytes or self._is_closed)
            self._waiting.append((item, arrived_s))
            self._bytes += self._size(item)
            self._changed.notify_all()
            return not self._is_closed
