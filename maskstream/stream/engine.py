"""Capture, inference and rendering at the same time.

    capture (one thread per source) --Channel--> inference (one thread) --Channel--> rendering (the caller's thread)

Items stay in order within a source. The end of a source, and its error, travel the same way as its frames, so everything that was
captured before is rendered before. A failure in a thread is raised again in the caller's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Condition, Event, Thread
from time import monotonic, perf_counter, sleep
from typing import Final

from loguru import logger

from maskstream.analyzer import Analyzer
from maskstream.config import StreamConfig
from maskstream.errors import MaskStreamError, SinkClosed, SinkError
from maskstream.protocols import Sink, Source
from maskstream.stream.batcher import Batcher
from maskstream.stream.capture import Captured, Crashed, Ended, Item, Lane
from maskstream.stream.channel import Channel, Overflow
from maskstream.types import BgrImage, Frame, FrameResult, Output

_POLL_S: Final = 0.05
_HELD_S: Final = 0.01
_JOIN_S: Final = 2.0
_QUEUED_BYTES: Final = 256 * 2**20
"""Most memory for the frames of one source that wait for inference."""


@dataclass(frozen=True)
class SinkBinding:
    """A sink and whose frames it gets."""

    sink: Sink
    source_id: str | None
    """None for all sources."""

    def serves(self, source_id: str) -> bool:
        """Return whether it gets frames of this source."""
        return self.source_id in (None, source_id)


@dataclass
class RunReport:
    """What a run did."""

    frames: int = 0
    """Taken out of the inference stage, analysed or not."""
    analysed: int = 0
    faces: int = 0
    dropped: int = 0
    elapsed_s: float = 0.0
    model_s: float = 0.0
    """Time the inference thread spent in the analyzer."""
    threads_left: int = 0
    """Threads that did not end in time; the process should then leave without waiting for them."""


class Engine:
    """Runs sources through the analyzer into sinks, once."""

    def __init__(
        self,
        sources: Sequence[Source],
        analyzer: Analyzer,
        sinks: Sequence[SinkBinding],
        paint: Callable[[Frame, FrameResult], BgrImage],
        config: StreamConfig,
        batch_size: int,
        attend: Callable[[], bool] | None = None,
    ) -> None:
        """Take over opened sources and sinks; `run` closes them.

        Args:
            sources: At least one; names are unique.
            analyzer: Called by the inference thread alone.
            sinks: Called by the thread that calls `run` alone.
            paint: Draws a result, for sinks that show pictures.
            config: Stride, limits, real time.
            batch_size: Most frames in one call of the analyzer.
            attend: Called between frames, and every 50 ms where none come, by the thread that calls `run`: looks after the user
                in front of a window. True holds back what comes next; `SinkClosed` ends the run.
        """
        self.report = RunReport()
        self._analyzer = analyzer
        self._paint = paint
        self._config = config
        self._batch_size = batch_size
        self._attend = attend or (lambda: False)
        self._hold = Event()
        self._bindings = list(sinks)
        changed = Condition()
        self._lanes = {source.info.source_id: self._lane(source, changed) for source in sources}
        self._results: Channel[Item] = Channel(2 * batch_size, Overflow.WAIT)
        self._last_results: dict[str, FrameResult] = {}
        self._failure: MaskStreamError | None = None
        self._stop_requested = False

    def _lane(self, source: Source, changed: Condition) -> Lane:
        info, stills = source.info, bool(source.info.pictures)
        drops = info.live or (self._config.realtime and not stills)
        frame_bytes = info.width * info.height * 3
        waiting = max(1, min(2 * self._batch_size, _QUEUED_BYTES // frame_bytes))
        channel: Channel[Item] = Channel(1, Overflow.DROP_OLDEST, changed) if drops else Channel(waiting, Overflow.WAIT, changed)
        wanted = any(binding.sink.wants_every_frame and binding.serves(info.source_id) for binding in self._bindings)
        # The faces of one picture are not repeated on the next.
        return Lane(source, channel, self._config, wanted and not drops and not stills, self._hold)

    def stop(self) -> None:
        """Ask `run` to finish the files and return soon. May be called from a signal handler or another thread."""
        self._stop_requested = True

    def run(self) -> RunReport:
        """Run until no source is left, `stop` is called, or a reader of the output leaves.

        Raises:
            MaskStreamError: The first source or sink that failed, after everything was closed.
        """
        started = perf_counter()
        capturers = [Thread(target=lane.capture, daemon=True) for lane in self._lanes.values()]
        threads = [*capturers, Thread(target=self._infer, daemon=True)]
        for thread in threads:
            thread.start()
        try:
            self._render()
        except SinkClosed as closed:
            logger.info("{}", closed)
        finally:
            self._close(threads)
            self.report.elapsed_s = perf_counter() - started
        if self._failure:
            raise self._failure
        return self.report

    # Inference: one thread, the only one that runs the models.

    def _infer(self) -> None:
        try:
            batcher = Batcher([lane.channel for lane in self._lanes.values()], self._batch_size)
            while batch := batcher.next_batch():
                for item in self._analyse(batch):
                    if not self._results.put(item):
                        return
        except BaseException as error:  # raised again in the caller's thread
            self._results.finish(Crashed(error))
        else:
            self._results.finish()

    def _analyse(self, batch: list[Item]) -> list[Item]:
        started = perf_counter()
        results = iter(self._analyzer.analyze([item.frame for item in batch if isinstance(item, Captured) and item.analyse]))
        self.report.model_s += perf_counter() - started
        return [replace(item, result=next(results)) if isinstance(item, Captured) and item.analyse else item for item in batch]

    # Rendering: the caller's thread.

    def _render(self) -> None:
        while not self._stop_requested and not self._results.exhausted:
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

    def _held(self) -> bool:
        held = self._attend()
        (self._hold.set if held else self._hold.clear)()
        return held

    def _write(self, item: Captured) -> None:
        source_id = item.frame.source_id
        result = item.result or self._repeated(item.frame)
        self._last_results[source_id] = result
        self.report.frames += 1
        if item.analyse:
            self.report.analysed += 1
            self.report.faces += len(result.faces)
        output = Output(item.frame, result, item.analyse, self._paint, self._lanes[source_id].channel.dropped)
        self._for_each_sink(source_id, lambda sink: sink.write(output))

    def _repeated(self, frame: Frame) -> FrameResult:
        """The last known faces of a source, as the faces of a frame that was not analysed."""
        last = self._last_results.get(frame.source_id)
        faces = tuple(replace(face, judged=False) for face in last.faces) if last else ()
        return FrameResult(frame.source_id, frame.index, frame.time_s, faces, frame.wall_time, frame.file)

    def _end(self, ended: Ended) -> None:
        if ended.error:
            self._fail(ended.error)
        if ended.complete:
            self._for_each_sink(ended.source_id, lambda sink: sink.source_ended(ended.source_id))

    def _for_each_sink(self, source_id: str, act: Callable[[Sink], None]) -> None:
        for binding in [binding for binding in self._bindings if binding.serves(source_id)]:
            try:
                act(binding.sink)
            except SinkClosed:
                raise
            except SinkError as error:
                self._fail(error)
                self._give_up(binding)

    def _give_up(self, binding: SinkBinding) -> None:
        """Go on without a sink; a file whose output failed is not read any further."""
        self._bindings.remove(binding)
        self._close_sink(binding.sink)
        for source_id, lane in self._lanes.items():
            if binding.serves(source_id) and not lane.info.live:
                lane.stop()

    def _fail(self, error: MaskStreamError) -> None:
        """Remember the first failure, which ends the run; say at once what else fails, or what the run goes on without."""
        goes_on = len(self._lanes) > 1 or any(lane.info.live for lane in self._lanes.values())
        if goes_on or self._failure is not None:
            logger.error("{}", error)
        self._failure = self._failure or error

    def _close(self, threads: list[Thread]) -> None:
        self._results.close()
        for lane in self._lanes.values():
            lane.stop()
            lane.source.close()
            self.report.dropped += lane.channel.dropped
        for binding in self._bindings:
            self._close_sink(binding.sink)
        deadline = monotonic() + _JOIN_S
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        self.report.threads_left = sum(thread.is_alive() for thread in threads)
        if self.report.threads_left:
            logger.warning("{} threads did not end within {:.0f} s and are left behind", self.report.threads_left, _JOIN_S)

    def _close_sink(self, sink: Sink) -> None:
        try:
            sink.close()
        except SinkClosed:
            pass  # nobody is left to read the rest
        except SinkError as error:
            self._fail(error)
