"""Let one thread read a device or file while another thread may close it at any time."""

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from maskstream.errors import SourceError

T = TypeVar("T")

_CLOSE_TIMEOUT_S = 1.0


class ReadGuard:
    """Prevent a device or file from being released during a read.

    `close` waits at most a second for a read that hangs, as in a dead network drive or camera. The reading thread then releases
    the device when its read returns.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        """Guard an open device or file.

        Args:
            release: Closes it; called once, never during a read.
        """
        self._release = release
        self._lock = Lock()
        self._closed = False
        self._released = False

    def read(self, read: Callable[[], T | None]) -> T | None:
        """Return what `read` returns; None if the guard was closed before or during the read, even if the read failed."""
        with self._lock:
            try:
                item = None if self._closed else read()
            except SourceError:
                if not self._closed:
                    raise
                return None
            finally:
                if self._closed:
                    self._release_once()
            return None if self._closed else item

    def close(self) -> None:
        """End reading and release; a second call does nothing."""
        self._closed = True
        if self._lock.acquire(timeout=_CLOSE_TIMEOUT_S):
            try:
                self._release_once()
            finally:
                self._lock.release()

    def _release_once(self) -> None:
        if not self._released:
            self._released = True
            self._release()
