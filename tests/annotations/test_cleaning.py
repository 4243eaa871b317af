"""What is wrong with boxes, sizes and names."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from maskstream.annotations import ProblemKind
from maskstream.config.loading import load_config
from maskstream.io.images import read_image
from tests.annotations.made import coco, faces_of, images, kinds, only_problem, put, read, refusal, region, voc, vott

Box = tuple[float, float, float, float]


@pytest.mark.parametrize(
    ("box", "kept", "kind"),
    [
        ((0, 0, 100, 80), [0, 0, 100, 80], None),
        ((-1, -0.5, 101, 80.9), [0, 0, 100, 80], None),
        ((-1.1, 0, 50, 50), [0, 0, 50, 50], ProblemKind.CLIPPED),
        ((60, 60, 120, 1e300), [60, 60, 100, 80], ProblemKind.CLIPPED),
        ((50, 20, 20, 50), [20, 20, 50, 50], ProblemKind.MENDED),
        ((20, 50, 50, 20), [20, 20, 50, 50], ProblemKind.MENDED),
    ],
)
def test_box(box: Box, kept: list[float], kind: ProblemKind | None) -> None:
    images("a.png")
    put("labels/a.xml", voc([("mask", box), ("no_mask", (1, 2, 3, 4))]))
    found = read(strict=True)
    assert faces_of(found)["a.png"] == [("mask", False, kept), ("no_mask", False, [1, 2, 3, 4])]
    assert kinds(found) == ([kind] if kind else [])
    if kind:
        assert only_problem(found).where == "a.png"


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((100, 0, 120, 50), ProblemKind.OUTSIDE),
        ((0, -20, 50, 0), ProblemKind.OUTSIDE),
        ((20, 20, 20, 50), ProblemKind.ZERO_AREA),
        ((20, 20, 20.9, 50), ProblemKind.ZERO_AREA),
        ((0.2, 0.1, 0.6, 0.8), ProblemKind.ZERO_AREA),
        ((-20, 20, -20, 50), ProblemKind.ZERO_AREA),
        ((20, 20, float("nan"), 50), ProblemKind.ZERO_AREA),
        ((20, 20, float("inf"), 50), ProblemKind.ZERO_AREA),
        ((99.999999999, 20, 120, 50), ProblemKind.ZERO_AREA),
    ],
)
def test_an_image_with_an_unusable_box_is_left_out(box: Box, kind: ProblemKind) -> None:
    images("a.png", "b.png")
    put("labels/a.xml", voc([("mask", box), ("no_mask", (1, 2, 3, 4))]))
    put("labels/b.xml", voc([]))
    found = read()
    assert list(faces_of(found)) == ["b.png"]
    assert (only_problem(found).kind, only_problem(found).where) == (kind, "a.png")
    assert only_problem(found).detail.startswith(f"box {box[0]:.6g}, {box[1]:.6g}")
    assert only_problem(found).detail.endswith("; the image is left out")
    assert ("fractions of the image" in only_problem(found).detail) == (max(box) < 1)
    assert "1 problems" in refusal(strict=True)


@pytest.mark.parametrize(
    ("label", "content"),
    [
        ("a.json", {**vott("a.png", []), "regions": [region(["mask"], (50, 40, 20, 10))]}),
        ("a.json", coco({"a.png": [("mask", (50, 40, 20, 10))]})),
        ("a.txt", "0 0.35 0.3125 -0.3 -0.375"),
    ],
)
def test_corners_in_the_wrong_order_in_other_formats(label: str, content: object) -> None:
    images("a.png")
    put("labels/classes.txt", "mask")
    put(f"labels/{label}", content)
    found = read()
    assert faces_of(found) == {"a.png": [("mask", False, [20, 10, 50, 40])]}
    assert only_problem(found).kind is ProblemKind.MENDED
    assert only_problem(found).detail == "corners of 1 of 1 boxes are in the wrong order; corrected"


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
def test_unusable_boxes_in_other_formats(label: str, content: object) -> None:
    images("a.png")
    put("labels/classes.txt", "mask")
    put(f"labels/{label}", content)
    assert "none of 1 images is left: 1 box without area, such as a.png: box" in refusal()


def test_yolo_boxes_beyond_the_image() -> None:
    images("a.png")
    put("labels/classes.txt", "mask")
    put("labels/a.txt", "0 0.05 0.5 0.3 0.5\n")
    found = read()
    assert faces_of(found) == {"a.png": [("mask", False, [0, 20, 20, 60])]}
    assert kinds(found) == [ProblemKind.CLIPPED]
    put("labels/a.txt", "0 0.05 0.5 0.3 0.5\n0 1.5 0.5 0.2 0.2\n")
    assert "1 box clipped to the image, 1 box outside the image" in refusal()


@pytest.mark.parametrize(("off", "count"), [(0.0, 1), (0.5, 1), (0.6, 2)])
def test_the_same_box_twice(off: float, count: int) -> None:
    images("a.png", "b.png")
    put("labels/a.xml", voc([("mask", (10, 10, 30, 30)), ("with_mask", (10, 10, 30, 30 + off))]))
    put("labels/b.xml", voc([("mask", (10, 10, 30, 30))]))  # in another image it is another face
    found = read()
    assert [len(image.faces) for image in found.images] == [count, 1]
    assert kinds(found) == [ProblemKind.DUPLICATE] * (2 - count)
    if count == 1:
        assert only_problem(found).detail == f"box 10, 10, 30, {30 + off:g} in 100x80 again; left out"


@pytest.mark.parametrize("names", [("mask", "face"), ("face", "mask")])
def test_the_same_box_once_more_without_class(names: tuple[str, str]) -> None:
    images("a.png")
    put("labels/a.xml", voc([(name, (10, 10, 30, 30)) for name in names]))
    found = read()
    assert faces_of(found) == {"a.png": [("mask", False, [10, 10, 30, 30])]}
    assert only_problem(found).kind is ProblemKind.DUPLICATE


def test_the_same_box_as_another_class() -> None:
    images("a.png", "b.png")
    put("labels/a.xml", voc([("mask", (10, 10, 30, 30)), ("no_mask", (10, 10, 30, 30))]))
    put("labels/b.xml", voc([]))
    found = read()
    assert list(faces_of(found)) == ["b.png"]
    assert only_problem(found).kind is ProblemKind.BROKEN_LABEL
    assert "again as no_mask, before as mask; image a.png is left out" in only_problem(found).detail


FACE = ("mask", (10.0, 10.0, 30.0, 30.0))


@pytest.mark.parametrize(
    ("size", "face", "kept", "remark"),
    [
        ((99, 80), FACE, [10, 10, 30, 30], "; the boxes are kept"),
        ((100.5, 81), FACE, [10, 10, 30, 30], "; the boxes are kept"),
        ((200, 160), FACE, [5, 5, 15, 15], "; the boxes are scaled"),
        ((50, 40), FACE, [20, 20, 60, 60], "; the boxes are scaled"),
        ((33, 27), ("mask", (5, 5, 20, 20)), [15.15, 14.81, 60.61, 59.26], "; the boxes are scaled"),
        ((50, 40), ("mask", (60, 10, 90, 70)), [60, 10, 90, 70], "; the boxes fit unchanged and are kept"),
        ((80, 100), FACE, [10, 10, 30, 30], ", of another aspect ratio; the boxes fit unchanged and are kept"),
        (
            (300, 80),
            ("mask", (200, 10, 250, 70)),
            None,
            ", of another aspect ratio, and a box does not fit; the image is left out",
        ),
    ],
)
def test_a_size_that_differs(size: tuple[float, float], face: tuple[str, Box], kept: list[float] | None, remark: str) -> None:
    images("a.png", "b.png")
    asset = {"width": size[0], "height": size[1]}
    put("voc/a.xml", voc([face], size=size))
    put("voc/b.xml", voc([]))
    put("vott/a.json", vott("a.png", [face], size=asset))
    put("vott/b.json", vott("b.png", []))
    put("coco/a.json", {**coco({"a.png": [face], "b.png": []}, **asset)})
    for format_ in ("voc", "vott", "coco"):
        found = read(labels=format_)
        problem = next(problem for problem in found.problems if problem.where == "a.png")
        assert problem.kind is (ProblemKind.BROKEN_LABEL if kept is None else ProblemKind.SIZE_DIFFERS)
        assert problem.detail == f"labelled as {size[0]:g}x{size[1]:g}, it is 100x80{remark}"
        assert faces_of(found).get("a.png") == (None if kept is None else [("mask", False, kept)])


@pytest.mark.parametrize("size", [(0, 0), (0, 80), ("", ""), (100, 80), ("100.0", "80")])
def test_a_size_that_is_right_or_not_stated(size: tuple[object, object]) -> None:
    images("a.png")
    put("labels/a.xml", voc([], size=size))
    assert read().problems == ()


def turned_image(orientation: int) -> tuple[float, float, float, float]:
    """Write an image of 100 x 80 stored pixels, rotated by EXIF, with a white spot; return the box of the spot upright."""
    stored = np.zeros((80, 100, 3), np.uint8)
    stored[10:20, 60:90] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Path("images").mkdir(exist_ok=True)
    Image.fromarray(stored).save("images/a.png", exif=exif)
    rows, columns = np.nonzero(read_image("images/a.png")[..., 0])
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("scale", [1, 2])
def test_boxes_of_the_stored_image_are_turned_with_it(orientation: int, scale: int) -> None:
    upright = turned_image(orientation)
    content = coco({"a.png": [("mask", (60 * scale, 10 * scale, 90 * scale, 20 * scale))]}, width=100 * scale, height=80 * scale)
    content["categories"][0]["keypoints"] = ["nose", "left_eye", "right_eye"]
    content["annotations"][0]["keypoints"] = [60 * scale, 10 * scale, 2, 90 * scale, 20 * scale, 2, 90 * scale, 10 * scale, 2]
    put("labels/a.json", content)
    found = read()
    assert (found.images[0].width, found.images[0].height) == (80, 100)
    face = found.images[0].faces[0]
    assert tuple(face.box_xyxy.tolist()) == upright
    assert only_problem(found).detail.endswith("it is 80x100, rotated by EXIF; the boxes are rotated too")
    assert face.keypoints_xy is not None
    assert {tuple(point) for point in face.keypoints_xy.tolist()} < {(x, y) for x in upright[::2] for y in upright[1::2]}
    left_eye, right_eye = (2, 1) if orientation in {5, 7} else (1, 2)
    assert not np.isclose(face.keypoints_xy[left_eye] - face.keypoints_xy[0], 0).any()  # across from the nose
    assert np.isclose(face.keypoints_xy[right_eye] - face.keypoints_xy[0], 0).any()


def test_boxes_that_are_of_the_upright_image_are_kept() -> None:
    turned_image(6)
    put("labels/a.xml", voc([("mask", (0, 0, 80, 100))], size=(100, 80)))
    found = read()
    assert faces_of(found) == {"a.png": [("mask", False, [0, 0, 80, 100])]}
    assert only_problem(found).detail.endswith(", rotated by EXIF; the boxes fit unchanged and are kept")


@pytest.mark.parametrize("name", ["with_mask", "With Mask", "WITH-MASK", " with mask ", "with.mask"])
def test_spelling_of_names(name: str) -> None:
    images("a.png")
    put("labels/a.xml", voc([(name, (1, 2, 3, 4))]))
    found = read()
    assert found.images[0].faces[0].label == "mask"
    assert found.names == {name.strip(): 1}
    assert read(meanings={"With-Mask": "mask"}).sha256 == found.sha256


def test_a_name_without_end_is_not_repeated() -> None:
    images("a.png")
    put("labels/a.xml", voc([("x" * 100_000, (1, 2, 3, 4))]))
    assert "--set evaluation.labels.NAME=mask" in refusal()
    assert len(refusal()) < 1000


def test_names_without_a_meaning() -> None:
    images("a.png", "b.png")
    put("labels/a.xml", voc([("mask", (1, 2, 3, 4)), ("Respirator N95", (5, 2, 9, 4)), ("hat", (1, 20, 3, 40))]))
    put("labels/b.xml", voc([("mask", (1, 2, 3, 4))]))
    assert refusal() == (
        "labels with names that are not in evaluation.labels: 'Respirator N95', 'hat' "
        "(all names found: 'mask' 2, 'Respirator N95' 1, 'hat' 1); "
        "set a meaning for each: --set evaluation.labels.respirator_n95=mask (mask, no_mask, incorrect, unknown or ignore)"
    )
    found = read(meanings={"mask": "mask", "respirator_n95": "mask", "hat": "ignore"})
    assert [(face.label.value, face.ignore) for face in found.images[0].faces] == [
        ("mask", False),
        ("mask", False),
        ("unknown", True),
    ]
    assert found.names == {"mask": 2, "Respirator N95": 1, "hat": 1}


@pytest.mark.parametrize(
    ("names", "ambiguous"),
    [
        (("face", "face_mask"), True),  # AIZOO: its faces have no mask
        (("face", "incorrect_mask"), True),
        (("Face", "no_mask"), True),
        (("head", "mask"), True),
        (("face",), False),
        (("face", "difficult"), False),
        (("face", "face_mask", "no_mask"), False),
        (("mask",), False),
    ],
)
def test_names_that_are_ambiguous_beside_others_are_asked_about(names: tuple[str, ...], ambiguous: bool) -> None:
    images("a.png")
    put("labels/a.xml", voc([(name, (10 * index, 2, 10 * index + 9, 40)) for index, name in enumerate(names)]))
    meanings = load_config().evaluation.labels
    if ambiguous:
        first, second = names
        other, meaning = ("with", "mask") if second == "no_mask" else ("without", "no_mask")
        assert refusal(meanings=meanings) == (
            f"labels: {first} beside {second} may mean a face {other} a mask, or one of unknown class; "
            f"say which: --set evaluation.labels.{first.lower()}={meaning} (or unknown, or another meaning)"
        )
    else:
        read(meanings=meanings)
    for answer in ("no_mask", "unknown"):
        found = read(meanings={**meanings, names[0].lower(): answer})
        assert found.images[0].faces[0].label == answer
    assert read(meanings=meanings, classes_matter=False).images[0].faces[0].label == "unknown" or names == ("mask",)


def test_a_name_that_is_only_listed_makes_another_ambiguous() -> None:
    images("a.png")
    meanings = load_config().evaluation.labels
    put("coco.json", coco({"a.png": [("face", (1, 2, 30, 40))]}))
    assert read(labels="coco.json", meanings=meanings).images[0].faces[0].label == "unknown"
    put("labels/a.txt", "0 .5 .5 .2 .5")
    for listed in (["face"], ["face", "face_mask", "no_mask"]):
        put("labels/classes.txt", "\n".join(listed))
        assert read(meanings=meanings).images[0].faces[0].label == "unknown"
    put("labels/classes.txt", "face\nface_mask")
    assert "face beside face_mask may mean" in refusal(meanings=meanings)


def test_a_tag_beside_the_class_of_the_same_face_is_not_ambiguous() -> None:
    images("a.png")
    put("labels/a.json", {**vott("a.png", []), "regions": [region(["face", "mask"], (1, 2, 30, 40))]})
    assert faces_of(read(meanings=load_config().evaluation.labels)) == {"a.png": [("mask", False, [1, 2, 30, 40])]}
