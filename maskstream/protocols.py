"""Define the interfaces of sources, sinks and models. Classes do not inherit from them; they have the same methods."""

from collections.abc import Iterator, Sequence
from typing import Protocol

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
