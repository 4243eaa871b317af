"""Frames in, judged faces out. Knows no threads and no input or output: call it from anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, isfinite
from threading import Lock
from time import perf_counter

import numpy as np
from loguru import logger

from maskstream.config.schema import Config, IncorrectAs
from maskstream.config.source_settings import SourceSettings
from maskstream.models.fork_safety import OwnProcess
from maskstream.protocols import Classifier, Cutter, Detector
from maskstream.types import BACKGROUND, BgrImage, Detection, Face, FloatArray, Frame, FrameResult, Label
from maskstream.vision.align import AlignRules, crop_quad, cut_faces
from maskstream.vision.geometry import are_pixels, box_corners, face_box, is_box


@dataclass(frozen=True)
class _Thresholds:
    """What decides about the faces of one source."""

    min_score: float
    max_faces: int
    rules: AlignRules
    incorrect_as: IncorrectAs
    max_background: float
    min_unknown_score: float
    region: tuple[float, ...]
    """Left, top, right, bottom as shares of the picture."""

    @classmethod
    def of(cls, config: Config) -> "_Thresholds":
        rules = AlignRules(config.align.min_face_px, config.align.min_keypoint_score)
        detector, classifier = config.detector, config.classifier
        return cls(
            *(detector.min_score, detector.max_faces, rules),
            *(classifier.incorrect_as, classifier.max_background, config.align.min_unknown_score),
            tuple(detector.region or (0, 0, 1, 1)),
        )


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A detected face on its way to the classifier."""

    detection: Detection
    face_box_xyxy: FloatArray
    quad_xy: FloatArray | None
    """(4, 2), the outline of what is judged; None where it cannot be."""
    thresholds: _Thresholds


@dataclass(eq=False)
class _Findings:
    """What is known of one frame so far."""

    candidates: list[_Candidate]
    """The most certain first."""
    faces: list[Face] = field(default_factory=list)
    hidden: list[Face] = field(default_factory=list)
    """What is left out but may be a face."""
    unusable: int = 0
    """Answers of the models that are of no use."""
    unseen: bool = False
    """Whether one of them was the place of a face."""


class Analyzer:
    """Detects, aligns and judges the faces of a batch of frames, of one source or of many."""

    def __init__(
        self,
        detector: Detector,
        classifier: Classifier,
        settings: Config | SourceSettings,
        cut: Cutter = cut_faces,
    ) -> None:
        """Put the stages together.

        Args:
            detector: Finds faces or people; with as low a threshold as the lowest here, and as many as the most here.
            classifier: Judges aligned crops.
            settings: Thresholds, the maximum number of faces, and what `incorrect` counts as.
            cut: Cuts the crops, as the classifier takes them.
        """
        self._cut = cut
        self._detector = detector
        self._classifier = classifier
        self._settings = SourceSettings.shared(settings)
        self._process = OwnProcess()
        self._has_said = False
        self._admitting = Lock()
        detectors = [config.detector for config in self._settings.all()]
        self._admitted = min(each.min_score for each in detectors), max(each.max_faces for each in detectors)
        """Threshold and number of faces that the detector is ready for."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classifier tells."""
        return self._classifier.class_names

    def admit(self, config: Config) -> None:
        """Let the detector find what a source with these settings wants, which may take seconds: some are compiled anew.

        May be called while another thread analyses. Whoever wants no more than what is ready does not wait for others.

        Raises:
            ModelError: The detector cannot find so much.
        """
        wanted = config.detector
        if self._is_ready_for(wanted.min_score, wanted.max_faces):
            return
        with self._admitting:
            self._detector.admit(wanted.min_score, wanted.max_faces)
            min_score, max_faces = self._admitted
            self._admitted = min(min_score, wanted.min_score), max(max_faces, wanted.max_faces)

    def _is_ready_for(self, min_score: float, max_faces: int) -> bool:
        admitted_score, admitted_faces = self._admitted
        return min_score >= admitted_score and max_faces <= admitted_faces

    def forget(self, source_id: str) -> None:
        """Nothing to forget: no frame has to do with another."""

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order. All faces of all frames are classified in one go.

        Several threads may call it.

        Raises:
            ModelError: This is a fork of the process that loaded the models.
            OutOfMemory: Fewer frames at a time may do.
        """
        self._process.require()
        started = perf_counter()
        thresholds = [self._settings.derived(frame.source_id, _Thresholds.of) for frame in frames]
        regions = [_region_px(frame, own.region) for frame, own in zip(frames, thresholds, strict=True)]
        detections = self._detect(frames, regions)
        detected = perf_counter()
        findings = [_candidates(found, own) for found, own in zip(detections, thresholds, strict=True)]
        quads = [[each.quad_xy for each in found.candidates if each.quad_xy is not None] for found in findings]
        crops = self._cut([frame.bgr for frame in frames], quads, self._classifier.input_size_px)
        aligned = perf_counter()
        self._classify(findings, crops)
        classified = perf_counter()
        share_ms = 1000 / max(len(frames), 1)
        stages = {
            "detect": (detected - started) * share_ms,
            "align": (aligned - detected) * share_ms,
            "classify": (classified - aligned) * share_ms,
        }
        self._say_unusable(frames, findings)
        return [_result(*each, stages) for each in zip(frames, findings, regions, strict=True)]

    def _detect(self, frames: Sequence[Frame], regions: Sequence[tuple[int, int, int, int]]) -> list[list[Detection]]:
        """Return what the detector finds in the region of each frame, in pixels of the whole frame."""
        images = [frame.bgr[top:bottom, left:right] for frame, (left, top, right, bottom) in zip(frames, regions, strict=True)]
        detections = self._detector.detect(images) if images else []
        return [
            [_moved(detection, left, top) for detection in found]
            for found, (left, top, _, _) in zip(detections, regions, strict=True)
        ]

    def _classify(self, findings: Sequence[_Findings], crops: Sequence[BgrImage]) -> None:
        """Add to the findings of each frame its faces, and what is left out but may be a face."""
        rows = iter(self._classifier.classify(crops))
        for found in findings:
            for candidate in found.candidates:
                probabilities = None if candidate.quad_xy is None else next(rows)
                found.unusable += probabilities is not None and not np.isfinite(probabilities).all()
                face, is_one = self._judge(candidate, probabilities)
                (found.faces if is_one else found.hidden).append(face)

    def _judge(self, candidate: _Candidate, probabilities: FloatArray | None) -> tuple[Face, bool]:
        """Return the face, and False where the classifier sees none, or was shown nothing and the detector is not certain.

        A face of which the classifier says no finite numbers stays, as `unknown`: that it is none, nobody has said.
        """
        by_class = {}
        if probabilities is not None and np.isfinite(probabilities).all():
            by_class = dict(zip(self._classifier.class_names, probabilities.tolist(), strict=True))
        background = by_class.pop(BACKGROUND, 0.0)
        thresholds = candidate.thresholds
        is_doubtful = probabilities is None and candidate.detection.score < thresholds.min_unknown_score
        is_one = not is_doubtful and background <= thresholds.max_background
        quad_xy = box_corners(candidate.face_box_xyxy) if candidate.quad_xy is None else candidate.quad_xy
        label, confidence = _verdict(by_class, thresholds.incorrect_as) if by_class and is_one else (Label.UNKNOWN, None)
        return Face(candidate.detection, quad_xy, candidate.face_box_xyxy, label, confidence), is_one

    def _say_unusable(self, frames: Sequence[Frame], findings: Sequence[_Findings]) -> None:
        """Say once that the models give answers that are of no use."""
        first = next((frame for frame, found in zip(frames, findings, strict=True) if found.unusable), None)
        if first is not None and not self._has_said:
            self._has_said = True
            where = first.source_id if first.file is None else first.file
            logger.warning(
                "{}: the models give answers that are no finite numbers; such faces are unknown, and counted; check the weights, "
                "and try precision float32 or another backend",
                where,
            )


def _candidates(detections: list[Detection], thresholds: _Thresholds) -> _Findings:
    """Return what is to be judged in a frame, and what the detector's answers are worth."""
    found = _Findings([])
    places: list[tuple[Detection, FloatArray]] = []
    for detection in detections:
        plain = _without_strays(detection)
        found.unusable += plain is not detection or not isfinite(detection.score) or not is_box(detection.box_xyxy)
        box = face_box(plain)
        if not (is_box(detection.box_xyxy) and is_box(box)):
            found.unseen |= not detection.score < thresholds.min_score
        elif not isfinite(detection.score):
            found.hidden.append(_unknown(replace(plain, score=0.0), box))
        elif detection.score >= thresholds.min_score:
            places.append((plain, box))
    places.sort(key=lambda pair: -pair[0].score)
    found.candidates = [
        _Candidate(detection, box, crop_quad(detection, box, thresholds.rules), thresholds)
        for detection, box in places[: thresholds.max_faces]
    ]
    found.hidden += [_unknown(detection, box) for detection, box in places[thresholds.max_faces :]]
    return found


def _unknown(detection: Detection, box_xyxy: FloatArray) -> Face:
    """Return a face that nobody is told of, but that is covered where faces are."""
    return Face(detection, box_corners(box_xyxy), box_xyxy, Label.UNKNOWN, None)


def _result(frame: Frame, found: _Findings, region: tuple[int, int, int, int], stages_ms: Mapping[str, float]) -> FrameResult:
    result = FrameResult.of(frame, tuple(found.faces), tuple(found.hidden), stages_ms)
    is_whole = region == (0, 0, frame.width, frame.height)
    return replace(result, unusable=found.unusable, unseen=found.unseen, region_xyxy=None if is_whole else region)


def _verdict(by_class: Mapping[str, float], incorrect_as: IncorrectAs) -> tuple[Label, float]:
    """Return the label of a face and its probability, which is that among the classes of faces."""
    whole = sum(by_class.values())
    if incorrect_as == "no_mask":
        mask = by_class["mask"]
        by_class = {"mask": mask, "no_mask": whole - mask}
    best = max(by_class, key=by_class.__getitem__)
    return Label(best), by_class[best] / max(whole, 1e-9)


def _region_px(frame: Frame, region: Sequence[float]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a region in pixels, at least one wide and high."""
    left, top = int(region[0] * (frame.width - 1)), int(region[1] * (frame.height - 1))
    return left, top, max(left + 1, ceil(region[2] * frame.width)), max(top + 1, ceil(region[3] * frame.height))


def _moved(detection: Detection, x: int, y: int) -> Detection:
    """Return a detection in a part of a picture as one in the whole, whose pixel (x, y) the part begins with."""
    if x == y == 0:
        return detection
    shift = np.array([x, y], np.float32)
    box_xyxy = detection.box_xyxy + np.tile(shift, 2)
    return replace(detection, box_xyxy=box_xyxy, keypoints_xy=detection.keypoints_xy + shift)


def _without_strays(found: Detection) -> Detection:
    """Return a detection whose keypoints can be in a picture, and whose scores are numbers; others become NaN."""
    if are_pixels(found.keypoints_xy) and np.isfinite(found.keypoint_scores).all():
        return found
    points = [point if are_pixels(point) else np.full(2, np.nan) for point in found.keypoints_xy]
    scores = np.where(np.isfinite(found.keypoint_scores), found.keypoint_scores, np.nan)
    return replace(found, keypoints_xy=np.array(points, np.float32), keypoint_scores=scores.astype(np.float32))
