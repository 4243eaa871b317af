"""Draw what was judged: the outline of the judged region, a symbol, the person's number, the label and its percentage.

Colours are Okabe and Ito's, which people with any colour vision can tell apart ("Color Universal Design", 2008); each label has a
symbol of its own besides. Everything scales with the picture. All colours are BGR.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import cv2
import numpy as np

from maskstream.config.detector_interval import frames_per_look
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.rendering.anonymize import cover
from maskstream.rendering.palette import COLOURS_BGR, LABEL_TEXT
from maskstream.rendering.text import draw_text, text_width
from maskstream.types import COCO_KEYPOINTS, BgrImage, Detection, Face, FloatArray, Frame, FrameResult, Label

# Strokes in a unit square, y down: a tick, a cross, an exclamation mark, a question mark.
_SYMBOLS: Final[dict[Label, list[list[tuple[float, float]]]]] = {
    Label.MASK: [[(0.1, 0.55), (0.4, 0.85), (0.9, 0.15)]],
    Label.NO_MASK: [[(0.15, 0.15), (0.85, 0.85)], [(0.85, 0.15), (0.15, 0.85)]],
    Label.INCORRECT: [[(0.5, 0.05), (0.5, 0.6)], [(0.5, 0.85), (0.5, 0.95)]],
    Label.UNKNOWN: [[(0.2, 0.3), (0.3, 0.1), (0.7, 0.1), (0.8, 0.3), (0.5, 0.5), (0.5, 0.65)], [(0.5, 0.85), (0.5, 0.95)]],
}
_SKELETON: Final = [
    ("left_ankle", "left_knee", "left_hip", "right_hip", "right_knee", "right_ankle"),
    ("left_wrist", "left_elbow", "left_shoulder", "right_shoulder", "right_elbow", "right_wrist"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_ear", "left_eye", "nose", "right_eye", "right_ear"),
]
_POINT_BGR: Final = (80, 200, 0)
_BONE_BGR: Final = (167, 121, 204)  # reddish purple
_ZONE_BGR: Final = (240, 240, 240)
_BLACK: Final = (0, 0, 0)
_NOTHING: Final = np.zeros((0, 0, 3), np.uint8)
_DRAWN_FROM_SCORE: Final = 0.3
_SUBPIXEL_BITS: Final = 3


@dataclass(frozen=True)
class _Scale:
    """Sizes in pixels that fit a picture."""

    line: int
    smallest_text: float
    largest_text: float

    @classmethod
    def of(cls, bgr: BgrImage) -> "_Scale":
        short_side = min(bgr.shape[:2])
        return cls(max(2, round(short_side / 270)), max(7.0, short_side * 0.018), max(8.0, short_side * 0.035))


class Overlay:
    """Draws results into copies of frames; what must not be seen is covered first."""

    def __init__(self, settings: Config | SourceSettings) -> None:
        """Remember what is drawn, and the zones and `privacy` settings of each source."""
        self._settings = SourceSettings.shared(settings)
        self._config = self._settings.common.overlay
        self._last: dict[str, tuple[Config, BgrImage]] = {}
        """The last image of each source with anonymised faces, and the settings that it was drawn with."""

    def paint(self, frame: Frame, result: FrameResult) -> BgrImage:
        """Return a copy (H, W, 3) of the frame's picture with the faces drawn, the most certain on top.

        Where faces are covered, a frame that the detector did not look at is not shown: the last picture that it did look at
        stands in for it, or black where there is none of that size.
        """
        own = self._settings.of(frame.source_id)
        if own.privacy.blur == "none":
            return self._drawn(frame, result, own)
        unseen = result.repeated or result.unseen
        drawn_with, last = self._last.get(frame.source_id, (None, _NOTHING))
        if not unseen or drawn_with is not own or last.shape != frame.bgr.shape:
            shown = np.zeros_like(frame.bgr) if unseen else frame.bgr
            last = self._drawn(replace(frame, bgr=shown), result, own)
            self._last[frame.source_id] = own, last
        return last

    def _drawn(self, frame: Frame, result: FrameResult, own: Config) -> BgrImage:
        bgr, scale = frame.bgr.copy(), _Scale.of(frame.bgr)
        cover(bgr, result, own.privacy.blur)
        if self._config.zones:
            for name, corners in own.zones.items():
                _draw_zone(bgr, name, corners, scale)
        for face in reversed(result.faces):
            if self._config.skeleton and face.detection.keypoint_names == COCO_KEYPOINTS:
                _draw_skeleton(bgr, face.detection, scale)
            if self._config.keypoints:
                _draw_keypoints(bgr, face.detection, scale)
            is_solid = face.judged or face.frames_since_look < frames_per_look(own)
            _draw_outline(bgr, face, scale, is_solid=is_solid)
        if self._config.labels:
            for face in reversed(result.faces):
                _draw_tag(bgr, face, scale)
        return bgr


def _draw_outline(bgr: BgrImage, face: Face, scale: _Scale, *, is_solid: bool) -> None:
    """Draw it solid where the detector looked as lately as it promises, else dashed."""
    if not np.isfinite(face.quad_xy).all():
        return
    dash_px = max(float(np.hypot(*(face.quad_xy[1] - face.quad_xy[0]))) / 9, 3 * scale.line)
    edges = list(pairwise(np.vstack([face.quad_xy, face.quad_xy[:1]])))
    strokes = edges if is_solid else [dash for start, end in edges for dash in _dashes(start, end, dash_px)]
    for colour, thickness in ((_BLACK, scale.line + 2), (COLOURS_BGR[face.shown_label], scale.line)):
        for start, end in strokes:
            _line(bgr, start, end, colour, thickness)


def _dashes(start: FloatArray, end: FloatArray, length: float) -> list[tuple[FloatArray, FloatArray]]:
    count = max(1, round(float(np.hypot(*(end - start))) / length / 2))
    stops = np.linspace(0, 1, 2 * count + 1)[:-1]
    return [
        (start + (end - start) * first, start + (end - start) * last) for first, last in zip(stops[::2], stops[1::2], strict=True)
    ]


def _draw_tag(bgr: BgrImage, face: Face, scale: _Scale) -> None:
    """Write symbol, label and percentage above the face, or inside it where it touches the upper edge."""
    if not np.isfinite(face.quad_xy).all():
        return
    left, top = face.quad_xy.min(axis=0)
    width = float(np.ptp(face.quad_xy[:, 0]))
    text_height = float(np.clip(width * 0.11, scale.smallest_text, scale.largest_text))
    label, confidence = face.shown_label, face.shown_confidence
    number = "" if face.track_id is None else f"{face.track_id} "
    text = number + (LABEL_TEXT[label] if confidence is None else f"{LABEL_TEXT[label]} {confidence:.0%}")
    stroke, pad = max(1, round(text_height / 9)), max(2, round(text_height * 0.4))
    tag_width = round(text_height + text_width(text, text_height, stroke) + 3 * pad)
    tag_height = round(text_height + 2 * pad)
    x = round(min(max(float(left), 0), max(bgr.shape[1] - tag_width, 0)))
    y = round(min(max(float(top) - tag_height, 0), max(bgr.shape[0] - tag_height, 0)))
    colour = COLOURS_BGR[label]
    cv2.rectangle(bgr, (x, y), (x + tag_width - 1, y + tag_height - 1), colour, cv2.FILLED)
    ink = _BLACK if np.dot(colour, (0.114, 0.587, 0.299)) > 110 else (255, 255, 255)
    for strokes in _SYMBOLS[label]:
        points = np.array([x + pad, y + pad]) + np.array(strokes) * text_height
        for start, end in pairwise(points):
            _line(bgr, start, end, ink, stroke + 1)
    position = (round(x + 2 * pad + text_height), round(y + pad + text_height))
    draw_text(bgr, text, position, text_height, ink, stroke)


def _draw_zone(bgr: BgrImage, name: str, corners: Sequence[Sequence[float]], scale: _Scale) -> None:
    """Draw the outline of a zone, and write its name inside its highest corner."""
    points = np.array(corners, np.float32) * [bgr.shape[1], bgr.shape[0]]
    for colour, thickness in ((_BLACK, scale.line + 2), (_ZONE_BGR, scale.line)):
        for start, end in pairwise(np.vstack([points, points[:1]])):
            _line(bgr, start, end, colour, thickness)
    text_height = (scale.smallest_text + scale.largest_text) / 2
    x, y = points[points.sum(1).argmin()] + text_height * np.array([0.6, 1.6])
    draw_text(bgr, name, (round(x), round(y)), text_height, _ZONE_BGR, max(1, scale.line - 1), halo_px=max(1, scale.line // 2))


def _draw_keypoints(bgr: BgrImage, detection: Detection, scale: _Scale) -> None:
    for point, score in zip(detection.keypoints_xy, detection.keypoint_scores, strict=True):
        if score >= _DRAWN_FROM_SCORE and np.isfinite(point).all():
            _circle(bgr, point, scale.line + 2, _BLACK)
            _circle(bgr, point, scale.line + 1, _POINT_BGR)


def _draw_skeleton(bgr: BgrImage, detection: Detection, scale: _Scale) -> None:
    for chain in _SKELETON:
        for (start, start_score), (end, end_score) in pairwise(map(detection.keypoint, chain)):
            if min(start_score, end_score) >= _DRAWN_FROM_SCORE and np.isfinite([start, end]).all():
                _line(bgr, start, end, _BONE_BGR, scale.line)


def _line(bgr: BgrImage, start: FloatArray, end: FloatArray, colour: tuple[int, int, int], thickness: int) -> None:
    cv2.line(bgr, _fixed_point(start), _fixed_point(end), colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _circle(bgr: BgrImage, centre: FloatArray, radius: int, colour: tuple[int, int, int]) -> None:
    cv2.circle(bgr, _fixed_point(centre), radius << _SUBPIXEL_BITS, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed_point(point: FloatArray) -> tuple[int, int]:
    """Pixels as cv2 counts them: from pixel centres, in fractions of 2**-_SUBPIXEL_BITS; far-off points are clamped."""
    x, y = np.clip((np.asarray(point, np.float64) - 0.5) * (1 << _SUBPIXEL_BITS), -1e6, 1e6).round().astype(int).tolist()
    return x, y
