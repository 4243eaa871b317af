"""The sources of a run, each with its thread: they come, go, fall silent and are let go."""

from collections.abc import Iterator
from threading import Event, Thread
from time import monotonic
from typing import Final

from loguru import logger

from maskstream.config.schema import StreamConfig
from maskstream.protocols import Source
from maskstream.stream.batcher import Batcher
from maskstream.stream.capture import CaptureWorker, Item
from maskstream.stream.health import SourceHealth
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceState

_JOIN_S: Final = 1.5


class CaptureWorkers:
    """All lanes, changed by the thread that renders alone."""

    def __init__(self, config: StreamConfig, batch_size: int, states: SourceStates) -> None:
        """Begin without sources."""
        self.held = Event()
        """Set while the user pauses the stream."""
        self.batcher: Batcher[Item] = Batcher(batch_size)
        self._config = config
        self._states = states
        self._workers: dict[str, CaptureWorker] = {}
        self._removed: set[str] = set()
        self._threads: list[Thread] = []
        self._started = False
        self._dropped = 0

    def add(self, source: Source, pass_every_frame: bool) -> None:
        """Read a source from now on; `pass_every_frame` says whether somebody wants those that are not analysed."""
        name = source.info.source_id
        waiting = 2 * self.batcher.batch_size
        channel = self.batcher.channel()
        status = self._states.status(name, quiet=not source.info.live)
        number = self._states.next_connection()
        worker = CaptureWorker(
            source, status, channel, self._config, pass_every_frame, self.held, waiting, self._states.clock, number
        )
        worker.has_predecessor = name in self._removed
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
        """Give up a source at once; a read that hangs is left to itself. Of one that is being opened, only the state ends."""
        worker = self._workers.pop(source_id, None)
        if worker is not None:
            self._removed.add(source_id)
            self.batcher.discard(worker.channel)
            self._dropped += worker.dropped
            self.let_go(worker, cause)
        self._states.end(source_id, cause)
        self._threads = [thread for thread in self._threads if thread.is_alive()]

    def get(self, source_id: str) -> CaptureWorker | None:
        """Return the lane of a source, or None where it has been removed."""
        return self._workers.get(source_id)

    def __iter__(self) -> Iterator[CaptureWorker]:
        return iter(tuple(self._workers.values()))

    @property
    def dropped(self) -> int:
        """Frames of all sources that were dropped."""
        return self._dropped + sum(worker.dropped for worker in self)

    def watch(self) -> None:
        """Say which live sources have fallen silent."""
        now_s = self._states.clock.now_s()
        for worker in self:
            worker.watch(now_s)

    def health(self) -> list[SourceHealth]:
        """Return how each source is doing. May be called from any thread."""
        now_s = self._states.clock.now_s()
        return [worker.health(now_s) for worker in self]

    def close(self) -> None:
        """Let go of all: the last ones first, so that none of those that wait for their turn has it now."""
        self.batcher.close()
        for worker in reversed(tuple(self)):
            self.let_go(worker, "stopped")

    def join(self, *others: Thread) -> int:
        """Wait a moment for all threads, and return how many did not end."""
        deadline = monotonic() + _JOIN_S
        threads = [thread for thread in (*self._threads, *others) if thread.ident is not None]
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        left = sum(thread.is_alive() for thread in threads)
        if left:
            logger.warning("{} threads did not end within {:.1f} s and are left behind", left, _JOIN_S)
        return left

    def let_go(self, worker: CaptureWorker, cause: str) -> None:
        """Stop a lane; its source is closed by a thread of its own, for a read that hangs keeps it open."""
        worker.stop()
        worker.status.change(SourceState.ENDED, cause)
        self.close_source(worker)

    def close_source(self, worker: CaptureWorker) -> None:
        """Close the source of a lane, as soon as all of its frames were seen: others may wait for their turn behind it."""
        if worker.info.is_deferred:  # nothing is open, which takes no time to close
            _closed(worker.source)
            return
        self._threads.append(Thread(target=_closed, args=(worker.source,), name=f"close {worker.info.source_id}", daemon=True))
        self._threads[-1].start()


def _closed(source: Source) -> None:
    """Close a source; a mistake in it is said, and harms nobody else."""
    try:
        source.close()
    except Exception as mistake:
        logger.opt(exception=mistake).error("{}: closing it failed", source.info.source_id)
