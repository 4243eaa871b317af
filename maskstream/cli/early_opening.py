"""Open a single camera before its source is read: at once, or while the models are loaded."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread

from maskstream.errors import SourceRefused
from maskstream.protocols import Source
from maskstream.sources import UrlSource


class EarlyOpener:
    """Opens the first source early. Each call returns a source: the first one, and another for each reconnection."""

    def __init__(self, opener: Callable[[], Source]) -> None:
        """Open nothing yet; `opener` opens a source."""
        self._opener = opener
        self._first: Future[Source] = Future()
        self._unread = [self._first]

    def open_now(self) -> None:
        """Open the first source in this thread.

        Raises:
            SourceError: It cannot be opened.
        """
        self._open()
        self._first.result()

    def start_opening(self, wait_s: float, *, may_retry: bool) -> None:
        """Open the first source in another thread, and wait a moment for a camera that refuses.

        Args:
            wait_s: The maximum time to wait.
            may_retry: Whether a camera that cannot be opened is opened again later. If not, its error is raised.

        Raises:
            SourceError: The camera refuses, or cannot be opened and `may_retry` is false.
        """
        Thread(target=self._open, name="opening", daemon=True).start()
        error = None
        with suppress(TimeoutError):
            error = self._first.exception(wait_s)
        if isinstance(error, SourceRefused) or (error is not None and not may_retry):
            raise error

    def _open(self) -> None:
        try:
            self._first.set_result(self._opener())
        except BaseException as error:  # raised again by `result`, in the thread that wants the source
            self._first.set_exception(error)

    def __call__(self) -> Source:
        """Return the first source, then another source at each call.

        A camera that sends by UDP is opened again: what it has sent since the first opening is lost.
        """
        with suppress(IndexError):
            source = self._unread.pop().result()
            if not (isinstance(source, UrlSource) and source.transport == "udp"):
                return source
            source.close()
        return self._opener()

    def close(self) -> None:
        """Close the first source when it is open, unless a call has returned it."""

        def close_opened(first: "Future[Source]") -> None:
            if first.exception() is None:
                first.result().close()

        with suppress(IndexError):
            self._unread.pop().add_done_callback(close_opened)
