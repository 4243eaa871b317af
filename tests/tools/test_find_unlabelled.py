"""The tool on pictures of the demo with the shipped detector."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskstream.io.images import image_size
from maskstream.vision.geometry import box_iou
from tests.tools.loading import Run, only_line, runner


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner("find_unlabelled", capsys)


def given(photos: Path, labels: Path, out: Path) -> list[str]:
    return ["--images", str(photos), "--labels", str(labels), "--out", str(out), "--quiet"]


def without(photos: Path, path: Path, *left_out: int) -> dict[str, Any]:
    """Write the labels without some of the faces; return all of them."""
    labels: dict[str, Any] = json.loads((photos / "val.json").read_text())
    kept = [face for number, face in enumerate(labels["annotations"]) if number not in left_out]
    path.write_text(json.dumps({**labels, "annotations": kept}))
    return labels


def corners(annotation: dict[str, Any]) -> Any:
    x, y, width, height = annotation["bbox"]
    return np.array([[x, y, x + width, y + height]], np.float32)


def test_what_nobody_labelled_is_neither_right_nor_wrong(photos: Path, run: Run, tmp_path: Path) -> None:
    labels = without(photos, tmp_path / "few.json", 1)
    done = run(*given(photos, tmp_path / "few.json", tmp_path / "new.json"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "marked: 1\n"
    found = json.loads((tmp_path / "new.json").read_text())
    *kept, marked = found["annotations"]
    assert kept == [face for number, face in enumerate(labels["annotations"]) if number != 1]
    missing = labels["annotations"][1]
    assert {key: marked[key] for key in ("image_id", "category_id", "ignore")} == {
        **{key: missing[key] for key in ("image_id", "category_id")},
        "ignore": 1,
    }
    assert box_iou(corners(marked), corners(missing))[0, 0] > 0.95
    assert {key: found[key] for key in ("images", "categories")} == {key: labels[key] for key in ("images", "categories")}


@pytest.mark.parametrize("encoding", ["utf-8-sig", pytest.param("utf-16", marks=pytest.mark.slow)])
def test_labels_in_another_encoding(photos: Path, run: Run, tmp_path: Path, encoding: str) -> None:
    without(photos, tmp_path / "few.json", 1)
    (tmp_path / "few.json").write_text((tmp_path / "few.json").read_text(), encoding=encoding)
    done = run(*given(photos, tmp_path / "few.json", tmp_path / "new.json"))
    assert (done.returncode, done.stdout) == (0, "marked: 1\n"), done.stderr


def test_labels_of_an_image_of_another_size_stay_as_they_are(photos: Path, run: Run, tmp_path: Path) -> None:
    without(photos, tmp_path / "few.json", 1)
    labels = json.loads((tmp_path / "few.json").read_text())
    for image in labels["images"]:
        width, height = image_size(str(photos / image["file_name"]))
        image |= {"width": 2 * width, "height": 2 * height}
    for face in labels["annotations"]:
        face |= {"bbox": [2 * value for value in face["bbox"]], "keypoints": []}
    (tmp_path / "few.json").write_text(json.dumps(labels))
    done = run(*given(photos, tmp_path / "few.json", tmp_path / "new.json"))
    assert done.stdout == "marked: 0\n"
    assert json.loads((tmp_path / "new.json").read_text()) == labels


@pytest.mark.parametrize("options", [["--only", "^nothing"], ["--min-score", "1"]], ids=" ".join)
def test_what_is_not_asked_for_stays(photos: Path, run: Run, tmp_path: Path, options: list[str]) -> None:
    without(photos, tmp_path / "few.json", 1)
    done = run(*given(photos, tmp_path / "few.json", tmp_path / "new.json"), *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "marked: 0\n"


def test_an_image_without_faces_teaches_what_no_face_is(photos: Path, run: Run, tmp_path: Path) -> None:
    without(photos, tmp_path / "few.json", 0, 1, 2)
    done = run(*given(photos, tmp_path / "few.json", tmp_path / "new.json"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "marked: 0\n"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--labels", "NONE"], 2, "NONE: no such"),
        (["--only", "("], 2, "--only (: not a regular expression"),
        (["--min-score", "2"], 2, "--min-score"),
        (["--out", "0.png/out.json"], 5, "0.png"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_its_exit_code(
    photos: Path,
    run: Run,
    tmp_path: Path,
    options: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photos)
    done = run(*given(photos, photos / "val.json", tmp_path / "new.json"), *options)
    assert done.returncode == code, done.stderr
    assert said in only_line(done)
    assert not (tmp_path / "new.json").exists()
