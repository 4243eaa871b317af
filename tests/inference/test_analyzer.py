import threading
from collections.abc import Sequence
from typing import Any

import imutils
import numpy as np
import pytest

from maskstream import Analyzer, MaskPipeline, load_config
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError
from maskstream.inference.pipeline import batch_size_of, build_analyzer, require_incorrect
from maskstream.models.runtimes import streams
from maskstream.types import COCO_KEYPOINTS, FACE_KEYPOINTS, BgrImage, Detection, FloatArray, Frame, Label
from tests.conftest import make_detection, make_detections, make_frame
from tests.receivers import wait_until
from tests.slowness import LONGEST_S


class GivenDetector:
    """Finds the given detections in every image."""

    def __init__(self, detections: list[Detection]) -> None:
        self.keypoint_names = FACE_KEYPOINTS
        self.shapes: list[tuple[int, ...]] = []
        self._detections = detections

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        self.shapes += [image.shape for image in images_bgr]
        return [self._detections for _ in images_bgr]

    def admit(self, min_score: float, max_faces: int) -> None:
        """Everything is found anyway."""


class GivenClassifier:
    """Says the same of every crop, and remembers how many it was shown at once."""

    class_names: tuple[str, ...] = ("mask", "no_mask", "incorrect")
    input_size_px = 112

    def __init__(self, probabilities: Sequence[float] = (0.7, 0.2, 0.1)) -> None:
        self.calls: list[int] = []
        self._probabilities = probabilities
        if len(probabilities) == 4:
            self.class_names = (*self.class_names, "background")

    def classify(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        self.calls.append(len(crops_bgr))
        return np.tile(np.array(self._probabilities, np.float32), (len(crops_bgr), 1))


def analyzer_of(detections: list[Detection], classifier: GivenClassifier | None = None, **settings: Any) -> Analyzer:
    layers = [Layer.of_key("test", key.replace("__", "."), value) for key, value in settings.items()]
    return Analyzer(GivenDetector(detections), classifier or GivenClassifier(), load_config(layers=layers))


def test_all_faces_of_all_frames_are_classified_in_one_go() -> None:
    classifier = GivenClassifier()
    frames = [make_frame(index, 100, 100) for index in range(3)]
    results = analyzer_of(make_detections(0.9, 0.8), classifier).analyze(frames)
    assert classifier.calls == [6]
    assert [(result.index, len(result.faces)) for result in results] == [(0, 2), (1, 2), (2, 2)]
    assert set(results[0].timing_ms) == {"capture", "detect", "align", "classify", "total"}


def test_the_most_certain_faces_are_kept() -> None:
    found = make_detections(0.75, 0.95, 0.85, 0.5)
    result = analyzer_of(found, detector__max_faces=2).analyze([make_frame(0, 100, 100)])[0]
    assert [face.detection.score for face in result.faces] == [0.95, 0.85]
    assert [face.detection.score for face in result.hidden] == [0.75, 0.5]  # to be covered where faces are


def test_the_score_threshold_comes_from_the_config() -> None:
    found = make_detections(0.95, 0.75)
    assert len(analyzer_of(found, detector__min_score=0.8).analyze([make_frame(0, 100, 100)])[0].faces) == 1


def test_a_source_may_have_thresholds_of_its_own() -> None:
    found = make_detections(0.95, 0.85, 0.75)
    settings = {"min_score": 0.9, "max_faces": 1, "incorrect_as": "incorrect", "min_face_px": 90}
    sections = {"min_score": "detector", "max_faces": "detector", "incorrect_as": "classifier", "min_face_px": "align"}
    own = {key: load_config(layers=[Layer.of_key("test", f"{sections[key]}.{key}", value)]) for key, value in settings.items()}
    analyzer = Analyzer(GivenDetector(found), GivenClassifier((0.2, 0.2, 0.6)), SourceSettings(load_config(), own))
    results = analyzer.analyze([make_frame(0, 100, 100, name) for name in ("another", *own)])
    assert [[face.label.value for face in result.faces] for result in results] == [
        ["no_mask"] * 3,
        ["no_mask"],
        ["no_mask"],
        ["incorrect"] * 3,
        ["unknown"] * 3,
    ]


def test_faces_are_detected_in_the_region_and_returned_in_pixels_of_the_image() -> None:
    detection = make_detection()
    detector = GivenDetector([detection])
    region = Layer.of_key("test", "detector.region", [0.25, 0.1, 1.0, 0.6])
    analyzer = Analyzer(detector, GivenClassifier(), load_config(layers=[region]))
    face = analyzer.analyze([make_frame(0, 401, 201)])[0].faces[0]
    assert detector.shapes == [(101, 301, 3)]
    np.testing.assert_array_equal(face.detection.box_xyxy, detection.box_xyxy + np.array([100, 20, 100, 20]))
    np.testing.assert_array_equal(face.detection.keypoints_xy, detection.keypoints_xy + np.array([100, 20]))


def test_a_region_of_less_than_a_pixel_is_a_pixel() -> None:
    assert analyzer_of([], detector__region=[0.9999, 0.9999, 1.0, 1.0]).analyze([make_frame(0, 3, 3)])[0].faces == ()


def test_a_face_is_found_at_the_same_place_in_a_region(demo_frames: list[Frame]) -> None:
    whole, part = load_config(), load_config(layers=[Layer.of_key("test", "detector.region", [0.0, 0.0, 0.3, 1.0])])
    settings = SourceSettings(whole)
    analyzer = build_analyzer(settings)
    left = [face for face in analyzer.analyze([demo_frames[0]])[0].faces if face.face_box_xyxy[2] < 0.3 * demo_frames[0].width]
    settings.set(demo_frames[0].source_id, part)
    found = analyzer.analyze([demo_frames[0]])[0].faces
    assert left
    assert len(found) == len(left)
    for one, other in zip(left, found, strict=True):
        assert other.label is one.label
        np.testing.assert_allclose(other.face_box_xyxy, one.face_box_xyxy, atol=6)


@pytest.mark.parametrize(
    ("probabilities", "incorrect_as", "label", "confidence"),
    [
        ((0.7, 0.2, 0.1), "no_mask", Label.MASK, 0.7),
        ((0.4, 0.3, 0.3), "no_mask", Label.NO_MASK, 0.6),
        ((0.4, 0.3, 0.3), "incorrect", Label.MASK, 0.4),
        ((0.2, 0.2, 0.6), "incorrect", Label.INCORRECT, 0.6),
        ((0.1, 0.6, 0.3), "incorrect", Label.INCORRECT, 0.3),
        ((0.1, 0.66, 0.24), "incorrect", Label.NO_MASK, 0.66),
    ],
)
def test_what_incorrect_counts_as(probabilities: list[float], incorrect_as: str, label: Label, confidence: float) -> None:
    analyzer = analyzer_of([make_detection()], GivenClassifier(probabilities), classifier__incorrect_as=incorrect_as)
    face = analyzer.analyze([make_frame(0, 100, 100)])[0].faces[0]
    assert face.label is label
    assert face.confidence == pytest.approx(confidence)


@pytest.mark.parametrize(("blur", "scores"), [("none", []), ("all", [0.2, 0.15])])
def test_what_may_be_a_face_is_anonymised(blur: str, scores: list[float]) -> None:
    found = [make_detection(score=score) for score in (0.9, 0.2, 0.15, 0.1)]
    analyzer = analyzer_of(found, GivenClassifier((1.0, 0.0, 0.0)), privacy__blur=blur, detector__min_score=0.3)
    result = analyzer.analyze([make_frame(0, 100, 100)])[0]
    assert [face.detection.score for face in result.faces] == [0.9]
    assert [face.detection.score for face in result.hidden] == pytest.approx(scores)


@pytest.mark.parametrize(("max_background", "is_kept"), [(0.5, False), (0.65, True), (1.0, True)])
def test_what_the_classifier_takes_for_no_face_is_left_out(max_background: float, is_kept: bool) -> None:
    classifier = GivenClassifier((0.1, 0.25, 0.05, 0.6))
    analyzer = analyzer_of([make_detection()], classifier, classifier__max_background=max_background)
    result = analyzer.analyze([make_frame(0, 100, 100)])[0]
    assert (len(result.faces), len(result.hidden)) == ((1, 0) if is_kept else (0, 1))


@pytest.mark.parametrize(("incorrect_as", "confidence"), [("no_mask", 0.75), ("incorrect", 0.625)])
def test_the_confidence_is_that_among_the_classes_of_faces(incorrect_as: str, confidence: float) -> None:
    analyzer = analyzer_of([make_detection()], GivenClassifier((0.2, 0.5, 0.1, 0.2)), classifier__incorrect_as=incorrect_as)
    face = analyzer.analyze([make_frame(0, 100, 100)])[0].faces[0]
    assert face.label is Label.NO_MASK
    assert face.confidence == pytest.approx(confidence)
    assert face.class_probabilities == pytest.approx({"mask": 0.25, "no_mask": 0.625, "incorrect": 0.125})


def test_what_is_surely_no_face_may_be_kept_all_the_same() -> None:
    analyzer = analyzer_of([make_detection()], GivenClassifier((0, 0, 0, 1)), classifier__max_background=1)
    assert analyzer.analyze([make_frame(0, 100, 100)])[0].faces[0].confidence == 0


@pytest.mark.parametrize(("score", "least", "is_kept"), [(0.9, 0.7, True), (0.65, 0.7, False), (0.65, 0.6, True)])
def test_what_cannot_be_classified_stays_where_the_detector_is_certain(score: float, least: float, is_kept: bool) -> None:
    found = [make_detection(box=(80, 40, 100, 58), score=score), make_detection(score=0.5)]
    analyzer = analyzer_of(found, GivenClassifier((0.9, 0, 0, 0.1)), align__min_unknown_score=least, align__min_face_px=20)
    result = analyzer.analyze([make_frame(0, 100, 100)])[0]
    assert [face.label for face in result.faces] == [Label.UNKNOWN] * is_kept + [Label.MASK]
    assert [face.label for face in result.hidden] == [Label.UNKNOWN] * (not is_kept)


@pytest.mark.parametrize(
    "detection",
    [
        make_detection(box=(40, 40, 49, 60)),
        make_detection(nose=(float("nan"), 0), left_eye=(float("nan"), 0)),
    ],
    ids=["small", "NaN keypoints"],
)
def test_what_cannot_be_classified_is_unknown_with_the_outline_of_its_box(detection: Detection) -> None:
    classifier = GivenClassifier()
    analyzer = analyzer_of([detection], classifier, align__min_face_px=10)
    face = analyzer.analyze([make_frame(0, 100, 100)])[0].faces[0]
    assert (face.label, face.confidence) == (Label.UNKNOWN, None)
    assert face.quad_xy[0].tolist() == detection.box_xyxy[:2].tolist()
    assert classifier.calls == [0]


@pytest.mark.parametrize(
    ("score", "background", "shown"),
    [(0.6, 0.7, Label.MASK), (0.6, 0.85, None), (0.45, 0.1, None), (0.9, 0.7, Label.MASK), (0.9, 0.85, None)],
)
def test_a_face_with_uncertain_eyes_has_stricter_limits(score: float, background: float, shown: Label | None) -> None:
    classifier = GivenClassifier((1 - background, 0, 0, background))
    limits: dict[str, Any] = {"classifier__max_background": 0.95, "align__max_uncertain_background": 0.8}
    analyzer = analyzer_of([make_detection(score=score, point_score=0.1)], classifier, **limits)
    result = analyzer.analyze([make_frame(0, 100, 100)])[0]
    assert [face.label for face in result.faces] == [shown] * (shown is not None)
    assert len(result.hidden) == (shown is None)
    certain = analyzer_of([make_detection(score=score)], classifier, **limits).analyze([make_frame(0, 100, 100)])[0]
    assert [face.label for face in certain.faces] == [Label.MASK]


def test_a_face_with_uncertain_eyes_is_cut_by_them_all_the_same() -> None:
    uncertain, certain = (
        analyzer_of([make_detection(point_score=score)]).analyze([make_frame(0, 100, 100)])[0].faces[0] for score in (0.1, 0.9)
    )
    np.testing.assert_array_equal(uncertain.quad_xy, certain.quad_xy)


def test_a_person_with_uncertain_eyes_may_be_turned_away_and_is_unknown() -> None:
    points = np.tile(np.array([[50, 50]], np.float32), (len(COCO_KEYPOINTS), 1)) + np.arange(len(COCO_KEYPOINTS))[:, None]
    weak = np.full(len(COCO_KEYPOINTS), 0.1, np.float32)
    person = Detection(np.array([20, 20, 80, 90], np.float32), 0.9, points.astype(np.float32), weak, COCO_KEYPOINTS)
    classifier = GivenClassifier()
    face = analyzer_of([person], classifier, detector__min_face_px=0).analyze([make_frame(0, 100, 100)])[0].faces[0]
    assert (face.label, classifier.calls) == (Label.UNKNOWN, [0])


@pytest.mark.parametrize(
    ("second", "is_of_the_first"),
    [
        ((28, 20, 72, 74), True),
        ((45, 20, 89, 74), True),
        ((60, 20, 104, 74), False),
        ((28, 50, 50, 70), True),  # a part of it
        ((0, 0, 100, 100), True),  # more than it
        ((58, 20, 80, 42), True),
        ((60, 20, 82, 42), False),
    ],
)
def test_a_face_that_is_found_twice_is_one(second: tuple[float, float, float, float], is_of_the_first: bool) -> None:
    found = [make_detection(box=second, score=0.8), make_detection(score=0.9)]
    result = analyzer_of(found).analyze([make_frame(0, 100, 100)])[0]
    assert [face.detection.score for face in result.faces] == [0.9, 0.8][: 2 - is_of_the_first]
    assert [face.detection.score for face in result.hidden] == [0.8] * is_of_the_first  # to be covered where faces are


def test_what_is_no_face_hides_none() -> None:
    class OnlySecond(GivenClassifier):
        def classify(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
            return np.array([[0, 0, 0, 1], [0.7, 0.2, 0.1, 0]], np.float32)

    found = [make_detection(score=0.9), make_detection(score=0.8)]
    result = analyzer_of(found, OnlySecond((0, 0, 0, 1))).analyze([make_frame(0, 100, 100)])[0]
    assert [face.detection.score for face in result.faces] == [0.8]


@pytest.mark.parametrize(("least", "shown"), [(0, 1), (19.5, 1), (20.5, 0)])
def test_a_face_that_is_too_small_is_left_out(least: float, shown: int) -> None:
    analyzer = analyzer_of([make_detection(box=(40, 40, 60, 70))], detector__min_face_px=least)
    result = analyzer.analyze([make_frame(0, 100, 100)])[0]
    assert (len(result.faces), len(result.hidden)) == (shown, 1 - shown)


def test_a_box_that_is_no_number_is_no_face() -> None:
    found = [make_detection(box=(float("nan"), 0, 10, 10)), make_detection(box=(0, 0, float("inf"), 10))]
    assert analyzer_of(found).analyze([make_frame()])[0].faces == ()


def test_faces_beyond_the_frame_are_classified() -> None:
    far = make_detection((-60, -40), (-80, -40), (-70, -28), (-92, -60, -48, -6))
    assert analyzer_of([far]).analyze([make_frame()])[0].faces[0].label is Label.MASK


def test_a_person_gets_the_face_box_of_the_rule() -> None:
    points = np.full((17, 2), 300, np.float32)
    points[:3] = (100, 158), (118, 137), (82, 137)
    person = Detection(np.array([0, 0, 200, 600], np.float32), 0.9, points, np.ones(17, np.float32), COCO_KEYPOINTS)
    face = analyzer_of([person]).analyze([make_frame(0, 200, 600)])[0].faces[0]
    assert face.detection.box_xyxy.tolist() == [0, 0, 200, 600]
    assert face.face_box_xyxy == pytest.approx([59, 100, 141, 200], abs=8)


def test_no_frame_gives_no_result(pipeline: MaskPipeline) -> None:
    assert pipeline.analyzer.analyze([]) == []


def test_three_lines_classify_an_image(face_bgr: BgrImage) -> None:
    pipeline = MaskPipeline()
    faces = pipeline(face_bgr)
    image = pipeline.draw(face_bgr, faces)
    assert faces
    assert {face.label for face in faces} <= {Label.MASK, Label.NO_MASK}
    assert image.shape == face_bgr.shape
    assert (image != face_bgr).any()


@pytest.mark.parametrize("tilt_deg", [-40, -20, 20, 40])
def test_a_tilted_head_is_classified_like_an_upright_one(pipeline: MaskPipeline, face_bgr: BgrImage, tilt_deg: float) -> None:
    upright = sorted(pipeline(face_bgr), key=lambda face: face.face_box_xyxy[0])
    tilted = sorted(pipeline(imutils.rotate_bound(face_bgr, tilt_deg)), key=lambda face: face.face_box_xyxy[0])
    assert [face.label for face in tilted] == [face.label for face in upright] == [Label.NO_MASK, Label.NO_MASK, Label.MASK]
    turned_deg = [_slope_deg(after.quad_xy) - _slope_deg(before.quad_xy) for before, after in zip(upright, tilted, strict=True)]
    assert turned_deg == pytest.approx([tilt_deg] * 3, abs=8)


def _slope_deg(quad_xy: FloatArray) -> float:
    """Return how far the upper edge of the crop is turned clockwise."""
    across, down = quad_xy[1] - quad_xy[0]
    return float(np.degrees(np.arctan2(down, across)))


def test_batching_frames_changes_no_answer(pipeline: MaskPipeline, demo_frames: list[Frame]) -> None:
    frames = demo_frames[:4]
    together = pipeline.analyzer.analyze(frames)
    for frame, result in zip(frames, together, strict=True):
        alone = pipeline.analyzer.analyze([frame])[0]
        assert [face.label for face in result.faces] == [face.label for face in alone.faces]
        for a, b in zip(result.faces, alone.faces, strict=True):
            assert a.confidence == pytest.approx(b.confidence, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "size", "of_images"),
    [
        ({"detector.every": 1}, 2 * streams(), 2 * streams()),
        ({}, 6 * streams(), 2 * streams()),
        ({"stream.stride": 2}, 4 * streams(), 2 * streams()),
        ({"stream.stride": 5}, 2 * streams(), 2 * streams()),
        ({"privacy.blur": "all"}, 2 * streams(), 2 * streams()),
        ({"detector.backend": "torch"}, 3, 1),
        ({"stream.batch_size": 5}, 5, 5),
        ({"precision": "bfloat16", "detector.every": 1}, 1, 1),
    ],
)
def test_frames_in_one_go_suit_what_runs_the_detector(settings: dict[str, Any], size: int, of_images: int) -> None:
    """The detector gets a full batch of frames, for any `detector.every` and `stream.stride`."""
    config = load_config(layers=[Layer.of_key("test", key, value) for key, value in {"device": "cpu", **settings}.items()])
    assert (batch_size_of(config), batch_size_of(config, is_video=False)) == (size, of_images)


def test_detectors_are_made_ready_for_one_source_after_the_other_while_others_are_analysed() -> None:
    """A detector that is compiled for 150 faces must not take the place of one that was compiled for 200 meanwhile."""

    class Compiled(GivenDetector):
        def admit(self, min_score: float, max_faces: int) -> None:
            inside.append(max_faces)
            at_once.append(len(inside))
            assert may_end.wait(LONGEST_S)
            inside.remove(max_faces)

    inside: list[int] = []
    at_once: list[int] = []
    may_end = threading.Event()
    settings = SourceSettings(load_config())
    analyzer = Analyzer(Compiled([make_detection()]), GivenClassifier(), settings)
    configs = [load_config(layers=[Layer.of_key("test", "detector.max_faces", count)]) for count in (150, 200)]
    threads = [threading.Thread(target=analyzer.admit, args=(config,)) for config in configs]
    for thread in threads:
        thread.start()
    wait_until(lambda: bool(inside))
    settings.set("door", configs[0])
    assert analyzer.analyze([make_frame(0, 100, 100)])[0].faces
    may_end.set()
    for thread in threads:
        thread.join()
    assert at_once == [1, 1]


def test_who_wants_no_more_than_what_is_ready_does_not_wait_for_a_detector_that_is_compiled_for_another() -> None:
    class Compiled(GivenDetector):
        def admit(self, min_score: float, max_faces: int) -> None:
            admitted.append((min_score, max_faces))
            assert may_end.wait(LONGEST_S)

    def faces(count: int, min_score: float = 0.15) -> Config:
        return load_config(
            layers=[Layer.of_key("test", "detector.max_faces", count), Layer.of_key("test", "detector.min_score", min_score)]
        )

    admitted: list[tuple[float, int]] = []
    may_end = threading.Event()
    analyzer = Analyzer(Compiled([make_detection()]), GivenClassifier(), SourceSettings(faces(100), {"gate": faces(20, 0.1)}))
    compiling = threading.Thread(target=analyzer.admit, args=(faces(200),))
    compiling.start()
    wait_until(lambda: bool(admitted))
    for ready in (faces(100), faces(50, 0.1)):  # in this thread: waiting for the other one would never end
        analyzer.admit(ready)
    may_end.set()
    compiling.join()
    for config in (faces(200), faces(200, 0.05), faces(150, 0.05)):
        analyzer.admit(config)
    assert admitted == [(0.15, 200), (0.05, 200)]


def test_what_the_models_cannot_say_is_refused_for_a_source_that_is_added() -> None:
    asks = load_config(layers=[Layer.of_key("test", "classifier.incorrect_as", "incorrect")])
    analyzer = Analyzer(GivenDetector([]), GivenClassifier(), load_config())
    require_incorrect(analyzer.class_names, [asks])
    with pytest.raises(ConfigError, match=r"classifier\.incorrect_as"):
        require_incorrect(("mask", "no_mask"), [load_config(), asks])
