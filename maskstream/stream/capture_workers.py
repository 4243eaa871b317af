"""Add, watch, remove and close the sources of a run, each with its capture thread."""

from collections.abc import Iterator
from threading import Event, Thread
from time import monotonic
from typing import Final

from loguru import logger

from maskstream.config.schema import StreamConfig
from maskstream.protocols import Source
from maskstream.stream.batcher import Batcher
from maskstream.stream.capture import CaptureWorker, Item
from maskstream.stream.health import SourceHealth, SourceTotals
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceState

_JOIN_S: Final = 1.5


class CaptureWorkers:
    """The capture workers of all sources. Only the thread that renders changes them."""

    def __init__(self, config: StreamConfig, batch_size: int, states: SourceStates) -> None:
        """Begin without sources."""
        self.held = Event()
        """Set while the user pauses the stream."""
        self.batcher: Batcher[Item] = Batcher(batch_size, states.clock)
        self._config = config
        self._states = states
        self._workers: dict[str, CaptureWorker] = {}
        self._removed: set[str] = set()
        self._threads: list[Thread] = []
        self._started = False
        self._dropped = 0
        self._removed_totals: dict[str, SourceTotals] = {}

    def add(self, source: Source, pass_every_frame: bool) -> None:
        """Read a source from now on. `pass_every_frame`: whether a sink needs the frames that are not analysed."""
        name = source.info.source_id
        worker = CaptureWorker(
            source=source,
            status=self._states.status(name, quiet=not source.info.live),
            channel=self.batcher.channel(),
            config=self._config,
            pass_every_frame=pass_every_frame,
            held=self.held,
            max_waiting=2 * self.batcher.batch_size,
            clock=self._states.clock,
            connection=self._states.next_connection(),
            has_predecessor=name in self._removed,
        )
        self._workers[name] = worker
        self._threads.append(Thread(target=worker.capture, name=f"capture {name}", daemon=True))
        if self._started:
            self._threads[-1].start()

    def start(self) -> None:
        """Begin to read."""
        self._started = True
        for thread in self._threads:
            thread.start()

    def remove(self, source_id: str, cause: str) -> None:
        """Remove a source without waiting for a read that hangs. If the source is still opening, only its state ends."""
        worker = self._workers.pop(source_id, None)
        if worker is not None:
            self._removed.add(source_id)
            self.batcher.discard(worker.channel)
            self._dropped += worker.dropped
            self._removed_totals[source_id] = self._removed_totals.get(source_id, SourceTotals()).plus(worker.totals())
            self.release(worker, cause)
        self._states.end(source_id, cause)
        self._threads = [thread for thread in self._threads if thread.is_alive()]

    def get(self, source_id: str) -> CaptureWorker | None:
        """Return the worker of a source; None if it was removed."""
        return self._workers.get(source_id)

    def __iter__(self) -> Iterator[CaptureWorker]:
        return iter(tuple(self._workers.values()))

    @property
    def dropped(self) -> int:
        """Number of dropped frames of all sources, removed ones included."""
        return self._dropped + sum(worker.dropped for worker in self)

    def watch(self) -> None:
        """Mark live sources without frames as stalled."""
        now_s = self._states.clock.now_s()
        for worker in self:
            worker.watch(now_s)

    def health(self) -> list[SourceHealth]:
        """Return the health of each source. May be called from any thread."""
        now_s = self._states.clock.now_s()
        return [worker.health(now_s) for worker in self]

    def totals(self) -> dict[str, SourceTotals]:
        """Return the totals of each source, removed ones included. May be called from any thread."""
        totals = dict(self._removed_totals)
        for worker in self:
            source_id = worker.info.source_id
            totals[source_id] = totals.get(source_id, SourceTotals()).plus(worker.totals())
        return totals

    def close(self) -> None:
        """Release all sources, the last ones first: a file that waits for its turn must not begin now."""
        self.batcher.close()
        for worker in reversed(tuple(self)):
            self.release(worker, "stopped")

    def join(self, *others: Thread) -> int:
        """Wait up to 1.5 s for all threads. Returns the number of threads that did not end."""
        deadline = monotonic() + _JOIN_S
        threads = [thread for thread in (*self._threads, *others) if thread.ident is not None]
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        left = sum(thread.is_alive() for thread in threads)
        if left:
            logger.warning("{} threads did not end within {:.1f} s; the run ends without them", left, _JOIN_S)
        return left

    def release(self, worker: CaptureWorker, cause: str) -> None:
        """Stop a worker. Another thread closes its source, because a read that hangs may delay that."""
        worker.stop()
        worker.status.change(SourceState.ENDED, cause)
        self.close_source(worker)

    def close_source(self, worker: CaptureWorker) -> None:
        """Close the source of a worker after its last frame: the next file may wait for its turn."""
        if worker.info.is_deferred:  # it is not open: closing takes no time
            _closed(worker.source)
            return
        self._threads.append(Thread(target=_closed, args=(worker.source,), name=f"close {worker.info.source_id}", daemon=True))
        self._threads[-1].start()


def _closed(source: Source) -> None:
    """Close a source. An internal error is logged, and affects no other source."""
    try:
        source.close()
    except Exception as error:
        logger.opt(exception=error).error("{}: closing it failed", source.info.source_id)
