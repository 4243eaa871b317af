import numpy as np
import pytest

from maskstream.redaction import redact
from maskstream.types import Detection, Face, Frame, Label, Output
from tests.conftest import make_detection, make_face, make_frame


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)],
    ids=["grey", "four channels", "empty", "float"],
)
def test_frame_refuses_what_is_no_bgr_image(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Frame\.bgr"):
        Frame(image, 0, "x", 0.0)


def test_frame_prints_its_shape_and_not_its_pixels() -> None:
    assert repr(make_frame(3)) == "Frame('made', index=3, time_s=0.120, 64x48)"


def test_detection_refuses_shapes_that_do_not_fit() -> None:
    good = make_detection()
    with pytest.raises(ValueError, match="keypoints_xy has shape"):
        Detection(good.box_xyxy, 0.5, good.keypoints_xy[:2], good.keypoint_scores, good.keypoint_names)


def test_detection_gives_a_keypoint_by_name() -> None:
    position, score = make_detection(nose=(50, 52)).keypoint("nose")
    assert position.tolist() == [50, 52]
    assert score == pytest.approx(0.9)
    with pytest.raises(ValueError, match="not in tuple"):
        make_detection().keypoint("left_ankle")


@pytest.mark.parametrize(("label", "confidence"), [(Label.UNKNOWN, 0.5), (Label.MASK, None)])
def test_only_an_unknown_face_has_no_confidence(label: Label, confidence: float | None) -> None:
    face = make_face()
    with pytest.raises(ValueError, match="only unknown has none"):
        Face(face.detection, face.quad_xy, face.face_box_xyxy, label, confidence)


def test_output_paints_once_and_only_when_asked() -> None:
    calls = []

    def paint(frame: Frame, _result: object) -> np.ndarray:
        calls.append(frame)
        return frame.bgr

    output = Output(make_frame(), None, True, paint)  # type: ignore[arg-type]
    assert calls == []
    assert output.annotated_bgr is output.annotated_bgr
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("rtsp://me:secret@cam:554/a?b=c", "rtsp://***@cam:554/a?b=c"),
        ("rtsp://cam/a", "rtsp://cam/a"),
        ("http://u:p@ss@host/x", "http://***@host/x"),
        ("folder/me@home.mp4", "folder/me@home.mp4"),
    ],
)
def test_passwords_are_left_out(location: str, shown: str) -> None:
    assert redact(location) == shown
