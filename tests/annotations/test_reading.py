"""What is read at all: folders, formats, and what is broken."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from maskstream.annotations import ProblemKind, ReadOptions, read_annotations
from maskstream.config.loading import load_config
from maskstream.errors import SourceOpenError
from tests.annotations.made import MEANINGS, coco, faces_of, images, kinds, only_problem, put, read, refusal, voc, vott

FACE = [("mask", (1, 2, 30, 40))]
DOCTYPE = '<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
BOX = {"left": 1, "top": 2, "width": 3, "height": 4}


def no_images(images: str) -> str:
    with pytest.raises(SourceOpenError) as caught:
        read_annotations(Path(images), None, ReadOptions(MEANINGS))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_are_found_in_folders_of_folders_in_natural_order() -> None:
    names = ["1/x.png", "2/a.png", "a.JPG", "picture_2.png", "picture_10.png"]
    images(*names, ".hidden.png", ".thumbs/a.png")
    put("images/notes.md", "")
    found = read(labels=None, unlabelled="negative")
    assert [image.name for image in found.images] == names
    assert [image.path for image in found.images] == [Path("images", name) for name in names]
    assert (found.format, found.names) == ("none", {})
    assert kinds(found) == [ProblemKind.IMAGE_WITHOUT_LABEL] * len(names)


def test_folders_without_images() -> None:
    put("images/notes.md", "")
    assert no_images("missing") == "missing: no such folder; give the folder of the images"
    assert no_images("images/notes.md") == "images/notes.md: not a folder; give the folder of the images"
    assert no_images("images").startswith("images: no image in this folder or below it; image files end in .jpg")
    assert no_images("a\nb").startswith(r"a\nb: no such folder")


def test_no_labels() -> None:
    images("a.png", "b.png")
    advice = "give --labels, or --unlabelled negative for images without people"
    assert refusal(labels=None) == f"images: 2 images and no labels; {advice}"
    assert refusal() == "labels: no such file or folder; give the labels of the images"
    Path("labels").mkdir()
    expected = "no labels; found no .xml, .json or .txt file; --format chooses (voc, vott, coco, yolo)"
    assert refusal() == f"labels: {expected}"


def test_files_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    images("a.png", "locked/b.png")
    put("labels/a.xml", voc(FACE))
    put("labels/b.xml", voc(FACE))
    scandir, read_bytes = os.scandir, Path.read_bytes

    def refuse(path: Any, *arguments: Any) -> Any:
        if str(path).endswith(("locked", "b.xml")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path) if not arguments else None

    monkeypatch.setattr(os, "scandir", refuse)
    assert no_images("images") == "images: images/locked cannot be read: Permission denied; check the path and its permissions"
    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "read_bytes", lambda path: refuse(path, 1) or read_bytes(path))
    found = read()
    assert list(faces_of(found)) == ["a.png"]
    assert only_problem(found).detail == "cannot be read: Permission denied; image locked/b.png is left out"


@pytest.mark.parametrize(
    ("name", "content", "format_"),
    [
        ("labels/a.txt", voc(FACE), "voc"),
        ("labels/a.xml", json.dumps(vott("a.png", FACE)), "vott"),
        ("labels/a.txt", json.dumps(coco({"a.png": FACE})), "coco"),
        ("labels/a.json", "0 .5 .5 .2 .5", "yolo"),
        ("labels/a", voc(FACE), "voc"),
        ("labels/a.label", "\ufeff0 .5 .5 .2 .5\n", "yolo"),
    ],
)
def test_content_tells_the_format(name: str, content: str, format_: str) -> None:
    images("a.png")
    put("classes.txt", "mask")
    put(name, content)
    assert read(labels=name).format == format_
    assert len(read(labels=name).images[0].faces) == 1
    if Path(name).suffix in {".txt", ".xml", ".json"}:
        assert read(labels="labels").format == format_


def test_other_files_are_ignored() -> None:
    images("a.png", "b.png")
    put("labels/a.xml", voc(FACE))
    put("labels/b.txt", "")  # of notes, or of YOLO: VOC it is not
    put("labels/README.txt", "how this was labelled")
    put("labels/package.json", '{"name": "labels"}')
    put("labels/list.json", "[1, 2]")
    found = read()
    assert (found.format, list(faces_of(found))) == ("voc", ["a.png"])
    assert only_problem(found).kind is ProblemKind.IMAGE_WITHOUT_LABEL


def test_several_formats() -> None:
    images("a.png")
    put("labels/classes.txt", "mask")
    put("labels/a.xml", voc([("mask", (1, 1, 9, 9))]))
    put("labels/b.xml", voc([("mask", (1, 1, 9, 9))]))
    put("labels/a.json", vott("a.png", [("mask", (2, 2, 9, 9))]))
    put("labels/coco.json", coco({"a.png": [("mask", (3, 3, 9, 9))]}))
    put("labels/a.txt", "0 .5 .5 .2 .5")
    expected = "labels: labels of several formats: 2 Pascal VOC, 1 VoTT, 1 YOLO, 1 COCO; --format chooses (voc, vott, coco, yolo)"
    assert refusal() == expected
    for format_, left in (("voc", 1), ("vott", 2), ("coco", 3), ("yolo", 40)):
        found = read(format=format_)
        assert found.format == format_
        assert found.images[0].faces[0].box_xyxy[0] == left
        assert kinds(found) == ([ProblemKind.LABEL_WITHOUT_IMAGE] if format_ == "voc" else [])


def test_the_format_that_is_forced_is_not_there() -> None:
    images("a.png")
    put("labels/a.xml", voc(FACE))
    put("labels/b.xml", "<html/>")
    assert refusal(format="coco") == (
        "labels: no COCO labels; found 1 Pascal VOC, 1 unknown .xml, such as b.xml: its XML is <html>, expected <annotation>; "
        "--format chooses (voc, vott, coco, yolo)"
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", "{", "a.json: not valid JSON: Expecting property name"),
        ("a.json", '{"images": []}', "a.json: its JSON is neither VoTT (asset, regions) nor COCO (images, annotations)"),
        ("a.json", "", "a.json: the file is empty"),
        ("a.json", '{"asset":' * 100_000, "a.json: not valid JSON: nested too deeply"),
        ("a.json", b'{"asset": "\xff"}', "a.json: not valid JSON: 'utf-8' codec can't decode"),
        ("a.json", '{"asset": ' + "1" * 5000 + "}", "a.json: not valid JSON: Exceeds the limit"),
        ("a.xml", "<annotation>", "a.xml: not valid XML: no element found"),
        ("a.xml", "<?xml version='1.0' encoding='nobody'?><annotation/>", "a.xml: not valid XML: unknown encoding"),
        ("a.xml", "<annotations/>", "a.xml: its XML is <annotations>, expected <annotation>"),
        ("a.xml", DOCTYPE + "<annotation>&b;</annotation>", "a.xml: not valid XML: it declares a DOCTYPE"),
        ("a.xml", (DOCTYPE + "<annotation/>").encode("utf-16"), "a.xml: not valid XML: it declares a DOCTYPE"),
        ("a.txt", "1 2 3", "a.txt: neither XML nor JSON nor lines of numbers"),
        ("a.txt", b"\xff\x00\x01", "a.txt: not text"),
    ],
)
def test_a_file_that_is_no_label(name: str, content: str | bytes, reason: str) -> None:
    images("a.png", "b.png")
    put(f"labels/{name}", content)
    assert f"labels/{name}: no labels; found 1 unknown {Path(name).suffix}, such as {reason}" in refusal(labels=f"labels/{name}")
    put("labels/classes.txt", "mask")
    whole = {".json": vott("b.png", []), ".xml": voc([]), ".txt": "0 .5 .5 .2 .2"}[Path(name).suffix]
    put(f"labels/b{Path(name).suffix}", whole)
    found = read(unlabelled="negative")  # a.png must not pass for one without faces
    assert list(faces_of(found)) == ["b.png"]
    assert (only_problem(found).kind, only_problem(found).where) == (ProblemKind.BROKEN_LABEL, name)
    assert only_problem(found).detail.startswith(reason.partition(": ")[2])


def of_region(**fields: object) -> dict[str, Any]:
    return {"asset": {"name": "a.png"}, "regions": [{"tags": ["mask"], "boundingBox": BOX}, {"tags": ["mask"], **fields}]}


def of_annotation(**fields: object) -> dict[str, Any]:
    content = coco({"a.png": FACE, "b.png": []})
    content["annotations"].append({"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], **fields})
    return content


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xml", voc([*FACE, ("mask", ("x", 2, 3, 4))]), "xmin of 'mask' is 'x', expected a number"),  # type: ignore[list-item]
        ("a.xml", voc([*FACE, ("mask", (1, 2, 3, ""))]), "ymax of 'mask' is '', expected a number"),  # type: ignore[list-item]
        ("a.xml", voc([("", (1, 2, 3, 4))]), "an object has no name"),
        ("a.xml", "<annotation><object><name>mask</name></object></annotation>", "object 'mask' has no bndbox"),
        ("a.xml", voc(FACE, size=("wide", 80)), "size/width is 'wide', expected a number"),
        ("a.xml", voc(FACE, further="<difficult>yes</difficult>"), "difficult of 'mask' is 'yes', expected a number"),
        ("a.json", {"asset": {"name": "a.png"}}, "regions is None, expected a list"),
        ("a.json", {"asset": "a.png", "regions": []}, "asset is 'a.png', expected an object"),
        ("a.json", {"regions": []}, "asset is None, expected an object"),
        ("a.json", {"assets": [1]}, "assets is [1], expected an object"),
        ("a.json", {"asset": {"name": "a.png"}, "regions": [7]}, "a region is 7, expected an object"),
        ("a.json", {"asset": {"name": "a.png", "size": 7}, "regions": []}, "size is 7, expected an object"),
        ("a.json", of_region(), "points is None, expected a list"),
        ("a.json", of_region(points=[]), "a region has neither boundingBox nor points"),
        ("a.json", of_region(points=[{"x": 1}]), "y is None, expected a number"),
        ("a.json", of_region(boundingBox={**BOX, "left": "1"}), "left is '1', expected a number"),
        ("a.json", of_region(boundingBox={**BOX, "left": True}), "left is True, expected a number"),
        ("a.json", of_region(boundingBox=[1, 2, 3, 4]), "boundingBox is [1, 2, 3, 4], expected an object"),
        ("a.json", of_region(boundingBox=BOX, tags="mask"), "tags is 'mask', expected a list"),
        ("a.json", of_region(boundingBox=BOX, tags=[1]), "tags is [1], expected names"),
        ("a.txt", "0 .5 .5 .2 .5\n0 .5 .5 .2", "line 2: 4 columns, expected class"),
        ("a.txt", "0 .5 .5 .2 .5\n\n0 .5 .5 .2 x", "line 3: a coordinate is 'x', expected a number"),
        ("a.txt", "0 .5 .5 .2 .5\nmask .5 .5 .2 .5", "line 2: the class is 'mask', expected a number"),
        ("a.txt", "0 .1 .2 .3 .4 .5 .6 .7", "line 1: 8 columns, expected class"),
        ("a.txt", "0 150 100 40 40", "line 1: 150 is not a fraction of the image"),
        ("a.txt", "3 .5 .5 .2 .5", "line 1: class 3 has no name; 1 classes have one"),
        ("a.txt", "mask in a row", "neither XML nor JSON nor lines of numbers"),
        ("c.json", of_annotation(bbox=[1, 2, 3]), "annotation 7: bbox is [1, 2, 3], expected x, y, width, height"),
        ("c.json", of_annotation(bbox=[1, 2, 3, "4"]), "annotation 7: bbox is '4', expected a number"),
        ("c.json", of_annotation(bbox=None), "annotation 7: bbox is None, expected"),
        ("c.json", of_annotation(category_id=9), "annotation 7: category_id is 9, which is not a category with a name"),
        ("c.json", of_annotation(category_id=[1]), "annotation 7: category_id is [1], which is not a category"),
        ("c.json", of_annotation(mask="maybe"), "annotation 7: mask is 'maybe', expected mask, no_mask, incorrect or null"),
        ("c.json", of_annotation(mask=["mask"]), "annotation 7: mask is ['mask'], expected"),
        ("c.json", of_annotation(iscrowd="no"), "annotation 7: iscrowd is 'no', expected a number"),
    ],
)
def test_one_broken_entry_leaves_out_the_complete_image(name: str, content: object, reason: str) -> None:
    images("a.png", "b.png")
    put("labels/classes.txt", "mask")
    put(f"labels/{name}", content)
    if name != "c.json":
        put(
            "labels/b" + Path(name).suffix,
            {".json": vott("b.png", []), ".xml": voc([]), ".txt": "0 .5 .5 .2 .2"}[Path(name).suffix],
        )
    found = read(unlabelled="negative")
    assert list(faces_of(found)) == ["b.png"]
    assert only_problem(found).kind is ProblemKind.BROKEN_LABEL
    assert only_problem(found).detail.startswith(reason)


def test_all_labels_are_broken() -> None:
    images("a.png", "b.png")
    put("labels/c.json", coco({"a.png": [], "b.png": []}, width="wide"))
    reason = "a.png: width is 'wide', expected a number; image a.png is left out"
    assert refusal() == f"images: none of 2 images is left: 2 broken label, such as {reason}"


def test_deep_nesting_that_json_can_hold() -> None:
    images("a.png")
    for depth in range(700, 1000, 4):
        put("labels/a.json", '{"asset": {"name": "a.png"}, "regions": [' + "[" * depth + "]" * depth + "]}")
        assert "a.json: " in refusal()


@pytest.mark.parametrize(
    "keypoints", [[1, 2], [1, 2, 2, 3, 4, 2], [1, 2, 2, 3, 4, 2, 5, "6", 2], 7, [1e300, 2, 2, 3, 4, 2, 5, 6, 2]]
)
def test_broken_keypoints(keypoints: object) -> None:
    images("a.png", "b.png")
    content = of_annotation(keypoints=keypoints)
    content["categories"][0]["keypoints"] = ["nose", "left_eye", "right_eye"]
    put("labels/c.json", content)
    assert only_problem(read()).detail.startswith("annotation 7: ")


def test_annotations_of_images_that_are_not_listed() -> None:
    images("a.png", "b.png")
    content = of_annotation(image_id=99)
    content["annotations"].append(7)
    content["images"].append({"file_name": "b.png"})
    del content["images"][1]
    put("labels/c.json", content)
    found = read(unlabelled="negative")
    assert list(faces_of(found)) == ["a.png"]
    assert [(problem.kind, problem.detail) for problem in found.problems] == [
        (ProblemKind.BROKEN_LABEL, "annotation 7 has an image_id that is not in images"),
        (ProblemKind.BROKEN_LABEL, "an annotation has an image_id that is not in images"),
        (ProblemKind.BROKEN_LABEL, "id is None, expected an integer; image b.png is left out"),
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": {}}, "images is {}, expected a list"),
        ({"annotations": None}, "annotations is None, expected a list"),
        ({"categories": [{"name": "mask"}]}, "an entry of categories has no integer as id"),
        ({"images": [{"id": 1, "file_name": "a.png"}] * 2}, "images has the id 1 twice"),
    ],
)
def test_a_coco_file_without_valid_lists(change: dict[str, Any], reason: str) -> None:
    images("a.png")
    put("labels/c.json", {**coco({"a.png": FACE}), **change})
    assert refusal() == f"c.json: not a COCO file: {reason}; export it again"


def test_several_coco_files() -> None:
    images("a.png")
    for name in ("train.json", "val.json"):
        put(f"labels/{name}", coco({"a.png": FACE}))
    assert refusal() == "2 COCO files among the labels (train.json, val.json): give one of them instead of their folder"
    assert read(labels="labels/val.json").coco_image_ids == {1: "a.png"}


def test_images_that_cannot_be_read() -> None:
    images("a.png")
    put("images/b.png", "no picture")
    put("images/c.png", "")
    for name in ("a", "b"):
        put(f"labels/{name}.xml", voc(FACE))
    found = read()
    assert list(faces_of(found)) == ["a.png"]
    assert [(problem.kind, problem.where) for problem in found.problems] == [
        (ProblemKind.UNREADABLE_IMAGE, "b.png"),
        (ProblemKind.IMAGE_WITHOUT_LABEL, "c.png"),  # not opened: it is left out as it is
    ]
    assert found.count_problems() == {"unreadable picture": 1, "picture without label": 1}
    Path("images/a.png").unlink()
    Path("labels/a.xml").unlink()
    assert refusal().startswith("images: none of 2 images is left: 1 unreadable image, 1 image without label, such as b.png: ")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("labels/b.xml", voc(FACE), "label without picture"),
        ("labels/b.xml", "<annotation>", "broken label"),
        ("labels/a.xml", voc([("mask", (100, 0, 120, 9))]), "box outside the picture"),
        ("labels/a.xml", voc([("mask", (10, 0, 10, 9))]), "box without area"),
        ("images/a.png", "no picture", "unreadable picture"),
    ],
)
def test_strict(name: str, content: str, kind: str) -> None:
    images("a.png", "c.png")
    put("labels/a.xml", voc([("mask", (-20, 0, 20, 9)), ("mask", (-20, 0, 20, 9))], size=(1, 1)))
    put("labels/c.xml", voc([]))
    assert set(kinds(read(strict=True))) == {ProblemKind.CLIPPED, ProblemKind.DUPLICATE, ProblemKind.SIZE_DIFFERS}
    put(name, content)
    assert kind in read().count_problems()
    assert refusal(strict=True).startswith("labels: 1 problems, the first: ")
    assert f": {ProblemKind(kind).text}: " in refusal(strict=True)


def test_odd_names_are_one_line() -> None:
    images("a\nb.png", "c.png")
    put("labels/x\ny.xml", voc(FACE))
    put("labels/c.xml", voc([]))
    found = read()
    assert [problem.where for problem in found.problems] == [r"x\ny.xml", r"a\nb.png"]
    assert "\n" not in "".join(problem.detail for problem in found.problems)
    assert len(found.sha256) == 64


def test_the_shipped_table_of_names() -> None:
    images("a.png")
    names = ["with_mask", "without_mask", "with_incorrect_mask", "nomask", "mask_weared_incorrect", "face"]
    put("labels/a.xml", voc([(name, (index, 0, index + 5, 9)) for index, name in enumerate(names)]))
    labels = [face.label.value for face in read(meanings=load_config().evaluation.labels).images[0].faces]
    assert labels == ["mask", "no_mask", "incorrect", "no_mask", "incorrect", "unknown"]
