"""Faces between two looks of the detector, moved by optical flow: cheap, and marked as not judged.

Lucas and Kanade, "An Iterative Image Registration Technique" (1981), in pyramids: Bouguet, "Pyramidal Implementation of the Lucas
Kanade Feature Tracker" (2001).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

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


def following(analyzer: FrameAnalyzer, every: int) -> FrameAnalyzer:
    """Return an analyzer of which the detector looks at every Nth frame of each source, and that begins without a frame."""
    return FollowingAnalyzer(analyzer, every) if every > 1 else analyzer


@dataclass
class _Followed:
    """A source: its last picture, small and grey, and the faces in it."""

    grey: BgrImage
    faces: tuple[Face, ...]
    hidden: tuple[Face, ...]


class FollowingAnalyzer:
    """Stands where an `Analyzer` stands, and lets it look at every Nth frame of a source alone; in between faces are followed.

    Where frames are left out, by `stride` or because they came too fast, it looks as often as before: at most once in N.

    Followed faces keep their label and have `judged` false. A face that cannot be followed is left out until the detector looks
    again; its place stays hidden where faces are covered.
    """

    def __init__(self, analyzer: FrameAnalyzer, every: int) -> None:
        """Begin without a frame.

        Args:
            analyzer: Finds and judges.
            every: It looks at no more than every Nth frame of each source; those that nobody analyses count.
        """
        self._analyzer = analyzer
        self._every = every
        self._sources: dict[str, _Followed] = {}
        self._looked_at: dict[str, int] = {}
        """The index of the last frame of each source that the detector saw."""

    def forget(self, source_id: str) -> None:
        """Look at the next frame of a source, and follow nothing from before it."""
        self._analyzer.forget(source_id)
        self._sources.pop(source_id, None)
        self._looked_at.pop(source_id, None)

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order; frames of a source must come in their own order.

        Raises:
            OutOfMemory: Fewer frames at a time may do; each source then begins anew.
        """
        due = [self._is_due(frame) for frame in frames]
        try:
            judged = iter(self._analyzer.analyze([frame for frame, looks in zip(frames, due, strict=True) if looks]))
        except OutOfMemory:
            self._looked_at.clear()
            raise
        return [
            self._keep(frame, next(judged)) if looks else self._follow(frame) for frame, looks in zip(frames, due, strict=True)
        ]

    def _is_due(self, frame: Frame) -> bool:
        if frame.file is not None:  # pictures have nothing to do with one another
            return True
        looked_at = self._looked_at.get(frame.source_id)
        if looked_at is not None and looked_at <= frame.index < looked_at + self._every:
            return False
        self._looked_at[frame.source_id] = frame.index
        return True

    def _keep(self, frame: Frame, result: FrameResult) -> FrameResult:
        if frame.file is None:
            self._sources[frame.source_id] = _Followed(_shrunk(frame.bgr)[0], result.faces, result.hidden)
        return result

    def _follow(self, frame: Frame) -> FrameResult:
        started_s = perf_counter()
        source = self._sources[frame.source_id]
        grey, scale = _shrunk(frame.bgr)
        same_size = grey.shape == source.grey.shape
        if same_size:
            moved = iter(_moved((*source.faces, *source.hidden), source.grey, grey, scale))
            ends = [(face, next(moved)) for face in source.faces]
            lost = tuple(face for face, end in ends if end is None)
            source.hidden = lost + tuple(next(moved) or face for face in source.hidden)
            source.faces = tuple(end for _, end in ends if end is not None)
        else:
            source.faces = source.hidden = ()
        source.grey = grey
        took_ms = (perf_counter() - started_s) * 1000
        return FrameResult.of(frame, source.faces, source.hidden, {"detect": took_ms, "align": 0.0, "classify": 0.0})


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
