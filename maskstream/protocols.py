"""Define the interfaces of sources, sinks and models. Classes do not inherit from them; they have the same methods."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from maskstream.types import BgrImage, Detection, FloatArray, Frame, FrameResult, Output, SourceInfo


class Source(Protocol):
    """A source of frames, in order. The constructor opens it, one thread reads it, and its owner closes it."""

    info: SourceInfo

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source ends.

        Raises:
            StreamLost: The source failed. The end of a file is not an error.
        """
        ...

    def close(self) -> None:
        """Release everything. A thread that reads then reaches the end. A second call does nothing."""
        ...


class Sink(Protocol):
    """An output of results. The constructor opens it. The main thread calls all methods."""

    wants_every_frame: bool
    """False: the sink receives analysed frames only."""

    def write(self, output: Output) -> None:
        """Write one frame.

        Raises:
            SinkClosed: The reader closed the output.
            SinkError: The output cannot be written.
        """
        ...

    def source_ended(self, source_id: str) -> None:
        """Handle the end of a source that the user did not request."""
        ...

    def close(self) -> None:
        """Complete the output. A second call does nothing.

        Raises:
            SinkError: The output cannot be completed.
        """
        ...


class FrameAnalyzer(Protocol):
    """Finds and classifies the faces in frames."""

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order. The frames of a source are in order."""
        ...

    def forget(self, source_id: str) -> None:
        """Delete the state of a source. The next frame with this name belongs to another source."""
        ...


@runtime_checkable
class AsynchronousAnalyzer(FrameAnalyzer, Protocol):
    """A `FrameAnalyzer` that may begin a batch while the detector runs on the one before."""

    @property
    def is_asynchronous(self) -> bool:
        """Whether the detector runs while `begin` returns. If not, it runs when the results are asked for."""
        ...

    def begin(self, frames: Sequence[Frame]) -> Callable[[], list[FrameResult]]:
        """Begin to analyse frames.

        Returns:
            Waits for the results; called once, in the order in which the batches were begun. No other method is called
            between `begin` and the last call but `begin`.
        """
        ...


def begin(analyzer: FrameAnalyzer, frames: Sequence[Frame]) -> Callable[[], list[FrameResult]]:
    """Begin to analyse frames, as `AsynchronousAnalyzer.begin` does. Others do the work when the results are asked for."""
    return analyzer.begin(frames) if isinstance(analyzer, AsynchronousAnalyzer) else partial(analyzer.analyze, frames)


def is_asynchronous(analyzer: FrameAnalyzer) -> bool:
    """Return whether the detector of an analyzer runs while `begin` returns."""
    return isinstance(analyzer, AsynchronousAnalyzer) and analyzer.is_asynchronous


class Detector(Protocol):
    """Finds people or faces with their keypoints in a batch of images."""

    keypoint_names: tuple[str, ...]

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        """Return the detections of each image, highest score first.

        Raises:
            OutOfMemory: The batch is too large. A smaller batch may fit.
        """
        ...

    def admit(self, min_score: float, max_faces: int) -> None:
        """Lower the minimum score and raise the maximum number of faces, where the present limits are stricter."""
        ...


@runtime_checkable
class AsynchronousDetector(Detector, Protocol):
    """A `Detector` that runs in threads of its own. It never raises `OutOfMemory`."""

    def begin(self, images_bgr: Sequence[BgrImage]) -> Callable[[], list[list[Detection]]]:
        """Begin to detect. Images are not modified before the end.

        Returns:
            Waits for the detections of each image; called once.
        """
        ...


class Cutter(Protocol):
    """Cuts upright faces out of images."""

    def __call__(
        self, images_bgr: Sequence[BgrImage], quads_xy: Sequence[Sequence[FloatArray]], size_px: int, /
    ) -> Sequence[BgrImage]:
        """Return the square crops of all quads (4, 2) of all images, in order, in the size and format of the classifier."""
        ...


class Classifier(Protocol):
    """Classifies aligned face crops."""

    class_names: tuple[str, ...]
    input_size_px: int

    def classify(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        """Return class probabilities (N, C) of N square crops of `input_size_px`.

        Raises:
            OutOfMemory: The batch is too large. A smaller batch may fit.
        """
        ...
