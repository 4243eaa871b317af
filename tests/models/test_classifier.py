from pathlib import Path

import numpy as np
import pytest

from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, WeightsError
from maskstream.inference.pipeline import build_analyzer
from maskstream.models import CLASSIFIERS, CROP_ARCHITECTURES, ClassifierOptions
from maskstream.models.checkpoint import save_checkpoint
from maskstream.models.crop_classifier import CHUNK_SIZES, MaskClassifier, crops_to_tensor
from maskstream.models.metadata import read_metadata
from maskstream.models.weights_path import weights_path

CPU = "cpu"


def test_crops_become_rgb_between_0_and_1() -> None:
    crop = np.zeros((2, 2, 3), np.uint8)
    crop[..., 2] = 255
    tensor = crops_to_tensor([crop], CPU)
    assert tensor.shape == (1, 3, 2, 2)
    assert tensor.mean(dim=(0, 2, 3)).tolist() == [1, 0, 0]


def test_crops_padded_to_few_sizes_have_the_same_probabilities(config: Config) -> None:
    """As on CUDA, where kernels are chosen for each size."""
    classifier = CLASSIFIERS["mask_mobilenet"](ClassifierOptions(CPU, config.clip, backend="torch"))
    assert isinstance(classifier, MaskClassifier)
    crops = list(np.random.default_rng(0).integers(0, 255, (70, 112, 112, 3), np.uint8))
    sizes: list[int] = []
    classifier.module.register_forward_hook(lambda module, given, logits: sizes.append(len(given[0])))
    expected = classifier.classify(crops)
    classifier._sizes = CHUNK_SIZES
    assert classifier.classify(crops) == pytest.approx(expected, abs=1e-5)
    assert classifier.classify(crops[:1]).shape == (1, 4)
    assert sizes == [64, 6, 64, 16, 1]


@pytest.mark.parametrize("name", ["mask_mobilenet", "mask_resnet18"])
def test_what_the_shipped_classifiers_tell_apart(config: Config, name: str) -> None:
    classifier = CLASSIFIERS[name](ClassifierOptions(CPU, config.clip, None))
    assert classifier.class_names == ("mask", "no_mask", "incorrect", "background")
    assert classifier.input_size_px == 112


def test_incorrect_is_told_only_by_weights_that_know_it(tmp_path: Path) -> None:
    known = [Layer.of_assignment("classifier.backend=torch")]
    asked = Layer.of_assignment("classifier.incorrect_as=incorrect")
    build_analyzer(load_config(layers=[*known, asked]))
    of_two = Layer.of_key("test", "classifier.weights", str(save_of_two_classes(tmp_path / "two.safetensors")))
    with pytest.raises(ConfigError, match="incorrect is not one of the classes of the classifier: mask, no_mask; give"):
        build_analyzer(load_config(layers=[*known, of_two, asked]))
    common = load_config(layers=[*known, of_two])
    with pytest.raises(ConfigError, match="incorrect is not one of"):
        build_analyzer(SourceSettings(common, {"gate": load_config(layers=[*known, of_two, asked])}))


def save_of_two_classes(path: Path) -> Path:
    """Write random weights of a `mask_mobilenet` that only tells faces with a mask from others."""
    metadata = read_metadata(weights_path(None, "mask_mobilenet.safetensors")).model_copy(
        update={"class_names": ("mask", "no_mask")}
    )
    save_checkpoint(path, CROP_ARCHITECTURES["mask_mobilenet"].build(2).state_dict(), metadata)
    return path


def test_weights_of_the_detector_are_refused(config: Config) -> None:
    other = str(weights_path(None, "face_mobilenet.safetensors"))
    with pytest.raises(WeightsError, match="contains a 'face_mobilenet', not a 'mask_mobilenet'"):
        CLASSIFIERS["mask_mobilenet"](ClassifierOptions(CPU, config.clip, other))
