"""Whatever a file of predictions holds, it is read or refused in one line, and no number that is none gets out of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maskstream.annotations import Annotations
from maskstream.config.loading import load_config
from maskstream.errors import ConfigError
from maskstream.evaluation.prediction_files import read_predictions
from maskstream.evaluation.predictions import FILE_KIND, ImagePredictions, from_record, to_json, to_record
from maskstream.types import Face, Label
from tests.conftest import make_face
from tests.evaluation.sets import labels
from tests.properties import any_number, broken, examples, floats32

MEANINGS = load_config().evaluation.labels
SET = labels((), (), names=("a/one.jpg", "two.jpg"))
COCO_SET = Annotations(SET.images, "coco", "0" * 64, coco_image_ids={7: "a/one.jpg"}, coco_categories={1: "mask", 2: "no_mask"})
NAN, INF = float("nan"), float("inf")
HUGE = 10**400

NUMBERS = st.one_of(st.floats(0, 200), st.floats(), st.integers(), st.sampled_from([NAN, INF, -INF, HUGE, 1e39, 1e308, -1e308]))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=6) | st.sampled_from(["mask", "a/one.jpg", "\ud800", "a\nb"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["file", "faces", "label", "score", "box", "x1", "x2", "y1", "y2", "keypoints", "nose", "bbox", "image_id"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)
NAMES = st.sampled_from(["a/one.jpg", "two.jpg", "one", "elsewhere.jpg"])


def or_anything(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return what is right, and now and then what is not."""
    return st.one_of(strategy, strategy, strategy, JSON)


PROBABILITY = or_anything(st.floats(0, 1))
EDGE = or_anything(st.floats(0, 200))
FACES = st.fixed_dictionaries(
    {
        "label": or_anything(st.sampled_from(["mask", "no_mask", "unknown"])),
        "score": PROBABILITY,
        "box": or_anything(st.fixed_dictionaries({"x1": EDGE, "y1": EDGE, "x2": st.just(300) | EDGE, "y2": st.just(300) | EDGE})),
    },
    optional={
        "confidence": PROBABILITY,
        "keypoints": or_anything(
            st.dictionaries(st.sampled_from(["nose", "left_eye"]), or_anything(st.lists(EDGE, min_size=3, max_size=3)))
        ),
    },
)
RECORDS = st.fixed_dictionaries(
    {"file": or_anything(NAMES), "faces": or_anything(st.lists(FACES, max_size=2))}, optional={"width": EDGE, "height": EDGE}
)
OURS = st.fixed_dictionaries(
    {
        "kind": st.just(FILE_KIND),
        "min_score": PROBABILITY,
        "score_floor": PROBABILITY,
        "pictures": or_anything(st.lists(RECORDS, max_size=2)),
    },
    optional={"box": or_anything(st.sampled_from(["face", "head"])), "system": JSON},
)
COCO = st.lists(
    st.fixed_dictionaries(
        {
            "image_id": or_anything(st.sampled_from([7, "two.jpg", 8])),
            "category_id": or_anything(st.sampled_from([1, 2, "mask"])),
            "bbox": or_anything(st.lists(EDGE, min_size=4, max_size=4)),
            "score": PROBABILITY,
        }
    ),
    max_size=3,
)
CONTENTS = st.one_of(
    OURS.map(json.dumps),
    COCO.map(json.dumps),
    st.lists(RECORDS, min_size=1, max_size=2).map(lambda records: "\n".join(map(json.dumps, records))),
    JSON.map(json.dumps),
    st.text(max_size=20),
)


def check(found: ImagePredictions) -> None:
    """Everything in it is a number, and the most certain face comes first."""
    scores = [face.score for face in found.faces]
    assert scores == sorted(scores, reverse=True)
    for face in found.faces:
        assert np.isfinite(face.box_xyxy).all()
        assert (face.box_xyxy[2:] >= face.box_xyxy[:2]).all()
        assert 0 <= face.score <= 1
        assert face.confidence is None or 0 <= face.confidence <= 1
        assert np.isfinite(list(face.keypoints.values())).all()


@examples(6)
@given(text=CONTENTS)
@example(text=json.dumps([{"image_id": 7, "category_id": 1, "bbox": [0, 0, HUGE, 1], "score": 0.5}]))
@example(text=json.dumps([{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1e39, 1], "score": 0.5}]))
@example(text=json.dumps([{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1], "score": HUGE}]))
@example(text=json.dumps({"file": "two.jpg", "width": INF, "faces": []}))
@example(text=json.dumps({"kind": FILE_KIND, "min_score": HUGE, "score_floor": 0, "pictures": []}))
def test_any_file_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "predictions"
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        found = read_predictions(path, COCO_SET, MEANINGS, {})
    except ConfigError as error:
        refused(error, path)
    else:
        assert 0 <= found.score_floor <= 1
        assert 0 <= found.min_score <= 1
        for each in found.by_image.values():
            check(each)


def refused(error: ConfigError, path: Path) -> None:
    """It names the file, in one line that is not too long."""
    message = str(error)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 1000


def face_of(box: list[float], points: list[float], score: float, confidence: float) -> Face:
    made = make_face(score=score)
    detection = type(made.detection)(
        floats32(box), score, floats32(points).reshape(3, 2), made.detection.keypoint_scores, made.detection.keypoint_names
    )
    return type(made)(detection, made.quad_xy, floats32(box), Label.MASK, confidence)


@examples(2)
@given(
    box=st.lists(any_number(st.floats(0, 200)), min_size=4, max_size=4),
    points=st.lists(any_number(st.floats(0, 200)), min_size=6, max_size=6),
    score=broken(st.floats(0, 1)),
    confidence=broken(st.floats(0, 1)),
)
@example(box=[0, 0, 10, 10], points=[0] * 6, score=NAN, confidence=0.5)
@example(box=[0, 0, NAN, 10], points=[0] * 6, score=0.5, confidence=0.5)
@example(box=[0, 0, 10, 10], points=[NAN] * 6, score=0.5, confidence=NAN)
def test_whatever_a_system_says_can_be_kept_and_read_again(
    box: list[float], points: list[float], score: float, confidence: float
) -> None:
    good = make_face(Label.NO_MASK, score=0.75)
    record = to_record("a/one.jpg", 200, 100, (good, face_of(box, points, score, confidence)))
    kept = json.loads(to_json({"min_score": 0.5, "score_floor": 0.05, "box": "face", "system": {}}, [record]))
    found = from_record(kept["pictures"][0])
    check(found)
    assert [face.score for face in found.faces if face.label is Label.NO_MASK] == [0.75]
    edges = floats32(box)
    is_face = np.isfinite([*edges, score]).all() and (edges[2:] >= edges[:2]).all()
    assert len(found.faces) <= 1 + is_face
