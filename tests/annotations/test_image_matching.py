"""The image of each label."""

import unicodedata

import pytest

from maskstream.annotations import ProblemKind
from tests.annotations.made import coco, faces_of, images, kinds, only_problem, put, read, refusal, voc, vott

FACE = [("mask", (1, 2, 30, 40))]


def owners(**options: object) -> list[str]:
    """Return the images that have a face."""
    return [name for name, faces in faces_of(read(**options)).items() if faces]


@pytest.mark.parametrize(
    ("names", "label", "content", "owner"),
    [
        (["a.png", "b.png"], "a.xml", voc(FACE, filename="b.png"), "a.png"),
        (["a.png", "b.png"], "x.xml", voc(FACE, filename="b.png"), "b.png"),
        (["a.png", "b.png"], "x.xml", voc(FACE, filename="C:\\photos\\b.png"), "b.png"),
        (["a.png", "a.jpg"], "a.xml", voc(FACE, filename="a.png"), "a.png"),
        (["a.png", "b.png"], "x.xml", voc(FACE, filename="B.JPG"), "b.png"),
        (["A.PNG", "b.png"], "a.xml", voc(FACE), "A.PNG"),
        (["a.b.png", "a.png"], "a.b.xml", voc(FACE), "a.b.png"),
        (["a.png", "b.png"], "a.png.xml", voc(FACE), "a.png"),
        (["a.png", "x/a.png"], "x/a.xml", voc(FACE), "x/a.png"),
        (["a.png", "x/a.png"], "a.xml", voc(FACE), "a.png"),
        (["x/a.png", "y/a.png"], "y/a.xml", voc(FACE), "y/a.png"),
        (["images/x/a.png", "images/y/a.png"], "labels/y/a.xml", voc(FACE), "images/y/a.png"),
        (["x/images/a.png", "y/images/a.png"], "y/labels/a.xml", voc(FACE), "y/images/a.png"),
        (["deep/x/a.png", "y/a.png"], "x/a.xml", voc(FACE), "deep/x/a.png"),
        (["x/a.png", "y/b.png"], "z/a.xml", voc(FACE), "x/a.png"),
        (["a.png", "b.png"], "a.json", vott("b.png", FACE), "b.png"),
        (["a.png", "b.png"], "a.json", vott("x.png", FACE), "a.png"),
        (["a.png", "b c.png"], "a.json", vott("b%20c.png", FACE), "b c.png"),
        (["a.png", "b%20c.png", "b c.png"], "a.json", vott("b%20c.png", FACE), "b%20c.png"),
        (["a.png", "b c.png"], "x.json", vott("1", FACE, path="https://host/photos/b%20c.png?sv=1&sig=2"), "b c.png"),
        (["a.png", "b.png"], "x.json", {**vott("", FACE), "asset": {"path": "file:/photos/b.png"}}, "b.png"),
        (["a.png", "b.png"], "x.json", coco({"photos/b.png": FACE}), "b.png"),
        (["x/a.png", "y/a.png"], "x.json", coco({"y/a.png": FACE}), "y/a.png"),
        (["a.png", "x/a.png"], "x.json", coco({"a.png": FACE}), "a.png"),
        (["my face.png", "b.png"], "x.json", coco({"/data/upload/1/my%20face.png": FACE}), "my face.png"),
        (["my face.png", "b.png"], "x.json", coco({"/data/upload/1/ab12cd34-my%20face.png": FACE}), "my face.png"),
        (["ab12cd34-my_face.png", "b.png"], "x.json", coco({"images/ab12cd34-my%20face.png": FACE}), "ab12cd34-my_face.png"),
        (["my face.png", "b.png"], "x.json", coco({"ab12cd34-my_face.png": FACE}), "my face.png"),
        (["my face.png", "b.png"], "ab12cd34-my%20face.xml", voc(FACE), "my face.png"),
        (["my face.png", "b.png"], "1.xml", voc(FACE, filename="/data/local-files/?d=set%2Fmy%20face.png"), "my face.png"),
        (["x/a.png", "y/a.png"], "x.json", coco({"/data/local-files/?d=y/a.png": FACE}), "y/a.png"),
        (["x/a.png", "y/a.png"], "x.json", coco({"https://host/y/a.png?X-Sig=1/2": FACE}), "y/a.png"),
        (["my%20face.png", "b.png"], "my face.xml", voc(FACE), "my%20face.png"),
        (["ab12cd34-a.png", "a.png"], "ab12cd34-a.xml", voc(FACE), "ab12cd34-a.png"),
        (["ä.png", "b.png"], "x.json", coco({unicodedata.normalize("NFD", "ä.png"): FACE}), "ä.png"),
    ],
)
def test_owner(names: list[str], label: str, content: object, owner: str) -> None:
    images(*names)
    put(f"labels/{label}", content)
    assert owners(unlabelled="negative") == [owner]


def test_folders_above_decide_between_splits() -> None:
    images("val/a.png")
    put("all.json", coco({"train/a.png": [("no_mask", (0, 0, 9, 9))], "val/a.png": FACE}))
    found = read("images/val", "all.json")
    assert faces_of(found) == {"a.png": [("mask", False, [1, 2, 30, 40])]}
    assert (only_problem(found).kind, only_problem(found).where) == (ProblemKind.DUPLICATE, "train/a.png")


def test_labels_that_lie_elsewhere() -> None:
    images("a.png", "x/a.png")
    put("far/away/a.xml", voc(FACE))
    put("far/away/x/a.xml", voc([]))
    found = read(labels="far/away")
    assert {name: len(faces) for name, faces in faces_of(found).items()} == {"a.png": 1, "x/a.png": 0}


def test_parallel_trees_of_yolo() -> None:
    images("train/a.png", "val/a.png")
    put("data.yaml", "names: [mask]")
    put("labels/val/a.txt", "0 .5 .5 .2 .5")
    put("labels/train/a.txt", "")
    found = read()
    assert {name: len(faces) for name, faces in faces_of(found).items()} == {"train/a.png": 0, "val/a.png": 1}
    assert found.problems == ()


def test_a_label_without_image() -> None:
    images("a.png")
    put("labels/a.xml", voc(FACE))
    put("labels/b.xml", voc(FACE, filename="c.png"))
    found = read()
    assert list(faces_of(found)) == ["a.png"]
    assert found.names == {"mask": 1}  # of images that exist
    problem = only_problem(found)
    assert (problem.kind, problem.where) == (ProblemKind.LABEL_WITHOUT_IMAGE, "b.xml")
    assert problem.detail == "no image has the name 'b' or 'c.png'; left out"


@pytest.mark.parametrize("unlabelled", ["skip", "negative"])
def test_an_ambiguous_label(unlabelled: str) -> None:
    images("x/a.png", "y/a.png", "b.png")
    put("labels/a.xml", voc(FACE))
    put("labels/b.xml", voc([]))
    found = read(unlabelled=unlabelled)
    assert list(faces_of(found)) == ["b.png"]  # neither of the two is known to show no face
    assert only_problem(found).kind is ProblemKind.LABEL_WITHOUT_IMAGE
    assert only_problem(found).detail == "ambiguous: 2 images fit (x/a.png, y/a.png); left out"


def test_two_labels_of_one_image() -> None:
    images("a.png")
    put("labels/a.xml", voc(FACE))
    put("labels/b.xml", voc([], filename="a.png"))
    put("labels/sub/a.xml", voc([]))
    found = read()
    assert len(found.images[0].faces) == 1
    assert kinds(found) == [ProblemKind.DUPLICATE] * 2
    assert [problem.where for problem in found.problems] == ["b.xml", "sub/a.xml"]
    assert "second label of image a.png, after a.xml; left out" in found.problems[0].detail


def test_the_surer_of_two_labels_counts() -> None:
    images("x/a.png")
    put("labels/b/a.xml", voc([]))
    put("labels/x/a.xml", voc(FACE))
    found = read()
    assert len(found.images[0].faces) == 1
    assert only_problem(found).where == "b/a.xml"


def test_an_image_without_label_is_not_one_without_face() -> None:
    images("a.png", "b.png", "c.png")
    put("labels/a.xml", voc([]))
    put("labels/b.xml", voc(FACE))
    found = read()
    assert {name: len(faces) for name, faces in faces_of(found).items()} == {"a.png": 0, "b.png": 1}
    assert (only_problem(found).kind, only_problem(found).where) == (ProblemKind.IMAGE_WITHOUT_LABEL, "c.png")
    found = read(unlabelled="negative")
    assert {name: len(faces) for name, faces in faces_of(found).items()} == {"a.png": 0, "b.png": 1, "c.png": 0}
    assert only_problem(found).kind is ProblemKind.IMAGE_WITHOUT_LABEL


@pytest.mark.parametrize(
    ("label", "content"),
    [("a.txt", ""), ("a.txt", " \n"), ("a.xml", voc([])), ("a.json", vott("a.png", [])), ("c.json", coco({"a.png": []}))],
)
def test_labels_that_say_there_is_no_face(label: str, content: object) -> None:
    images("a.png", "b.png")
    put(f"labels/{label}", content)
    found = read()
    assert faces_of(found) == {"a.png": []}
    assert only_problem(found).kind is ProblemKind.IMAGE_WITHOUT_LABEL


def test_none_belongs_to_an_image() -> None:
    images("a.png", "b.png")
    put("labels/x_1.xml", voc(FACE))
    put("labels/x_2.xml", voc(FACE))
    names = "a label has the name x_1.xml, an image the name a.png"
    assert refusal() == f"labels: none of 2 labels belongs to one of the 2 images in images; {names}"
