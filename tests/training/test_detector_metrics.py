from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskstream.annotations import Annotations, LabelledFace, LabelledImage
from maskstream.training.detector_metrics import _RAW_SCORES, calibrate_keypoints, metrics_by_set, validation_metrics
from maskstream.types import FACE_KEYPOINTS, Detection, FloatArray, Label

POINTS = np.array([[30, 40], [40, 25], [20, 25]], np.float32)


def labelled(x: float, label: Label = Label.NO_MASK, *, ignore: bool = False) -> LabelledFace:
    box = np.array([x + 10, 10, x + 50, 60], np.float32)
    return LabelledFace(box, label, ignore, POINTS + np.array([x, 0], np.float32))


def annotations(*faces: tuple[LabelledFace, ...]) -> Annotations:
    images = tuple(LabelledImage(Path(f"{n}.png"), f"{n}.png", 400, 100, each) for n, each in enumerate(faces))
    return Annotations(images, "coco", "sum")


def detected(face: LabelledFace, score: float, off: float = 0.0, logit: float = 5.0) -> Detection:
    points: FloatArray = np.asarray(face.keypoints_xy, np.float32) + np.array([off, 0], np.float32)
    raw = 1 / (1 + np.exp(-_RAW_SCORES.scale * logit))
    return Detection(face.box_xyxy, score, points, np.full(3, raw, np.float32), FACE_KEYPOINTS)


def test_metrics_of_faces_of_any_class() -> None:
    first, second, third, ignored = (
        labelled(0, Label.MASK),
        labelled(100),
        labelled(200, Label.UNKNOWN),
        labelled(300, ignore=True),
    )
    labels = annotations((first, second, third, ignored), ())
    found = {
        "0.png": [detected(first, 0.9), detected(second, 0.8, off=2), detected(ignored, 0.99)],
        "1.png": [detected(first, 0.6)],
    }
    metrics = validation_metrics(labels, found)
    assert metrics["found_50"] == pytest.approx(2 / 3)
    assert metrics["ap50"] == pytest.approx(67 / 101, abs=1e-5)
    assert metrics["false_per_picture"] == 0
    assert 0.6 < metrics["score"] <= 0.8
    assert metrics["f1"] == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert metrics["keypoint_error"] == pytest.approx((0 + 2 / 20) / 2)


def test_metrics_of_a_detector_that_finds_nothing() -> None:
    metrics = validation_metrics(annotations((labelled(0),)), {})
    assert metrics["ap50"] == metrics["found_50"] == metrics["f1"] == 0
    assert "keypoint_error" not in metrics


def test_a_metric_that_is_not_defined_is_none_and_not_zero() -> None:
    false_positive = {"0.png": [detected(labelled(0), 0.9)]}
    metrics = validation_metrics(annotations((labelled(0, ignore=True),), ()), {})
    assert metrics["found_50"] is None
    assert metrics["false_per_picture"] == 0
    assert validation_metrics(annotations(()), false_positive)["found_50"] is None


def test_keypoints_that_are_right_where_the_peak_is_high_are_calibrated_so() -> None:
    faces = tuple(labelled(0) for _ in range(600))
    rng = np.random.default_rng(0)
    logits = rng.uniform(-4, 4, len(faces))
    is_right = rng.random(len(faces)) < 1 / (1 + np.exp(-logits))
    found = {
        f"{n}.png": [detected(face, 0.9, 0 if ok else 30, float(x))]
        for n, (face, x, ok) in enumerate(zip(faces, logits, is_right, strict=True))
    }
    scale, bias = calibrate_keypoints(annotations(*((face,) for face in faces)), found) or (0, 0)
    assert scale == pytest.approx(1, abs=0.3)
    assert bias == pytest.approx(0, abs=0.4)


def test_nothing_found_gives_no_calibration() -> None:
    assert calibrate_keypoints(annotations((labelled(0),)), {}) is None
    without_points = replace(labelled(0), keypoints_xy=None)
    assert calibrate_keypoints(annotations((without_points,)), {"0.png": [detected(labelled(0), 0.9)]}) is None


def test_each_set_has_metrics_at_one_score() -> None:
    face = labelled(10)
    images = annotations(*[(face,)] * 10).images
    both = tuple(replace(image, name=f"{name}_{image.name}") for name in ("hao", "leo") for image in images)
    found = {image.name: [detected(face, 0.9)] if image.name.startswith("hao") else [detected(face, 0.4)] for image in both}
    found[both[0].name].append(detected(labelled(300), 0.8))
    assert metrics_by_set(replace(annotations(), images=both), found, 0.5) == {
        "hao": {"found_50": 1.0, "false_per_picture": 0.1},
        "leo": {"found_50": 0.0, "false_per_picture": 0.0},
    }
    assert metrics_by_set(replace(annotations(), images=both[:9]), found, 0.5) == {}
