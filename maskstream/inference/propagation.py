"""Propagate faces by optical flow from the last detection to the frames after it.

Optical flow costs far less than a detection. Propagated faces have `judged` false.

Lucas and Kanade, "An Iterative Image Registration Technique" (1981), in pyramids: Bouguet, "Pyramidal Implementation of the Lucas
Kanade Feature Tracker" (2001).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from time import perf_counter
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskstream.config.detector_interval import every_of
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import OutOfMemory
from maskstream.inference.motion_gate import MotionGate
from maskstream.protocols import FrameAnalyzer, begin, is_asynchronous
from maskstream.types import BgrImage, Face, FloatArray, Frame, FrameResult

_SHORT_SIDE: Final = 360
_GRID: Final = 5
"""Points across and down a face."""
_INNER: Final = 0.7
"""Fraction of the box that the points cover. The corners of the box show the background."""
_WINDOW_PX: Final = 15
_LEVELS: Final = 3
_MIN_POINTS: Final = 8
_MAX_CHANGE: Final = 1.25
"""Maximum change of size from one frame to the next. A larger one is an error of the optical flow."""
_MAX_STEP_S: Final = 0.5
"""Maximum time between two frames. After a longer time other people may be at the same place."""


@dataclass
class _Last:
    """The last frame of a source, detected or propagated."""

    due_at: int
    """Index of the last frame that the detector was due to run on, whether it ran or rested. The first one of a camera may be
    smaller."""
    config: Config
    """The settings of the source then."""
    connection: int
    shape: tuple[int, ...]
    time_s: float


@dataclass
class _Propagated:
    """The last frame of a source in grey and small, and the faces in it."""

    detected_at: int
    """Index of the frame in which the detector found the faces."""
    grey: BgrImage | None
    """None without faces."""
    faces: tuple[Face, ...]
    hidden: tuple[Face, ...]


class _Batch:
    """A batch that was begun."""

    def __init__(self, complete: Callable[[], list[FrameResult]]) -> None:
        self._complete: Callable[[], list[FrameResult]] | None = complete
        self._results: list[FrameResult] = []

    def results(self) -> list[FrameResult]:
        """Complete it, unless it is complete, and return its results."""
        if self._complete is not None:
            complete, self._complete = self._complete, None  # not kept: it has the frames
            self._results = complete()
        return self._results


class PropagatingAnalyzer:
    """Wraps an analyzer, and calls it for every Nth frame of a source only. In the other frames faces are propagated.

    `detector_interval` describes how N follows from `detector.every`. The detector also runs on the first frame of a connection,
    on a frame of another size than the one before, where the time of the frames has moved by more than 0.5 s, forward or back,
    and on the first frame after the settings of the source have changed.

    The second detection of a camera is up to N - 1 frames sooner, so that the detector does not run on all cameras at once, and
    on none until N frames later.

    Where nothing changes in the picture, and no face is in view, the detector rests (`MotionGate`). A rest counts like a
    detection without faces: the detector is due again N frames later, so that it runs on the same frames as without rests.

    Propagated faces keep their label and have `judged` false. A face that is lost is left out until the next detection. Its place
    stays in `hidden`, so that it is anonymised where faces are. Results of propagated frames have `unseen` true.
    """

    def __init__(self, analyzer: FrameAnalyzer, settings: Config | SourceSettings) -> None:
        """Begin without a frame.

        Args:
            analyzer: Detects and classifies faces.
            settings: How often the detector runs, for each source.
        """
        self._analyzer = analyzer
        self._settings = SourceSettings.shared(settings)
        self._propagated: dict[str, _Propagated] = {}
        self._last: dict[str, _Last] = {}
        self._gate = MotionGate(self._settings)
        self._turns = count()
        """A number for each connection of a camera: it decides which of N frames the detector runs on."""
        self._before: _Batch | None = None
        """The last batch that was begun."""

    def forget(self, source_id: str) -> None:
        """Run the detector on the next frame of a source, and propagate no face from before it."""
        self._analyzer.forget(source_id)
        self._propagated.pop(source_id, None)
        self._last.pop(source_id, None)
        self._gate.forget(source_id)

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order. Frames of a source must come in their own order.

        Raises:
            OutOfMemory: Fewer frames at a time may succeed. The detector then runs on the next frame of each source.
        """
        due = [self._is_due(frame) for frame in frames]
        to_detect = [frame for frame, is_due in zip(frames, due, strict=True) if is_due]
        return self._results(frames, due, partial(self._analyzer.analyze, to_detect))

    @property
    def is_asynchronous(self) -> bool:
        """Whether the detector runs while `begin` returns."""
        return is_asynchronous(self._analyzer)

    def begin(self, frames: Sequence[Frame]) -> Callable[[], list[FrameResult]]:
        """Begin to analyse frames; see `AsynchronousAnalyzer`.

        Where the detector may rest, which depends on its last results, the batch before is completed first.
        """
        if self._before is not None and any(self._gate.may_rest(frame) for frame in frames):
            self._before.results()
        due = [self._is_due(frame) for frame in frames]
        detected = begin(self._analyzer, [frame for frame, is_due in zip(frames, due, strict=True) if is_due])
        self._before = _Batch(lambda: self._results(frames, due, detected))
        return self._before.results

    def _results(
        self, frames: Sequence[Frame], due: Sequence[bool], detect: Callable[[], list[FrameResult]]
    ) -> list[FrameResult]:
        """Return the results of frames; `detect` returns those of the frames that the detector was due to run on."""
        try:
            detected = detect()
        except OutOfMemory:
            self._last.clear()
            raise
        results: list[FrameResult] = []
        for frame, is_due in zip(frames, due, strict=True):
            if is_due:
                result = detected.pop(0)
                self._gate.detected(frame, result)
                if frame.file is None:
                    grey = self._grey(frame, result)
                    self._propagated[frame.source_id] = _Propagated(frame.index, grey, result.faces, result.hidden)
            else:
                result = self._propagate(frame)
            results.append(result)
        return results

    def _is_due(self, frame: Frame) -> bool:
        """Return whether the detector runs on a frame, and remember the frame."""
        if frame.file is not None:  # each image stands alone
            return True
        last, config = self._last.get(frame.source_id), self._settings.of(frame.source_id)
        is_due, due_at = True, frame.index
        if last is None or _begins_anew(last, frame, config):
            self._gate.forget(frame.source_id)
            if frame.wall_time is not None:
                due_at -= next(self._turns) % every_of(config)
        elif frame.time_s - last.time_s <= _MAX_STEP_S and frame.index < last.due_at + every_of(config):
            is_due, due_at = False, last.due_at
        self._last[frame.source_id] = _Last(due_at, config, frame.connection, frame.bgr.shape, frame.time_s)
        return is_due and not self._gate.rests(frame)

    def _grey(self, frame: Frame, result: FrameResult) -> BgrImage | None:
        """Return a frame in grey and small where its faces may be propagated to the next frame, otherwise None."""
        has_next = every_of(self._settings.of(frame.source_id)) > 1
        return _shrunk(frame.bgr)[0] if has_next and (result.faces or result.hidden) else None

    def _propagate(self, frame: Frame) -> FrameResult:
        started_s = perf_counter()
        source = self._propagated[frame.source_id]
        if source.grey is not None:
            self._move(source, source.grey, frame)
        took_ms = (perf_counter() - started_s) * 1000
        result = FrameResult.of(frame, source.faces, source.hidden, {"detect": took_ms, "align": 0.0, "classify": 0.0})
        return replace(result, unseen=True, rested=self._gate.is_resting(frame.source_id))

    def _move(self, source: _Propagated, before: BgrImage, frame: Frame) -> None:
        """Move the faces of a source with the picture."""
        grey, scale = _shrunk(frame.bgr)
        moved = _moved((*source.faces, *source.hidden), before, grey, scale)
        moved_faces, moved_hidden = moved[: len(source.faces)], moved[len(source.faces) :]
        lost = [face for face, end in zip(source.faces, moved_faces, strict=True) if end is None]
        still_hidden = [end or face for face, end in zip(source.hidden, moved_hidden, strict=True)]
        source.hidden = (*lost, *still_hidden)
        since = frame.index - source.detected_at
        source.faces = tuple(replace(face, frames_since_detection=since) for face in moved_faces if face is not None)
        source.grey = grey


def _begins_anew(last: _Last, frame: Frame, config: Config) -> bool:
    """Return whether nothing that is known of a source applies to a frame."""
    return (
        (frame.connection, frame.bgr.shape) != (last.connection, last.shape)
        or frame.time_s < last.time_s - _MAX_STEP_S
        or frame.index < last.due_at
        or config is not last.config
    )


def _shrunk(bgr: BgrImage) -> tuple[BgrImage, float]:
    """Return a frame in grey, made small, and the scale."""
    scale = min(1.0, _SHORT_SIDE / min(bgr.shape[:2]))
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR) if scale < 1 else bgr
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8), scale


def _moved(faces: Sequence[Face], before: BgrImage, now: BgrImage, scale: float) -> list[Face | None]:
    """Return each face at its place in the frame `now`, or None where it is lost."""
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
    """Return the (2, 3) matrix that shifts, turns and scales most points to their ends, or None where the points disagree."""
    if len(start) < _MIN_POINTS:
        return None
    matrix, agree = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=2.0)
    if matrix is None or agree.sum() < _MIN_POINTS:
        return None
    change = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return np.asarray(matrix) if 1 / _MAX_CHANGE < change < _MAX_CHANGE else None


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
    """Return an upright box with the same middle, scaled like its content."""
    corners = box_xyxy.reshape(2, 2)
    middle = _moved_points(corners.mean(0, keepdims=True), matrix)
    half = (corners[1] - corners[0]) / 2 * np.hypot(matrix[0, 0], matrix[1, 0])
    return np.concatenate([middle[0] - half, middle[0] + half]).astype(np.float32)
