"""Whatever runs the networks, the answers are the same."""

import json
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from maskstream.errors import ConfigError, WeightsError
from maskstream.models import CLASSIFIERS, DETECTORS, ClassifierOptions, DetectorOptions, backends, face_mobilenet_network
from maskstream.models.backends import cached_graph, choose_backend, installed_backends, shipped_graph_path
from maskstream.models.detections import parse_outputs
from maskstream.models.exported_model import export_weights
from maskstream.models.keypoint_rcnn import KeypointRCNNDetector
from maskstream.models.keypoint_rcnn_graph import KeypointRCNNGraph
from maskstream.models.onnx_export import Signature, export, network_key
from maskstream.models.runtimes import Graph, read_graph
from maskstream.models.telemetry import openvino_package
from maskstream.protocols import Detector
from maskstream.types import FACE_KEYPOINTS, BgrImage, Detection, Frame
from tests import command_lines
from tests.command_lines import ROOT
from tests.models.tiny import save_resnet
from tests.slowness import LONGEST_S
from tools import export as export_tool

CPU = "cpu"
COMPILING = [name for name in installed_backends(CPU) if name != "torch"]


def detector(backend: str, **options: object) -> Detector:
    chosen = {"min_score": 0.15, "max_faces": 100, "backend": backend, **options}
    return DETECTORS["face_mobilenet"](DetectorOptions(CPU, **chosen))  # type: ignore[arg-type]


def assert_same(found: list[Detection], expected: list[Detection]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=0.01)
        np.testing.assert_allclose(one.keypoints_xy, other.keypoints_xy, atol=0.01)
        np.testing.assert_allclose(one.keypoint_scores, other.keypoint_scores, atol=1e-4)
        assert one.score == pytest.approx(other.score, abs=1e-4)


def images(frames: list[Frame]) -> list[BgrImage]:
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
    shown = images(demo_frames)
    one, eager = detector(backend), detector("torch")
    together = one.detect(shown)
    for image, found in zip(shown, together, strict=True):
        assert_same(found, eager.detect([image])[0])
        assert_same(one.detect([image])[0], found)


def test_the_graph_is_the_network() -> None:
    """With random weights and noise, in which no two places are alike, hundreds of proposals compete on all levels."""
    noise = np.random.default_rng(1).integers(0, 256, (384, 512, 3), np.uint8)
    module = face_mobilenet_network.build_module()
    torch.manual_seed(3)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    whole = KeypointRCNNGraph(deepcopy(module), 100)
    options = DetectorOptions(CPU, min_score=0.0, max_faces=100)
    eager = KeypointRCNNDetector(module, FACE_KEYPOINTS, lambda logits: logits, options)  # type: ignore[arg-type]
    expected = eager.detect([noise])[0]
    with torch.inference_mode():
        outputs = whole(torch.from_numpy(noise)[None], torch.tensor([384.0, 512.0]), torch.tensor([0.0]))
    found = parse_outputs([each.numpy() for each in outputs])
    assert len(expected) > 20
    assert_same(found.detections((384, 512), (384, 512), FACE_KEYPOINTS, lambda logits: logits), expected)  # type: ignore[arg-type]


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
    assert small_graph(2.0, "onnx").each([[np.ones((1, 3), np.float32)]])[0][0].tolist() == [[2, 2, 2]]
    (kept,) = tmp_path.rglob("*.onnx")
    monkeypatch.setattr(sys.modules[__name__], "export", lambda *_: pytest.fail("exported again"))
    assert small_graph(2.0, "onnx").each([[np.ones((5, 3), np.float32)]])[0][0].shape == (5, 3)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert small_graph(3.0, "onnx").each([[np.ones((1, 3), np.float32)]])[0][0].tolist() == [[3, 3, 3]]
    assert len(list(kept.parent.iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"no graph at all, and not a sum at the end of it either"])
@pytest.mark.parametrize(("backend", "suffix"), [("onnx", "onnx"), ("openvino", "onnx"), ("openvino", "compiled")])
def test_a_damaged_cache_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: str, suffix: str, damage: bytes
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    small_graph(2.0, backend)
    (kept,) = tmp_path.rglob(f"*.{suffix}")
    kept.write_bytes(damage)
    assert small_graph(2.0, backend).each([[np.ones((1, 3), np.float32)]])[0][0].tolist() == [[2, 2, 2]]
    assert kept.stat().st_size > len(damage)
    assert [path.name for path in kept.parent.iterdir() if path.suffix == ".part"] == []


def test_what_was_compiled_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    small_graph(2.0, "openvino")
    monkeypatch.setattr(openvino_package().Core, "compile_model", lambda *_: pytest.fail("compiled again"))
    assert small_graph(2.0, "openvino").each([[np.ones((1, 3), np.float32)]])[0][0].tolist() == [[2, 2, 2]]


@pytest.mark.slow
def test_programs_that_start_for_the_first_time_together_do_not_disturb_each_other(tmp_path: Path) -> None:
    """With OpenVINO's own cache, one of them dies of a bus error now and then."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from maskstream import MaskPipeline; sys.stdin.read(); MaskPipeline()"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    asked = [sys.executable, "-c", code, str(ROOT)]
    running = [subprocess.Popen(asked, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(4)]
    for process in running:
        process.communicate(timeout=LONGEST_S)
    assert [process.returncode for process in running] == [0] * 4
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".compiled"}


def test_a_cache_that_cannot_be_written_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert small_graph(2.0, "openvino").each([[np.ones((1, 3), np.float32)]])[0][0].tolist() == [[2, 2, 2]]


def small_graph(factor: float, backend: str) -> Graph:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(factor))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.factor

    network, signature = Scaled().eval(), Signature(("x",), ("y",), {"x": {0: "n"}, "y": {0: "n"}})
    return cached_graph(network_key(network, signature), backend, lambda: export(network, (torch.zeros(2, 3),), signature))


@pytest.mark.parametrize("backend", COMPILING)
def test_compiled_networks_run_on_the_cpu_alone(backend: str) -> None:
    with pytest.raises(ConfigError, match=f"detector.backend: {backend} runs only on the CPU, not on cuda; choose torch"):
        choose_backend("detector.backend", backend, "cuda")
    assert choose_backend("detector.backend", "auto", "cuda") == "torch"


def test_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert choose_backend("detector.backend", "auto", CPU) == "torch"
    with pytest.raises(ConfigError, match="openvino is not installed; pip install openvino, or choose torch"):
        choose_backend("detector.backend", "openvino", CPU)


SUFFIXES_AND_BACKENDS = (
    ("onnx", "onnx"),
    *(pytest.param(suffix, "openvino", marks=pytest.mark.slow) for suffix in ("onnx", "xml")),
)


@pytest.mark.parametrize(("suffix", "backend"), SUFFIXES_AND_BACKENDS)
def test_an_exported_detector_finds_the_same(suffix: str, backend: str, tmp_path: Path, demo_frames: list[Frame]) -> None:
    path = tmp_path / f"face.{suffix}"
    assert export_tool.main(["--weights", str(ROOT / "weights" / "face_mobilenet.safetensors"), "--out", str(path)]) == 0
    found = detector(backend, weights=str(path)).detect([demo_frames[0].bgr])[0]
    expected = detector("torch").detect([demo_frames[0].bgr])[0]
    tolerance = 0.01 if suffix == "onnx" else 0.2  # OpenVINO's files are float16
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.keypoints_xy, other.keypoints_xy, atol=tolerance)


def test_an_exported_classifier_judges_the_same(tmp_path: Path, face_bgr: BgrImage, config: object) -> None:
    path = tmp_path / "mask.onnx"
    assert export_tool.main(["--weights", str(ROOT / "weights" / "mask_mobilenet.safetensors"), "--out", str(path)]) == 0
    crops = [np.ascontiguousarray(face_bgr[100:212, 40:152])]
    clip = config.clip  # type: ignore[attr-defined]
    load = CLASSIFIERS["mask_mobilenet"]
    exported, ours = load(ClassifierOptions(CPU, clip, str(path), "auto")), load(ClassifierOptions(CPU, clip, None, "torch"))
    assert exported.class_names == ours.class_names
    np.testing.assert_allclose(exported.classify(crops), ours.classify(crops), atol=1e-4)
    with pytest.raises(WeightsError, match="contains a 'mask_mobilenet', not a 'face_mobilenet'"):
        DETECTORS["face_mobilenet"](DetectorOptions(CPU, 0.5, 100, weights=str(path), backend="auto"))
    with pytest.raises(ConfigError, match="cannot be run by torch on cpu; allowed here: openvino, onnx"):
        load(ClassifierOptions(CPU, clip, str(path), "torch"))


@pytest.mark.slow
def test_a_resnet_of_four_classes_has_a_graph_beside_its_weights(tmp_path: Path, config: object) -> None:
    weights = save_resnet(tmp_path / "mask_resnet18.safetensors")
    assert export_tool.main(["--weights", str(weights)]) == 0
    assert len(list(tmp_path.glob("mask_resnet18.*.onnx"))) == 1
    crops = list(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8))
    clip, load = config.clip, CLASSIFIERS["mask_resnet18"]  # type: ignore[attr-defined]
    expected = load(ClassifierOptions(CPU, clip, str(weights), "torch")).classify(crops)
    assert expected.shape == (3, 4)
    for backend in COMPILING:
        one = load(ClassifierOptions(CPU, clip, str(weights), backend))
        assert one.class_names == ("mask", "no_mask", "incorrect", "background")
        np.testing.assert_allclose(one.classify(crops), expected, atol=1e-4)


@pytest.mark.parametrize("backend", COMPILING)
def test_an_exported_file_that_is_none(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    with pytest.raises(WeightsError, match=r"no such file; export one with tools/export\.py"):
        detector(backend, weights=str(path))
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a readable graph"):
        detector(backend, weights=str(path))


def test_signals_do_no_harm_after_the_models_are_gone() -> None:
    code = (
        "import os, signal\n"
        "from maskstream import MaskPipeline\n"
        "MaskPipeline()\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled', flush=True))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "os._exit(0)\n"
    )
    done = command_lines.run_code(code)
    assert (done.returncode, done.stdout) == (0, "handled\n")


def test_what_decides_is_part_of_the_name_in_the_cache() -> None:
    module = face_mobilenet_network.build_module()
    signature = Signature((), (), {})
    few, many = (network_key(KeypointRCNNGraph(deepcopy(module), faces), signature) for faces in (7, 100))
    assert few != many


def test_numbers_that_float16_holds_are_stored_in_it_and_all_others_are_not(tmp_path: Path) -> None:
    linear = torch.nn.Linear(64, 2)
    torch.nn.init.constant_(linear.weight, 0.5)
    torch.nn.init.constant_(linear.bias, 0.1)
    signature = Signature(("x",), ("y",), {"x": {0: "n"}, "y": {0: "n"}})
    content = export(linear.eval(), (torch.ones(2, 64),), signature)
    stored = {numpy_helper.to_array(each).dtype.name for each in onnx.load_from_string(content).graph.initializer}
    assert stored == {"float16", "float32"}
    expected = linear(torch.ones(1, 64)).detach().numpy()
    for backend in COMPILING:
        assert read_graph(content, backend, tmp_path).each([[np.ones((1, 64), np.float32)]])[0][0] == pytest.approx(expected)


SHIPPED = [ROOT / "weights" / f"{name}.safetensors" for name in ("face_mobilenet", "mask_mobilenet")]
"""The default models on a CPU."""


def test_the_default_models_have_their_graph_beside_them_and_no_other_graph_lies_there() -> None:
    """Those of other weights are of no use: run tools/export.py --weights FILE after a training, and remove the one before."""
    graphs = set((ROOT / "weights").glob("*.onnx"))
    assert set(map(shipped_graph_path, SHIPPED)) <= graphs
    assert graphs <= set(map(shipped_graph_path, (ROOT / "weights").glob("*.safetensors")))
    listed = json.loads((ROOT / "weights" / "manifest.json").read_text())
    assert {name for name in listed if name.endswith(".onnx")} == {path.name for path in graphs}


@pytest.mark.slow
@pytest.mark.parametrize("weights", SHIPPED, ids=lambda path: path.stem)
def test_the_graph_beside_the_weights_is_made_of_them(weights: Path) -> None:
    expected, properties = export_weights(weights, backends.EXPORTED_FACES)
    found = onnx.load(shipped_graph_path(weights))
    assert {each.key: each.value for each in found.metadata_props} == properties
    numbers = [
        {each.name: each.raw_data for each in model.graph.initializer} for model in (found, onnx.load_from_string(expected))
    ]
    assert numbers[0] == numbers[1]


def numbers_of(model: onnx.ModelProto) -> dict[str, bytes]:
    return {each.name: each.raw_data for each in model.graph.initializer}


def test_a_damaged_graph_beside_the_weights_is_said(tmp_path: Path) -> None:
    for path in (SHIPPED[0], shipped_graph_path(SHIPPED[0]), SHIPPED[0].with_name("manifest.json")):
        shutil.copy(path, tmp_path)
    damaged = shipped_graph_path(tmp_path / SHIPPED[0].name)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=rf"{damaged.name}: damaged, its SHA-256 is not the one in manifest\.json"):
        detector("openvino", weights=str(tmp_path / SHIPPED[0].name))


@pytest.mark.slow
def test_weights_without_a_graph_are_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face_bgr: BgrImage) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = str(shutil.copy(SHIPPED[0], tmp_path))
    expected = detector("openvino").detect([face_bgr])[0]
    assert_same(detector("openvino", weights=weights).detect([face_bgr])[0], expected)
    monkeypatch.setattr(face_mobilenet_network, "as_onnx", lambda *_: pytest.fail("exported again"))
    assert_same(detector("openvino", weights=weights).detect([face_bgr])[0], expected)


def test_export_beside_the_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = shutil.copy(SHIPPED[1], tmp_path)
    assert export_tool.main(["--weights", str(weights)]) == 0
    (made,) = tmp_path.glob("*.onnx")
    assert made.name == shipped_graph_path(SHIPPED[1]).name
    assert json.loads((tmp_path / "manifest.json").read_text()).keys() == {made.name}
    assert capsys.readouterr().out.startswith(f"{made}: ")
    assert export_tool.main(["--weights", str(weights), "--max-faces", "5"]) == 2
    assert "--max-faces: 5 needs --out" in capsys.readouterr().err


@pytest.mark.slow
def test_few_calls_alone_do_not_compile_a_graph_again(tmp_path: Path, face_bgr: BgrImage) -> None:
    one = detector("openvino", several=True)
    graph = one._graph  # type: ignore[attr-defined]
    few = [one.detect([face_bgr])[0] for _ in range(3)]
    assert "_for_single_calls" not in vars(graph)
    for _ in range(8):
        often = one.detect([face_bgr])[0]
    assert "_for_single_calls" in vars(graph)
    for found in (*few, often):
        assert_same(found, one.detect([face_bgr, face_bgr])[1])


def test_on_one_thread_no_result_depends_on_its_batch(demo_frames: list[Frame]) -> None:
    """Workers of an archive rely on it."""
    images = [frame.bgr for frame in demo_frames[:3]]
    one = detector("openvino", several=True, threads=1)
    together, alone = one.detect(images), [one.detect([image])[0] for image in images]
    for ours, other in zip(together, alone, strict=True):
        assert len(ours) >= 3
        for a, b in zip(ours, other, strict=True):
            assert (a.score, a.box_xyxy.tolist(), a.keypoints_xy.tolist()) == (
                b.score,
                b.box_xyxy.tolist(),
                b.keypoints_xy.tolist(),
            )
