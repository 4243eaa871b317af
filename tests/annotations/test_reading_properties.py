"""For any numbers in labels of any format, faces are inside their images and problems are one line."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.errors import ConfigError
from tests.annotations.made import coco, images, put, read, vott
from tests.properties import examples

SIZE = (100, 80)
NAN, INF = float("nan"), float("inf")
NUMBERS = st.one_of(
    st.floats(-10, 120),
    st.floats(-10, 120),
    st.floats(),
    st.sampled_from([NAN, INF, -INF, 1e39, 1e308, -1e308, 10**400, 0, -0.0]),
)
BOXES = st.tuples(*[NUMBERS] * 4)


def put_coco(box: tuple[Any, ...], points: list[Any], stated: tuple[Any, Any]) -> None:
    content = coco({"one.png": [("mask", (0, 0, 10, 10))]}, width=stated[0], height=stated[1])
    content["categories"][0]["keypoints"] = ["nose", "left_eye", "right_eye"]
    content["annotations"][0] |= {"bbox": list(box), "keypoints": points, "mask": "mask"}
    put("labels/all.json", content)


def put_voc(box: tuple[Any, ...], _points: list[Any], stated: tuple[Any, Any]) -> None:
    edges = "".join(f"<{edge}>{value}</{edge}>" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    size = f"<size><width>{stated[0]}</width><height>{stated[1]}</height></size>"
    put("labels/one.xml", f"<annotation>{size}<object><name>mask</name><bndbox>{edges}</bndbox></object></annotation>")


def put_vott(box: tuple[Any, ...], _points: list[Any], stated: tuple[Any, Any]) -> None:
    content = vott("one.png", [("mask", (0, 0, 10, 10))], size={"width": stated[0], "height": stated[1]})
    content["regions"][0]["boundingBox"] = dict(zip(("left", "top", "width", "height"), box, strict=True))
    put("labels/one.json", content)


def put_yolo(box: tuple[Any, ...], points: list[Any], _stated: tuple[Any, Any]) -> None:
    put("labels/classes.txt", "mask\n")
    put("labels/one.txt", f"0 {' '.join(map(str, box))}\n0 {' '.join(map(str, points[:6]))}\n")


@pytest.mark.parametrize("write", [put_coco, put_voc, put_vott, put_yolo])
@examples(0.5)
@given(box=BOXES, points=st.lists(NUMBERS, min_size=9, max_size=9), stated=st.tuples(NUMBERS, NUMBERS))
def test_faces_are_inside_their_image(
    tmp_path_factory: pytest.TempPathFactory,
    write: Callable[[tuple[Any, ...], list[Any], tuple[Any, Any]], None],
    box: tuple[Any, ...],
    points: list[Any],
    stated: tuple[Any, Any],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("labels"))
        images("one.png", size=SIZE)
        write(box, points, stated)
        try:
            found = read()
        except ConfigError as error:
            one_line(str(error))
        else:
            for problem in found.problems:
                one_line(problem.where + problem.detail)
            for face in (face for image in found.images for face in image.faces):
                assert np.isfinite(face.box_xyxy).all()
                assert (face.box_xyxy >= 0).all()
                assert (face.box_xyxy[2:] > face.box_xyxy[:2]).all()
                assert (face.box_xyxy[2:] <= SIZE).all()
                assert face.keypoints_xy is None or np.isfinite(face.keypoints_xy).all()


def one_line(text: str) -> None:
    """It can be read at a glance."""
    assert len(text.splitlines()) == 1
    assert len(text) < 1000
