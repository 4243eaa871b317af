"""In int8 the answers stay nearly the same, and int8 is used where the CPU has instructions for it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from maskstream.config.schema import ClipConfig, Config
from maskstream.errors import ConfigError, WeightsError
from maskstream.models import CLASSIFIERS, DETECTORS, ClassifierOptions, DetectorOptions, backends
from maskstream.models.backends import choose_backend, int8_graph_path, shipped_graph_path
from maskstream.models.cpu_features import flags_of
from maskstream.models.exported_model import files_of
from maskstream.protocols import Classifier, Detector
from maskstream.types import BgrImage, Frame
from maskstream.vision.align import align_face
from maskstream.vision.geometry import box_iou, face_box
from tests import command_lines
from tests.command_lines import ROOT
from tests.models.test_backends import SHIPPED
from tools import export as export_tool

CPU = "cpu"


def detector(precision: str, **options: object) -> Detector:
    chosen = {"min_score": 0.3, "max_faces": 100, "backend": "openvino", "precision": precision, **options}
    return DETECTORS["face_mobilenet"](DetectorOptions(CPU, **chosen))  # type: ignore[arg-type]


def classifier(precision: str, weights: str | None = None) -> Classifier:
    options = ClassifierOptions(CPU, ClipConfig(), weights, "openvino", precision)  # type: ignore[arg-type]
    return CLASSIFIERS["mask_mobilenet"](options)


def content(of: Detector) -> Path:
    """Return the file of the graph that a detector runs."""
    path: Path = of._graph._content  # type: ignore[attr-defined]
    return path


@pytest.fixture(scope="module")
def crops(demo_frames: list[Frame]) -> list[BgrImage]:
    shown = [frame.bgr for frame in demo_frames[::25]]
    found = detector("float32").detect(shown)
    size_px = classifier("float32").input_size_px
    pairs = [(image, one) for image, faces in zip(shown, found, strict=True) for one in faces]
    aligned = [align_face(image, one, face_box(one), size_px, Config().align) for image, one in pairs]
    return [each.bgr for each in aligned if each is not None]


def test_flags_of_processors() -> None:
    intel = "processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\nbugs\t\t: x\n\nprocessor\t: 1\nflags\t\t: fpu avx2\n"
    assert flags_of(intel) == {"fpu", "avx2", "avx_vnni"}
    assert flags_of("Features\t: fp asimd asimddp\n") == {"fp", "asimd", "asimddp"}
    assert flags_of("nothing of the kind") == frozenset()


@pytest.mark.parametrize("is_fast", [True, False])
def test_auto_follows_the_cpu(is_fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_fast_int8", lambda: is_fast)
    expected = int8_graph_path(SHIPPED[0]) if is_fast else shipped_graph_path(SHIPPED[0])
    assert content(detector("auto")) == expected
    assert content(detector("float32")) == shipped_graph_path(SHIPPED[0])
    assert content(detector("int8")) == int8_graph_path(SHIPPED[0])


def test_auto_is_float32_for_more_faces_than_the_quantised_graph_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_fast_int8", lambda: True)
    found = detector("auto", max_faces=backends.EXPORTED_FACES + 1)
    assert content(found) != int8_graph_path(SHIPPED[0])


def test_int8_finds_the_faces_that_float32_finds(demo_frames: list[Frame]) -> None:
    shown = [frame.bgr for frame in demo_frames[::25]]
    for exact, rounded in zip(detector("float32").detect(shown), detector("int8").detect(shown), strict=True):
        certain = [each for each in exact if each.score > 0.8]
        assert certain
        for face in certain:
            overlaps = box_iou(face.box_xyxy[None], np.array([each.box_xyxy for each in rounded]))[0]
            best = rounded[int(overlaps.argmax())]
            assert overlaps.max() > 0.8
            assert best.score == pytest.approx(face.score, abs=0.15)
            eye_distance = np.linalg.norm(face.keypoints_xy[1] - face.keypoints_xy[2])
            assert np.abs(best.keypoints_xy - face.keypoints_xy).max() < 0.15 * eye_distance


def test_int8_classifies_as_float32_does(crops: list[BgrImage]) -> None:
    exact, rounded = classifier("float32").classify(crops), classifier("int8").classify(crops)
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, atol=0.12)


def test_int8_survives_images_of_every_shape() -> None:
    """In a process of its own: on CPUs with AMX, OpenVINO crashed at a padded height of 544, 608 or 736 px."""
    code = (
        "import numpy as np\n"
        "from tests.models.test_quantization import classifier, detector\n"
        "found, classes = detector('int8'), classifier('int8')\n"
        "for long_px in range(384, 897, 32):\n"
        "    found.detect([np.zeros((long_px, 384, 3), np.uint8)])\n"
        "    found.detect([np.zeros((384, long_px, 3), np.uint8)] * 2)\n"
        "for count in range(1, 34):\n"
        "    classes.classify([np.zeros((112, 112, 3), np.uint8)] * count)\n"
        "print('alive')\n"
    )
    done = command_lines.run_code(code)
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_only_openvino_is_kept_from_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    detector("int8")
    assert "ONEDNN_MAX_CPU_ISA" not in os.environ


@pytest.mark.parametrize(
    ("backend", "device", "expected"),
    [("onnx", CPU, "not onnx on cpu"), ("torch", CPU, "not torch on cpu"), ("auto", "cuda", "not auto on cuda")],
)
def test_int8_elsewhere_is_refused(backend: str, device: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"^precision: int8 needs device cpu and detector\.backend openvino, {expected}; "):
        choose_backend("detector.backend", backend, device, "int8")


def test_int8_without_a_quantised_graph_is_refused(tmp_path: Path) -> None:
    weights = shutil.copy(SHIPPED[0], tmp_path)
    with pytest.raises(ConfigError, match=r"^precision: int8 needs a readable face_mobilenet\..*\.int8\.xml beside the weights"):
        detector("int8", weights=str(weights))


def test_int8_of_the_coco_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^precision: int8 is not possible with coco_resnet50; "):
        DETECTORS["coco_resnet50"](DetectorOptions(CPU, 0.5, 100, backend="openvino", precision="int8"))


@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_quantised_graph_is_said(number: int, tmp_path: Path) -> None:
    for path in (SHIPPED[1], *files_of(int8_graph_path(SHIPPED[1])), ROOT / "weights" / "manifest.json"):
        shutil.copy(path, tmp_path)
    damaged = files_of(int8_graph_path(tmp_path / SHIPPED[1].name))[number]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=rf"{damaged.name}: damaged, its SHA-256 is not the one in manifest\.json"):
        classifier("int8", str(tmp_path / SHIPPED[1].name))


def test_the_quantised_graphs_are_those_of_the_shipped_weights() -> None:
    assert sorted((ROOT / "weights").glob("*.int8.xml")) == sorted(map(int8_graph_path, SHIPPED))


@pytest.mark.slow
def test_a_classifier_is_quantised_with_a_folder_of_crops(
    tmp_path: Path, crops: list[BgrImage], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nncf", reason="the export to int8 needs nncf; pip install -r requirements-int8.txt")
    import cv2

    folder = tmp_path / "crops"
    folder.mkdir()
    for number, crop in enumerate(crops):
        cv2.imwrite(str(folder / f"{number}.png"), crop)
    weights = Path(shutil.copy(SHIPPED[1], tmp_path))
    assert export_tool.main(["--weights", str(weights), "--int8", str(folder)]) == 0
    assert f"{int8_graph_path(weights)} and " in capsys.readouterr().out
    made = classifier("int8", str(weights)).classify(crops)
    np.testing.assert_allclose(made, classifier("float32").classify(crops), atol=0.3)


def test_the_export_to_int8_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nncf", reason="the export to int8 needs nncf; pip install -r requirements-int8.txt")
    weights = str(shutil.copy(SHIPPED[1], tmp_path))
    (tmp_path / "empty").mkdir()
    assert export_tool.main(["--weights", weights, "--int8", str(tmp_path / "empty")]) == 3
    assert "is not a folder with images" in capsys.readouterr().err
    assert export_tool.main(["--weights", weights, "--int8", str(tmp_path), "--out", "x.onnx"]) == 2
    assert "it must end in .xml" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.xml"))
