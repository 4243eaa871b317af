"""The plain data that travels from source to sink. Pictures are BGR uint8; boxes and points are pixels, x before y.

A pixel coordinate (0, 0) is the upper left corner of the upper left pixel, as in COCO. The left eye is the person's own left one.
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
"""Names and order of the keypoints of our own detectors: the first three of COCO's seventeen."""

COCO_KEYPOINTS = (
    *FACE_KEYPOINTS,
    *("left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist"),
    *("right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
"""Names and order of the keypoints of a COCO person."""


BACKGROUND: Final = "background"
"""What a classifier calls a crop that shows no face; never the label of a face."""


class Label(StrEnum):
    """What can be said of a face."""

    MASK = "mask"
    NO_MASK = "no_mask"
    INCORRECT = "incorrect"
    """Worn below the nose or the mouth."""
    UNKNOWN = "unknown"
    """The face is too small or its keypoints are too uncertain to be judged."""


def _require_shape(name: str, array: NDArray[np.generic], shape: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("N" if side is None else str(side) for side in shape)
        raise ValueError(f"{name} has shape {array.shape}, expected ({wanted})")


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Raises:
        ValueError: The picture is empty or not (H, W, 3) uint8.
    """

    bgr: BgrImage
    """(H, W, 3) uint8, blue first; treated as read-only."""
    index: int
    """Number of the frame in its source, from 0, counting frames that were left out."""
    source_id: str
    """Name of the source, without passwords."""
    time_s: float
    """Position in the file, or seconds since a live source opened; 0 for pictures."""
    duration_s: float = 0.0
    """How long the frame is shown; 0 where the source does not say."""
    captured_at_s: float = 0.0
    """Monotonic clock when the frame was there."""
    capture_ms: float = 0.0
    """Time spent reading and decoding it."""
    wall_time: datetime | None = None
    """UTC; live sources only."""
    file: str | None = None
    """The picture's path, where a source consists of pictures."""
    connection: int = 0
    """Which opening of its source it comes from. Each opening within a run has another number, also where a camera is removed
    and added again; 0 outside of a run."""

    def __post_init__(self) -> None:
        _require_shape("Frame.bgr", self.bgr, (None, None, 3))
        if self.bgr.dtype != np.uint8 or self.bgr.size == 0:
            raise ValueError(f"Frame.bgr is {self.bgr.dtype} {self.bgr.shape}, expected a picture of at least one uint8 pixel")

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
    """What a detector found: a person (COCO model) or a face (our models).

    Raises:
        ValueError: Shapes do not fit together.
    """

    box_xyxy: FloatArray
    """(4,) float32 pixels of the frame: x1, y1, x2, y2."""
    score: float
    """Certainty of the detector in [0, 1]."""
    keypoints_xy: FloatArray
    """(K, 2) float32 pixels of the frame."""
    keypoint_scores: FloatArray
    """(K,) float32 in [0, 1]: the probability that a point lies where it is said to lie."""
    keypoint_names: tuple[str, ...]
    """K names, COCO's."""

    def __post_init__(self) -> None:
        count = len(self.keypoint_names)
        _require_shape("Detection.box_xyxy", self.box_xyxy, (4,))
        _require_shape("Detection.keypoints_xy", self.keypoints_xy, (count, 2))
        _require_shape("Detection.keypoint_scores", self.keypoint_scores, (count,))

    def keypoint(self, name: str) -> tuple[FloatArray, float]:
        """Return position (2,) and score of a keypoint; `ValueError` where the model does not have it."""
        index = self.keypoint_names.index(name)
        return self.keypoints_xy[index], float(self.keypoint_scores[index])


@dataclass(frozen=True, eq=False)
class Face:
    """A face and what was said of it."""

    detection: Detection
    quad_xy: FloatArray
    """(4, 2) float32 pixels: the outline of the judged crop: upper left, upper right, lower right, lower left corner of the
    upright crop. It may reach beyond the frame."""
    face_box_xyxy: FloatArray
    """(4,) float32 pixels: the tight face, forehead to chin, by the rule in `geometry`."""
    label: Label
    confidence: float | None
    """Probability of `label` in [0, 1]; None for `unknown`."""
    track_id: int | None = None
    """Number of the person in its source; None where nobody is tracked, and until a face was seen twice."""
    judged: bool = True
    """False where the face was only carried over from an earlier frame."""
    steady_label: Label | None = None
    """The answer about the person over time, `unknown` until there is enough evidence; None where there is none to be had."""
    steady_confidence: float | None = None
    """Probability of `steady_label` in [0, 1]; None for `unknown`."""
    zone: str | None = None
    """Name of the zone in which it lies."""
    frames_since_look: int = 0
    """Frames of the source since the detector last looked; 0 where it looked at this frame."""

    def __post_init__(self) -> None:
        _require_shape("Face.quad_xy", self.quad_xy, (4, 2))
        _require_shape("Face.face_box_xyxy", self.face_box_xyxy, (4,))
        if (self.confidence is None) != (self.label is Label.UNKNOWN):
            raise ValueError(f"Face.confidence is {self.confidence} for label {self.label.value}: only unknown has none")

    @property
    def shown_label(self) -> Label:
        """What is to be said of it: the steady label where there is one."""
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
    """The most certain detection first."""
    wall_time: datetime | None = None
    file: str | None = None
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    """`capture, detect, align, classify, total`: this frame's share of its batch."""
    hidden: tuple[Face, ...] = ()
    """To be covered where faces are, though nothing is said of them: what may be no face, is outside all zones, or was lost a
    moment ago."""

    repeated: bool = False
    """Whether nobody has looked at the frame: its faces are the last known ones of its source."""
    unseen: bool = False
    """Whether there may be a face in the frame whose place is not known: the detector did not look at it, or gave a place that is
    of no use. Where faces are covered it is not shown."""
    region_xyxy: tuple[int, int, int, int] | None = None
    """The pixels in which the detector looked, as left, top, right, bottom; None: everywhere."""
    unusable: int = 0
    """Answers of the models about this frame that were of no use: not finite, or a box that lies in no picture."""

    @classmethod
    def of(cls, frame: Frame, faces: tuple[Face, ...], hidden: tuple[Face, ...], stages_ms: Mapping[str, float]) -> "FrameResult":
        """Return what was found in a frame, with the time of each stage, of its capture and of all together."""
        timing_ms = {"capture": frame.capture_ms, **stages_ms}
        timing_ms["total"] = sum(timing_ms.values())
        return cls(frame.source_id, frame.index, frame.time_s, faces, frame.wall_time, frame.file, timing_ms, hidden)


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source before its first frame."""

    source_id: str
    width: int
    """Of the first frame as it is displayed, upright and in square pixels; later ones may differ."""
    height: int
    live: bool
    """A live source hands over its newest frame only; any other loses none."""
    average_fps: float | None = None
    time_base: Fraction | None = None
    """The unit of its timestamps, seconds."""
    frame_count: int | None = None
    """An estimate, for progress bars."""
    duration_s: float | None = None
    """Position of its end, in `time_s`."""
    sample_aspect_ratio: Fraction | None = None
    """Width of a pixel over its height, where they differ in the frames that it hands out; our own sources make them square."""
    path: str | None = None
    """The local file or folder it is read from."""
    images: tuple[str, ...] = ()
    """The files of a source that consists of pictures, in order."""
    origin_s: Fraction = Fraction(0)
    """The timestamp in the file that counts as `time_s` 0."""
    start_s: float = 0.0
    """The `time_s` of its first frame."""

    @property
    def size_and_rate(self) -> str:
        """What the log says of a video: `640x360, 25 fps`."""
        fps = f"{self.average_fps:.4g} fps" if self.average_fps else "unknown fps"
        return f"{self.width}x{self.height}, {fps}"

    @property
    def is_deferred(self) -> bool:
        """Whether it is one of many files, or a pipe, that is not open yet: nothing is known of it but its name."""
        return not self.live and self.width == 0


@dataclass(frozen=True, eq=False)
class Output:
    """What a sink is given for one frame."""

    frame: Frame
    result: FrameResult
    """The faces of the frame, or the last known ones of its source, then with `judged` false."""
    analysed: bool
    """False where the faces were carried over from an earlier frame."""
    paint: Callable[[Frame, FrameResult], BgrImage]
    """Draws the faces into a copy of the picture."""
    dropped: int = 0
    """Frames of its source that were dropped so far."""

    @cached_property
    def annotated_bgr(self) -> BgrImage:
        """(H, W, 3) uint8: the picture with its faces, drawn when first asked for and shared by all sinks."""
        return self.paint(self.frame, self.result)
