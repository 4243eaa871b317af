"""Run the analyzer on the frames of all sources, in the only thread that runs the models."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Thread
from time import perf_counter

from loguru import logger

from maskstream.clock import Clock
from maskstream.errors import OutOfMemory
from maskstream.protocols import FrameAnalyzer, begin, is_asynchronous
from maskstream.stream.batcher import Batcher
from maskstream.stream.capture import Captured, Crashed, Item
from maskstream.stream.channel import Channel
from maskstream.types import Frame, FrameResult


@dataclass(frozen=True, eq=False)
class _Batch:
    """The items of a batch that was begun."""

    items: Sequence[Item]
    due: Sequence[Captured]
    """The frames among them that are analysed."""
    results: Callable[[], list[FrameResult]]


class InferenceWorker:
    """Takes batches of frames from the sources, and puts the frames with their results into a channel, in order.

    Where no source is live, the detector begins with a batch, if its frames have arrived, before the batch before it is
    classified and tracked: it does not wait for that. Live frames would become older: their batches follow one another.
    """

    def __init__(
        self, analyzer: FrameAnalyzer, batcher: Batcher[Item], results: Channel[Item], max_staleness_s: float, clock: Clock
    ) -> None:
        """Begin without a frame.

        Args:
            analyzer: Called by this thread only.
            batcher: The frames of all sources.
            results: Receives the frames with their results.
            max_staleness_s: Live frames that are older are dropped.
            clock: The clock of `captured_at_s` of the frames.
        """
        self.model_s = 0.0
        """Time spent in the analyzer."""
        self.batches = self.batch_frames = 0
        """Number of analysed batches, and of frames in them."""
        self.is_live = False
        """Whether any source is live."""
        self.thread = Thread(target=self._run, name="inference", daemon=True)
        self._analyzer = analyzer
        self._batcher = batcher
        self._results = results
        self._max_staleness_s = max_staleness_s
        self._clock = clock

    def _run(self) -> None:
        try:
            for items in self._analysed():
                if not all(map(self._results.put, items)):
                    return
        except BaseException as error:  # raised again in the thread that renders
            self._results.finish(Crashed(error))
        else:
            self._results.finish()

    def _analysed(self) -> Iterator[list[Item]]:
        """Yield the items of each batch, frames with their results, until all sources are exhausted."""
        begun: list[_Batch] = []
        while True:
            if begun and not self._batcher.has_batch():
                yield self._completed(begun.pop())
            items = self._batcher.next_batch()
            overlaps = bool(items) and self._may_overlap(items)
            if begun and not overlaps:
                yield self._completed(begun.pop())
            if not items:
                return
            begun.append(self._begun(items, overlaps))
            if len(begun) > 1 or not overlaps:
                yield self._completed(begun.pop(0))

    def _may_overlap(self, items: Sequence[Item]) -> bool:
        """Return whether the detector may begin with these items before the batch before them is complete."""
        forgets = any(isinstance(item, Captured) and item.worker.has_predecessor for item in items)
        return is_asynchronous(self._analyzer) and not self.is_live and not forgets

    def _begun(self, items: Sequence[Item], overlaps: bool) -> _Batch:
        """Begin with the frames of a batch. If it does not overlap with another one, they are analysed when it is completed."""
        wanted = [item for item in items if self._is_wanted(item)]
        due = [item for item in wanted if isinstance(item, Captured) and item.analyse]
        frames = [item.frame for item in due]
        if not overlaps:
            return _Batch(wanted, due, partial(self._in_batches, frames))
        started = perf_counter()
        results = begin(self._analyzer, frames)
        self.model_s += perf_counter() - started
        self.batches += bool(frames)
        self.batch_frames += len(frames)
        return _Batch(wanted, due, results)

    def _is_wanted(self, item: Item) -> bool:
        """Return whether an item is processed. Live frames that are too old are counted and dropped.

        With the first frame of a source, the state of a removed source of the same name is forgotten.
        """
        if not isinstance(item, Captured):
            return True
        worker = item.worker
        if worker.stopped.is_set():  # its frames are not shown any more
            return False
        if worker.has_predecessor:
            worker.has_predecessor = False
            self._analyzer.forget(item.frame.source_id)
        is_stale = worker.info.live and self._clock.now_s() - item.frame.captured_at_s > self._max_staleness_s
        worker.meter.stale += is_stale
        return not is_stale

    def _completed(self, batch: _Batch) -> list[Item]:
        """Wait for the results of a batch, and return its items, frames with their results."""
        started = perf_counter()
        results = batch.results()
        self.model_s += perf_counter() - started
        for item, result in zip(batch.due, results, strict=True):
            if item.worker.info.live:
                self._batcher.set_quiet(item.worker.channel, result.rested)
        with_results = {id(item): replace(item, result=result) for item, result in zip(batch.due, results, strict=True)}
        return [with_results.get(id(item), item) for item in batch.items]

    def _in_batches(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return the results of the frames. Where memory is short, the batch size is halved for the rest of the run."""
        results: list[FrameResult] = []
        while len(results) < len(frames):  # a frame must not be analysed twice: its people would be counted twice
            batch = frames[len(results) : len(results) + self._batcher.batch_size]
            try:
                results += self._analyzer.analyze(batch)
                self.batches += 1
                self.batch_frames += len(batch)
            except OutOfMemory as error:
                if len(batch) == 1:
                    raise
                self._batcher.batch_size = len(batch) // 2
                logger.warning("{}; continuing with {} at a time", error, self._batcher.batch_size)
        return results
