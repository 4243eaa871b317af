"""A network that is out of order, and gives numbers that are none, neither stops a run nor gets them into a record."""

import json
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskstream import Analyzer, load_config
from maskstream.config.loading import Layer, refine
from maskstream.evaluation.predictions import from_record
from maskstream.evaluation.predictions import to_record as to_prediction
from maskstream.events.detector import EventDetector
from maskstream.events.event_records import event_record
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.rendering.overlay import Overlay
from maskstream.sinks.records import to_record
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import COCO_KEYPOINTS, FACE_KEYPOINTS, BgrImage, Detection, Face, FloatArray, FrameResult, Label, Output
from tests.conftest import make_detection, make_detections
from tests.properties import any_number, broken, floats32
from tests.schemas import validator
from tests.tracking.made import frame_at

CONFIG = load_config(
    layers=[
        Layer.of_key("test", "events.min_seconds", 0.0),
        Layer.of_key("test", "privacy.blur", "unmasked"),
        Layer.of_key("test", "overlay.keypoints", True),
        Layer.of_key("test", "overlay.skeleton", True),
        Layer.of_key("test", "zones", {"left": [[0, 0], [0.6, 0], [0.6, 1], [0, 1]]}),
    ]
)
CLASSES = ("mask", "no_mask", "incorrect", "background")
FINE = (0.7, 0.2, 0.05, 0.05)
NAN, INF = float("nan"), float("inf")


@st.composite
def detections(draw: st.DrawFn) -> Detection:
    """A face or a person, of which now and then a number is none."""
    names = draw(st.sampled_from([FACE_KEYPOINTS, FACE_KEYPOINTS, COCO_KEYPOINTS]))
    x, y, side = draw(st.floats(0, 600)), draw(st.floats(0, 440)), draw(st.floats(8, 150))
    box = [x, y, x + side, y + side]
    face = [x + 0.5 * side, y + 0.6 * side, x + 0.7 * side, y + 0.4 * side, x + 0.3 * side, y + 0.4 * side]
    points = [*face, *([x, y] * (len(names) - 3))]
    scores = [0.9] * len(names)
    for values in draw(st.lists(st.sampled_from([box, points, scores]), max_size=2)):
        values[draw(st.integers(0, min(len(values), 6) - 1))] = draw(any_number(st.floats(-10, 700)))
    score = draw(broken(st.floats(0, 1)))
    return Detection(floats32(box), score, floats32(points).reshape(-1, 2), floats32(scores), names)


class Given:
    """A detector and a classifier that return given outputs, image by image and crop by crop."""

    keypoint_names = FACE_KEYPOINTS
    class_names = CLASSES
    input_size_px = 32

    def __init__(self, found: Sequence[Sequence[Detection]], probabilities: Sequence[Sequence[float]]) -> None:
        self._found, self._probabilities = list(found), probabilities
        self._crops = 0

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        return [list(self._found.pop(0)) for _ in images_bgr]

    def admit(self, min_score: float, max_faces: int) -> None:
        """Everything is found anyway."""

    def classify(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        first, self._crops = self._crops, self._crops + len(crops_bgr)
        rows = [self._probabilities[number % len(self._probabilities)] for number in range(first, self._crops)]
        return floats32(rows).reshape(len(crops_bgr), len(CLASSES))


def analysed(found: Sequence[Detection], *probabilities: Sequence[float]) -> FrameResult:
    network = Given([found], probabilities or [FINE])
    return Analyzer(network, network, CONFIG).analyze([frame_at(0)])[0]


def check(face: Face) -> None:
    """Everything that is said of a face is a number."""
    assert np.isfinite(face.face_box_xyxy).all()
    assert np.isfinite(face.quad_xy).all()
    assert 0 <= face.detection.score <= 1
    for probability in (face.confidence, face.steady_confidence):
        assert probability is None or 0 <= probability <= 1


PROBABILITIES = st.lists(
    st.one_of(st.just(FINE), st.just((0.1, 0.8, 0.05, 0.05)), st.tuples(*[broken(st.floats(0, 1))] * 4)),
    min_size=1,
    max_size=4,
)


@given(
    frames=st.lists(st.lists(detections(), max_size=4), min_size=1, max_size=4),
    probabilities=PROBABILITIES,
    every=st.integers(1, 2),
)
def test_no_number_that_is_none_gets_through(
    frames: list[list[Detection]], probabilities: list[tuple[float, ...]], every: int
) -> None:
    """Through everything that a run has: detector, classifier, tracking, zones, events, records, images, predictions."""
    network = Given(frames, probabilities)
    own = refine(CONFIG, Layer("test", {"detector": {"every": every}, "privacy": {"blur": "none"}}))
    people = PeopleAnalyzer(PropagatingAnalyzer(Analyzer(network, network, CONFIG), own), CONFIG)
    overlay, detector = Overlay(CONFIG), EventDetector(CONFIG)
    for index in range(len(frames) * every):
        frame = frame_at(index)
        result = people.analyze([frame])[0]
        for face in (*result.faces, *result.hidden):
            check(face)
        validator("record").validate(json.loads(json.dumps(to_record(result), allow_nan=False)))
        assert overlay.paint(frame, result).shape == frame.bgr.shape
        for item in detector.detect(Output(frame, result, True, overlay.paint)):
            json.dumps(event_record(item), allow_nan=False)
        assert len(from_record(to_prediction("a.jpg", 640, 480, result.faces)).faces) == len(result.faces)
    for item in detector.end("door", "ended"):
        json.dumps(event_record(item), allow_nan=False)


@given(bad=detections(), place=st.integers(0, 2))
def test_what_is_broken_of_one_face_leaves_the_others_alone(bad: Detection, place: int) -> None:
    good = [make_detection(score=0.95), make_detection(score=0.8, box=(300, 20, 344, 74))]
    faces = analysed([*good[:place], bad, *good[place:]]).faces
    kept = [face for face in faces if face.detection is not bad and face.detection.score in (0.95, 0.8)]
    assert [(face.label, face.quad_xy.tolist()) for face in kept] == [
        (face.label, face.quad_xy.tolist()) for face in analysed(good).faces
    ]


def test_a_box_that_is_none_is_left_out_and_the_rest_is_unknown() -> None:
    boxes = [(NAN, 20, 72, 74), (28, 20, INF, 74), (-3.4e38, 20, 3.4e38, 74), (72, 20, 28, 74), (28, 20, 72, 74)]
    faces = analysed([make_detection(box=box) for box in boxes]).faces
    assert [face.face_box_xyxy.tolist() for face in faces] == [[28, 20, 72, 74]]
    assert analysed([make_detection(left_eye=(NAN, 40), right_eye=(INF, 40))]).faces[0].label is Label.UNKNOWN


def test_a_person_whose_face_cannot_be_placed_is_left_out() -> None:
    points = np.tile(floats32([50, 40]), (17, 1))
    points[0] = NAN
    person = Detection(floats32([0, 0, 100, 300]), 0.9, points, np.full(17, 0.9, np.float32), COCO_KEYPOINTS)
    result = analysed([person])
    assert (result.faces, result.hidden) == ((), ())
    assert (result.unseen, result.unusable) == (True, 1)


def test_a_score_that_is_none_is_left_out() -> None:
    result = analysed([make_detection(score=score) for score in (NAN, INF, -INF, 0.9)])
    assert [face.detection.score for face in result.faces] == [0.9]
    assert [face.label for face in result.hidden] == [Label.UNKNOWN] * 3  # they may be faces: to be covered
    assert (result.unseen, result.unusable) == (False, 3)


def test_probabilities_that_are_none_leave_a_face_unknown() -> None:
    result = analysed(
        make_detections(0.9, 0.8, 0.75, 0.5),
        (NAN,) * 4,
        FINE,
        (0.5, INF, 0, 0),
        (NAN,) * 4,
    )
    assert [face.label for face in result.faces] == [Label.UNKNOWN, Label.MASK, Label.UNKNOWN, Label.UNKNOWN]
    assert (result.hidden, result.unusable) == ((), 3)
