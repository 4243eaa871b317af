"""What the stream needs of its neighbours. Nothing inherits from these: whatever has the methods fits."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from maskstream.types import BgrImage, Detection, FloatArray, Frame, FrameResult, Output, SourceInfo


class Source(Protocol):
    """Frames in order. It is opened when it is made, read by one thread, and closed once or more by its owner."""

    info: SourceInfo

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the source ends.

        Raises:
            StreamLost: The source broke. The end of a file is no error.
        """
        ...

    def close(self) -> None:
        """Release everything; a reader then comes to an end. A second call does nothing."""
        ...


class Sink(Protocol):
    """A place for results. It is opened when it is made, and everything is called from the main thread."""

    wants_every_frame: bool
    """False where only analysed frames matter; the others are then not carried to it."""

    def write(self, output: Output) -> None:
        """Take one frame.

        Raises:
            SinkClosed: The reader has left.
            SinkError: It cannot be written.
        """
        ...

    def source_ended(self, source_id: str) -> None:
        """Take note that a source came to its own end, not one that the user asked for."""
        ...

    def close(self) -> None:
        """Finish what was written. A second call does nothing.

        Raises:
            SinkError: It cannot be finished.
        """
        ...


class FrameAnalyzer(Protocol):
    """Says of frames what faces are in them."""

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order. Frames of a source come in their own order."""
        ...

    def forget(self, source_id: str) -> None:
        """Keep nothing of a source: the next frame of this name is of another one."""
        ...


class Detector(Protocol):
    """Finds people or faces with their keypoints in a batch of pictures."""

    keypoint_names: tuple[str, ...]

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        """Return the detections of each picture, the most certain first.

        Raises:
            OutOfMemory: Fewer pictures at a time may do.
        """
        ...

    def admit(self, min_score: float, max_faces: int) -> None:
        """Find what is as uncertain as this, and as many, besides what was found before."""
        ...


class Cutter(Protocol):
    """Cuts faces out of pictures, upright."""

    def __call__(
        self, images_bgr: Sequence[BgrImage], quads_xy: Sequence[Sequence[FloatArray]], size_px: int, /
    ) -> Sequence[BgrImage]:
        """Return the crops, square, of all quads (4, 2) of all pictures, in order, as the classifier takes them."""
        ...


class Classifier(Protocol):
    """Tells classes of aligned face crops."""

    class_names: tuple[str, ...]
    input_size_px: int

    def classify(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        """Return class probabilities (N, C) of N square crops of `input_size_px`.

        Raises:
            OutOfMemory: Crops of fewer frames may do.
        """
        ...
