import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from maskstream import MaskPipeline, load_config
from maskstream.config.loading import Layer
from maskstream.config.schema import ClipConfig
from maskstream.errors import ConfigError, ModelError, WeightsError
from maskstream.models import ClassifierOptions, mask_clip
from maskstream.types import BgrImage, Frame, Label
from tests.models.tiny import CLIP_NAME, CLIP_SIDE, save_tiny_clip
from tests.slowness import promised

pytestmark = pytest.mark.slow

CPU = "cpu"
PROMPTS = {
    "mask": ["a face with a mask", "a covered mouth"],
    "no_mask": ["a bare face"],
    "incorrect": ["a mask below the nose", "a bare nose above a mask", "a chin with a mask"],
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny.pt")


def options(
    weights: Path | str | None, clip_weights: str = "none", model: str = CLIP_NAME, prompts: Any = PROMPTS
) -> ClassifierOptions:
    clip = ClipConfig(model=model, weights=clip_weights, prompts=prompts)
    return ClassifierOptions(CPU, clip, None if weights is None else str(weights))


def crops(count: int) -> list[BgrImage]:
    """Pictures with a strong tint, so that it matters which colour is which."""
    random = np.random.default_rng(3)
    return [(random.integers(0, 255, (CLIP_SIDE, CLIP_SIDE, 3)) * (0.2, 0.5, 1)).astype(np.uint8) for _ in range(count)]


@torch.inference_mode()
def by_open_clip_alone(weights: Path, crops_bgr: list[BgrImage]) -> np.ndarray:
    model, preprocess = open_clip.create_model_from_pretrained(CLIP_NAME, str(weights))
    tokenizer = open_clip.get_tokenizer(CLIP_NAME)
    classes = []
    for texts in PROMPTS.values():
        each = model.eval().encode_text(tokenizer(texts))
        mean = (each / each.norm(dim=-1, keepdim=True)).mean(0)
        classes.append(mean / mean.norm())
    images = model.encode_image(torch.stack([preprocess(Image.fromarray(crop[..., ::-1].copy())) for crop in crops_bgr]))
    images = images / images.norm(dim=-1, keepdim=True)
    return (model.logit_scale.exp() * images @ torch.stack(classes).T).softmax(-1).numpy()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_it_says_what_open_clip_says(tmp_path: Path, suffix: str) -> None:
    path = save_tiny_clip(tmp_path / f"tiny{suffix}")
    classifier, shown = mask_clip.load(options(path)), crops(3)
    expected = by_open_clip_alone(path, shown)
    assert classifier.class_names == ("mask", "no_mask", "incorrect")
    assert classifier.input_size_px == CLIP_SIDE
    assert classifier.classify(shown) == pytest.approx(expected, abs=1e-4)
    assert classifier.classify([crop[..., ::-1].copy() for crop in shown]) != pytest.approx(expected, abs=1e-2)


def test_the_order_of_the_prompts_is_that_of_the_classes(weights: Path) -> None:
    turned = mask_clip.load(options(weights, prompts=dict(reversed(PROMPTS.items()))))
    assert turned.class_names == ("incorrect", "no_mask", "mask")
    assert turned.classify(crops(2)) == pytest.approx(mask_clip.load(options(weights)).classify(crops(2))[:, ::-1], abs=1e-5)


def test_weights_of_the_classifier_win_over_those_of_clip(weights: Path) -> None:
    in_section = mask_clip.load(options(None, str(weights))).classify(crops(1))
    assert mask_clip.load(options(weights, "none.pt")).classify(crops(1)).tolist() == in_section.tolist()
    with pytest.raises(WeightsError, match=r"^none\.pt: no such file"):
        mask_clip.load(options("none.pt", str(weights)))


def test_a_file_is_a_file_even_by_the_name_of_a_tag(folder: Path) -> None:
    save_tiny_clip(folder / "other.pt").rename(folder / "openai")
    with pytest.raises(WeightsError, match=r"^openai: damaged, or not the state dict of a ViT-B-32 "):
        mask_clip.load(options("openai", model="ViT-B-32"))


@pytest.mark.parametrize("incorrect_as", ["no_mask", "incorrect"])
def test_the_pipeline_judges_by_it(weights: Path, demo_frames: list[Frame], incorrect_as: str) -> None:
    settings = {"classifier.name": "clip", "classifier.weights": str(weights), "classifier.incorrect_as": incorrect_as}
    settings |= {"clip.model": CLIP_NAME, "clip.prompts": PROMPTS}
    pipeline = MaskPipeline(load_config(layers=[Layer.of_key("test", key, value) for key, value in settings.items()]))
    faces = [face for result in pipeline.analyzer.analyze(demo_frames[:2]) for face in result.faces]
    assert faces
    allowed = {Label.MASK, Label.NO_MASK} | ({Label.INCORRECT} if incorrect_as == "incorrect" else set())
    assert {face.label for face in faces} <= allowed
    assert all(face.confidence is not None and face.confidence > 1 / len(allowed) for face in faces)


def test_prompts_of_both_classes_are_needed(weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"clip\.prompts: no_mask is missing"):
        mask_clip.load(options(weights, prompts={"mask": ["a mask"]}))


def test_the_library_is_optional(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ModelError, match=r"^clip needs the package open_clip_torch; pip install -r requirements-clip\.txt$"):
        mask_clip.load(options(weights))


def test_an_unknown_model_names_those_close_to_it() -> None:
    with pytest.raises(ModelError, match=r"clip\.model: 'ViT-B32' is not known to open_clip; similar names: ViT-B-32,"):
        mask_clip.load(options(None, model="ViT-B32"))


def test_unknown_weights_name_the_known_ones() -> None:
    with pytest.raises(
        WeightsError, match=r"^laion3b: no such file, and no tag of open_clip for ViT-B-32 \(tags: openai, .*clip\.weights=FILE$"
    ):
        mask_clip.load(options("laion3b", model="ViT-B-32"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b""), "EOFError"),
        (lambda path: path.write_text("hello"), "KeyError"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "RuntimeError"),
        (lambda path: torch.save({"weight": torch.zeros(1)}, path), "Missing key"),
        (lambda path: torch.save({}, path), "StopIteration"),
        (lambda path: torch.save([1, 2], path), "AttributeError"),
        (lambda path: torch.save(torch.nn.Linear(1, 1), path), "UnpicklingError"),
    ],
    ids=["empty", "text", "half", "another model", "no tensor", "a list", "a pickled module"],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, spoil: Callable[[Path], Any], said: str) -> None:
    path = save_tiny_clip(tmp_path / "tiny.pt")
    spoil(path)
    with pytest.raises(WeightsError) as caught:
        mask_clip.load(options(path))
    assert str(caught.value).startswith(f"{path}: damaged, or not the state dict of a {CLIP_NAME} ({said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "silent"])
def test_weights_that_cannot_be_fetched_are_given_up_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], answers: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        hub = f"http://127.0.0.1:{server.getsockname()[1] if answers else 9}"  # nobody accepts, and nothing listens on 9
        monkeypatch.setattr(constants, "ENDPOINT", hub)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(mask_clip, "CONNECT_TIMEOUT_S", 0.3)
        with promised(10), pytest.raises(ModelError) as caught:
            mask_clip.load(options(None, "laion2b_s34b_b79k", "ViT-B-32"))
    message = str(caught.value)
    assert message.startswith(f"clip: cannot fetch laion2b_s34b_b79k of ViT-B-32 ({hub}: ")
    assert "timed out" in message if answers else "refused" in message
    assert message.endswith("; give a file by --weights FILE or --set clip.weights=FILE")
    assert constants.HF_HUB_OFFLINE is False
    assert capfd.readouterr() == ("", "")


def test_weights_that_were_fetched_before_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / "models--nobody--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    (cached / "snapshots" / ("0" * 40)).mkdir(parents=True)
    path = save_tiny_clip(cached / "snapshots" / ("0" * 40) / "open_clip_model.safetensors")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, CLIP_NAME, {"given": open_clip.pretrained._pcfg(hf_hub="nobody/tiny/")})
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    by_name = mask_clip.load(options("given")).classify(crops(2))
    assert by_name.tolist() == mask_clip.load(options(path)).classify(crops(2)).tolist()


def test_a_tokenizer_that_cannot_be_had_is_said(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = open_clip.get_model_config(CLIP_NAME)
    config["text_cfg"]["hf_tokenizer_name"] = "nobody/nothing"
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, CLIP_NAME, config)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=rf"^clip: no tokenizer for {CLIP_NAME} \(http://127\.0\.0\.1:9: .*refused"):
        mask_clip.load(options(weights))
