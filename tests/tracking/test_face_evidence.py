from collections.abc import Sequence
from dataclasses import replace

import pytest

from maskstream import load_config
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.events.detector import EventDetector
from maskstream.events.types import MaskEvent, Phase
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.tracking.face_evidence import FaceEvidence, visibility
from maskstream.types import Face, Label
from tests.conftest import make_face
from tests.tracking.made import Scripted, frame_at, output_with

NEED = load_config().events.min_evidence
BOX = (160.0, 160.0, 240.0, 240.0)


def seen(
    score: float = 0.95, eyes: float = 0.9, background: float | None = 0.01, label: Label = Label.NO_MASK, judged: bool = True
) -> Face:
    made = make_face(label, judged, box=BOX, score=score, point_score=eyes)
    return replace(made, background=background)


GLOVED_FIST = seen(score=0.8, eyes=0.42, background=0.47)
FIST_WITHOUT_CLASS = seen(score=0.8, eyes=0.42, background=None)
"""Seen by a classifier without the class `background`."""
STATUE = seen(score=0.65, eyes=0.32, background=0.01)
FAR_FACE = seen(score=0.9, eyes=0.55, background=0.02)


def evidence_of(faces: Sequence[Face], step_s: float = 0.04) -> list[float]:
    evidence = FaceEvidence()
    values = []
    for number, face in enumerate(faces):
        evidence.update(number * step_s, face)
        values.append(evidence.value)
    return values


def starts(faces: Sequence[Face], config: Config | None = None) -> list[float]:
    """The times of the starts of events of a person with one face per frame."""
    config = config or load_config()
    people = PeopleAnalyzer(Scripted(lambda frame: [faces[frame.index]]), config)
    events, found = EventDetector(config), []
    for index in range(len(faces)):
        frame = frame_at(index)
        (result,) = people.analyze([frame])
        published = [item for item in events.detect(output_with(frame, result.faces)) if isinstance(item, MaskEvent)]
        found += [frame.time_s for event in published if event.phase is Phase.START]
    return found


def test_visibility_needs_score_both_eyes_and_the_classifier() -> None:
    assert visibility(seen(score=0.8, eyes=0.5, background=0.25)) == pytest.approx(0.8 * 0.5 * 0.75)
    assert visibility(seen(score=0.8, eyes=0.5, background=None)) == pytest.approx(0.8 * 0.5 * 0.7)
    face = seen(score=1.0, eyes=0.9, background=0.0)
    one_eye = replace(face.detection, keypoint_scores=face.detection.keypoint_scores * [1.0, 1.0, 0.1])
    assert visibility(replace(face, detection=one_eye)) == pytest.approx(0.09)


@pytest.mark.parametrize("face", [GLOVED_FIST, FIST_WITHOUT_CLASS, STATUE], ids=["fist", "fist_without_class", "statue"])
def test_what_is_never_well_seen_never_has_enough_evidence(face: Face) -> None:
    assert max(evidence_of([face] * 1000)) < 0 < NEED


@pytest.mark.parametrize("face", [seen(), FAR_FACE], ids=["near", "far"])
def test_a_face_has_enough_evidence_before_an_event_may_begin(face: Face) -> None:
    assert evidence_of([face] * 26)[-1] >= NEED


def test_the_evidence_of_a_second_does_not_depend_on_the_frame_rate() -> None:
    slow, fast = evidence_of([FAR_FACE] * 3, 0.125)[-1], evidence_of([FAR_FACE] * 13, 0.125 / 6)[-1]
    assert fast == pytest.approx(slow)


def test_two_detections_are_enough_where_frames_are_rare() -> None:
    assert evidence_of([seen()] * 2, 2.0)[-1] >= NEED


def test_one_detection_is_not_enough() -> None:
    assert evidence_of([seen(score=1.0, eyes=1.0, background=0.0)])[-1] < NEED


def test_a_face_that_turns_to_the_camera_has_enough_evidence_within_a_second() -> None:
    values = evidence_of([STATUE] * 500 + [seen()] * 25)
    assert values[499] < 0
    assert values[-1] >= NEED


def test_a_face_seen_well_keeps_its_evidence_for_a_moment() -> None:
    values = evidence_of([seen()] * 50 + [STATUE] * 500)
    assert values[60] >= NEED
    assert values[-1] < 0


def test_invalid_numbers_are_no_evidence() -> None:
    nan = float("nan")
    evidence = FaceEvidence()
    for face in (seen(score=nan), seen(eyes=nan), seen(background=nan)):
        evidence.update(0.0, face)
    evidence.update(nan, seen())
    assert evidence.value == 0.0


@pytest.mark.parametrize("face", [GLOVED_FIST, FIST_WITHOUT_CLASS, STATUE], ids=["fist", "fist_without_class", "statue"])
def test_an_event_does_not_begin_without_evidence(face: Face) -> None:
    """The steady label is `no_mask` all the time."""
    assert starts([face] * 250) == []
    without = load_config(layers=[Layer("test", {"events": {"min_evidence": 0}})])
    assert len(starts([face] * 250, without)) == 1


def test_propagated_faces_are_no_evidence_that_they_are_faces() -> None:
    propagated = replace(seen(), judged=False)
    assert starts([GLOVED_FIST if index % 3 == 0 else propagated for index in range(250)]) == []


@pytest.mark.parametrize("face", [seen(), FAR_FACE], ids=["near", "far"])
def test_a_bare_face_begins_an_event_as_soon_as_without_the_rule(face: Face) -> None:
    without = load_config(layers=[Layer("test", {"events": {"min_evidence": 0}})])
    assert starts([face] * 50) == starts([face] * 50, without) != []


def test_an_event_begins_when_the_face_is_seen_well() -> None:
    (start_s,) = starts([STATUE] * 100 + [seen()] * 100)
    assert 4.0 < start_s < 5.0


def test_the_evidence_is_that_of_one_person() -> None:
    people = PeopleAnalyzer(
        Scripted(lambda _: [seen(), replace(GLOVED_FIST, face_box_xyxy=GLOVED_FIST.face_box_xyxy + 300)]), load_config()
    )
    for index in range(50):
        (result,) = people.analyze([frame_at(index)])
    person, fist = [face.evidence for face in result.faces]
    assert person is not None
    assert fist is not None
    assert person >= NEED > 0 > fist
