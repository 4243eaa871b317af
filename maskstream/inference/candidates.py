"""Choose which detections are candidates for the classifier, by the settings of their source."""

from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Final

import numpy as np

from maskstream.config.schema import Config, IncorrectAs
from maskstream.types import Detection, Face, FloatArray, Label
from maskstream.vision.align import AlignRules, crop_quad
from maskstream.vision.geometry import are_pixels, box_corners, box_fraction_inside, face_box, is_box, is_person, without_repeats

_SAME_FACE_FRACTION: Final = 0.6
"""Boxes show one face where more of the smaller one is inside the other. On the validation images 0.4 to 0.6 lose no face."""
_ANONYMISED_SCORE: Final = 0.15
"""Where faces are anonymised, so are detections from this score. On val a tenth of those with 0.15 to 0.3 are faces."""


@dataclass(frozen=True)
class Thresholds:
    """The settings that decide about the faces of one source."""

    min_score: float
    hidden_score: float
    """A detection with a lower score than `min_score`, but not lower than this one, may be a face."""
    max_faces: int
    min_face_px: float
    """Smaller faces are left out."""
    rules: AlignRules
    min_uncertain_score: float
    """A face whose eyes are uncertain is classified from this score of the detector."""
    incorrect_as: IncorrectAs
    max_background: float
    max_uncertain_background: float
    """As `max_background`, for a face whose eyes are uncertain."""
    min_unknown_score: float
    region: tuple[float, ...]
    """Left, top, right, bottom as fractions of the frame."""

    @classmethod
    def of(cls, config: Config) -> "Thresholds":
        """Return those of a configuration."""
        return cls(
            min_score=config.detector.min_score,
            hidden_score=lowest_score(config),
            max_faces=config.detector.max_faces,
            min_face_px=config.detector.min_face_px,
            rules=AlignRules(config.align.min_face_px, config.align.min_keypoint_score),
            min_uncertain_score=config.align.min_uncertain_score,
            incorrect_as=config.classifier.incorrect_as,
            max_background=config.classifier.max_background,
            max_uncertain_background=config.align.max_uncertain_background,
            min_unknown_score=config.align.min_unknown_score,
            region=tuple(config.detector.region or (0, 0, 1, 1)),
        )


@dataclass(frozen=True, eq=False)
class Candidate:
    """A detected face on its way to the classifier."""

    detection: Detection
    face_box_xyxy: FloatArray
    quad_xy: FloatArray | None
    """(4, 2), the outline of the crop for the classifier; None where the face is not classified."""
    max_background: float
    """The highest probability of the background for a face."""
    thresholds: Thresholds

    @classmethod
    def of(cls, detection: Detection, face_box_xyxy: FloatArray, thresholds: Thresholds) -> "Candidate":
        """Return a detection with the outline of its crop.

        A face whose eyes are uncertain has one too where the detector is certain: its box shows where it is. A person has none:
        the face may be turned away.
        """
        quad_xy, max_background = crop_quad(detection, face_box_xyxy, thresholds.rules), thresholds.max_background
        may_be_cut = detection.score >= thresholds.min_uncertain_score and not is_person(detection)
        if quad_xy is None and may_be_cut:
            any_eyes = replace(thresholds.rules, min_keypoint_score=0.0)
            quad_xy, max_background = crop_quad(detection, face_box_xyxy, any_eyes), thresholds.max_uncertain_background
        return cls(detection, face_box_xyxy, quad_xy, max_background, thresholds)


@dataclass(eq=False)
class Findings:
    """What the models have found so far in one frame."""

    candidates: list[Candidate]
    """The highest score first."""
    faces: list[Face] = field(default_factory=list)
    hidden: list[Face] = field(default_factory=list)
    """Left out of the faces, but may be faces."""
    unusable: int = 0
    """Number of detections and classifications with numbers that are not finite."""
    unseen: bool = False
    """Whether the place of a face is unknown, because the numbers of its detection are not finite."""

    def leave_out_repeats(self) -> None:
        """Leave out each face that is found a second time, with a lower score: a part of another face, or more than it."""
        boxes = np.array([face.face_box_xyxy for face in self.faces], np.float32).reshape(-1, 4)
        inside = box_fraction_inside(boxes, boxes)
        kept = without_repeats(np.maximum(inside, inside.T) > _SAME_FACE_FRACTION)
        self.hidden += [face for index, face in enumerate(self.faces) if index not in kept]
        self.faces = [self.faces[index] for index in kept]


def lowest_score(config: Config) -> float:
    """Return the lowest score at which a detection of the detector has an effect."""
    min_score = config.detector.min_score
    return min_score if config.privacy.blur == "none" else min(min_score, _ANONYMISED_SCORE)


def candidates_in(detections: list[Detection], thresholds: Thresholds) -> Findings:
    """Return the faces to classify in a frame, and how many detections are unusable."""
    found = Findings([])
    places: list[tuple[Detection, FloatArray]] = []
    for detection in detections:
        cleaned = _without_strays(detection)
        found.unusable += cleaned is not detection or not isfinite(detection.score) or not is_box(detection.box_xyxy)
        box = face_box(cleaned)
        if not (is_box(detection.box_xyxy) and is_box(box)):
            found.unseen |= not detection.score < thresholds.min_score
        elif not isfinite(detection.score):
            found.hidden.append(_unknown(replace(cleaned, score=0.0), box))
        elif detection.score >= thresholds.min_score and min(box[2:] - box[:2]) >= thresholds.min_face_px:
            places.append((cleaned, box))
        elif detection.score >= thresholds.hidden_score:
            found.hidden.append(_unknown(cleaned, box))
    places.sort(key=lambda pair: -pair[0].score)
    found.candidates = [Candidate.of(detection, box, thresholds) for detection, box in places[: thresholds.max_faces]]
    found.hidden += [_unknown(detection, box) for detection, box in places[thresholds.max_faces :]]
    return found


def _unknown(detection: Detection, box_xyxy: FloatArray) -> Face:
    """Return a face that is not reported, but is anonymised where faces are."""
    return Face(detection, box_corners(box_xyxy), box_xyxy, Label.UNKNOWN, None)


def _without_strays(found: Detection) -> Detection:
    """Return a detection in which keypoints far outside of any frame, and scores that are not finite, are NaN."""
    if are_pixels(found.keypoints_xy) and np.isfinite(found.keypoint_scores).all():
        return found
    points = [point if are_pixels(point) else np.full(2, np.nan) for point in found.keypoints_xy]
    scores = np.where(np.isfinite(found.keypoint_scores), found.keypoint_scores, np.nan)
    return replace(found, keypoints_xy=np.array(points, np.float32), keypoint_scores=scores.astype(np.float32))
