"""A source that is opened by the thread that reads it."""

from collections.abc import Callable, Iterator
from threading import Lock

from loguru import logger

from maskstream.errors import SourceOpenError
from maskstream.io.batches import Batch, Turn
from maskstream.protocols import Source
from maskstream.types import Frame, SourceInfo


class DeferredSource:
    """A pipe, whose writer may be late, or one of many files, each of which is opened when its turn comes.

    Before that `info` has no size. A file of a batch that cannot be opened ends without a frame; the batch says so at its end.
    """

    def __init__(
        self,
        info: SourceInfo,
        open_source: Callable[[], Source],
        batch: Batch | None = None,
        cancel: Callable[[], None] = lambda: None,
        failed: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Open nothing yet.

        Args:
            info: What is known of it.
            open_source: Opens it; it may raise `SourceError`.
            batch: Says when its turn is; None: at once.
            cancel: Lets an opening in another thread come to its end.
            failed: Told why a file of a batch cannot be read.
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
            SourceError: It cannot be opened; of a batch, none of the files can be.
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
        """End the reading, or the wait for its turn; a reader in another thread comes to its end, and the next one has its turn.

        What was read may wait for the models for a while: its owner closes it when nothing of it is left.
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
        """Packets and frames that were left out because they were damaged."""
        return getattr(self._source, "damaged", 0)

    def _open(self) -> Source | None:
        """Return what was opened; None where it cannot be, or nobody wants it any more."""
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
