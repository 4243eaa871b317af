"""Whatever runs the networks, the answers are the same."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskstream.errors import ConfigError, WeightsError
from maskstream.models import CLASSIFIERS, DETECTORS, ClassifierOptions, DetectorOptions, backends, face_mobilenet
from maskstream.models.backends import choose_backend, compiled, installed_backends
from maskstream.models.crop_classifier import CropProbabilities
from maskstream.models.keypoint_rcnn import KeypointRCNNDetector
from maskstream.models.runtimes import Arrays
from maskstream.models.whole import WholeDetector
from maskstream.types import BgrImage, Detection, Frame
from tests import command_lines
from tests.command_lines import ROOT
from tools import export

CPU = torch.device("cpu")
COMPILING = [name for name in installed_backends(CPU) if name != "torch"]


def detector(backend: str, **options: object) -> KeypointRCNNDetector:
    return face_mobilenet.load(DetectorOptions(CPU, **{"min_score": 0.15, "max_faces": 100, "backend": backend, **options}))  # type: ignore[arg-type]


def assert_same(found: list[Detection], expected: list[Detection]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=0.01)
        np.testing.assert_allclose(one.keypoints_xy, other.keypoints_xy, atol=0.01)
        np.testing.assert_allclose(one.keypoint_scores, other.keypoint_scores, atol=1e-4)
        assert one.score == pytest.approx(other.score, abs=1e-4)


def pictures(frames: list[Frame]) -> list[BgrImage]:
    """Frames, a part of one whose sides are odd, a tiny one, one without faces and one far too long."""
    first = frames[0].bgr
    return [
        first,
        frames[30].bgr,
        np.ascontiguousarray(first[3:, 5:432]),
        first[::9, ::9].copy(),
        first[:40, :60].copy(),
        first[:20],
    ]


def test_both_compilers_are_there_to_be_tested() -> None:
    assert COMPILING == ["openvino", "onnx"]


@pytest.mark.parametrize("backend", COMPILING)
def test_all_backends_find_the_same(backend: str, demo_frames: list[Frame]) -> None:
    shown = pictures(demo_frames)
    one, eager = detector(backend), detector("torch")
    together = one.detect(shown)
    for picture, found in zip(shown, together, strict=True):
        assert_same(found, eager.detect([picture])[0])
        assert_same(one.detect([picture])[0], found)


class AsGraph:
    """The network as one graph of tensors, not compiled."""

    metadata: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def each(self, calls: Sequence[Sequence[NDArray[Any]]]) -> list[Arrays]:
        return [[each.numpy() for each in self.network(*map(torch.from_numpy, inputs))] for inputs in calls]


def test_the_graph_is_the_network() -> None:
    """With random weights and noise, in which no two places are alike, hundreds of proposals compete on all levels."""
    noise = np.random.default_rng(1).integers(0, 256, (384, 512, 3), np.uint8)
    module = face_mobilenet.build_module()
    torch.manual_seed(3)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    options = DetectorOptions(CPU, min_score=0.0, max_faces=100)
    eager = KeypointRCNNDetector(module, face_mobilenet.FACE_KEYPOINTS, lambda logits: logits, options)  # type: ignore[arg-type]
    expected = eager.detect([noise])[0]
    eager._graph = AsGraph(eager.whole())
    assert len(expected) > 20
    assert_same(eager.detect([noise])[0], expected)


@pytest.mark.parametrize("backend", COMPILING)
@pytest.mark.parametrize("name", ["mask_mobilenet", "mask_resnet18"])
def test_all_backends_judge_the_same(name: str, backend: str, face_bgr: BgrImage, config: object) -> None:
    crops = [np.ascontiguousarray(face_bgr[y : y + 112, x : x + 112]) for x, y in ((40, 100), (250, 60), (500, 100))]
    clip = config.clip  # type: ignore[attr-defined]
    one, other = (CLASSIFIERS[name](ClassifierOptions(CPU, clip, None, each)) for each in (backend, "torch"))
    for count in (3, 1, 0):
        np.testing.assert_allclose(one.classify(crops[:count]), other.classify(crops[:count]), atol=1e-4)


@pytest.mark.parametrize("backend", COMPILING)
def test_more_faces_may_be_allowed_later(backend: str, demo_frames: list[Frame]) -> None:
    one = detector(backend, max_faces=1)
    assert len(one.detect([demo_frames[0].bgr])[0]) == 1
    one.admit(0.15, 100)
    assert_same(one.detect([demo_frames[0].bgr])[0], detector("torch").detect([demo_frames[0].bgr])[0])


def test_a_graph_is_exported_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network, example, signature = small_network(2.0)
    assert compiled(network, example, signature, "onnx").each([[np.ones((1, 3), np.float32)]])[0][0].tolist() == [[2, 2, 2]]
    (kept,) = tmp_path.rglob("*.onnx")
    monkeypatch.setattr(backends, "export", lambda *_: pytest.fail("exported again"))
    assert compiled(network, example, signature, "onnx").each([[np.ones((5, 3), np.float32)]])[0][0].shape == (5, 3)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled(*small_network(3.0), "onnx").each([[np.ones((1, 3), np.float32)]])[0][0].tolist() == [[3, 3, 3]]
    assert len(list(kept.parent.iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"no graph at all"])
def test_a_damaged_cache_is_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: bytes) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled(*small_network(2.0), "onnx")
    (kept,) = tmp_path.rglob("*.onnx")
    kept.write_bytes(damage)
    assert compiled(*small_network(2.0), "onnx").each([[np.ones((1, 3), np.float32)]])[0][0].tolist() == [[2, 2, 2]]
    assert kept.stat().st_size > 50


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled(*small_network(2.0), "openvino").each([[np.ones((1, 3), np.float32)]])[0][0].tolist() == [[2, 2, 2]]


def small_network(factor: float) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...], backends.Signature]:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(factor))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.factor

    return Scaled().eval(), (torch.zeros(2, 3),), backends.Signature(("x",), ("y",), {"x": {0: "n"}, "y": {0: "n"}})


@pytest.mark.parametrize("backend", COMPILING)
def test_compiled_networks_run_on_the_cpu_alone(backend: str) -> None:
    with pytest.raises(ConfigError, match=f"detector.backend: {backend} runs on the CPU alone, not on cuda; choose torch"):
        choose_backend("detector.backend", backend, torch.device("cuda"))
    assert choose_backend("detector.backend", "auto", torch.device("cuda")) == "torch"


def test_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert choose_backend("detector.backend", "auto", CPU) == "torch"
    with pytest.raises(ConfigError, match="openvino is not installed; pip install openvino onnx, or choose torch"):
        choose_backend("detector.backend", "openvino", CPU)


@pytest.mark.parametrize(("suffix", "backend"), [("onnx", "onnx"), ("onnx", "openvino"), ("xml", "openvino")])
def test_an_exported_detector_finds_the_same(suffix: str, backend: str, tmp_path: Path, demo_frames: list[Frame]) -> None:
    path = tmp_path / f"face.{suffix}"
    assert export.main(["--weights", str(ROOT / "weights" / "face_mobilenet.safetensors"), "--out", str(path)]) == 0
    found = detector(backend, weights=str(path)).detect([demo_frames[0].bgr])[0]
    expected = detector("torch").detect([demo_frames[0].bgr])[0]
    tolerance = 0.01 if suffix == "onnx" else 0.2  # OpenVINO's files are float16
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.keypoints_xy, other.keypoints_xy, atol=tolerance)


def test_an_exported_classifier_judges_the_same(tmp_path: Path, face_bgr: BgrImage, config: object) -> None:
    path = tmp_path / "mask.onnx"
    assert export.main(["--weights", str(ROOT / "weights" / "mask_mobilenet.safetensors"), "--out", str(path)]) == 0
    crops = [np.ascontiguousarray(face_bgr[100:212, 40:152])]
    clip = config.clip  # type: ignore[attr-defined]
    load = CLASSIFIERS["mask_mobilenet"]
    exported, ours = load(ClassifierOptions(CPU, clip, str(path), "auto")), load(ClassifierOptions(CPU, clip, None, "torch"))
    assert exported.class_names == ours.class_names
    np.testing.assert_allclose(exported.classify(crops), ours.classify(crops), atol=1e-4)
    with pytest.raises(WeightsError, match="holds a 'mask_mobilenet', not a 'face_mobilenet'"):
        DETECTORS["face_mobilenet"](DetectorOptions(CPU, 0.5, 100, weights=str(path), backend="auto"))
    with pytest.raises(ConfigError, match="cannot be run by torch on cpu; allowed here: openvino, onnx"):
        load(ClassifierOptions(CPU, clip, str(path), "torch"))


@pytest.mark.parametrize("backend", COMPILING)
def test_an_exported_file_that_is_none(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    with pytest.raises(WeightsError, match=r"no such file; write one with tools/export\.py"):
        detector(backend, weights=str(path))
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a graph that can be read"):
        detector(backend, weights=str(path))


def test_signals_do_no_harm_after_the_models_are_gone() -> None:
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from maskstream import MaskPipeline\n"
        "MaskPipeline()\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled', flush=True))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "os._exit(0)\n"
    )
    done = command_lines.run([sys.executable, "-c", code, str(ROOT)], text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n")


def test_what_decides_is_part_of_the_name_in_the_cache() -> None:
    one, other = (WholeDetector(each.module, each._to_heatmaps) for each in (detector("torch"), detector("torch", max_faces=7)))
    assert str(one) != str(other)
    module = CLASSIFIERS["mask_mobilenet"](ClassifierOptions(CPU, None)).module  # type: ignore[arg-type, attr-defined]
    assert str(CropProbabilities(module, 1.0)) != str(CropProbabilities(module, 2.0))
