"""Frames in, judged faces out. Knows no threads and no input or output: call it from anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from maskstream.align import AlignedFace, AlignRules, align_face
from maskstream.config import Config, IncorrectAs
from maskstream.geometry import box_corners, face_box
from maskstream.protocols import Classifier, Detector
from maskstream.types import Detection, Face, FloatArray, Frame, FrameResult, Label


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A detected face on its way to the classifier."""

    detection: Detection
    face_box_xyxy: FloatArray
    aligned: AlignedFace | None


class Analyzer:
    """Detects, aligns and judges the faces of a batch of frames, of one source or of many."""

    def __init__(self, detector: Detector, classifier: Classifier, config: Config) -> None:
        """Put the stages together.

        Args:
            detector: Finds faces or people.
            classifier: Judges aligned crops.
            config: Thresholds, the cap on faces, and what `incorrect` counts as.
        """
        self._detector = detector
        self._classifier = classifier
        self._min_score = config.detector.min_score
        self._max_faces = config.detector.max_faces
        self._rules = AlignRules(config.align.min_face_px, config.align.min_keypoint_score)
        self._incorrect_as: IncorrectAs = config.classifier.incorrect_as

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order. All faces of all frames are classified in one go."""
        started = perf_counter()
        detections = self._detector.detect([frame.bgr for frame in frames]) if frames else []
        detected = perf_counter()
        candidates = [self._align(frame, self._select(found)) for frame, found in zip(frames, detections, strict=True)]
        aligned = perf_counter()
        faces = self._classify(candidates)
        classified = perf_counter()
        share_ms = 1000 / max(len(frames), 1)
        stages = {
            "detect": (detected - started) * share_ms,
            "align": (aligned - detected) * share_ms,
            "classify": (classified - aligned) * share_ms,
        }
        return [_result(frame, found, stages) for frame, found in zip(frames, faces, strict=True)]

    def _select(self, detections: list[Detection]) -> list[Detection]:
        certain = [found for found in detections if found.score >= self._min_score and np.isfinite(found.box_xyxy).all()]
        return sorted(certain, key=lambda found: -found.score)[: self._max_faces]

    def _align(self, frame: Frame, detections: list[Detection]) -> list[_Candidate]:
        size_px = self._classifier.input_size_px
        boxes = [face_box(detection) for detection in detections]
        return [
            _Candidate(detection, box, align_face(frame.bgr, detection, box, size_px, self._rules))
            for detection, box in zip(detections, boxes, strict=True)
        ]

    def _classify(self, candidates: list[list[_Candidate]]) -> list[tuple[Face, ...]]:
        crops = [candidate.aligned.bgr for found in candidates for candidate in found if candidate.aligned]
        probabilities = iter(self._classifier.classify(crops))
        return [
            tuple(self._judge(candidate, next(probabilities) if candidate.aligned else None) for candidate in found)
            for found in candidates
        ]

    def _judge(self, candidate: _Candidate, probabilities: FloatArray | None) -> Face:
        quad_xy = candidate.aligned.quad_xy if candidate.aligned else box_corners(candidate.face_box_xyxy)
        label, confidence = (Label.UNKNOWN, None) if probabilities is None else self._verdict(probabilities)
        return Face(candidate.detection, quad_xy, candidate.face_box_xyxy, label, confidence)

    def _verdict(self, probabilities: FloatArray) -> tuple[Label, float]:
        """Return the label and its probability, of class probabilities (C,)."""
        by_class = dict(zip(self._classifier.class_names, probabilities.tolist(), strict=True))
        if self._incorrect_as == "no_mask":
            mask = by_class["mask"]
            by_class = {"mask": mask, "no_mask": 1 - mask}
        best = max(by_class, key=by_class.__getitem__)
        return Label(best), by_class[best]


def _result(frame: Frame, faces: tuple[Face, ...], stages_ms: dict[str, float]) -> FrameResult:
    timing_ms = {"capture": frame.capture_ms, **stages_ms}
    timing_ms["total"] = sum(timing_ms.values())
    return FrameResult(frame.source_id, frame.index, frame.time_s, faces, frame.wall_time, frame.file, timing_ms)
