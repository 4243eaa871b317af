"""Detect, align and classify the faces of batches of frames. No threads, no input or output: any code may call it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from threading import Lock
from time import perf_counter
from typing import Final

import numpy as np
from loguru import logger

from maskstream.config.schema import Config, IncorrectAs
from maskstream.config.source_settings import SourceSettings
from maskstream.inference.candidates import Candidate, Findings, Thresholds, candidates_in, lowest_score
from maskstream.models.fork_safety import ForkGuard
from maskstream.protocols import AsynchronousDetector, Classifier, Cutter, Detector
from maskstream.types import BACKGROUND, BgrImage, Detection, Face, FloatArray, Frame, FrameResult, Label
from maskstream.vision.align import cut_faces
from maskstream.vision.geometry import box_corners

_LEAST_TOTAL: Final = 1e-9
"""Avoids a division by zero where all of the probability is on the background."""
_INCORRECT_FROM_SHARE: Final = 0.3
"""A face without a correct mask is labelled `incorrect` from this share of `incorrect` in the probability of both classes. On the
validation images 52 of 61 such faces get the label, at a precision of 0.87; with 0.5, 48 at the same precision."""
Region = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of a frame."""
Start = Callable[[list[BgrImage]], Callable[[], list[list[Detection]]]]
"""Begins to detect. What it returns waits for the detections."""


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
        return self._begun(frames, self._later)()

    @property
    def is_asynchronous(self) -> bool:
        """Whether the detector runs while `begin` returns."""
        return isinstance(self._detector, AsynchronousDetector)

    def begin(self, frames: Sequence[Frame]) -> Callable[[], list[FrameResult]]:
        """Begin to analyse frames; see `AsynchronousAnalyzer`. The times of the stages are those of the calling thread.

        Raises:
            ModelError: This process is a fork of the process that loaded the models.
        """
        detector = self._detector
        return self._begun(frames, detector.begin if isinstance(detector, AsynchronousDetector) else self._later)

    def _later(self, images_bgr: list[BgrImage]) -> Callable[[], list[list[Detection]]]:
        return partial(self._detector.detect, images_bgr)

    def _begun(self, frames: Sequence[Frame], start: Start) -> Callable[[], list[FrameResult]]:
        """Begin with the detector, on the region of each frame. What is returned waits for it and does the rest."""
        self._process.require()
        started = perf_counter()
        thresholds = [self._settings.derived(frame.source_id, Thresholds.of) for frame in frames]
        regions = [region_px(frame, own.region) for frame, own in zip(frames, thresholds, strict=True)]
        images = [frame.bgr[top:bottom, left:right] for frame, (left, top, right, bottom) in zip(frames, regions, strict=True)]
        detections = start(images) if images else list
        begin_s = perf_counter() - started
        return lambda: self._finish(frames, thresholds, regions, detections, begin_s)

    def _finish(
        self,
        frames: Sequence[Frame],
        thresholds: Sequence[Thresholds],
        regions: Sequence[Region],
        detections: Callable[[], list[list[Detection]]],
        begin_s: float,
    ) -> list[FrameResult]:
        """Wait for the detections of the regions, and return the results of their frames."""
        started = perf_counter()
        found_in = [
            [_shifted(detection, left, top) for detection in found]
            for found, (left, top, _, _) in zip(detections(), regions, strict=True)
        ]
        detected = perf_counter()
        findings = [candidates_in(found, own) for found, own in zip(found_in, thresholds, strict=True)]
        quads = [[each.quad_xy for each in found.candidates if each.quad_xy is not None] for found in findings]
        crops = self._cut([frame.bgr for frame in frames], quads, self._classifier.input_size_px)
        aligned = perf_counter()
        self._classify(findings, crops)
        classified = perf_counter()
        share_ms = 1000 / max(len(frames), 1)
        stages_ms = {
            "detect": (begin_s + detected - started) * share_ms,
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

    def _classify(self, findings: Sequence[Findings], crops: Sequence[BgrImage]) -> None:
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
            found.leave_out_repeats()

    def _face_of(self, candidate: Candidate, probabilities: FloatArray | None) -> tuple[Face, bool]:
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

    def _warn_of_unusable(self, frames: Sequence[Frame], findings: Sequence[Findings]) -> None:
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


def verdict(by_class: Mapping[str, float], incorrect_as: IncorrectAs) -> tuple[Label, float]:
    """Return the label of a face, and its probability among the classes of faces.

    It is the most probable one, but `incorrect` instead of `no_mask` from `_INCORRECT_FROM_SHARE`.

    Args:
        by_class: Probability of each class of faces. They may add up to less than 1: the background is left out.
        incorrect_as: `classifier.incorrect_as`.
    """
    total = sum(by_class.values())
    if incorrect_as == "no_mask":
        mask = by_class["mask"]
        by_class = {"mask": mask, "no_mask": total - mask}
    best = max(by_class, key=by_class.__getitem__)
    if best == "no_mask" and "incorrect" in by_class:
        share = by_class["incorrect"] / max(by_class["incorrect"] + by_class["no_mask"], _LEAST_TOTAL)
        best = "incorrect" if share >= _INCORRECT_FROM_SHARE else best
    return Label(best), by_class[best] / max(total, _LEAST_TOTAL)


def region_px(frame: Frame, region: Sequence[float]) -> Region:
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
