"""Open a source in the thread that reads it."""

from collections.abc import Callable, Iterator
from threading import Lock

from loguru import logger

from maskstream.errors import SourceOpenError
from maskstream.io.batches import Batch, Turn
from maskstream.protocols import Source
from maskstream.types import Frame, SourceInfo


class DeferredSource:
    """A pipe whose writer may start later, or one of many files that are opened in sequence.

    Before it is opened, `info` has no size. A file of a batch that cannot be opened ends without a frame. The batch reports it at
    its end.
    """

    def __init__(
        self,
        info: SourceInfo,
        open_source: Callable[[], Source],
        batch: Batch | None = None,
        cancel: Callable[[], None] = lambda: None,
        failed: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Store the arguments; open nothing.

        Args:
            info: What is known before opening.
            open_source: Opens the source; it may raise `SourceError`.
            batch: The batch that the file waits in; None: open at once.
            cancel: Ends an opening that runs in another thread.
            failed: Called with the reason if a file of a batch cannot be read.
        """
        self.info = info
        self._open_source = open_source
        self._cancel = cancel
        self._failed = failed
        self._batch = batch
        self._turn: Turn | None = None
        self._lock = Lock()
        self._source: Source | None = None
        self._has_begun = self._is_closed = False
        if batch is not None:
            batch.join()
            self._turn = batch.turns.next()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; may be called once.

        Raises:
            SourceError: It cannot be opened; in a batch, none of the files can be opened.
        """
        if self._has_begun:
            return
        self._has_begun = True
        try:
            if self._turn is not None:
                self._turn.come.wait()
            source = None if self._is_closed else self._open()
            if source is not None:
                yield from source
        finally:
            if self._source is not None:
                self._source.close()
            if self._batch is not None:
                self._batch.leave()

    def close(self) -> None:
        """End reading or waiting, also in another thread, and let the next file of the batch begin.

        Frames that were read may still wait for the models. The owner closes the source when all are processed.
        """
        with self._lock:
            self._is_closed = True
        self._cancel()
        if self._source is not None:
            self._source.close()
        if self._turn is not None:
            self._turn.end()

    @property
    def damaged(self) -> int:
        """Packets and frames that were skipped because they were damaged."""
        return getattr(self._source, "damaged", 0)

    def _open(self) -> Source | None:
        """Return the opened source; None if it cannot be opened, or was closed meanwhile."""
        name = self.info.source_id
        try:
            opened = self._open_source()
        except SourceOpenError as error:
            if self._is_closed:
                return None
            if self._batch is None:
                raise
            self._batch.unreadable(name, error)
            self._failed(str(error))
            return None
        with self._lock:
            if not self._is_closed:
                self._source, self.info = opened, opened.info
        if self._source is None:
            opened.close()
            return None
        if self._batch is not None:
            self._batch.readable()
        logger.info("{}: {}", name, self.info.size_and_rate)
        return self._source
