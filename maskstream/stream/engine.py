"""Run capture, inference and rendering in parallel.

    capture (one thread per source) --Channel--> inference (one thread) --Channel--> rendering (the caller's thread)

Items of a source stay in order. The end of a source, and its error, travel the same way as its frames: all frames before it are
rendered first. An error in a thread is raised again in the caller's thread.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from threading import Thread
from time import perf_counter, sleep
from typing import Final

from loguru import logger

from maskstream.config.schema import StreamConfig
from maskstream.errors import MaskStreamError, SinkClosed, SinkError
from maskstream.protocols import FrameAnalyzer, Source
from maskstream.stream.capture import Captured, Crashed, Ended, Item
from maskstream.stream.capture_workers import CaptureWorkers
from maskstream.stream.channel import Channel, Overflow
from maskstream.stream.health import SourceHealth, SourceTotals
from maskstream.stream.inference_worker import InferenceWorker
from maskstream.stream.report import RunReport
from maskstream.stream.sink_group import SinkBinding, SinkGroup
from maskstream.stream.source_states import SourceStates, StateListener, call_listener
from maskstream.stream.states import SourceState
from maskstream.types import BgrImage, Face, Frame, FrameResult, Output

_POLL_S: Final = 0.05
_HELD_S: Final = 0.01
_MAINTAIN_EVERY_S: Final = 0.1


@dataclass(frozen=True)
class Progress:
    """Whether the threads of a run advance."""

    render_age_s: float
    """Seconds since the last turn of the thread that renders; ten turns a second are usual."""
    inference_is_alive: bool
    """Whether the inference thread runs. It ends with the run, and after an internal error."""
    batches: int
    """Batches that were analysed since the start."""
    batch_frames: int
    """Frames in these batches."""
    model_s: float = 0.0
    """Time in the models since the start, in seconds."""


@dataclass(frozen=True)
class EngineHooks:
    """Functions that the thread of `Engine.run` calls between frames, also while no frame arrives."""

    window: Callable[[], bool] | None = None
    """Called every 50 ms or more often. Updates the window and handles its keys. Returns True to hold the stream, raises
    `SinkClosed` to end the run."""
    listeners: Sequence[StateListener] = ()
    """Notified of changes of the sources' states."""
    maintain: Callable[["Engine"], None] | None = None
    """Called ten times a second. May add and remove sources."""
    leave: Callable[[], Sequence[Thread]] | None = None
    """Called once, at the end. Returns threads that are joined with those of the engine."""


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
            analyzer: Called by the inference thread only.
            paint: Draws a result, for sinks that show images.
            config: Stride, limits, real time.
            batch_size: The maximum number of frames in one call of the analyzer.
            hooks: Functions to call between frames.
            states: The states of all sources, and the clock of the run.
        """
        self.report = RunReport()
        self._paint = paint
        self._config = config
        self._hooks = hooks or EngineHooks()
        self._listeners = list(self._hooks.listeners)
        self._states = states or SourceStates()
        self._clock = self._states.clock
        self._workers = CaptureWorkers(config, batch_size, self._states)
        self._sinks = SinkGroup(self._sink_failed)
        self._results: Channel[Item] = Channel(1, Overflow.WAIT)
        self._inference = InferenceWorker(analyzer, self._workers.batcher, self._results, config.max_staleness_s, self._clock)
        self._last_results: dict[str, FrameResult] = {}
        self._failure: MaskStreamError | None = None
        self._stop_requested = False
        self._maintained_at_s = self._reported_at_s = self._clock.now_s()

    def add(self, sources: Sequence[Source], sinks: Sequence[SinkBinding]) -> None:
        """Take over opened sources and sinks, before `run` or in its thread. `run` closes them."""
        self._sinks.add(sinks)
        for source in sources:
            self._workers.add(source, self._sinks.wants_every_frame(source.info.source_id))
        is_live = self._config.realtime or any(worker.info.live for worker in self._workers)
        self._inference.is_live = is_live
        self._results.keep(1 if is_live else self._workers.batcher.batch_size)  # live frames would become older in a queue

    def remove(self, source_id: str, cause: str) -> None:
        """Remove a source and the sinks that serve it alone. Called in the thread of `run`.

        The source may still be opening, and not be added yet: its listeners are notified all the same.
        """
        self._workers.remove(source_id, cause)
        self._last_results.pop(source_id, None)
        self._sinks.close(source_id)
        self._notify_listeners()
        for listener in tuple(self._listeners):
            error = call_listener(listener, partial(listener.source_removed, source_id))
            if isinstance(error, SinkClosed):
                raise error
            if error is not None:
                self._listeners.remove(listener)
                self._fail(error)

    def expect(self, more: bool) -> None:
        """Set whether more sources will be added. If so, the run continues without any source. Called in the thread of `run`."""
        self._workers.batcher.expect(more)

    def fill_batches(self) -> None:
        """Wait until each batch is full, so that the batches of a single file are the same in every run. Called before `run`."""
        self._workers.batcher.waits_until_full = True

    def health(self) -> list[SourceHealth]:
        """Return the health of each source. May be called from any thread."""
        return self._workers.health()

    def totals(self) -> dict[str, SourceTotals]:
        """Return the numbers of frames of each source, removed ones included. May be called from any thread."""
        return self._workers.totals()

    def progress(self) -> Progress:
        """Return whether the threads advance. May be called from any thread."""
        worker = self._inference
        age_s = self._clock.now_s() - self._maintained_at_s
        return Progress(age_s, worker.thread.is_alive(), worker.batches, worker.batch_frames, worker.model_s)

    def stop(self) -> None:
        """Ask `run` to finish the files and return soon. May be called from a signal handler or another thread."""
        self._stop_requested = True
        self._sinks.hurry()

    def run(self) -> RunReport:
        """Run until no source is left, `stop` is called, or the reader of an output leaves.

        Raises:
            MaskStreamError: The first error of a source or sink, after everything was closed.
        """
        started = perf_counter()
        self._workers.start()
        self._inference.thread.start()
        try:
            self._render()
        except SinkClosed as closed:
            logger.info("{}", closed)
        finally:
            self._close()
            self.report.elapsed_s = perf_counter() - started
        if self._failure:
            raise self._failure
        return self.report

    def _render(self) -> None:
        while not self._stop_requested and not self._results.exhausted:
            self._maintain()
            if self._is_held():
                sleep(_HELD_S)
                continue
            match self._results.get(_POLL_S):
                case Captured() as item:
                    self._write(item)
                case Ended() as ended:
                    self._end(ended)
                case Crashed(error):
                    raise error

    def _maintain(self) -> None:
        now_s = self._clock.now_s()
        if now_s - self._maintained_at_s < _MAINTAIN_EVERY_S:
            return
        self._maintained_at_s = now_s
        if self._hooks.maintain is not None:
            self._hooks.maintain(self)
        self._workers.watch()
        self._notify_listeners()
        if now_s - self._reported_at_s >= self._config.health_s:
            self._reported_at_s = now_s
            live = [worker for worker in self._workers if worker.info.live]
            for worker in live:
                logger.info("{}", worker.health(now_s))
            for line in self._sinks.health() if live else ():
                logger.info("{}", line)

    def _notify_listeners(self) -> None:
        for listener, error in self._states.deliver(self._listeners):
            self._listeners.remove(listener)
            self._fail(error)

    def _is_held(self) -> bool:
        if self._hooks.window is None:
            return False
        is_held = self._hooks.window()
        if is_held:
            self._workers.held.set()
        else:
            self._workers.held.clear()
        return is_held

    def _write(self, item: Captured) -> None:
        source_id, worker = item.frame.source_id, item.worker
        if self._workers.get(source_id) is not worker:
            return  # the source was removed after the frame was captured
        result = item.result or self._repeated(item.frame)
        self._last_results[source_id] = result
        self.report.frames += 1
        if item.analyse:
            self.report.analysed += 1
            self.report.faces += len(result.faces)
            self.report.unusable += result.unusable
            worker.meter.analysed(result)
        output = Output(item.frame, result, item.analyse, self._paint, worker.dropped)
        self._sinks.each(source_id, lambda sink: sink.write(output))

    def _repeated(self, frame: Frame) -> FrameResult:
        """Return the last faces of a source as those of a frame that was not analysed."""
        faces: list[Face] = []
        last = self._last_results.get(frame.source_id)
        if last is not None:
            for face in last.faces:
                frames_since_detection = face.frames_since_detection + frame.index - last.index
                faces.append(replace(face, judged=False, frames_since_detection=frames_since_detection))
        repeated = FrameResult(frame.source_id, frame.index, frame.time_s, tuple(faces), frame.wall_time, frame.file)
        return replace(repeated, hidden=last.hidden if last else (), repeated=True, unseen=True)

    def _end(self, ended: Ended) -> None:
        if ended.error:
            self._fail(ended.error)
        source_id = ended.worker.info.source_id
        self._workers.close_source(ended.worker)
        if self._workers.get(source_id) is not ended.worker:
            return
        if ended.complete:
            self._sinks.each(source_id, lambda sink: sink.source_ended(source_id))
        self._sinks.close(source_id)  # of hundreds of files, only those that are being read keep an encoder

    def _sink_failed(self, error: SinkError, left_out: SinkBinding | None) -> None:
        """Continue without a sink. Files whose output failed are not read further."""
        self._fail(error)
        if left_out is None:
            return
        sink: object = left_out.sink
        self._listeners = [listener for listener in self._listeners if listener is not sink]
        for worker in self._workers:
            if left_out.serves(worker.info.source_id) and not worker.info.live:
                self._workers.release(worker, "stopped")

    def _fail(self, error: MaskStreamError) -> None:
        """Remember the first error, which `run` raises. Log an error at once if it is not the first, or if the run continues."""
        workers = list(self._workers)
        running = [worker for worker in workers if worker.status.last.state is not SourceState.ENDED]
        if self._failure is not None or any(len(workers) > 1 or worker.info.live for worker in running):
            logger.error("{}", error)
        self._failure = self._failure or error

    def _close(self) -> None:
        """Close everything, even where closing a part fails, and join the threads."""
        with ExitStack() as steps:  # runs the last callback first
            steps.callback(self._join)
            steps.callback(self._sinks.close)
            steps.callback(self._notify_listeners)
            steps.callback(self._workers.close)
            steps.callback(self._results.close)

    def _join(self) -> None:
        others = self._hooks.leave() if self._hooks.leave is not None else ()
        self.report.threads_left = self._workers.join(self._inference.thread, *others)
        self.report.dropped = self._workers.dropped
        self.report.model_s = self._inference.model_s
        self.report.waited_s = {
            "capture": sum(worker.channel.writer_waited_s for worker in self._workers),
            "inference": self._workers.batcher.waited_s + self._results.writer_waited_s,
            "rendering": self._results.reader_waited_s,
        }
