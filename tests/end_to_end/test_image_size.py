"""Large images are detected in two sizes; the frames of videos in one, because they must be analysed in real time."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskstream import MaskPipeline, load_config
from maskstream.config.loading import Layer
from maskstream.types import BgrImage, Face, Frame
from tests.conftest import DEMO
from tests.end_to_end.test_run_stream import run
from tests.tools.loading import main_of


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, demo_frames: list[Frame]) -> Path:
    """The folder of an image of 1410x792 with 108 small faces."""
    small = cv2.resize(demo_frames[0].bgr, (235, 132), interpolation=cv2.INTER_AREA)
    folder = tmp_path_factory.mktemp("crowd")
    cv2.imwrite(str(folder / "crowd.png"), np.tile(small, (6, 6, 1)))
    return folder


@pytest.fixture(scope="module")
def crowd_bgr(crowd: Path) -> BgrImage:
    return np.asarray(cv2.imread(str(crowd / "crowd.png")), np.uint8)


@pytest.fixture(scope="module")
def at_384(crowd_bgr: BgrImage) -> tuple[Face, ...]:
    """The faces at the size that frames of videos are scaled to."""
    return MaskPipeline(load_config(layers=[Layer.of_key("test", "detector.short_side", 384)]))(crowd_bgr)


def recorded(path: Path) -> int:
    """The number of faces of the image in the records of a run."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    (found,) = [len(each["faces"]) for each in records if each.get("file")]
    return found


def test_distant_faces_in_a_large_image_are_found(pipeline: MaskPipeline, crowd_bgr: BgrImage, at_384: tuple[Face, ...]) -> None:
    assert len(at_384) < 90
    assert len(pipeline(crowd_bgr)) > 95


def test_a_run_over_images_finds_what_the_library_finds(
    crowd: Path, pipeline: MaskPipeline, crowd_bgr: BgrImage, tmp_path: Path
) -> None:
    done = run("--source", crowd, "--jsonl", tmp_path / "faces.jsonl", "--quiet")
    assert done.returncode == 0, done.stderr
    assert recorded(tmp_path / "faces.jsonl") == len(pipeline(crowd_bgr))


def test_images_beside_a_video_have_the_size_of_its_frames(crowd: Path, at_384: tuple[Face, ...], tmp_path: Path) -> None:
    shutil.copy(crowd / "crowd.png", tmp_path)
    done = run("--source", tmp_path, "--source", DEMO, "--max-frames", "2", "--jsonl", tmp_path / "faces.jsonl", "--quiet")
    assert done.returncode == 0, done.stderr
    assert recorded(tmp_path / "faces.jsonl") == len(at_384)


def test_an_evaluation_finds_what_the_library_finds(
    crowd: Path, pipeline: MaskPipeline, crowd_bgr: BgrImage, tmp_path: Path
) -> None:
    options = ["--images", str(crowd), "--unlabelled", "negative", "--out", str(tmp_path)]
    assert main_of("evaluate")([*options, "--set", "evaluation.bootstrap=0"]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["one_to_one"]["0.50"]["false_faces"] == len(pipeline(crowd_bgr))


def test_a_near_face_in_a_large_image_is_found(pipeline: MaskPipeline, demo_frames: list[Frame]) -> None:
    """In its own size this face of 700 px is larger than those that the detector was trained on."""
    near = cv2.resize(demo_frames[0].bgr[66:186, 260:380], (900, 900), interpolation=cv2.INTER_CUBIC)
    (face,) = pipeline(np.asarray(near, np.uint8))
    assert (face.face_box_xyxy[2:] - face.face_box_xyxy[:2]).max() > 600
    assert face.label.value == "no_mask"
