"""Run the analyzer on the frames of all sources, in the only thread that runs the models."""

from collections.abc import Sequence
from dataclasses import replace
from threading import Thread
from time import perf_counter

from loguru import logger

from maskstream.clock import Clock
from maskstream.errors import OutOfMemory
from maskstream.protocols import FrameAnalyzer
from maskstream.stream.batcher import Batcher
from maskstream.stream.capture import Captured, Crashed, Item
from maskstream.stream.channel import Channel
from maskstream.types import Frame, FrameResult


class InferenceWorker:
    """Takes batches of frames from the sources, and puts the frames with their results into a channel, in order."""

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
        self.thread = Thread(target=self._run, name="inference", daemon=True)
        self._analyzer = analyzer
        self._batcher = batcher
        self._results = results
        self._max_staleness_s = max_staleness_s
        self._clock = clock

    def _run(self) -> None:
        try:
            while batch := self._batcher.next_batch():
                for item in self._analysed([item for item in batch if self._is_wanted(item)]):
                    if not self._results.put(item):
                        return
        except BaseException as error:  # raised again in the thread that renders
            self._results.finish(Crashed(error))
        else:
            self._results.finish()

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

    def _analysed(self, batch: Sequence[Item]) -> list[Item]:
        """Return the items of a batch, frames with their results."""
        due = [item for item in batch if isinstance(item, Captured) and item.analyse]
        started = perf_counter()
        results = self._in_batches([item.frame for item in due])
        self.model_s += perf_counter() - started
        for item, result in zip(due, results, strict=True):
            if item.worker.info.live:
                self._batcher.set_quiet(item.worker.channel, result.rested)
        with_results = {id(item): replace(item, result=result) for item, result in zip(due, results, strict=True)}
        return [with_results.get(id(item), item) for item in batch]

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
