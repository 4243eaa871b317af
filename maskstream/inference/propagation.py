"""Faces between two looks of the detector, moved by optical flow: cheap, and marked as not judged.

Lucas and Kanade, "An Iterative Image Registration Technique" (1981), in pyramids: Bouguet, "Pyramidal Implementation of the Lucas
Kanade Feature Tracker" (2001).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskstream.config.detector_interval import every_of
from maskstream.config.schema import Config, PerSource
from maskstream.errors import OutOfMemory
from maskstream.protocols import FrameAnalyzer
from maskstream.types import BgrImage, Face, FloatArray, Frame, FrameResult

_SHORT_SIDE: Final = 360
_GRID: Final = 5
"""Points across and down a face."""
_INNER: Final = 0.7
"""Share of the box in which they lie: its corners show what is behind the face."""
_WINDOW_PX: Final = 15
_LEVELS: Final = 3
_LEAST_POINTS: Final = 8
_LARGEST_CHANGE: Final = 1.25
"""Of its size from one frame to the next; more is a mistake of the flow."""
_LONGEST_STEP_S: Final = 0.5
"""Between two frames of which the second is followed from the first. After a longer one other people may stand there."""


@dataclass
class _Seen:
    """The last frame of a source, followed or not."""

    looked_at: int
    """Index of the last frame that the detector looked at."""
    connection: int
    shape: tuple[int, ...]
    time_s: float


@dataclass
class _Followed:
    """A source: its last picture, small and grey, and the faces in it."""

    looked_at: int
    """Index of the frame in which the detector found them."""
    grey: BgrImage
    faces: tuple[Face, ...]
    hidden: tuple[Face, ...]


class PropagatingAnalyzer:
    """Stands where an `Analyzer` stands, and lets it look at every Nth frame of a source alone; in between faces are followed.

    How often it looks is said in `detector_interval`. Whatever that says, it looks at the first frame of a connection, at a frame
    of another size than the one before, and where the time of the frames has moved by more than 0.5 s, forward or back.

    Followed faces keep their label and have `judged` false. A face that cannot be followed is left out until the detector looks
    again; its place stays hidden where faces are covered. Results of followed frames have `unseen` true.
    """

    def __init__(self, analyzer: FrameAnalyzer, config: Config, by_source: Mapping[str, Config] | None = None) -> None:
        """Begin without a frame.

        Args:
            analyzer: Finds and judges.
            config: How often it looks.
            by_source: The same for sources that differ, by their names.
        """
        self._analyzer = analyzer
        self._every = PerSource(every_of, config, by_source)
        self._sources: dict[str, _Followed] = {}
        self._seen: dict[str, _Seen] = {}

    def set_source(self, source_id: str, config: Config) -> None:
        """Let a source have settings of its own. May be called while another thread analyses."""
        self._every.set(source_id, config)

    def forget(self, source_id: str) -> None:
        """Look at the next frame of a source, and follow nothing from before it."""
        self._analyzer.forget(source_id)
        self._sources.pop(source_id, None)
        self._seen.pop(source_id, None)

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order; frames of a source must come in their own order.

        Raises:
            OutOfMemory: Fewer frames at a time may do; each source then begins anew.
        """
        due = [self._is_due(frame) for frame in frames]
        try:
            judged = iter(self._analyzer.analyze([frame for frame, looks in zip(frames, due, strict=True) if looks]))
        except OutOfMemory:
            self._seen.clear()
            raise
        return [
            self._keep(frame, next(judged)) if looks else self._follow(frame) for frame, looks in zip(frames, due, strict=True)
        ]

    def _is_due(self, frame: Frame) -> bool:
        if frame.file is not None:  # pictures have nothing to do with one another
            return True
        seen = self._seen.get(frame.source_id)
        is_due = seen is None or self._must_look(frame, seen)
        looked_at = frame.index if seen is None or is_due else seen.looked_at
        self._seen[frame.source_id] = _Seen(looked_at, frame.connection, frame.bgr.shape, frame.time_s)
        return is_due

    def _must_look(self, frame: Frame, seen: _Seen) -> bool:
        goes_on = (frame.connection, frame.bgr.shape) == (seen.connection, seen.shape)
        is_near = abs(frame.time_s - seen.time_s) <= _LONGEST_STEP_S
        is_within = seen.looked_at <= frame.index < seen.looked_at + self._every.of(frame.source_id)
        return not (goes_on and is_near and is_within)

    def _keep(self, frame: Frame, result: FrameResult) -> FrameResult:
        if frame.file is None:
            self._sources[frame.source_id] = _Followed(frame.index, _shrunk(frame.bgr)[0], result.faces, result.hidden)
        return result

    def _follow(self, frame: Frame) -> FrameResult:
        started_s = perf_counter()
        source = self._sources[frame.source_id]
        grey, scale = _shrunk(frame.bgr)
        ends = _moved((*source.faces, *source.hidden), source.grey, grey, scale)
        before, (found, hidden) = source.faces, (ends[: len(source.faces)], ends[len(source.faces) :])
        lost = tuple(face for face, end in zip(before, found, strict=True) if end is None)
        source.hidden = lost + tuple(end or face for face, end in zip(source.hidden, hidden, strict=True))
        since = frame.index - source.looked_at
        source.faces = tuple(replace(end, frames_since_look=since) for end in found if end is not None)
        source.grey = grey
        took_ms = (perf_counter() - started_s) * 1000
        result = FrameResult.of(frame, source.faces, source.hidden, {"detect": took_ms, "align": 0.0, "classify": 0.0})
        return replace(result, unseen=True)


def _shrunk(bgr: BgrImage) -> tuple[BgrImage, float]:
    """Return a picture in grey, small, and how much smaller it is."""
    scale = min(1.0, _SHORT_SIDE / min(bgr.shape[:2]))
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR) if scale < 1 else bgr
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8), scale


def _moved(faces: Sequence[Face], before: BgrImage, now: BgrImage, scale: float) -> list[Face | None]:
    """Return each face where it is now, or None where it cannot be found again."""
    if not faces:
        return []
    points = np.concatenate([_points(face) for face in faces])
    window = (_WINDOW_PX, _WINDOW_PX)
    ends, found, _ = cv2.calcOpticalFlowPyrLK(before, now, points * scale, None, winSize=window, maxLevel=_LEVELS)  # type: ignore[call-overload]
    height, width = now.shape
    inside = ((ends >= 0) & (ends < [width, height])).all(1)
    good = (found.reshape(-1) == 1) & inside
    per_face = _GRID * _GRID
    moved: list[Face | None] = []
    for number, face in enumerate(faces):
        part = slice(number * per_face, (number + 1) * per_face)
        matrix = _similarity(points[part][good[part]], (ends[part] / scale)[good[part]])
        moved.append(None if matrix is None else _transformed(face, matrix))
    return moved


def _points(face: Face) -> FloatArray:
    """Return a grid (25, 2) of points on a face."""
    x1, y1, x2, y2 = face.face_box_xyxy
    steps = np.linspace(-_INNER / 2, _INNER / 2, _GRID)
    xs, ys = np.meshgrid((x1 + x2) / 2 + steps * (x2 - x1), (y1 + y2) / 2 + steps * (y2 - y1))
    return np.stack([xs, ys], -1).reshape(-1, 2).astype(np.float32)


def _similarity(start: FloatArray, end: FloatArray) -> NDArray[np.float64] | None:
    """Return the (2, 3) matrix that shifts, turns and scales points to where most of them went, or None where they disagree."""
    if len(start) < _LEAST_POINTS:
        return None
    matrix, agree = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=2.0)
    if matrix is None or agree.sum() < _LEAST_POINTS:
        return None
    change = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return np.asarray(matrix) if 1 / _LARGEST_CHANGE < change < _LARGEST_CHANGE else None


def _transformed(face: Face, matrix: NDArray[np.float64]) -> Face:
    detection = face.detection
    moved = replace(
        detection,
        box_xyxy=_moved_box(detection.box_xyxy, matrix),
        keypoints_xy=_moved_points(detection.keypoints_xy, matrix),
    )
    box, quad = _moved_box(face.face_box_xyxy, matrix), _moved_points(face.quad_xy, matrix)
    return replace(face, detection=moved, quad_xy=quad, face_box_xyxy=box, judged=False)


def _moved_points(points_xy: FloatArray, matrix: NDArray[np.float64]) -> FloatArray:
    return (points_xy @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def _moved_box(box_xyxy: FloatArray, matrix: NDArray[np.float64]) -> FloatArray:
    """Return an upright box around the same middle, as much larger as what it holds."""
    corners = box_xyxy.reshape(2, 2)
    middle = _moved_points(corners.mean(0, keepdims=True), matrix)
    half = (corners[1] - corners[0]) / 2 * np.hypot(matrix[0, 0], matrix[1, 0])
    return np.concatenate([middle[0] - half, middle[0] + half]).astype(np.float32)
