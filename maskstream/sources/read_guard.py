"""One thread reads, another may close at any time."""

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from maskstream.errors import SourceError

T = TypeVar("T")

_CLOSE_S = 1.0


class ReadGuard:
    """Keeps a device or file from being released while it is read.

    A read that hangs, in a dead network drive or camera, is not waited for longer than a second: the reader then releases what it
    read as soon as it comes back.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        """Guard something open.

        Args:
            release: Closes it; called once, never during a read.
        """
        self._release = release
        self._lock = Lock()
        self._closed = False
        self._released = False

    def read(self, read: Callable[[], T | None]) -> T | None:
        """Return what `read` returns; None where it was closed before or meanwhile, whatever became of the reading."""
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
        """End the reading and release; a second call does nothing."""
        self._closed = True
        if self._lock.acquire(timeout=_CLOSE_S):
            try:
                self._release_once()
            finally:
                self._lock.release()

    def _release_once(self) -> None:
        if not self._released:
            self._released = True
            self._release()
