"""What is wrong with boxes, sizes and names."""

import math
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from maskstream.annotations import ProblemKind
from tests.annotations.made import coco, faces_of, kinds, only_problem, pictures, put, read, refusal, voc, vott

Box = tuple[float, float, float, float]


@pytest.mark.parametrize(
    ("box", "kept", "kind"),
    [
        ((0, 0, 100, 80), [0, 0, 100, 80], None),
        ((-1, -0.5, 101, 80.9), [0, 0, 100, 80], None),
        ((-1.1, 0, 50, 50), [0, 0, 50, 50], ProblemKind.CLIPPED),
        ((60, 60, 120, 1e300), [60, 60, 100, 80], ProblemKind.CLIPPED),
        ((100, 0, 120, 50), None, ProblemKind.OUTSIDE),
        ((0, -20, 50, 0), None, ProblemKind.OUTSIDE),
        ((20, 20, 20, 50), None, ProblemKind.ZERO_AREA),
        ((50, 20, 20, 50), None, ProblemKind.ZERO_AREA),
        ((-20, 20, -20, 50), None, ProblemKind.ZERO_AREA),
        ((20, 20, float("nan"), 50), None, ProblemKind.ZERO_AREA),
        ((20, 20, float("inf"), 50), None, ProblemKind.ZERO_AREA),
        ((99.999999999, 20, 120, 50), None, ProblemKind.ZERO_AREA),
    ],
)
def test_box(box: Box, kept: list[float] | None, kind: ProblemKind | None) -> None:
    pictures("a.png")
    put("labels/a.xml", voc([("mask", box), ("no_mask", (1, 2, 3, 4))]))
    found = read()
    assert faces_of(found)["a.png"][:-1] == ([("mask", False, kept)] if kept else [])
    assert kinds(found) == ([kind] if kind else [])
    if kind:
        assert only_problem(found).where == "a.png"
        assert only_problem(found).detail.startswith(f"box {box[0]:.6g}, {box[1]:.6g}")


BOX = {"left": math.nan, "top": 0, "width": 9, "height": 9}
POINTS = [{"x": 1, "y": 1}, {"x": math.nan, "y": 9}]
IMAGES = [{"id": 1, "file_name": "a.png"}]


@pytest.mark.parametrize(
    ("label", "content"),
    [
        ("a.json", {"asset": {"name": "a.png"}, "regions": [{"tags": ["mask"], "boundingBox": BOX}]}),
        ("a.json", {"asset": {"name": "a.png"}, "regions": [{"tags": ["mask"], "points": POINTS}]}),
        ("a.json", {"images": IMAGES, "annotations": [{"image_id": 1, "mask": "mask", "bbox": [0, 0, math.inf, 9]}]}),
        ("a.json", {"images": IMAGES, "annotations": [{"image_id": 1, "mask": "mask", "bbox": [0, 0, 10**400, 9]}]}),
        ("a.txt", "0 nan 0.5 0.5 0.5"),
        ("a.txt", "0 0.5 0.5 0 0.5"),
    ],
)
def test_what_is_no_box_in_other_formats(label: str, content: object) -> None:
    pictures("a.png")
    put("labels/classes.txt", "mask")
    put(f"labels/{label}", content)
    assert only_problem(read()).kind is ProblemKind.ZERO_AREA


def test_yolo_boxes_beyond_the_picture() -> None:
    pictures("a.png")
    put("labels/classes.txt", "mask")
    put("labels/a.txt", "0 0.05 0.5 0.3 0.5\n0 1.5 0.5 0.2 0.2\n")
    found = read()
    assert faces_of(found) == {"a.png": [("mask", False, [0, 20, 20, 60])]}
    assert kinds(found) == [ProblemKind.CLIPPED, ProblemKind.OUTSIDE]


@pytest.mark.parametrize(("off", "count"), [(0.0, 1), (0.5, 1), (0.6, 2)])
def test_the_same_box_twice(off: float, count: int) -> None:
    pictures("a.png", "b.png")
    put("labels/a.xml", voc([("mask", (10, 10, 30, 30)), ("with_mask", (10, 10, 30, 30 + off))]))
    put("labels/b.xml", voc([("mask", (10, 10, 30, 30))]))  # in another picture it is another face
    found = read()
    assert [len(picture.faces) for picture in found.pictures] == [count, 1]
    assert kinds(found) == [ProblemKind.DUPLICATE] * (2 - count)
    if count == 1:
        assert only_problem(found).detail == f"box 10, 10, 30, {30 + off:g} in 100x80 again; left out"


def test_the_same_box_as_another_class() -> None:
    pictures("a.png")
    put("labels/a.xml", voc([("mask", (10, 10, 30, 30)), ("no_mask", (10, 10, 30, 30))]))
    found = read()
    assert faces_of(found) == {"a.png": [("mask", False, [10, 10, 30, 30])]}
    assert "again as no_mask, before as mask; left out" in only_problem(found).detail


@pytest.mark.parametrize("size", [(99, 80), (100, 81), (80, 100), (100.5, 80)])
def test_a_size_that_differs(size: tuple[float, float]) -> None:
    pictures("a.png", "b.png", "c.png")
    face = ("mask", (10, 10, 30, 30))
    put("voc/a.xml", voc([face], size=size))
    put("vott/a.json", vott("a.png", [face], size={"width": size[0], "height": size[1]}))
    put("coco/a.json", coco({"a.png": [face]}, width=size[0], height=size[1]))
    for format_ in ("voc", "vott", "coco"):
        found = read(labels=format_)
        problem = found.problems[0]
        assert (problem.kind, problem.where) == (ProblemKind.SIZE_DIFFERS, "a.png")
        assert f"labelled as {size[0]:g}x{size[1]:g}, it is 100x80" in problem.detail
        assert ("turned by EXIF" in problem.detail) == (size == (80, 100))
        assert faces_of(found)["a.png"] == [("mask", False, [10, 10, 30, 30])]


@pytest.mark.parametrize("size", [(0, 0), (0, 80), ("", ""), (100, 80), ("100.0", "80")])
def test_a_size_that_is_right_or_not_stated(size: tuple[object, object]) -> None:
    pictures("a.png")
    put("labels/a.xml", voc([], size=size))
    assert read().problems == ()


def test_sizes_are_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Path("images").mkdir()
    Image.new("RGB", (100, 80)).save("images/a.jpg", exif=exif)
    put("labels/a.xml", voc([("mask", (0, 0, 80, 100))], size=(100, 80)))
    found = read()
    assert (found.pictures[0].width, found.pictures[0].height) == (80, 100)
    assert faces_of(found) == {"a.jpg": [("mask", False, [0, 0, 80, 100])]}
    assert "turned by EXIF" in only_problem(found).detail


@pytest.mark.parametrize("name", ["with_mask", "With Mask", "WITH-MASK", " with mask ", "with.mask"])
def test_spelling_of_names(name: str) -> None:
    pictures("a.png")
    put("labels/a.xml", voc([(name, (1, 2, 3, 4))]))
    found = read()
    assert found.pictures[0].faces[0].label == "mask"
    assert found.names == {name.strip(): 1}
    assert read(meanings={"With-Mask": "mask"}).sha256 == found.sha256


def test_names_that_nobody_explained() -> None:
    pictures("a.png", "b.png")
    put("labels/a.xml", voc([("mask", (1, 2, 3, 4)), ("Respirator N95", (5, 2, 9, 4)), ("hat", (1, 20, 3, 40))]))
    put("labels/b.xml", voc([("mask", (1, 2, 3, 4))]))
    assert refusal() == (
        "labels with names that are not in evaluation.labels: 'Respirator N95', 'hat' "
        "(all names found: 'mask' 2, 'Respirator N95' 1, 'hat' 1); "
        "say what each means: --set evaluation.labels.respirator_n95=mask (mask, no_mask, incorrect, unknown or ignore)"
    )
    found = read(meanings={"mask": "mask", "respirator_n95": "mask", "hat": "ignore"})
    assert [(face.label.value, face.ignore) for face in found.pictures[0].faces] == [
        ("mask", False),
        ("mask", False),
        ("unknown", True),
    ]
    assert found.names == {"mask": 2, "Respirator N95": 1, "hat": 1}
