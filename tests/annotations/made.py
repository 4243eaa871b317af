"""Small labelled sets for tests, the same in every format."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskstream.annotations import Annotations, Problem, ProblemKind, ReadOptions, read_annotations
from maskstream.config.schema import LabelMeaning
from maskstream.errors import ConfigError
from maskstream.io.images import write_image

MEANINGS: Mapping[str, LabelMeaning] = {
    "mask": "mask",
    "with_mask": "mask",
    "no_mask": "no_mask",
    "incorrect": "incorrect",
    "face": "unknown",
    "difficult": "ignore",
    "ignore": "ignore",
}
Faces = Sequence[tuple[str, Sequence[float]]]
"""Name and x1, y1, x2, y2 of each face."""


def read(images: Path | str = "images", labels: Path | str | None = "labels", **options: Any) -> Annotations:
    """Read with the table of tests."""
    found = None if labels is None else Path(labels)
    return read_annotations(Path(images), found, ReadOptions(**{"meanings": MEANINGS, **options}))


def refusal(images: Path | str = "images", labels: Path | str | None = "labels", **options: Any) -> str:
    """Return the one line that reading ends with."""
    with pytest.raises(ConfigError) as caught:
        read(images, labels, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def images(*names: str, size: tuple[int, int] = (100, 80)) -> None:
    """Write black images of a width and height below `images`."""
    for name in names:
        put(f"images/{name}", "")
        write_image(Path("images", name), np.zeros((size[1], size[0], 3), np.uint8))


def put(name: str, content: object) -> None:
    """Write text, bytes, or what becomes JSON."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def voc(faces: Faces, *, filename: str = "", size: tuple[object, object] | None = None, further: str = "") -> str:
    """Return Pascal VOC; `further` goes into each object."""
    edges = ("xmin", "ymin", "xmax", "ymax")
    objects = [
        f"<object><name>{name}</name>{further}<bndbox>"
        f"{''.join(f'<{edge}>{value}</{edge}>' for edge, value in zip(edges, box, strict=True))}</bndbox></object>"
        for name, box in faces
    ]
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    return f"<annotation><filename>{filename}</filename>{stated}{''.join(objects)}</annotation>"


def vott(name: str, faces: Faces, **asset: object) -> dict[str, Any]:
    """Return VoTT JSON of one image."""
    return {"asset": {"name": name, "state": 2, **asset}, "regions": [region([tag], box) for tag, box in faces]}


def region(tags: Sequence[str], box: Sequence[float]) -> dict[str, Any]:
    """Return a region of VoTT."""
    x1, y1, x2, y2 = box
    return {"type": "RECTANGLE", "tags": tags, "boundingBox": {"left": x1, "top": y1, "width": x2 - x1, "height": y2 - y1}}


def coco(faces: Mapping[str, Faces], **image: object) -> dict[str, Any]:
    """Return COCO JSON; categories count from 1 in the order they occur in, images from 1 as well."""
    names = list(dict.fromkeys(name for listed in faces.values() for name, _ in listed))
    images = [{"id": id_, "file_name": name, **image} for id_, name in enumerate(faces, 1)]
    annotations = [
        {"image_id": id_, "category_id": 1 + names.index(name), "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for id_, listed in enumerate(faces.values(), 1)
        for name, (x1, y1, x2, y2) in listed
    ]
    categories = [{"id": id_, "name": name} for id_, name in enumerate(names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def yolo(faces: Faces, names: Sequence[str], size: tuple[int, int] = (100, 80)) -> str:
    """Return YOLO lines."""
    width, height = size
    return "".join(
        f"{names.index(name)} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
        f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
        for name, (x1, y1, x2, y2) in faces
    )


def faces_of(found: Annotations) -> dict[str, list[tuple[str, bool, list[float]]]]:
    """Return label, whether to ignore it and rounded box of each face, by image."""
    return {
        image.name: [(face.label.value, face.ignore, [round(edge, 2) for edge in face.box_xyxy.tolist()]) for face in image.faces]
        for image in found.images
    }


def kinds(found: Annotations) -> list[ProblemKind]:
    """Return the kinds of all problems."""
    return [problem.kind for problem in found.problems]


def only_problem(found: Annotations) -> Problem:
    """Return the problem that there is."""
    (problem,) = found.problems
    assert "\n" not in problem.where + problem.detail
    return problem
