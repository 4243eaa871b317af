"""Draw results: the outline of the classified region, and a label with a symbol, the track's number, the text and its percentage.

Colours are Okabe and Ito's, which people with any colour vision can tell apart ("Color Universal Design", 2008); each label has a
symbol of its own besides. Lines and text have one size for all faces of a frame. All colours are BGR.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

import numpy as np

from maskstream.config.detector_interval import frames_per_detection
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.rendering.anonymize import anonymise
from maskstream.rendering.labels import Box, LabelLayout, LabelText, Request, draw_ground, draw_label
from maskstream.rendering.palette import COLOURS_BGR
from maskstream.rendering.shapes import DrawingScale, draw_keypoints, draw_outline, draw_skeleton, faded
from maskstream.rendering.smoothing import DrawnFace, DrawnTracks
from maskstream.rendering.text import draw_text, fitted_text, text_width
from maskstream.types import COCO_KEYPOINTS, BgrImage, FloatArray, Frame, FrameResult

_ZONE_BGR: Final = (240, 240, 240)
_ZONE_GROUND_BGR: Final = (60, 60, 60)


@dataclass
class _SourceDrawing:
    """The drawing state of a source between frames."""

    config: Config
    """The settings that it was drawn with."""
    tracks: DrawnTracks = field(default_factory=DrawnTracks)
    layout: LabelLayout = field(default_factory=LabelLayout)
    anonymised_bgr: BgrImage | None = None
    """The last frame that was drawn with faces anonymised."""


class Overlay:
    """Draws results into copies of frames, after faces are anonymised as `privacy.blur` says.

    Outlines and labels are smoothed per track (see `smoothing`), so that they do not tremble. The outline that is drawn may
    therefore differ from the region that was classified. At rest the difference is at most 2 px, or one pixel for each 540 lines
    of a larger frame; in motion it is at most the movement since the frame before. Anonymisation and records use the unfiltered
    region.
    """

    def __init__(self, settings: Config | SourceSettings) -> None:
        """Begin without a frame; `settings` has the zones and the `privacy` section of each source."""
        self._settings = SourceSettings.shared(settings)
        self._config = self._settings.common.overlay
        self._drawings: dict[str, _SourceDrawing] = {}

    def paint(self, frame: Frame, result: FrameResult) -> BgrImage:
        """Return a copy (H, W, 3) of the frame with its faces drawn, the most certain on top.

        Where faces are anonymised, a frame on which the detector did not run is not shown. The last frame on which it did run is
        returned instead, or a black one where none of that size exists.
        """
        own = self._settings.of(frame.source_id)
        drawing = self._drawings.get(frame.source_id)
        if drawing is None or drawing.config is not own:  # what was drawn with other settings is not shown again
            drawing = self._drawings[frame.source_id] = _SourceDrawing(own)
        if own.privacy.blur == "none":
            return self._drawn(frame, result, drawing)
        not_detected = result.repeated or result.unseen
        last_bgr = drawing.anonymised_bgr
        if not_detected and last_bgr is not None and last_bgr.shape == frame.bgr.shape:
            return last_bgr
        shown = np.zeros_like(frame.bgr) if not_detected else frame.bgr
        drawing.anonymised_bgr = self._drawn(replace(frame, bgr=shown), result, drawing)
        return drawing.anonymised_bgr

    def _drawn(self, frame: Frame, result: FrameResult, drawing: _SourceDrawing) -> BgrImage:
        own = drawing.config
        bgr, scale = frame.bgr.copy(), DrawingScale.of(frame.bgr)
        anonymise(bgr, result, own.privacy.blur)
        zone_names = _draw_zones(bgr, own.zones, scale) if self._config.zones else []
        for face in reversed(result.faces):
            if self._config.skeleton and face.detection.keypoint_names == COCO_KEYPOINTS:
                draw_skeleton(bgr, face.detection, scale)
            if self._config.keypoints:
                draw_keypoints(bgr, face.detection, scale)
        drawn_faces = drawing.tracks.update(frame, result.faces, frames_per_detection(own))
        reach = scale.line + 2 * scale.edge
        for drawn in reversed(drawn_faces):
            left, top = np.floor(np.clip(drawn.quad_xy.min(0) - reach, -1e6, 1e6)).astype(int).tolist()
            right, bottom = np.ceil(np.clip(drawn.quad_xy.max(0) + reach, -1e6, 1e6)).astype(int).tolist()
            with faded(bgr, drawn.opacity, (left, top, right, bottom)):
                draw_outline(bgr, drawn.quad_xy, COLOURS_BGR[drawn.face.shown_label], scale, is_dashed=drawn.is_dashed)
        if self._config.labels:
            _draw_labels(bgr, drawn_faces, zone_names, drawing.layout, frame.time_s, scale)
        return bgr


def _draw_labels(
    bgr: BgrImage, faces: Sequence[DrawnFace], taken: Sequence[Box], layout: LabelLayout, time_s: float, scale: DrawingScale
) -> None:
    """Draw the labels of all faces; those of older tracks choose their place first, those of lost faces last."""
    by_age = sorted(faces, key=lambda drawn: (drawn.opacity < 1, inf if drawn.face.track_id is None else drawn.face.track_id))
    texts = [LabelText(drawn.face.shown_label, drawn.confidence, drawn.face.track_id) for drawn in by_age]
    requests = [
        Request(drawn.face.track_id, np.concatenate([drawn.quad_xy.min(0), drawn.quad_xy.max(0)]), text.sizes(scale))
        for drawn, text in zip(by_age, texts, strict=True)
    ]
    places = layout.place(requests, (bgr.shape[1], bgr.shape[0]), scale.line + scale.edge, time_s, taken)
    for drawn, text, placement in zip(by_age, texts, places, strict=True):
        if placement is not None:
            with faded(bgr, drawn.opacity, placement.box):
                draw_label(bgr, text, placement, scale)


def _draw_zones(bgr: BgrImage, zones: Mapping[str, Sequence[Sequence[float]]], scale: DrawingScale) -> list[Box]:
    """Draw the outlines and the names of zones; return where the names are."""
    corners = {
        name: (np.array(shares, np.float32) * [bgr.shape[1], bgr.shape[0]]).astype(np.float32) for name, shares in zones.items()
    }
    for points in corners.values():
        draw_outline(bgr, points, _ZONE_BGR, replace(scale, line=max(1, scale.line // 2), edge=max(1, scale.edge // 2)))
    taken: list[Box] = []
    for name, points in corners.items():
        text = fitted_text(name, scale.text, scale.stroke, bgr.shape[1] - 2 * scale.pad)
        width = text_width(text, scale.text, scale.stroke) + 2 * scale.pad
        height = round(scale.text + 2 * scale.pad)
        box = _name_box(points, (width, height), (bgr.shape[1], bgr.shape[0]), scale.line + scale.edge, taken)
        if box is not None:
            draw_ground(bgr, box, _ZONE_GROUND_BGR, scale)
            origin = (box.left + scale.pad, round(box.top + scale.pad + scale.text))
            draw_text(bgr, text, origin, scale.text, _ZONE_BGR, scale.stroke)
            taken.append(box)
    return taken


def _name_box(
    corners_xy: FloatArray, size: tuple[int, int], frame_size: tuple[int, int], gap_px: int, taken: Sequence[Box]
) -> Box | None:
    """Return where the name of a zone is: inside one of its corners, the upper left one first; None where there is no room."""
    (width, height), middle = size, corners_xy.mean(0)
    if width > frame_size[0] or height > frame_size[1]:
        return None
    for x, y in corners_xy[np.argsort(corners_xy.sum(1), kind="stable")].tolist():
        left = x + gap_px if x <= middle[0] else x - gap_px - width
        top = y + gap_px if y <= middle[1] else y - gap_px - height
        left, top = round(min(max(left, 0), frame_size[0] - width)), round(min(max(top, 0), frame_size[1] - height))
        box = Box(left, top, left + width, top + height)
        if not any(_overlap(box, other) for other in taken):
            return box
    return None


def _overlap(one: Box, other: Box) -> bool:
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom
