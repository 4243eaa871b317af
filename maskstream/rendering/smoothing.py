"""Smooth the outlines that are drawn from frame to frame, and fade the outlines of lost faces.

Only what is drawn is smoothed: records and anonymisation use the quads of the result, unfiltered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Final

import numpy as np

from maskstream.types import Face, FloatArray, Frame
from maskstream.vision.geometry import box_iou

_MIN_CUTOFF_HZ: Final = 1.2
_SPEED_GAIN: Final = 5.0
"""Hz of cutoff per side of the face that it moves in a second."""
_SPEED_CUTOFF_HZ: Final = 1.5
_MAX_OFFSET_PX: Final = 2.0
_LINES_PER_OFFSET: Final = 540
"""In frames of more than 1080 lines the offset may be larger: one pixel for each 540 lines."""
_RESTART_S: Final = 0.5
_FADE_S: Final = 0.5
_SAME_PLACE_IOU: Final = 0.3
_TEXT_EVERY_S: Final = 0.5


class QuadFilter:
    """One-euro filter for the quad of one face: steady at rest, close behind in motion.

    Casiez, Roussel and Vogel, "1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems"
    (2012). All four corners share one cutoff, so that a square stays a square. The distance of a filtered corner from the
    unfiltered one is limited to `max_offset_px`, or to the movement since the previous frame where that is larger.
    """

    def __init__(self, max_offset_px: float) -> None:
        """Begin without a quad; `max_offset_px` is the largest distance at rest."""
        self._max_offset_px = max_offset_px
        self._time_s: float | None = None
        self._raw = self._filtered = self._velocity = np.zeros((4, 2), np.float32)

    def update(self, quad_xy: FloatArray, time_s: float) -> FloatArray:
        """Return the filtered quad (4, 2) at this time.

        The filter starts again after a gap of 0.5 s, and where the time runs back.

        Args:
            quad_xy: (4, 2) pixels, unfiltered and finite.
            time_s: Position in the source.
        """
        elapsed_s = -1.0 if self._time_s is None else time_s - self._time_s
        if elapsed_s == 0 and np.array_equal(quad_xy, self._raw):
            return self._filtered
        if not 0 < elapsed_s <= _RESTART_S:
            self._filtered, self._velocity = quad_xy, np.zeros((4, 2), np.float32)
        else:
            self._step(quad_xy, elapsed_s)
        self._raw, self._time_s = quad_xy, time_s
        return self._filtered

    def _step(self, quad_xy: FloatArray, elapsed_s: float) -> None:
        moved = quad_xy - self._raw
        self._velocity += _weight(_SPEED_CUTOFF_HZ, elapsed_s) * (moved / elapsed_s - self._velocity)
        side_px = max(1.0, float(np.hypot(*(quad_xy[1] - quad_xy[0]))))
        sides_per_s = float(np.hypot(*self._velocity.mean(0))) / side_px
        cutoff_hz = _MIN_CUTOFF_HZ + _SPEED_GAIN * sides_per_s
        offset = (1 - _weight(cutoff_hz, elapsed_s)) * (self._filtered - quad_xy)
        limit_px = max(self._max_offset_px, _longest(moved))
        self._filtered = (quad_xy + offset * min(1.0, limit_px / max(_longest(offset), 1e-6))).astype(np.float32)


def _weight(cutoff_hz: float, elapsed_s: float) -> float:
    """Return the weight of the newest value in a low-pass filter of first order."""
    return 1 / (1 + 1 / (2 * pi * cutoff_hz * elapsed_s))


def _longest(vectors_xy: FloatArray) -> float:
    return float(np.hypot(vectors_xy[:, 0], vectors_xy[:, 1]).max())


@dataclass(frozen=True, eq=False)
class DrawnFace:
    """A face as it is drawn in one frame."""

    face: Face
    quad_xy: FloatArray
    """(4, 2) pixels, smoothed where the face has a track."""
    confidence: float | None
    """Of the shown label. It changes twice a second at most, so that it can be read."""
    is_dashed: bool = False
    """Whether the last detection is longer ago than `detector.every` and `stream.stride` promise."""
    opacity: float = 1.0
    """1, or less for a face that is lost."""


class _Track:
    """The drawing state of one track."""

    def __init__(self, drawn: DrawnFace, max_offset_px: float, time_s: float) -> None:
        self.drawn = drawn
        self.filter = QuadFilter(max_offset_px)
        self.first_s = self.last_s = self.text_s = time_s
        self.index = 0


class DrawnTracks:
    """The outlines of one source: smooth from frame to frame, held and faded where a face is lost."""

    def __init__(self) -> None:
        """Begin without faces."""
        self._tracks: dict[int, _Track] = {}
        self._stream: tuple[int, tuple[int, ...]] = (0, ())
        self._time_s = 0.0

    def update(self, frame: Frame, faces: Sequence[Face], frames_per_detection: int) -> list[DrawnFace]:
        """Return the faces to draw: all faces in their order, then those that were lost less than half a second ago.

        Faces of image files, and faces without a track, are drawn as they are.

        Args:
            frame: The next frame of the source.
            faces: The faces of its result.
            frames_per_detection: An outline is dashed if the last detection was this number of frames ago, or more.
        """
        unsmoothed: list[DrawnFace] = []
        for face in faces:
            if np.isfinite(face.quad_xy).all():
                is_dashed = not face.judged and face.frames_since_detection >= frames_per_detection
                unsmoothed.append(DrawnFace(face, face.quad_xy, face.shown_confidence, is_dashed))
        if frame.file is not None:
            return unsmoothed
        stream = (frame.connection, frame.bgr.shape)
        if stream != self._stream or frame.time_s < self._time_s:
            self._tracks.clear()
        self._stream, self._time_s = stream, frame.time_s
        present = [self._present(frame, drawn) for drawn in unsmoothed]
        return present + self._lost(frame, present, frames_per_detection)

    def _present(self, frame: Frame, drawn: DrawnFace) -> DrawnFace:
        face = drawn.face
        if face.track_id is None:
            return drawn
        track = self._tracks.get(face.track_id)
        if track is None:
            max_offset_px = max(_MAX_OFFSET_PX, min(frame.bgr.shape[:2]) / _LINES_PER_OFFSET)
            track = self._tracks[face.track_id] = _Track(drawn, max_offset_px, frame.time_s)
        before, confidence = track.drawn, drawn.confidence
        if face.shown_label is before.face.shown_label and 0 < frame.time_s - track.text_s < _TEXT_EVERY_S:
            confidence = before.confidence
        else:
            track.text_s = frame.time_s
        quad_xy = track.filter.update(face.quad_xy, frame.time_s)
        track.drawn = DrawnFace(face, quad_xy, confidence, drawn.is_dashed)
        track.last_s, track.index = frame.time_s, frame.index
        return track.drawn

    def _lost(self, frame: Frame, present: Sequence[DrawnFace], frames_per_detection: int) -> list[DrawnFace]:
        """Return the faces that were lost less than half a second ago, and forget those that were lost earlier."""
        seen = {drawn.face.track_id for drawn in present}
        boxes = np.array([_box(drawn) for drawn in present], np.float32).reshape(-1, 4)
        lost = []
        for track_id in [track_id for track_id in self._tracks if track_id not in seen]:
            track = self._tracks[track_id]
            held_s = min(_FADE_S, track.last_s - track.first_s)  # for no longer than it was shown
            away_s = frame.time_s - track.last_s
            before = track.drawn
            is_replaced = bool((box_iou(_box(before)[None], boxes) > _SAME_PLACE_IOU).any())
            if away_s >= held_s or is_replaced:
                del self._tracks[track_id]
                continue
            frames = before.face.frames_since_detection + frame.index - track.index
            opacity = 1 - away_s / held_s
            lost.append(DrawnFace(before.face, before.quad_xy, before.confidence, frames >= frames_per_detection, opacity))
        return lost


def _box(drawn: DrawnFace) -> FloatArray:
    """Return the upright box (4,) around a quad."""
    return np.concatenate([drawn.quad_xy.min(0), drawn.quad_xy.max(0)])
