"""Several sets of labelled images are one training set."""

import json
from pathlib import Path

import numpy as np
import pytest

from maskstream.errors import ConfigError
from maskstream.io.images import write_image
from maskstream.training.prepare import read_sets


def labelled(folder: Path, *names: str) -> Path:
    """Write images with one face each, and their labels beside the folder."""
    folder.mkdir()
    for name in names:
        write_image(folder / name, np.full((40, 60, 3), 90, np.uint8))
    images = [{"id": index, "file_name": name, "width": 60, "height": 40} for index, name in enumerate(names)]
    faces = [{"id": index, "image_id": index, "category_id": 1, "bbox": [5, 5, 20, 25]} for index in range(len(names))]
    path = folder.with_suffix(".json")
    path.write_text(json.dumps({"images": images, "annotations": faces, "categories": [{"id": 1, "name": "face"}]}))
    return path


def test_sets_are_joined_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    labels = [labelled(tmp_path / "wards", "a.png", "b.png"), labelled(tmp_path / "labs", "b.png", "c.png")]
    joined = read_sets([tmp_path / "wards", tmp_path / "labs"], labels, strict=True)
    assert [image.name for image in joined.images] == ["a.png", "b.png", "2/b.png", "c.png"]
    assert [image.path.parent.name for image in joined.images] == ["wards", "wards", "labs", "labs"]
    assert joined.sha256 not in {read_sets([tmp_path / "wards"], labels[:1], strict=True).sha256}


def test_one_folder_serves_several_label_files(tmp_path: Path) -> None:
    both = labelled(tmp_path / "photos", "a.png", "b.png")
    coco = json.loads(both.read_text())
    parts = []
    for index, image in enumerate(coco["images"]):
        parts.append(tmp_path / f"part_{index}.json")
        parts[-1].write_text(json.dumps(coco | {"images": [image], "annotations": [coco["annotations"][index]]}))
    joined = read_sets([tmp_path / "photos"], parts, strict=True)
    assert [image.name for image in joined.images] == ["a.png", "b.png"]


def test_negatives_have_no_face(tmp_path: Path) -> None:
    labels = labelled(tmp_path / "wards", "a.png")
    labelled(tmp_path / "gloves", "g.png").unlink()
    joined = read_sets([tmp_path / "wards"], [labels], [tmp_path / "gloves"], strict=True)
    assert {image.name: len(image.faces) for image in joined.images} == {"a.png": 1, "g.png": 0}


def test_folders_that_fit_no_label_files_are_refused(tmp_path: Path) -> None:
    labels = labelled(tmp_path / "wards", "a.png")
    with pytest.raises(ConfigError, match="--images: 2 folders for 3 label files; give one folder, or one for each"):
        read_sets([tmp_path / "wards"] * 2, [labels] * 3, strict=True)
