"""Capture, inference and rendering at the same time.

    capture (one thread per source) --Channel--> inference (one thread) --Channel--> rendering (the caller's thread)

Items stay in order within a source. The end of a source, and its error, travel the same way as its frames, so everything that was
captured before is rendered before. A failure in a thread is raised again in the caller's.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Thread
from time import perf_counter, sleep
from typing import Final

from loguru import logger

from maskstream.config.schema import StreamConfig
from maskstream.errors import MaskStreamError, OutOfMemory, SinkClosed, SinkError
from maskstream.protocols import FrameAnalyzer, Source
from maskstream.stream.capture import Captured, Crashed, Ended, Item
from maskstream.stream.capture_workers import CaptureWorkers
from maskstream.stream.channel import Channel, Overflow
from maskstream.stream.health import SourceHealth
from maskstream.stream.sink_group import SinkBinding, SinkGroup
from maskstream.stream.source_states import SourceStates, StateListener, told
from maskstream.stream.states import SourceState
from maskstream.types import BgrImage, Face, Frame, FrameResult, Output

_POLL_S: Final = 0.05
_HELD_S: Final = 0.01
_LOOK_EVERY_S: Final = 0.1


@dataclass
class RunReport:
    """What a run did."""

    frames: int = 0
    """Taken out of the inference stage, analysed or not."""
    analysed: int = 0
    faces: int = 0
    dropped: int = 0
    unusable: int = 0
    """Answers of the models that were no finite numbers."""
    elapsed_s: float = 0.0
    model_s: float = 0.0
    """Time the inference thread spent in the analyzer."""
    waited_s: dict[str, float] = field(default_factory=dict)
    """Time that threads spent in waiting for others: capture (all together) for room, inference for frames and room, rendering
    for results."""
    threads_left: int = 0
    """Threads that did not end in time; the process should then leave without waiting for them."""


@dataclass(frozen=True)
class EngineHooks:
    """Whom the thread that calls `run` calls between frames, and where none come."""

    window: Callable[[], bool] = lambda: False
    """Every 50 ms at least: looks after the user in front of a window. True holds back what comes next, `SinkClosed` ends the
    run."""
    listeners: Sequence[StateListener] = ()
    """Told what becomes of the sources."""
    maintain: Callable[["Engine"], None] | None = None
    """Ten times a second: may add and remove sources."""
    leave: Callable[[], Sequence[Thread]] = lambda: ()
    """Once, at the end: returns threads that are to end, which are joined with those of the engine."""


class Engine:
    """Runs sources through the analyzer into sinks, once."""

    def __init__(
        self,
        analyzer: FrameAnalyzer,
        paint: Callable[[Frame, FrameResult], BgrImage],
        config: StreamConfig,
        batch_size: int,
        hooks: EngineHooks | None = None,
        states: SourceStates | None = None,
    ) -> None:
        """Begin without sources and sinks; see `add`.

        Args:
            analyzer: Called by the inference thread alone.
            paint: Draws a result, for sinks that show pictures.
            config: Stride, limits, real time.
            batch_size: Most frames in one call of the analyzer.
            hooks: See there.
            states: Where sources that know of their own state say so; it has the clock of the run.
        """
        self.report = RunReport()
        self._analyzer = analyzer
        self._paint = paint
        self._config = config
        self._attendants = hooks or EngineHooks()
        self._listeners = list(self._attendants.listeners)
        self._states = states or SourceStates()
        self._workers = CaptureWorkers(config, batch_size, self._states)
        self._outlets = SinkGroup(self._sink_failed)
        self._results: Channel[Item] = Channel(1, Overflow.WAIT)
        self._last_results: dict[str, FrameResult] = {}
        self._failure: MaskStreamError | None = None
        self._stop_requested = False
        self._clock = self._states.clock
        self._looked_at_s = self._reported_at_s = self._clock.now_s()

    def add(self, sources: Sequence[Source], sinks: Sequence[SinkBinding]) -> None:
        """Take over opened sources and sinks, before `run` or by the thread that runs it; `run` closes them."""
        self._outlets.add(sinks)
        for source in sources:
            self._workers.add(source, self._outlets.wants_every_frame(source.info.source_id))
        is_live = self._config.realtime or any(worker.info.live for worker in self._workers)
        self._results.keep(1 if is_live else self._workers.batcher.batch_size)  # waiting makes live frames older

    def remove(self, source_id: str, cause: str) -> None:
        """Give up a source and the sinks that serve it alone; called by the thread that runs `run`.

        It need not be added yet: one that is being opened may have been told of too.
        """
        self._workers.remove(source_id, cause)
        self._last_results.pop(source_id, None)
        self._outlets.close(source_id)
        self._tell_listeners()
        for listener in tuple(self._listeners):
            error = told(listener, partial(listener.source_removed, source_id))
            if isinstance(error, SinkClosed):
                raise error
            if error is not None:
                self._listeners.remove(listener)
                self._fail(error)

    def expect(self, more: bool) -> None:
        """Say whether other sources will be added, by the thread that runs `run`: until then it goes on without any."""
        self._workers.batcher.expect(more)

    def health(self) -> list[SourceHealth]:
        """Return how each source is doing. May be called from any thread."""
        return self._workers.health()

    def stop(self) -> None:
        """Ask `run` to finish the files and return soon. May be called from a signal handler or another thread."""
        self._stop_requested = True
        self._outlets.hurry()

    def run(self) -> RunReport:
        """Run until no source is left, `stop` is called, or a reader of the output leaves.

        Raises:
            MaskStreamError: The first source or sink that failed, after everything was closed.
        """
        started = perf_counter()
        inference = Thread(target=self._infer, name="inference", daemon=True)
        self._workers.start()
        inference.start()
        try:
            self._render()
        except SinkClosed as closed:
            logger.info("{}", closed)
        finally:
            self._close(inference)
            self.report.elapsed_s = perf_counter() - started
        if self._failure:
            raise self._failure
        return self.report

    # Inference: one thread, the only one that runs the models.

    def _infer(self) -> None:
        try:
            while batch := self._workers.batcher.next_batch():
                for item in self._analyse([item for item in batch if self._is_wanted(item)]):
                    if not self._results.put(item):
                        return
        except BaseException as error:  # raised again in the caller's thread
            self._results.finish(Crashed(error))
        else:
            self._results.finish()

    def _is_wanted(self, item: Item) -> bool:
        """Return whether something is to be done with an item; of live frames, those that are too old are counted.

        With the first frame of a source, what was seen of another one of the same name is forgotten.
        """
        if not isinstance(item, Captured):
            return True
        if item.worker.stopped.is_set():  # nobody would be shown it
            return False
        if item.worker.has_predecessor:
            item.worker.has_predecessor = False
            self._analyzer.forget(item.frame.source_id)
        is_stale = item.worker.info.live and self._clock.now_s() - item.frame.captured_at_s > self._config.max_staleness_s
        item.worker.meter.stale += is_stale
        return not is_stale

    def _analyse(self, batch: list[Item]) -> list[Item]:
        started = perf_counter()
        results = iter(self._in_batches([item.frame for item in batch if isinstance(item, Captured) and item.analyse]))
        self.report.model_s += perf_counter() - started
        return [replace(item, result=next(results)) if isinstance(item, Captured) and item.analyse else item for item in batch]

    def _in_batches(self, frames: list[Frame]) -> list[FrameResult]:
        """Return results of the frames; where memory does not suffice for so many at once, of half as many from now on."""
        batcher = self._workers.batcher
        results: list[FrameResult] = []
        while len(results) < len(frames):  # what has been analysed is not analysed again: people would be seen twice
            batch = frames[len(results) : len(results) + batcher.batch_size]
            try:
                results += self._analyzer.analyze(batch)
            except OutOfMemory as error:
                if len(batch) == 1:
                    raise
                batcher.batch_size = len(batch) // 2
                logger.warning("{}; going on with {} at a time", error, batcher.batch_size)
        return results

    # Rendering: the caller's thread.

    def _render(self) -> None:
        while not self._stop_requested and not self._results.exhausted:
            self._look_after_sources()
            if self._held():
                sleep(_HELD_S)
                continue
            match self._results.get(_POLL_S):
                case Captured() as item:
                    self._write(item)
                case Ended() as ended:
                    self._end(ended)
                case Crashed(error):
                    raise error

    def _look_after_sources(self) -> None:
        now_s = self._clock.now_s()
        if now_s - self._looked_at_s < _LOOK_EVERY_S:
            return
        self._looked_at_s = now_s
        if self._attendants.maintain is not None:
            self._attendants.maintain(self)
        self._workers.watch()
        self._tell_listeners()
        if now_s - self._reported_at_s >= self._config.health_s:
            self._reported_at_s = now_s
            live = [worker for worker in self._workers if worker.info.live]
            for line in [*(str(worker.health(now_s)) for worker in live), *(self._outlets.health() if live else ())]:
                logger.info("{}", line)

    def _tell_listeners(self) -> None:
        for listener, error in self._states.deliver(self._listeners):
            self._listeners.remove(listener)
            self._fail(error)

    def _held(self) -> bool:
        held = self._attendants.window()
        (self._workers.held.set if held else self._workers.held.clear)()
        return held

    def _write(self, item: Captured) -> None:
        source_id, worker = item.frame.source_id, item.worker
        if self._workers.get(source_id) is not worker:
            return  # removed meanwhile
        result = item.result or self._repeated(item.frame)
        self._last_results[source_id] = result
        self.report.frames += 1
        if item.analyse:
            self.report.analysed += 1
            self.report.faces += len(result.faces)
            self.report.unusable += result.unusable
            worker.meter.analysed(result)
        output = Output(item.frame, result, item.analyse, self._paint, worker.dropped)
        self._outlets.each(source_id, lambda sink: sink.write(output))

    def _repeated(self, frame: Frame) -> FrameResult:
        """The last known faces of a source, as the faces of a frame that was not analysed."""
        last = self._last_results.get(frame.source_id)
        faces = tuple(_carried_over(face, frame.index - last.index) for face in last.faces) if last else ()
        repeated = FrameResult(frame.source_id, frame.index, frame.time_s, faces, frame.wall_time, frame.file)
        return replace(repeated, hidden=last.hidden if last else (), repeated=True, unseen=True)

    def _end(self, ended: Ended) -> None:
        if ended.error:
            self._fail(ended.error)
        source_id = ended.worker.info.source_id
        self._workers.close_source(ended.worker)
        if self._workers.get(source_id) is not ended.worker:
            return
        if ended.complete:
            self._outlets.each(source_id, lambda sink: sink.source_ended(source_id))
        self._outlets.close(source_id)  # of hundreds of files, only those that are read have an encoder

    def _sink_failed(self, error: SinkError, left_out: SinkBinding | None) -> None:
        """Go on without a sink; a file whose output failed is not read any further."""
        self._fail(error)
        silent: object = left_out and left_out.sink
        self._listeners = [listener for listener in self._listeners if listener is not silent]
        for worker in self._workers:
            if left_out is not None and left_out.serves(worker.info.source_id) and not worker.info.live:
                self._workers.let_go(worker, "stopped")

    def _fail(self, error: MaskStreamError) -> None:
        """Remember the first failure, which ends the run; say at once what else fails, or what the run goes on without."""
        workers = list(self._workers)
        going = [worker for worker in workers if worker.status.last.state is not SourceState.ENDED]
        if self._failure is not None or any(len(workers) > 1 or worker.info.live for worker in going):
            logger.error("{}", error)
        self._failure = self._failure or error

    def _close(self, inference: Thread) -> None:
        """Close everything, whatever goes wrong with a part of it, and join the threads."""
        with ExitStack() as steps:  # the last one is taken first
            steps.callback(self._join, inference)
            steps.callback(self._outlets.close)
            steps.callback(self._tell_listeners)
            steps.callback(self._workers.close)
            steps.callback(self._results.close)

    def _join(self, inference: Thread) -> None:
        self.report.threads_left = self._workers.join(inference, *self._attendants.leave())
        self.report.dropped = self._workers.dropped
        self.report.waited_s = {
            "capture": sum(worker.channel.writer_waited_s for worker in self._workers),
            "inference": self._workers.batcher.waited_s + self._results.writer_waited_s,
            "rendering": self._results.reader_waited_s,
        }


def _carried_over(face: Face, frames: int) -> Face:
    """Return a face as that of a frame so many frames later, which nobody has looked at."""
    return replace(face, judged=False, frames_since_look=face.frames_since_look + frames)
