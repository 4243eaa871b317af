"""Set up a benchmark: a clip, its first frames, the models, and the complete program on the clip."""

from collections.abc import Callable
from contextlib import closing
from time import monotonic

from maskstream.config.schema import Config
from maskstream.inference.pipeline import batch_size_of, build_analyzer
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.protocols import FrameAnalyzer, begin
from maskstream.rendering.overlay import Overlay
from maskstream.sinks import VideoSink
from maskstream.sources import FileSource
from maskstream.stream.engine import Engine
from maskstream.stream.report import RunReport
from maskstream.stream.sink_group import SinkBinding
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import FrameResult, Output


class CountingSink:
    """Keeps the results and the ages of the frames."""

    wants_every_frame = False

    def __init__(self) -> None:
        """Create a sink without results."""
        self.results: list[FrameResult] = []
        self.ages_s: list[float] = []

    def write(self, output: Output) -> None:
        """Keep the result of a frame."""
        self.results.append(output.result)
        self.ages_s.append(monotonic() - output.frame.captured_at_s)

    def source_ended(self, source_id: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Bench:
    """A clip, its first frames, and the models of a configuration."""

    def __init__(self, path: str, frames: int, config: Config) -> None:
        """Load the models and decode the frames.

        Args:
            path: A video file.
            frames: Number of its first frames to process.
            config: The configuration of all workloads.

        Raises:
            MaskStreamError: The file or a model cannot be opened.
        """
        self.path, self.config = path, config
        with closing(FileSource(path)) as source:
            self.info = source.info
            self.frames = [frame for frame, _ in zip(source, range(frames), strict=False)]
        self.analyzer = build_analyzer(config)
        self.overlay = Overlay(config)

    @property
    def every(self) -> int:
        """`detector.every` of the configuration."""
        return self.config.detector.every

    def _with_every(self, every: int) -> tuple[FrameAnalyzer, Config]:
        """Return an analyzer with another `detector.every`, and its configuration."""
        detector = self.config.detector.model_copy(update={"every": every})
        config = self.config.model_copy(update={"detector": detector})
        if every == 1:
            return self.analyzer, config
        return PropagatingAnalyzer(self.analyzer, config), config

    def analyse(self, every: int = 1) -> list[FrameResult]:
        """Run detector and classifier on all frames, in the batches of the stream."""
        analyzer, config = self._with_every(every)
        size = batch_size_of(config)
        starts = range(0, len(self.frames), size)
        return [result for start in starts for result in analyzer.analyze(self.frames[start : start + size])]

    def analyse_overlapping(self) -> list[FrameResult]:
        """Run detector and classifier on all frames, with two batches in flight, as in the stream."""
        size = batch_size_of(self.config)
        results: list[FrameResult] = []
        before: Callable[[], list[FrameResult]] = list
        for start in range(0, len(self.frames), size):
            batch = begin(self.analyzer, self.frames[start : start + size])
            results += before()
            before = batch
        return results + before()

    def stream(
        self,
        output: str | None = None,
        *,
        realtime: bool = False,
        every: int = 1,
        copies: int = 1,
        frames_each: int | None = None,
    ) -> tuple[CountingSink, RunReport]:
        """Run the complete program on the frames of the clip.

        Args:
            output: A video file to write.
            realtime: Drop frames that come too fast, as with a camera.
            every: `detector.every`.
            copies: Number of sources at the same time; each has its share of the frames.
            frames_each: Number of frames of each copy, instead of its share.
        """
        sink = CountingSink()
        most = frames_each or -(-len(self.frames) // copies)
        stream = self.config.stream.model_copy(update={"max_frames": most, "realtime": realtime})
        analyzer, config = self._with_every(every)
        engine = Engine(PeopleAnalyzer(analyzer, config), self.overlay.paint, stream, batch_size_of(config))
        sources = [FileSource(self.path, f"copy {number}") for number in range(copies)]
        sinks = [SinkBinding(sink, None)]
        if output is not None:
            sinks.append(SinkBinding(VideoSink(output, self.info, self.config.video), None))
        engine.add(sources, sinks)
        return sink, engine.run()
