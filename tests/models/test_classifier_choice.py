from pathlib import Path

import numpy as np
import pytest
from loguru import logger

from maskstream.benchmark.gpu_setup import QUICK, Check
from maskstream.config.loading import Layer, load_config
from maskstream.errors import ConfigError, WeightsError
from maskstream.evaluation import systems
from maskstream.inference.pipeline import build_analyzer, require_models
from maskstream.models import CLASSIFIERS, ClassifierOptions
from maskstream.models.classifier_choice import pick_classifier
from maskstream.models.exported_model import write_exported
from maskstream.models.metadata import read_metadata, to_header
from maskstream.models.onnx_export import Signature, export
from tests.command_lines import ROOT

WEIGHTS = ROOT / "weights"
RESNET18 = str(WEIGHTS / "mask_resnet18.safetensors")
MOBILENET = str(WEIGHTS / "mask_mobilenet.safetensors")


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", "mask_mobilenet"), ("cuda", "mask_resnet18"), ("cuda:1", "mask_resnet18"), ("mps", "mask_resnet18")],
)
def test_auto_depends_on_the_device(device: str, expected: str) -> None:
    assert load_config().classifier.name == "auto"
    assert pick_classifier("auto", None, device) == expected


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["mask_mobilenet", "mask_resnet18"])
def test_auto_is_the_architecture_of_the_weights(name: str, device: str) -> None:
    assert pick_classifier("auto", f"weights/{name}.safetensors", device) == name


@pytest.mark.parametrize("name", ["mask_mobilenet", "mask_resnet18", "clip", "anything"])
def test_an_explicit_name_is_kept(name: str) -> None:
    assert pick_classifier(name, RESNET18, "cpu") == name


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_auto_is_the_architecture_of_an_exported_network(suffix: str, tmp_path: Path) -> None:
    import torch

    path, names = tmp_path / f"mask.{suffix}", Signature(("x",), ("y",), {"x": {0: "n"}, "y": {0: "n"}})
    graph = export(torch.nn.Linear(2, 2).eval(), (torch.ones(2, 2),), names)
    write_exported(path, graph, to_header(read_metadata(Path(RESNET18))))
    assert pick_classifier("auto", str(path), "cpu") == "mask_resnet18"


def test_weights_that_auto_cannot_follow_are_refused(tmp_path: Path) -> None:
    detector = str(WEIGHTS / "face_mobilenet.safetensors")
    with pytest.raises(WeightsError, match="contains a 'face_mobilenet', not a 'mask_resnet18' or a 'mask_mobilenet'; choose"):
        pick_classifier("auto", detector, "cpu")
    for name, content in (("none.safetensors", None), ("text.safetensors", b"text"), ("none.onnx", None), ("text.onnx", b"text")):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(WeightsError, match=rf"{name}: (no such|not a readable)"):
            pick_classifier("auto", str(path), "cpu")


def test_a_name_that_contradicts_the_weights_is_refused() -> None:
    layers = [Layer.of_key("test", "classifier", {"name": "mask_mobilenet", "weights": RESNET18})]
    with pytest.raises(WeightsError, match="contains a 'mask_resnet18', not a 'mask_mobilenet'; choose other weights"):
        build_analyzer(load_config(layers=layers))


def test_an_unknown_name_is_refused_with_the_allowed_names() -> None:
    config = load_config(layers=[Layer.of_key("test", "classifier.name", "vgg")])
    with pytest.raises(
        ConfigError, match=r"classifier.name: 'vgg' is not known; allowed: auto, mask_resnet18, mask_mobilenet, clip"
    ):
        require_models(config)


def test_the_name_of_the_classifier_that_auto_chose_is_logged() -> None:
    lines: list[str] = []
    handler = logger.add(lines.append, format="{message}")
    try:
        chosen = {"weights": RESNET18, "backend": "torch"}
        analyzer = build_analyzer(load_config(layers=[Layer.of_key("test", "classifier", chosen)]))
    finally:
        logger.remove(handler)
    assert "face_mobilenet and mask_resnet18 on cpu\n" in lines
    assert analyzer.class_names == read_metadata(Path(RESNET18)).class_names


@pytest.mark.parametrize(("weights", "name"), [(None, "mask_mobilenet"), (RESNET18, "mask_resnet18")])
def test_an_evaluation_names_the_classifier_that_auto_chose(
    weights: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "build_analyzer", lambda _: None)
    config = load_config(layers=[Layer.of_key("test", "classifier.weights", weights), Layer.of_key("test", "device", "cpu")])
    _, info = systems.build_system("maskstream", None, config)
    assert info.description == f"face_mobilenet and {name}" + (f" ({weights})" if weights else "")
    assert set(info.weights) == {"face_mobilenet.safetensors", f"{name}.safetensors"}


def test_a_check_of_a_gpu_compares_the_same_classifier_on_both_devices() -> None:
    import torch

    check = Check(torch.device("cuda", 0), QUICK, [], lambda _: None, lambda: 1.0)
    assert check.config().classifier.name == check.config(device="cpu").classifier.name == "mask_resnet18"


@pytest.mark.slow
def test_resnet18_with_a_graph_beside_its_weights_starts_without_an_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from maskstream.models.architecture import Architecture
    from tools import export as export_tool

    weights = shutil.copy(RESNET18, tmp_path)
    assert export_tool.main(["--weights", str(weights)]) == 0
    monkeypatch.setattr(Architecture, "as_onnx", lambda *_: pytest.fail("exported again"))
    clip = load_config().clip
    found, expected = (
        CLASSIFIERS["mask_resnet18"](ClassifierOptions("cpu", clip, str(weights), backend)) for backend in ("openvino", "torch")
    )
    crops = list(np.random.default_rng(1).integers(0, 255, (3, found.input_size_px, found.input_size_px, 3), np.uint8))
    np.testing.assert_allclose(found.classify(crops), expected.classify(crops), atol=1e-3)
