"""Define the data that flows from source to sink. Images are BGR uint8; boxes and points are pixels, x before y.

The pixel coordinate (0, 0) is the upper left corner of the upper left pixel, as in COCO.
The left eye is the left eye of the person.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BgrImage = NDArray[np.uint8]

FACE_KEYPOINTS = ("nose", "left_eye", "right_eye")
"""Names and order of the keypoints of face_mobilenet: the first three of the COCO keypoints."""

COCO_KEYPOINTS = (
    *FACE_KEYPOINTS,
    *("left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist"),
    *("right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
"""Names and order of the keypoints of a COCO person."""


BACKGROUND: Final = "background"
"""The class of a crop without a face. It is never the label of a face."""


class Label(StrEnum):
    """The label of a face."""

    MASK = "mask"
    NO_MASK = "no_mask"
    INCORRECT = "incorrect"
    """The mask is worn below the nose or the mouth."""
    UNKNOWN = "unknown"
    """The face is too small, or the scores of its keypoints are too low, to be classified."""


def _require_shape(name: str, array: NDArray[np.generic], shape: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("N" if side is None else str(side) for side in shape)
        raise ValueError(f"{name} has shape {array.shape}, expected ({wanted})")


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a source.

    Raises:
        ValueError: The image is empty or not (H, W, 3) uint8.
    """

    bgr: BgrImage
    """(H, W, 3) uint8, blue first. It is read-only."""
    index: int
    """Number of the frame in its source, from 0, skipped frames included."""
    source_id: str
    """Name of the source, without passwords."""
    time_s: float
    """Position in the file, or seconds since a live source was opened; 0 for images."""
    duration_s: float = 0.0
    """Seconds that the frame is shown; 0 where the source does not state it."""
    captured_at_s: float = 0.0
    """Monotonic clock at the time of capture."""
    capture_ms: float = 0.0
    """Milliseconds to read and decode the frame."""
    wall_time: datetime | None = None
    """UTC; live sources only."""
    file: str | None = None
    """Path of the image file, where the source consists of images."""
    connection: int = 0
    """Number of the connection to the source. Each connection within a run has another number, also where a camera is removed and
    added again; 0 outside of a run."""

    def __post_init__(self) -> None:
        _require_shape("Frame.bgr", self.bgr, (None, None, 3))
        if self.bgr.dtype != np.uint8 or self.bgr.size == 0:
            raise ValueError(f"Frame.bgr is {self.bgr.dtype} {self.bgr.shape}, expected an image of at least one uint8 pixel")

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.bgr.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.bgr.shape[1])

    def __repr__(self) -> str:
        return f"Frame({self.source_id!r}, index={self.index}, time_s={self.time_s:.3f}, {self.width}x{self.height})"


@dataclass(frozen=True, eq=False)
class Detection:
    """A detected person (coco_resnet50) or face (face_mobilenet).

    Raises:
        ValueError: The shapes do not fit together.
    """

    box_xyxy: FloatArray
    """(4,) float32 pixels of the frame: x1, y1, x2, y2."""
    score: float
    """Score of the detector in [0, 1]."""
    keypoints_xy: FloatArray
    """(K, 2) float32 pixels of the frame."""
    keypoint_scores: FloatArray
    """(K,) float32 in [0, 1]: the probability that the position of a keypoint is correct."""
    keypoint_names: tuple[str, ...]
    """K names of COCO keypoints."""

    def __post_init__(self) -> None:
        count = len(self.keypoint_names)
        _require_shape("Detection.box_xyxy", self.box_xyxy, (4,))
        _require_shape("Detection.keypoints_xy", self.keypoints_xy, (count, 2))
        _require_shape("Detection.keypoint_scores", self.keypoint_scores, (count,))

    def keypoint(self, name: str) -> tuple[FloatArray, float]:
        """Return position (2,) and score of a keypoint; `ValueError` where the model has no such keypoint."""
        index = self.keypoint_names.index(name)
        return self.keypoints_xy[index], float(self.keypoint_scores[index])


@dataclass(frozen=True, eq=False)
class Face:
    """A face and its label."""

    detection: Detection
    quad_xy: FloatArray
    """(4, 2) float32 pixels: the outline of the classified crop: upper left, upper right, lower right and lower left corner of
    the upright crop. It may extend beyond the frame."""
    face_box_xyxy: FloatArray
    """(4,) float32 pixels: the tight face box, forehead to chin, by the rule in `vision.geometry`."""
    label: Label
    confidence: float | None
    """Probability of `label` in [0, 1]; None for `unknown`."""
    track_id: int | None = None
    """Track id of the person in its source; None without tracking, and until the face is detected twice."""
    judged: bool = True
    """False where the face was propagated from an earlier frame, and not detected and classified in this one."""
    steady_label: Label | None = None
    """Label of the person over time, `unknown` until there is enough evidence; None without tracking."""
    steady_confidence: float | None = None
    """Probability of `steady_label` in [0, 1]; None for `unknown`."""
    zone: str | None = None
    """Name of the zone that contains the face."""
    frames_since_detection: int = 0
    """Frames of the source since the detector last ran; 0 where it ran on this frame."""
    class_probabilities: Mapping[str, float] = field(default_factory=dict)
    """Probability of each class of faces, in this frame; they add up to 1. Empty where the face was not classified."""
    background: float | None = None
    """Probability in [0, 1] that the classified crop contains no face; None where the classifier did not return one."""
    evidence: float | None = None
    """Log-odds that the tracked object is a face, from its detections so far; None without tracking."""

    def __post_init__(self) -> None:
        _require_shape("Face.quad_xy", self.quad_xy, (4, 2))
        _require_shape("Face.face_box_xyxy", self.face_box_xyxy, (4,))
        if (self.confidence is None) != (self.label is Label.UNKNOWN):
            raise ValueError(f"Face.confidence is {self.confidence} for label {self.label.value}: only unknown has none")

    @property
    def shown_label(self) -> Label:
        """The steady label where there is one, otherwise `label`."""
        return self.label if self.steady_label is None else self.steady_label

    @property
    def shown_confidence(self) -> float | None:
        """Probability of `shown_label`; None for `unknown`."""
        return self.confidence if self.steady_label is None else self.steady_confidence


@dataclass(frozen=True, eq=False)
class FrameResult:
    """All faces of one frame."""

    source_id: str
    index: int
    time_s: float
    faces: tuple[Face, ...]
    """Highest score first."""
    wall_time: datetime | None = None
    file: str | None = None
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    """`capture, detect, align, classify, total`: the time of the batch divided by its frames."""
    hidden: tuple[Face, ...] = ()
    """Faces that are anonymised but not reported: possible background, repeats of faces, faces outside all zones or just lost."""
    repeated: bool = False
    """Whether the frame was not analysed. Its faces are the last known faces of its source."""
    unseen: bool = False
    """Whether the frame may contain a face at an unknown position: the detector did not run on it, or gave a position that is not
    finite. Where faces are anonymised the frame is not shown."""
    rested: bool = False
    """Whether nothing had changed in the picture when it was last compared, so that the detector rests (`detector.motion`)."""
    region_xyxy: tuple[int, int, int, int] | None = None
    """The region that the detector ran on, in pixels: left, top, right, bottom; None: the complete frame."""
    unusable: int = 0
    """Number of invalid outputs of the models for this frame: not finite, or a box outside every image."""

    @classmethod
    def of(cls, frame: Frame, faces: tuple[Face, ...], hidden: tuple[Face, ...], stages_ms: Mapping[str, float]) -> "FrameResult":
        """Return the result of a frame, with the milliseconds of its capture, of each stage and in total."""
        timing_ms = {"capture": frame.capture_ms, **stages_ms}
        timing_ms["total"] = sum(timing_ms.values())
        return cls(frame.source_id, frame.index, frame.time_s, faces, frame.wall_time, frame.file, timing_ms, hidden)


@dataclass(frozen=True)
class SourceInfo:
    """The properties of a source that are known before its first frame."""

    source_id: str
    width: int
    """Width of the first frame as displayed, upright and in square pixels. Later frames may differ."""
    height: int
    live: bool
    """A live source delivers its newest frame only. Other sources lose no frame."""
    average_fps: float | None = None
    time_base: Fraction | None = None
    """The unit of its timestamps, in seconds."""
    frame_count: int | None = None
    """An estimate, for progress bars."""
    duration_s: float | None = None
    """The `time_s` of its end."""
    sample_aspect_ratio: Fraction | None = None
    """Width of a pixel divided by its height, where the delivered frames do not have square pixels. The sources of this package
    deliver square pixels."""
    path: str | None = None
    """The local file or folder of the source."""
    images: tuple[str, ...] = ()
    """The files of a source that consists of images, in order."""
    origin_s: Fraction = Fraction(0)
    """The timestamp in the file that has `time_s` 0."""
    start_s: float = 0.0
    """The `time_s` of its first frame."""

    @property
    def size_and_rate(self) -> str:
        """Size and rate for log lines: `640x360, 25 fps`."""
        fps = f"{self.average_fps:.4g} fps" if self.average_fps else "unknown fps"
        return f"{self.width}x{self.height}, {fps}"

    @property
    def is_deferred(self) -> bool:
        """Whether the source is one of many files, or a pipe, that is not open yet. Only its name is known."""
        return not self.live and self.width == 0


@dataclass(frozen=True, eq=False)
class Output:
    """One frame for a sink."""

    frame: Frame
    result: FrameResult
    """The faces of the frame, or the last known faces of its source, with `judged` false."""
    analysed: bool
    """False where the faces are those of an earlier frame."""
    paint: Callable[[Frame, FrameResult], BgrImage]
    """Draws the faces into a copy of the frame."""
    dropped: int = 0
    """Frames of the source that were dropped so far."""

    @cached_property
    def annotated_bgr(self) -> BgrImage:
        """(H, W, 3) uint8: the frame with its faces. It is drawn once, at the first use, and shared by all sinks."""
        return self.paint(self.frame, self.result)
