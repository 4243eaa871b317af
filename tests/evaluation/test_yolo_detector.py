import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.errors import ConfigError, ModelError, WeightsError
from maskstream.evaluation.yolo_detector import YoloAnalyzer, contained, load_yolo
from maskstream.rendering.overlay import Overlay
from maskstream.types import BgrImage, Face, Frame, Label
from maskstream.vision.geometry import face_box
from tests.command_lines import ROOT
from tests.models.tiny import BLUE, RED, draw, save_tiny_yolo
from tests.slowness import LONGEST_S

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
MEANINGS = {"with mask": "mask", "Without_Mask": "no_mask"}
WIDE_RED, WIDE_BLUE = (10, 20, 60, 70), (90, 25, 145, 80)
TALL_RED, TALL_BLUE = (25, 95, 75, 150), (30, 20, 80, 65)
WIDE = draw(96, 160, (WIDE_RED, RED), (WIDE_BLUE, BLUE))
TALL = draw(176, 110, (TALL_RED, RED), (TALL_BLUE, BLUE))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_yolo(tmp_path_factory.mktemp("yolo") / "it's tiny.pt", ("With Mask", "without-mask"))


def load(
    weights: Path | str, min_score: float = 0.3, max_faces: int = 20, meanings: Any = MEANINGS, incorrect_as: Any = "no_mask"
) -> YoloAnalyzer:
    return load_yolo(str(weights), CPU, min_score, max_faces, meanings, incorrect_as)


@pytest.fixture(scope="module")
def analyzer(weights: Path) -> YoloAnalyzer:
    return load(weights)


def faces_of(analyzer: YoloAnalyzer, image_bgr: BgrImage) -> tuple[Face, ...]:
    return analyzer.analyze([Frame(image_bgr, 7, "made", 0.28)])[0].faces


def by_label(faces: tuple[Face, ...]) -> dict[Label, list[float]]:
    assert len({face.label for face in faces}) == len(faces)
    return {face.label: face.face_box_xyxy.tolist() for face in faces}


@pytest.mark.parametrize(
    ("image", "red", "blue"),
    [(WIDE, WIDE_RED, WIDE_BLUE), (TALL, TALL_RED, TALL_BLUE)],
    ids=["wide", "tall"],
)
def test_boxes_are_pixels_of_the_image_and_classes_become_labels(
    analyzer: YoloAnalyzer, image: BgrImage, red: tuple[int, ...], blue: tuple[int, ...]
) -> None:
    found = by_label(faces_of(analyzer, image))
    assert found == {Label.MASK: pytest.approx(red, abs=6), Label.NO_MASK: pytest.approx(blue, abs=6)}


def test_a_face_is_a_box_without_keypoints_whose_score_is_its_confidence(analyzer: YoloAnalyzer, config: Config) -> None:
    frame = Frame(WIDE, 7, "made", 0.28, capture_ms=5, file="wide.png")
    result = analyzer.analyze([frame])[0]
    assert (result.source_id, result.index, result.time_s, result.file) == ("made", 7, 0.28, "wide.png")
    assert result.timing_ms.keys() == {"capture", "detect", "total"}
    assert result.timing_ms["total"] == 5 + result.timing_ms["detect"]
    scores = [face.detection.score for face in result.faces]
    assert scores == sorted(scores, reverse=True)
    for face in result.faces:
        x1, y1, x2, y2 = face.face_box_xyxy.tolist()
        assert face.quad_xy.tolist() == [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
        assert face.confidence == face.detection.score
        assert face.detection.keypoint_names == ()
        assert face_box(face.detection) is face.detection.box_xyxy
    everything = refine(config, Layer("test", {"overlay": {"keypoints": True, "skeleton": True}}))
    assert (Overlay(everything).paint(frame, result) != WIDE).any()


def test_images_are_blue_first(analyzer: YoloAnalyzer, weights: Path, tmp_path: Path) -> None:
    swapped = by_label(faces_of(analyzer, WIDE[..., ::-1].copy()))
    assert swapped[Label.NO_MASK] == pytest.approx(WIDE_RED, abs=6)
    cv2.imwrite(str(tmp_path / "wide.png"), WIDE)
    copy = tmp_path / "plain.pt"
    copy.write_bytes(weights.read_bytes())
    with contained():
        from ultralytics import YOLO

        read_by_itself = YOLO(str(copy)).predict(str(tmp_path / "wide.png"), conf=0.3, verbose=False, device="cpu")[0].boxes
    ours = faces_of(analyzer, WIDE)
    assert [face.face_box_xyxy.tolist() for face in ours] == pytest.approx(read_by_itself.xyxy.numpy(), abs=0.01)
    assert [face.confidence for face in ours] == pytest.approx(read_by_itself.conf.numpy(), abs=1e-4)


def test_a_batch_of_sizes_gives_what_single_images_give(analyzer: YoloAnalyzer) -> None:
    images = [WIDE, TALL, WIDE[..., ::-1].copy(), np.zeros((1, 300, 3), np.uint8), np.zeros((1, 1, 3), np.uint8), TALL]
    together = analyzer.analyze([Frame(image, index, "made", 0) for index, image in enumerate(images)])
    assert [len(result.faces) for result in together] == [2, 2, 2, 0, 0, 2]
    for image, result in zip(images, together, strict=True):
        for ours, alone in zip(result.faces, faces_of(analyzer, image), strict=True):
            assert (ours.label, ours.face_box_xyxy.tolist()) == (alone.label, pytest.approx(alone.face_box_xyxy, abs=0.01))
    assert analyzer.analyze([]) == []


def test_the_most_certain_faces_are_kept(weights: Path, analyzer: YoloAnalyzer) -> None:
    first, second = faces_of(analyzer, WIDE)
    assert [face.label for face in faces_of(load(weights, max_faces=1), WIDE)] == [first.label]
    threshold = (first.detection.score + second.detection.score) / 2
    assert [face.label for face in faces_of(load(weights, threshold), WIDE)] == [first.label]


@pytest.mark.parametrize(
    ("meaning", "incorrect_as", "labels"),
    [
        ("incorrect", "no_mask", {Label.NO_MASK}),
        ("incorrect", "incorrect", {Label.NO_MASK, Label.INCORRECT}),
        ("unknown", "no_mask", {Label.NO_MASK, Label.UNKNOWN}),
        ("ignore", "no_mask", {Label.NO_MASK}),
    ],
)
def test_meanings_of_classes(weights: Path, meaning: str, incorrect_as: str, labels: set[Label]) -> None:
    meanings = {"with-mask": meaning, "without mask": "no_mask"}
    faces = faces_of(load(weights, meanings=meanings, incorrect_as=incorrect_as), WIDE)
    assert len(faces) == (1 if meaning == "ignore" else 2)
    assert {face.label for face in faces} == labels
    assert all((face.confidence is None) == (face.label is Label.UNKNOWN) for face in faces)


def test_classes_to_be_ignored_take_no_place(weights: Path, analyzer: YoloAnalyzer) -> None:
    best = faces_of(analyzer, WIDE)[0].label
    meanings = {"with_mask": "mask", "without_mask": "no_mask"}
    meanings |= {name: "ignore" for name, meaning in meanings.items() if meaning == best}
    assert [face.label for face in faces_of(load(weights, max_faces=1, meanings=meanings), WIDE)] == [
        Label.NO_MASK if best is Label.MASK else Label.MASK
    ]


def test_a_class_of_unknown_meaning_is_refused(weights: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"the meaning of its classes without_mask is not known; .* --set evaluation\.labels\.without_mask=mask"
    ):
        load(weights, meanings={"with_mask": "mask"})


def test_a_class_that_is_ambiguous_beside_others_is_asked_about(weights: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"without-mask beside With Mask may mean .* --set evaluation\.labels\.without_mask=no_mask"
    ):
        load(weights, meanings={"with_mask": "mask", "without_mask": "ask"})
    faces = faces_of(load(weights, meanings={"with_mask": "ask", "without_mask": "ask"}), WIDE)
    assert {face.label for face in faces} == {Label.UNKNOWN}


def test_the_library_is_optional(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(ModelError, match=r"^yolo needs the package ultralytics; pip install -r requirements-yolo\.txt$"):
        load(weights)


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    with contained():
        from ultralytics import YOLO

        YOLO("yolo11n-cls.yaml").save(tmp_path / "classifier.pt")
    with pytest.raises(ModelError, match=r"classifier\.pt: an Ultralytics model for 'classify'; give one for 'detect'"):
        load(tmp_path / "classifier.pt")


def test_a_missing_file_is_named_and_not_downloaded(folder: Path) -> None:
    for name in ("yolo11n.pt", "https://example.org/yolo11n.pt"):
        with pytest.raises(WeightsError, match=f"^{name}: no such weights file"):
            load(name)
    assert list(folder.iterdir()) == []


class Malicious:
    """A pickle that creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("hello"),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: torch.save({"weight": torch.zeros(1)}, path),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"model": torch.nn.Linear(1, 1)}, path),
        lambda path: torch.save({"model": Malicious(path.with_name("created"))}, path),
    ],
    ids=["empty", "text", "half", "state dict", "a list", "another module", "malicious"],
)
def test_other_files_are_refused_in_one_line(
    weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], spoil: Callable[[Path], Any]
) -> None:
    path = tmp_path / "spoilt.pt"
    path.write_bytes(weights.read_bytes())
    spoil(path)
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: damaged, or not a plain Ultralytics model (")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert [file.name for file in tmp_path.iterdir()] == ["spoilt.pt"]


CHILD = """
import os, socket, sys, warnings
import cv2, numpy, PIL.Image, torch
from maskstream.evaluation.yolo_detector import load_yolo
from maskstream.types import Frame

def state():
    threads, allowed = (torch.get_num_threads(), cv2.getNumThreads()), torch.serialization.get_safe_globals()
    return dict(os.environ), threads, set(allowed), PIL.Image.open, torch.save, list(warnings.filters), numpy.get_printoptions()

def refuse(*arguments):
    raise AssertionError("the network was asked")

socket.socket.connect = socket.getaddrinfo = refuse
before = state()
analyzer = load_yolo(sys.argv[1], torch.device("cpu"), 0.3, 10, {"with_mask": "mask", "without_mask": "no_mask"}, "no_mask")
assert len(analyzer.analyze([Frame(cv2.imread(sys.argv[2]), 0, "made", 0)])[0].faces) == 2
for now, then in zip(state(), before, strict=True):
    assert now == then, (now, then)
"""


@pytest.mark.slow
def test_it_leaves_process_and_disk_as_they_were(weights: Path, tmp_path: Path) -> None:
    image, home, folder = tmp_path / "wide.png", tmp_path / "home", tmp_path / "folder"
    cv2.imwrite(str(image), WIDE)
    home.mkdir()
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "YOLO_", "PYTEST"))}
    environment = {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    command = [sys.executable, "-W", "error", "-c", CHILD, str(weights), str(image)]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert list(home.rglob("*")) == []
    assert list(folder.iterdir()) == []
