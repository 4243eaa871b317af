"""The tool as users run it, on pictures of the demo with the shipped detector."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from maskstream import MaskPipeline
from maskstream.io.images import read_image
from maskstream.training.crops import centre_crop, stored_size
from maskstream.types import Frame
from maskstream.vision.align import cut_quad
from tests import command_lines
from tests.command_lines import ROOT
from tests.tools.loading import Run, only_line, runner

TOOL = ROOT / "tools" / "make_crops.py"
SIZE = 112


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner("make_crops", capsys)


def given(photos: Path, out: Path) -> list[str]:
    return ["--images", str(photos), "--labels", str(photos / "val.json"), "--out", str(out)]


def test_the_tool_cuts_what_the_stream_judges(
    photos: Path, pipeline: MaskPipeline, demo_frames: list[Frame], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "crops"
    command = [sys.executable, str(TOOL), *given(photos, out), "--quiet"]
    done = command_lines.run(command, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "crops: 2 mask, 4 no_mask\nmissed: none\n"
    description = json.loads((out / "crops.json").read_text())
    assert description["crops"] == dict(Counter(path.parent.name for path in out.glob("*/*.png"))) == {"mask": 2, "no_mask": 4}
    assert {path.stat().st_mode & 0o777 for path in out.rglob("*")} == {0o600, 0o700}
    crops = [read_image(str(path)) for path in out.glob("*/*.png")]
    assert {crop.shape for crop in crops} == {(stored_size(SIZE), stored_size(SIZE), 3)}
    judged = [cut_quad(frame.bgr, face.quad_xy, SIZE) for frame in demo_frames[::25] for face in pipeline(frame.bgr)]
    assert len(judged) == 6
    for seen in judged:
        differences = [abs(centre_crop(crop, SIZE).astype(int) - seen.astype(int)) for crop in crops]
        best = min(differences, key=np.mean)
        assert best.max() <= 1
        assert (best > 0).mean() < 0.005


def test_both_keypoints_give_twice_the_crops(photos: Path, run: Run, tmp_path: Path) -> None:
    labels = json.loads((photos / "val.json").read_text())
    labels["annotations"].append({"image_id": 0, "category_id": 1, "bbox": [5, 5, 40, 50], "mask": "no_mask"})
    labels["annotations"].append({"image_id": 0, "category_id": 1, "bbox": [60, 5, 40, 50], "mask": None})
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    options = ["--keypoints", "both", "--size", "48", "--quiet"]
    done = run(*given(photos, tmp_path / "out"), "--labels", str(tmp_path / "labels.json"), *options)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert said == "crops: 4 mask, 8 no_mask\nmissed: 2 the detector did not find it\n"
    assert {read_image(str(path)).shape[0] for path in (tmp_path / "out").glob("*/*.png")} == {stored_size(48)}
    assert len(list((tmp_path / "out").glob("*/*.png"))) == 12


def test_faces_of_unknown_class_are_cut_into_a_folder_of_their_own(photos: Path, run: Run, tmp_path: Path) -> None:
    labels = json.loads((photos / "val.json").read_text())
    (masked, _) = [each for each in labels["annotations"] if each["mask"] == "mask"]
    masked["mask"] = None
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    done = run(*given(photos, tmp_path / "out"), "--labels", str(tmp_path / "labels.json"), "--quiet")
    assert done.stdout == "crops: 1 mask, 4 no_mask, 1 unlabelled\nmissed: none\n"
    assert len(list((tmp_path / "out" / "unlabelled").glob("*.png"))) == 1


def test_background_is_cut_where_it_is_asked_for(photos: Path, run: Run, tmp_path: Path) -> None:
    labels = json.loads((photos / "val.json").read_text())
    labels["annotations"] = [each for each in labels["annotations"] if each["image_id"] == 0]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    asked = ["--labels", str(tmp_path / "labels.json"), "--background", "^25", "--quiet"]
    done = run(*given(photos, tmp_path / "out"), *asked)
    assert done.stdout == "crops: 3 background, 1 mask, 2 no_mask\nmissed: none\n", done.stderr


def test_views_of_images_without_labels_give_more_background(photos: Path, run: Run, tmp_path: Path) -> None:
    labels = json.loads((photos / "val.json").read_text())
    labels["annotations"] = []
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    asked = ["--labels", str(tmp_path / "labels.json"), "--background", ".", "--quiet"]
    plain = run(*given(photos, tmp_path / "plain"), *asked)
    several = run(*given(photos, tmp_path / "several"), *asked, "--views", "8")
    assert (plain.returncode, several.returncode) == (0, 0), several.stderr
    names = {path.name for path in (tmp_path / "several" / "background").iterdir()}
    views = {name for name in names if name.startswith("view_")}
    assert len({name.split("_")[1] for name in views}) > 1
    assert names - views == {path.name for path in (tmp_path / "plain" / "background").iterdir()}


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (["--views", "3"], 2, "--views 3: needs --background"),
        (["--background", ".", "--views", "3"], 2, "--views 3: no image without faces"),
        (["--background", "("], 2, "--background (: not a regular expression"),
        (["--images", "NONE"], 3, "NONE: no such"),
        (["--labels", "NONE"], 2, "NONE: no such"),
        (["--format", "voc"], 2, "Pascal VOC"),
        (["--detector", "nobody"], 2, "nobody"),
        (["--out", "0.png/out"], 5, "0.png is a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_its_exit_code(
    photos: Path,
    run: Run,
    tmp_path: Path,
    change: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photos)
    done = run(*given(photos, tmp_path / "out"), "--quiet", *change)
    assert done.returncode == code, done.stderr
    assert said in only_line(done)


@pytest.mark.parametrize("missing", ["--images", "--labels", "--out"])
def test_what_is_missing_is_named(photos: Path, run: Run, missing: str) -> None:
    arguments = given(photos, Path("unused"))
    place = arguments.index(missing)
    done = run(*arguments[:place], *arguments[place + 2 :])
    assert done.returncode == 2, done.stderr
    assert f"{missing} is missing" in done.stderr
