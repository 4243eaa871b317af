import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from maskstream.annotations import Annotations
from maskstream.config.loading import load_config
from maskstream.errors import ConfigError
from maskstream.evaluation.prediction_files import PredictionFile, read_predictions
from maskstream.evaluation.predictions import from_record, to_json, to_record
from maskstream.sinks.records import to_record as to_stream_record
from maskstream.types import FrameResult, Label
from tests.conftest import make_face
from tests.evaluation.sets import labels

MEANINGS = load_config().evaluation.labels
SET = labels((), (), (), names=("a/one.jpg", "b/two.jpg", "c/two.jpg"))
COCO_SET = Annotations(
    SET.images, "coco", "0" * 64, coco_image_ids={7: "a/one.jpg"}, coco_categories={1: "with_mask", 2: "without mask"}
)

SET_BY_ID = replace(COCO_SET, coco_categories={})


def read(
    folder: Path, content: object, annotations: Annotations = SET, categories: dict[int, str] | None = None
) -> PredictionFile:
    path = folder / "predictions"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_predictions(path, annotations, MEANINGS, categories or {})


def result(**changes: object) -> dict[str, object]:
    return {"image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 40], "score": 0.75, **changes}


def test_our_own_file(tmp_path: Path) -> None:
    record = to_record("a/one.jpg", 200, 100, (make_face(score=0.6), make_face(Label.NO_MASK, score=0.8)))
    found = read(tmp_path, to_json({"min_score": 0.65, "score_floor": 0.1, "box": "face", "system": {}}, [record]))
    assert (found.kind, found.predicted_box, found.min_score, found.score_floor) == ("maskstream", "face", 0.65, 0.1)
    faces = found.by_image["a/one.jpg"].faces
    assert [(face.label, face.score) for face in faces] == [(Label.NO_MASK, 0.8), (Label.MASK, 0.6)]


def test_the_system_of_our_own_file_keeps_further_keys(tmp_path: Path) -> None:
    system = {"name": "ours", "description": "a model", "weights": {"a.pt": "0f"}, "device": "cpu", "threads": 4, "tags": ["x"]}
    header = {"min_score": 0.5, "score_floor": 0.1, "box": "face"}
    record = to_record("a/one.jpg", 200, 100, (make_face(),))
    found = read(tmp_path, to_json({**header, "system": system}, [record])).system
    assert found is not None
    assert found.to_json() == system
    del system["device"]
    assert read(tmp_path, to_json({**header, "system": system}, [record])).system is None


def test_records_of_the_stream(tmp_path: Path) -> None:
    results = [
        FrameResult("photos", index, 0.0, (make_face(),), file=file)
        for index, file in enumerate(("photos/a/one.jpg", "photos/b/two.jpg", "elsewhere/three.jpg"))
    ]
    found = read(tmp_path, "".join(json.dumps(to_stream_record(each)) + "\n" for each in results))
    assert (found.kind, found.predicted_box, found.min_score) == ("jsonl", "face", 0)
    assert set(found.by_image) == {"a/one.jpg", "b/two.jpg"}
    assert found.strangers == ("elsewhere/three.jpg",)
    assert found.by_image["b/two.jpg"].faces[0].keypoints["nose"][:2] == (50, 52)


def test_coco_results_with_the_categories_of_the_labels(tmp_path: Path) -> None:
    found = read(tmp_path, [result(), result(category_id=2, score=0.9), result(image_id=8)], COCO_SET)
    assert (found.kind, found.predicted_box, found.strangers) == ("coco", None, ("8",))
    first, second = found.by_image["a/one.jpg"].faces
    assert (first.label, second.label, second.score, second.confidence) == (Label.NO_MASK, Label.MASK, 0.75, None)
    assert second.box_xyxy.tolist() == [10, 20, 40, 60]


def test_coco_results_with_names_of_files_and_given_categories(tmp_path: Path) -> None:
    results = [result(image_id="one", category_id=5), result(image_id="b/two.jpg", category_id="masked"), result(image_id="two")]
    found = read(tmp_path, results, categories={5: "No-Mask", 1: "mask"})
    assert found.by_image["a/one.jpg"].faces[0].label is Label.NO_MASK
    assert found.by_image["b/two.jpg"].faces[0].label is Label.MASK
    assert found.strangers == ("two",)  # two images have this name


@pytest.mark.parametrize("write", [str, float])
def test_coco_results_with_ids_that_differ_in_type_only(tmp_path: Path, write: Callable[[int], object]) -> None:
    results = [result(image_id=write(7)), result(category_id=write(2))]
    found = read(tmp_path, results, COCO_SET)
    assert [face.label for face in found.by_image["a/one.jpg"].faces] == [Label.MASK, Label.NO_MASK]
    named = labels((), (), names=("7.jpg", "b.jpg"))
    by_name = replace(COCO_SET, images=named.images, coco_image_ids={7: "b.jpg"})
    assert set(read(tmp_path, [result(image_id="7")], by_name).by_image) == {"7.jpg"}  # text is a name, if there is one


def test_a_category_that_is_ambiguous_beside_others_is_asked_about(tmp_path: Path) -> None:
    for categories in ({1: "face", 2: "face_mask"}, {1: "face", 2: "face_mask", 3: "unused"}):
        with pytest.raises(ConfigError, match=r"face beside face_mask.* may mean .* --set evaluation\.labels\.face=no_mask"):
            read(tmp_path, [result()], SET_BY_ID, categories)
    found = read(tmp_path, [result()], SET_BY_ID, {1: "face", 2: "face_mask", 3: "no_mask"})
    assert found.by_image["a/one.jpg"].faces[0].label is Label.UNKNOWN


def test_ignored_categories_are_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, [result(), result(category_id=3)], COCO_SET, {3: "ignore"})
    assert len(found.by_image["a/one.jpg"].faces) == 1


def test_no_result_at_all_is_a_result(tmp_path: Path) -> None:
    assert read(tmp_path, [], COCO_SET).by_image == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not a file of predictions"),
        ("hello", "not a file of predictions"),
        ('{"images": []}', "not a file of predictions"),
        ("[" * 100_000, "not a file of predictions"),
        ([result(category_id=9)], r"categories of unknown meaning: 9 \(1\); give their names with --categories"),
        ([result(), result(score=1.5)], "result 2: .*1.5 is not a probability"),
        ([result(bbox=[1, 2, 3])], "result 1: "),
        ([result(bbox=[1, 2, -3, 4])], "result 1: .*is not a box"),
        ([result(image_id=99)], "none of its images, such as 99, has labels"),
        ('{"kind": "maskstream predictions"}', "damaged: KeyError"),
        (
            '{"kind": "maskstream predictions", "min_score": 0, "score_floor": 0, "pictures": [{"file": "x"}]}',
            "image 1: not a record",
        ),
        ('{"file": "a/one.jpg", "faces": []}\n{"file": "a/one.jpg", "faces": []}', "line 2: a/one.jpg occurs twice"),
        ('{"file": "a/one.jpg", "faces": []}\n{"file"', "line 2: not a record of an image"),
        ('{"file": "a/one.jpg", "faces": [{"label": "cow"}]}', "line 1: not a record of an image"),
        ('{"file": null, "faces": []}', "these are records of a video"),
        ('{"file": "x.jpg", "faces": []}', "none of its images, such as x.jpg, has labels"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read(tmp_path, content, COCO_SET)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: cannot be read: No such file"):
        read_predictions(tmp_path / "none", SET, MEANINGS, {})
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match="binary: cannot be read: not text"):
        read_predictions(tmp_path / "binary", SET, MEANINGS, {})


def test_probabilities_are_kept_if_the_classifier_knows_incorrect() -> None:
    by_class = {"mask": 0.4, "no_mask": 0.35, "incorrect": 0.25}
    known, unknown = (replace(make_face(), class_probabilities=given) for given in (by_class, {"mask": 0.9, "no_mask": 0.1}))
    record = json.loads(json.dumps(to_record("a/one.jpg", 200, 100, (known, unknown))))
    assert ["probabilities" in face for face in record["faces"]] == [True, False]
    first, second = from_record(record).faces
    assert (first.knows_incorrect, second.knows_incorrect) == (True, False)
    merged, own = first.with_incorrect_as("no_mask"), first.with_incorrect_as("incorrect")
    assert (merged.label, merged.confidence) == (Label.NO_MASK, pytest.approx(0.6))
    assert (own.label, own.confidence) == (Label.MASK, pytest.approx(0.4))
    record["faces"][0]["probabilities"].pop("mask")
    with pytest.raises(ValueError, match="expected mask, no_mask, incorrect"):
        from_record(record)
