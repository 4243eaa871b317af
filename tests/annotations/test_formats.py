"""Each format from the example in its documentation, and what is particular to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskstream.annotations import ProblemKind
from tests.annotations.made import coco, faces_of, images, kinds, only_problem, put, read, refusal, region, voc, vott, yolo

VOC2007 = """<annotation>
	<folder>VOC2007</folder>
	<filename>000001.jpg</filename>
	<source>
		<database>The VOC2007 Database</database>
		<annotation>PASCAL VOC2007</annotation>
		<image>flickr</image>
	</source>
	<size>
		<width>353</width>
		<height>500</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
	<object>
		<name>dog</name>
		<pose>Left</pose>
		<truncated>1</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>48</xmin>
			<ymin>240</ymin>
			<xmax>195</xmax>
			<ymax>371</ymax>
		</bndbox>
	</object>
	<object>
		<name>person</name>
		<pose>Left</pose>
		<truncated>1</truncated>
		<difficult>1</difficult>
		<part>
			<name>head</name>
			<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>
		</part>
		<bndbox>
			<xmin>8</xmin>
			<ymin>12</ymin>
			<xmax>352</xmax>
			<ymax>498</ymax>
		</bndbox>
	</object>
</annotation>
"""
ASSET: dict[str, Any] = {
    "asset": {
        "format": "jpg",
        "id": "4f0c4d5d2ee3e1b6f2ca9d6ec5f2c9d5",
        "name": "my%20photo.jpg",
        "path": "file:C:/photos/my%20photo.jpg",
        "size": {"width": 100, "height": 80},
        "state": 2,
        "type": 1,
    },
    "regions": [
        {
            "id": "VtJFEHWBb",
            "type": "RECTANGLE",
            "tags": ["mask"],
            "boundingBox": {"height": 20.5, "width": 30, "left": 10, "top": 5},
            "points": [{"x": 10, "y": 5}, {"x": 40, "y": 5}, {"x": 40, "y": 25.5}, {"x": 10, "y": 25.5}],
        }
    ],
    "version": "2.1.0",
}
PERSON = {
    "supercategory": "person",
    "id": 1,
    "name": "person",
    "keypoints": ["nose", "left_eye", "right_eye", *(f"point {index}" for index in range(14))],
    "skeleton": [[16, 14]],
}
COCO2017: dict[str, Any] = {
    "info": {"description": "COCO 2017 Dataset", "version": "1.0", "year": 2017},
    "licenses": [{"id": 1, "name": "Attribution"}],
    "images": [
        {"license": 4, "file_name": "000000397133.jpg", "height": 427, "width": 640, "id": 397133},
        {"license": 4, "file_name": "000000000139.jpg", "height": 427, "width": 640, "id": 139},
    ],
    "annotations": [
        {
            "segmentation": [[125.12, 539.69, 140.94, 522.43]],
            "num_keypoints": 3,
            "area": 47803.27955,
            "iscrowd": 0,
            "keypoints": [142, 109, 1, 147, 100, 2, 134, 100, 2, *[0] * 42],
            "image_id": 397133,
            "bbox": [73.35, 106.02, 100.5, 200.25],
            "category_id": 1,
            "id": 183126,
        }
    ],
    "categories": [PERSON],
}


def test_voc_as_documented() -> None:
    images("000001.jpg", size=(353, 500))
    put("labels/000001.xml", VOC2007)
    found = read(meanings={"dog": "unknown", "person": "no_mask"})
    assert (found.format, found.names, found.problems) == ("voc", {"dog": 1, "person": 1}, ())
    dog, person = ("unknown", False, [48, 240, 195, 371]), ("no_mask", True, [8, 12, 352, 498])
    assert faces_of(found) == {"000001.jpg": [dog, person]}
    assert (found.images[0].width, found.images[0].height, found.images[0].path) == (353, 500, Path("images/000001.jpg"))


def test_voc_with_fractions_and_other_encodings() -> None:
    images("a.png", "b.png")
    put("labels/a.xml", voc([("mask", (1.25, 2.5, 30.75, 40))]).encode("utf-16"))
    put("labels/b.xml", b"\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?>\n" + voc([]).encode())
    assert faces_of(read()) == {"a.png": [("mask", False, [1.25, 2.5, 30.75, 40])], "b.png": []}


def test_vott_asset_as_documented() -> None:
    images("my photo.jpg")
    put("labels/4f0c4d5d2ee3e1b6f2ca9d6ec5f2c9d5-asset.json", ASSET)
    found = read()
    assert (found.format, found.problems) == ("vott", ())
    assert faces_of(found) == {"my photo.jpg": [("mask", False, [10, 5, 40, 25.5])]}


def test_vott_export_as_documented() -> None:
    images("my photo.jpg", "b.jpg", "new.jpg")
    export = {
        "name": "masks",
        "securityToken": "masks Token",
        "tags": [{"name": "mask", "color": "#5db300"}],
        "version": "2.1.0",
        "assets": {"4f0c": ASSET, "77aa": vott("b.jpg", [], state=1), "c01d": vott("new.jpg", [], state=0)},
    }
    put("export.json", export)
    found = read(labels="export.json")
    assert found.format == "vott"
    assert list(faces_of(found)) == ["b.jpg", "my photo.jpg"]
    problem = only_problem(found)  # new.jpg was not opened in VoTT
    assert (problem.kind, problem.where) == (ProblemKind.IMAGE_WITHOUT_LABEL, "new.jpg")


def test_vott_1_export() -> None:
    images("a.jpg")
    box = {"x1": 5, "y1": 10, "x2": 25, "y2": 30, "width": 50, "height": 40, "type": "Rectangle", "tags": ["mask"], "name": 1}
    content = {"frames": {"a.jpg": [box], "0": [box]}, "framerate": "1", "inputTags": "mask", "visitedFrames": ["a.jpg"]}
    put("labels.json", content)
    found = read(labels="labels.json")
    assert faces_of(found) == {"a.jpg": [("mask", False, [10, 20, 50, 60])]}  # the canvas was half as large
    assert "has no name of an image file" in only_problem(found).detail


def test_vott_polygon() -> None:
    images("a.jpg")
    corners = [{"x": 40, "y": 10}, {"x": 60, "y": 30}, {"x": 20, "y": 50}]
    put("labels/a.json", {"asset": {"name": "a.jpg"}, "regions": [{"type": "POLYGON", "tags": ["mask"], "points": corners}]})
    assert faces_of(read()) == {"a.jpg": [("mask", False, [20, 10, 60, 50])]}


@pytest.mark.parametrize(
    ("tags", "label", "ignore"),
    [
        ([], "unknown", False),
        (["face"], "unknown", False),
        (["face", "mask"], "mask", False),
        (["mask", "with mask"], "mask", False),
        (["difficult", "no_mask"], "no_mask", True),
        (["ignore"], "unknown", True),
    ],
)
def test_vott_with_several_tags(tags: list[str], label: str, ignore: bool) -> None:
    images("a.jpg")
    put("labels/a.json", {"asset": {"name": "a.jpg"}, "regions": [region(tags, (1, 2, 30, 40))]})
    found = read()
    assert faces_of(found) == {"a.jpg": [(label, ignore, [1, 2, 30, 40])]}
    assert found.names == dict.fromkeys(tags, 1)


def test_vott_tags_that_contradict_each_other() -> None:
    images("a.jpg", "b.jpg")
    put("labels/a.json", {"asset": {"name": "a.jpg"}, "regions": [region(["mask", "no_mask"], (1, 2, 30, 40))]})
    put("labels/b.json", vott("b.jpg", []))
    found = read()
    assert list(faces_of(found)) == ["b.jpg"]
    assert only_problem(found).kind is ProblemKind.BROKEN_LABEL
    assert "contradict" in only_problem(found).detail


def test_coco_as_documented() -> None:
    images("000000000139.jpg", "000000397133.jpg", size=(640, 427))
    put("labels/person_keypoints_val2017.json", COCO2017)
    found = read(meanings={"person": "no_mask"})
    assert (found.format, found.names, found.problems) == ("coco", {"person": 1}, ())
    assert faces_of(found) == {"000000000139.jpg": [], "000000397133.jpg": [("no_mask", False, [73.35, 106.02, 173.85, 306.27])]}
    assert found.coco_image_ids == {397133: "000000397133.jpg", 139: "000000000139.jpg"}
    assert found.coco_categories == {1: "person"}
    keypoints_xy = found.images[1].faces[0].keypoints_xy
    assert keypoints_xy is not None
    assert keypoints_xy.tolist() == [[142, 109], [147, 100], [134, 100]]


@pytest.mark.parametrize("write", [str, float])
@pytest.mark.parametrize("part", ["images", "annotations", "categories"])
def test_coco_ids_that_differ_in_type_only(part: str, write: Callable[[int], object]) -> None:
    images("a.png", "b.png")
    content = coco({"a.png": [("mask", (0, 0, 20, 20))], "b.png": [("no_mask", (1, 2, 30, 40))]})
    for entry in content[part]:
        entry |= {key: write(entry[key]) for key in ("id", "image_id", "category_id") if key in entry}
    put("coco.json", content)
    found = read(labels="coco.json", strict=True)
    assert faces_of(found) == {"a.png": [("mask", False, [0, 0, 20, 20])], "b.png": [("no_mask", False, [1, 2, 30, 40])]}
    assert (found.coco_image_ids, found.coco_categories) == ({1: "a.png", 2: "b.png"}, {1: "mask", 2: "no_mask"})
    assert (only_problem(found).kind, only_problem(found).where) == (ProblemKind.MENDED, "coco.json")
    count = 4 if part == "annotations" else 2
    assert only_problem(found).detail == f"{count} ids are not written as integers, such as {write(1)!r}; corrected"


@pytest.mark.parametrize(
    ("names", "keypoints", "expected"),
    [
        (["right_eye", "mouth", "Nose", "left eye"], [1, 2, 2, 9, 9, 0, 3, 4, 1, 5, 6, 2], [[3, 4], [5, 6], [1, 2]]),
        (["nose", "left_eye", "right_eye"], [1, 2, 2, 3, 4, 0, 5, 6, 2], None),
        (["nose", "left_eye"], [1, 2, 2, 3, 4, 2], None),
        (["nose", "left_eye", "right_eye"], [], None),
        (None, [1, 2, 2, 3, 4, 2, 5, 6, 2], None),
    ],
)
def test_coco_keypoints(names: list[str] | None, keypoints: list[int], expected: list[list[float]] | None) -> None:
    images("a.png")
    content = coco({"a.png": [("face", (0, 0, 20, 20))]})
    content["categories"][0]["keypoints"] = names
    content["annotations"][0]["keypoints"] = keypoints
    put("coco.json", content)
    face = read(labels="coco.json").images[0].faces[0]
    assert (None if face.keypoints_xy is None else face.keypoints_xy.tolist()) == expected
    if expected:
        assert face.as_detection().keypoint("nose")[0].tolist() == expected[0]
    else:
        with pytest.raises(ValueError, match="without keypoints"):
            face.as_detection()


@pytest.mark.parametrize(
    ("ours", "label"), [("mask", "mask"), ("no_mask", "no_mask"), ("incorrect", "incorrect"), (None, "unknown")]
)
def test_our_own_field_of_coco_comes_before_the_category(ours: str | None, label: str) -> None:
    images("a.png")
    content = coco({"a.png": [("nobody knows", (0, 0, 20, 20))]})
    content["annotations"][0]["mask"] = ours
    put("coco.json", content)
    found = read(labels="coco.json", meanings={})
    assert faces_of(found) == {"a.png": [(label, False, [0, 0, 20, 20])]}
    assert found.names == ({ours: 1} if ours else {})


@pytest.mark.parametrize("key", ["iscrowd", "ignore"])
def test_coco_annotations_that_do_not_count(key: str) -> None:
    images("a.png")
    content = coco({"a.png": [("mask", (0, 0, 20, 20)), ("mask", (30, 30, 50, 50))]})
    content["annotations"][1][key] = 1
    put("coco.json", content)
    assert [face.ignore for face in read(labels="coco.json").images[0].faces] == [False, True]


def test_yolo_as_documented() -> None:
    images("train/000000000009.jpg", size=(640, 480))
    put("labels/train/000000000009.txt", "45 0.479492 0.688771 0.955609 0.5955\n0 0.736516 0.247188 0.498875 0.476417\n")
    put("coco8.yaml", "path: coco8\ntrain: images/train\nval: images/val\n\nnames:\n  0: person\n  45: bowl\n")
    found = read(meanings={"person": "no_mask", "bowl": "ignore"})
    assert (found.format, found.names, found.problems) == ("yolo", {"bowl": 1, "person": 1}, ())
    bowl, person = found.images[0].faces
    assert (bowl.label.value, bowl.ignore, person.label.value, person.ignore) == ("unknown", True, "no_mask", False)
    assert bowl.box_xyxy.tolist() == pytest.approx([1.08, 187.69, 612.67, 473.53], abs=0.01)


@pytest.mark.parametrize("place", ["labels/", "", "../", "labels/train/"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "no_mask\nmask\n"),
        ("obj.names", "no_mask\r\nmask"),
        ("data.yaml", "names: [no_mask, mask]"),
        ("dataset.yaml", "names:\n- no_mask\n- mask"),
        ("faces.yml", "names: {0: no_mask, '1': mask}"),
    ],
)
def test_where_names_of_yolo_are_found(place: str, name: str, content: str) -> None:
    images("train/a.png")
    put("labels/train/a.txt", "1 .5 .5 .2 .5")
    put(place + name, content)
    put(f"{place}another.yaml", "something: [else")
    assert faces_of(read()) == {"train/a.png": [("mask", False, [40, 20, 60, 60])]}


def test_names_of_yolo_are_not_sought_farther_up() -> None:
    images("a.png")
    put("labels/a.txt", "0 .5 .5 .2 .5")
    put("../../classes.txt", "mask")
    assert "labels: YOLO labels without class names; put classes.txt, obj.names or data.yaml" in refusal()
    put("../classes.txt", "mask")
    assert read().names == {"mask": 1}


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("0 0.5 0.5 0.2 0.5", [40, 20, 60, 60]),
        ("0 0.5 0.5 0.2 0.5 0.93", [40, 20, 60, 60]),
        ("0.0\t5e-1 +.5 0.2 0.5", [40, 20, 60, 60]),
        ("0 0.1 0.5 0.3 0.25 0.2 0.75", [10, 20, 30, 60]),
        ("0 0.1 0.5 0.3 0.25 0.2 0.75 0.4 0.4", [10, 20, 40, 60]),
    ],
)
def test_columns_of_yolo(line: str, box: list[float]) -> None:
    images("a.png")
    put("labels/classes.txt", "mask")
    put("labels/a.txt", f"\n{line}\n\n")
    assert faces_of(read()) == {"a.png": [("mask", False, box)]}


def test_the_same_labels_have_the_same_sum_in_every_format() -> None:
    labels = {
        "p_2.png": [("mask", (10, 20, 30, 44)), ("no_mask", (50, 8, 75, 40))],
        "p_10.png": [("incorrect", (0, 0, 100, 80))],
        "sub/c.png": [],
    }
    names = ["incorrect", "mask", "no_mask"]
    images(*labels)
    put("coco/labels.json", coco(labels))
    put("yolo/classes.txt", "\n".join(names))
    for name, faces in labels.items():
        stem = name.removesuffix(".png")
        put(f"voc/{stem}.xml", voc(faces[::-1]))
        put(f"vott/{stem}.json", vott(Path(name).name, faces))
        put(f"yolo/{stem}.txt", yolo(faces, names))
    found = [read(labels=format_) for format_ in ("coco", "voc", "vott", "yolo")]
    assert [each.format for each in found] == ["coco", "voc", "vott", "yolo"]
    assert all([image.name for image in each.images] == list(labels) for each in found)
    assert all(kinds(each) == [] for each in found)
    assert {each.sha256 for each in found} == {found[0].sha256}
    assert all(each.names == {"mask": 1, "no_mask": 1, "incorrect": 1} for each in found)


@pytest.mark.parametrize("change", ["box", "label", "ignore", "size", "name", "one less"])
def test_other_labels_have_another_sum(change: str) -> None:
    images("a.png")
    face = ("mask", (10, 20, 30, 40))
    put("labels/a.xml", voc([face]))
    before = read().sha256
    changed = {
        "box": voc([("mask", (10, 20, 30, 40.02))]),
        "label": voc([("no_mask", (10, 20, 30, 40))]),
        "ignore": voc([face], further="<difficult>1</difficult>"),
        "one less": voc([]),
    }
    put("labels/a.xml", changed.get(change, voc([face])))
    if change == "size":
        images("a.png", size=(100, 81))
    if change == "name":
        Path("images/a.png").rename("images/a.jpg")
    assert read().sha256 != before
