"""Detect, align and classify the faces of batches of frames. No threads, no input or output: any code may call it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, isfinite
from threading import Lock
from time import perf_counter
from typing import Final

import numpy as np
from loguru import logger

from maskstream.config.schema import Config, IncorrectAs
from maskstream.config.source_settings import SourceSettings
from maskstream.models.fork_safety import ForkGuard
from maskstream.protocols import Classifier, Cutter, Detector
from maskstream.types import BACKGROUND, BgrImage, Detection, Face, FloatArray, Frame, FrameResult, Label
from maskstream.vision.align import AlignRules, crop_quad, cut_faces
from maskstream.vision.geometry import are_pixels, box_corners, face_box, is_box, is_person

_LEAST_TOTAL: Final = 1e-9
"""Avoids a division by zero where all of the probability is on the background."""
_ANONYMISED_SCORE: Final = 0.15
"""Where faces are anonymised, so are detections from this score. On val a tenth of those with 0.15 to 0.3 are faces."""


@dataclass(frozen=True)
class _Thresholds:
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
    def of(cls, config: Config) -> "_Thresholds":
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
class _Candidate:
    """A detected face on its way to the classifier."""

    detection: Detection
    face_box_xyxy: FloatArray
    quad_xy: FloatArray | None
    """(4, 2), the outline of the crop for the classifier; None where the face is not classified."""
    max_background: float
    """The highest probability of the background for a face."""
    thresholds: _Thresholds

    @classmethod
    def of(cls, detection: Detection, face_box_xyxy: FloatArray, thresholds: _Thresholds) -> "_Candidate":
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
class _Findings:
    """What the models have found so far in one frame."""

    candidates: list[_Candidate]
    """The highest score first."""
    faces: list[Face] = field(default_factory=list)
    hidden: list[Face] = field(default_factory=list)
    """Left out of the faces, but may be faces."""
    unusable: int = 0
    """Number of detections and classifications with numbers that are not finite."""
    unseen: bool = False
    """Whether the place of a face is unknown, because the numbers of its detection are not finite."""


class Analyzer:
    """Detects, aligns and classifies the faces of a batch of frames, of one source or of many."""

    def __init__(
        self,
        detector: Detector,
        classifier: Classifier,
        settings: Config | SourceSettings,
        cut: Cutter = cut_faces,
    ) -> None:
        """Connect the stages.

        Args:
            detector: Finds faces or people, down to the `lowest_score` and up to the highest `detector.max_faces` of the
                settings.
            classifier: Classifies aligned crops.
            settings: Thresholds, the maximum number of faces, and what `incorrect` counts as, for each source.
            cut: Cuts the crops for the classifier.
        """
        self._cut = cut
        self._detector = detector
        self._classifier = classifier
        self._settings = SourceSettings.shared(settings)
        self._process = ForkGuard()
        self._has_warned = False
        self._admitting = Lock()
        configs = self._settings.all()
        self._admitted = min(map(lowest_score, configs)), max(each.detector.max_faces for each in configs)
        """Threshold and number of faces that the detector is ready for."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the classifier."""
        return self._classifier.class_names

    def admit(self, config: Config) -> None:
        """Make the detector ready for a source with these settings. This may take seconds: some detectors are compiled again.

        May be called while another thread analyses. Settings that the detector is ready for do not wait for other calls.

        Raises:
            ModelError: The detector cannot find as many faces.
        """
        wanted_score, wanted_faces = lowest_score(config), config.detector.max_faces
        admitted_score, admitted_faces = self._admitted
        if wanted_score >= admitted_score and wanted_faces <= admitted_faces:
            return
        with self._admitting:
            self._detector.admit(wanted_score, wanted_faces)
            min_score, max_faces = self._admitted
            self._admitted = min(min_score, wanted_score), max(max_faces, wanted_faces)

    def forget(self, source_id: str) -> None:
        """Do nothing: no frame depends on another."""

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order. All faces of all frames are classified in one batch.

        Several threads may call it.

        Raises:
            ModelError: This process is a fork of the process that loaded the models.
            OutOfMemory: Fewer frames at a time may succeed.
        """
        self._process.require()
        started = perf_counter()
        thresholds = [self._settings.derived(frame.source_id, _Thresholds.of) for frame in frames]
        regions = [region_px(frame, own.region) for frame, own in zip(frames, thresholds, strict=True)]
        detections = self._detect(frames, regions)
        detected = perf_counter()
        findings = [_candidates(found, own) for found, own in zip(detections, thresholds, strict=True)]
        quads = [[each.quad_xy for each in found.candidates if each.quad_xy is not None] for found in findings]
        crops = self._cut([frame.bgr for frame in frames], quads, self._classifier.input_size_px)
        aligned = perf_counter()
        self._classify(findings, crops)
        classified = perf_counter()
        share_ms = 1000 / max(len(frames), 1)
        stages_ms = {
            "detect": (detected - started) * share_ms,
            "align": (aligned - detected) * share_ms,
            "classify": (classified - aligned) * share_ms,
        }
        self._warn_of_unusable(frames, findings)
        results = []
        for frame, found, region in zip(frames, findings, regions, strict=True):
            result = FrameResult.of(frame, tuple(found.faces), tuple(found.hidden), stages_ms)
            region_xyxy = None if region == (0, 0, frame.width, frame.height) else region
            results.append(replace(result, unusable=found.unusable, unseen=found.unseen, region_xyxy=region_xyxy))
        return results

    def _detect(self, frames: Sequence[Frame], regions: Sequence[tuple[int, int, int, int]]) -> list[list[Detection]]:
        """Run the detector on the region of each frame, and return the detections in pixels of the complete frame."""
        images = [frame.bgr[top:bottom, left:right] for frame, (left, top, right, bottom) in zip(frames, regions, strict=True)]
        detections = self._detector.detect(images) if images else []
        return [
            [_shifted(detection, left, top) for detection in found]
            for found, (left, top, _, _) in zip(detections, regions, strict=True)
        ]

    def _classify(self, findings: Sequence[_Findings], crops: Sequence[BgrImage]) -> None:
        """Add the faces of each frame to its findings, and what is left out but may be a face."""
        probabilities = self._classifier.classify(crops)
        row = 0
        for found in findings:
            for candidate in found.candidates:
                of_candidate = None
                if candidate.quad_xy is not None:
                    of_candidate = probabilities[row]
                    row += 1
                    found.unusable += not np.isfinite(of_candidate).all()
                face, is_face = self._face_of(candidate, of_candidate)
                (found.faces if is_face else found.hidden).append(face)

    def _face_of(self, candidate: _Candidate, probabilities: FloatArray | None) -> tuple[Face, bool]:
        """Return a candidate as a face, and whether it is one.

        It is none where the classifier sees the background, or where there was no crop and the score of the detector is low.
        Where the probabilities are not finite it stays a face with the label `unknown`: the classifier has not excluded it.
        """
        by_class = {}
        if probabilities is not None and np.isfinite(probabilities).all():
            by_class = dict(zip(self._classifier.class_names, probabilities.tolist(), strict=True))
        background = by_class.pop(BACKGROUND, None)
        thresholds = candidate.thresholds
        is_doubtful = probabilities is None and candidate.detection.score < thresholds.min_unknown_score
        is_face = not is_doubtful and (background or 0.0) <= candidate.max_background
        label, confidence = Label.UNKNOWN, None
        if by_class and is_face:
            label, confidence = verdict(by_class, thresholds.incorrect_as)
        total = max(sum(by_class.values()), _LEAST_TOTAL)
        quad_xy = box_corners(candidate.face_box_xyxy) if candidate.quad_xy is None else candidate.quad_xy
        face = Face(
            detection=candidate.detection,
            quad_xy=quad_xy,
            face_box_xyxy=candidate.face_box_xyxy,
            label=label,
            confidence=confidence,
            class_probabilities={name: value / total for name, value in by_class.items()},
            background=background,
        )
        return face, is_face

    def _warn_of_unusable(self, frames: Sequence[Frame], findings: Sequence[_Findings]) -> None:
        """Write one warning in the life of the analyzer."""
        first = next((frame for frame, found in zip(frames, findings, strict=True) if found.unusable), None)
        if first is not None and not self._has_warned:
            self._has_warned = True
            where = first.source_id if first.file is None else first.file
            logger.warning(
                "{}: the models return numbers that are not finite; these faces are labelled unknown, and counted; check the "
                "weights, and try precision float32 or another backend",
                where,
            )


def lowest_score(config: Config) -> float:
    """Return the lowest score at which a detection of the detector has an effect."""
    min_score = config.detector.min_score
    return min_score if config.privacy.blur == "none" else min(min_score, _ANONYMISED_SCORE)


def _candidates(detections: list[Detection], thresholds: _Thresholds) -> _Findings:
    """Return the faces to classify in a frame, and how many detections are unusable."""
    found = _Findings([])
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
    found.candidates = [_Candidate.of(detection, box, thresholds) for detection, box in places[: thresholds.max_faces]]
    found.hidden += [_unknown(detection, box) for detection, box in places[thresholds.max_faces :]]
    return found


def _unknown(detection: Detection, box_xyxy: FloatArray) -> Face:
    """Return a face that is not reported, but is anonymised where faces are."""
    return Face(detection, box_corners(box_xyxy), box_xyxy, Label.UNKNOWN, None)


def verdict(by_class: Mapping[str, float], incorrect_as: IncorrectAs) -> tuple[Label, float]:
    """Return the label of a face, and its probability among the classes of faces.

    Args:
        by_class: Probability of each class of faces. They may add up to less than 1: the background is left out.
        incorrect_as: `classifier.incorrect_as`.
    """
    total = sum(by_class.values())
    if incorrect_as == "no_mask":
        mask = by_class["mask"]
        by_class = {"mask": mask, "no_mask": total - mask}
    best = max(by_class, key=by_class.__getitem__)
    return Label(best), by_class[best] / max(total, _LEAST_TOTAL)


def region_px(frame: Frame, region: Sequence[float]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a region in pixels. It is at least one pixel wide and high."""
    left, top = int(region[0] * (frame.width - 1)), int(region[1] * (frame.height - 1))
    return left, top, max(left + 1, ceil(region[2] * frame.width)), max(top + 1, ceil(region[3] * frame.height))


def _shifted(detection: Detection, x: int, y: int) -> Detection:
    """Return a detection in a part of a frame, whose upper left pixel is (x, y), as a detection in the complete frame."""
    if x == y == 0:
        return detection
    shift = np.array([x, y], np.float32)
    box_xyxy = detection.box_xyxy + np.tile(shift, 2)
    return replace(detection, box_xyxy=box_xyxy, keypoints_xy=detection.keypoints_xy + shift)


def _without_strays(found: Detection) -> Detection:
    """Return a detection in which keypoints far outside of any frame, and scores that are not finite, are NaN."""
    if are_pixels(found.keypoints_xy) and np.isfinite(found.keypoint_scores).all():
        return found
    points = [point if are_pixels(point) else np.full(2, np.nan) for point in found.keypoints_xy]
    scores = np.where(np.isfinite(found.keypoint_scores), found.keypoint_scores, np.nan)
    return replace(found, keypoints_xy=np.array(points, np.float32), keypoint_scores=scores.astype(np.float32))
