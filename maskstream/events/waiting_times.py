"""Remember since when messages wait for a receiver, for metrics. No disk is read."""

from threading import Lock


class WaitingTimes:
    """The messages of one receiver that wait, each with the time when it was added. Locks are held for microseconds."""

    def __init__(self, earlier: int, now_s: float) -> None:
        """Begin with the number of messages that an earlier run left; their time is now, by the monotonic clock."""
        self.lost = 0
        """Messages that were dropped since the start."""
        self._earlier = earlier
        self._began_s = now_s
        self._added_s: dict[str, float] = {}
        self._lock = Lock()

    def add(self, key: str, now_s: float) -> None:
        """Add a message."""
        with self._lock:
            self._added_s[key] = now_s

    def remove(self, key: str) -> None:
        """Remove a message that was delivered or discarded."""
        with self._lock:
            if self._added_s.pop(key, None) is None and self._earlier:
                self._earlier -= 1

    def drop_oldest(self, number: int) -> None:
        """Count the oldest messages as lost."""
        with self._lock:
            self.lost += number
            earlier = min(number, self._earlier)
            self._earlier -= earlier
            for key in list(self._added_s)[: number - earlier]:
                del self._added_s[key]

    def waiting(self) -> int:
        """Return how many messages wait."""
        with self._lock:
            return self._earlier + len(self._added_s)

    def oldest_s(self, now_s: float) -> float | None:
        """Return how long the oldest message waits in this run; None where none waits."""
        with self._lock:
            if self._earlier:
                return now_s - self._began_s
            return now_s - next(iter(self._added_s.values())) if self._added_s else None
