import numpy as np
import pytest

from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, WeightsError
from maskstream.inference.pipeline import build_analyzer
from maskstream.models import CLASSIFIERS, ClassifierOptions
from maskstream.models.crop_classifier import crops_to_tensor
from maskstream.models.weights_path import weights_path

CPU = "cpu"
INCORRECT = str(weights_path(None, "mask_mobilenet_incorrect.safetensors"))


def test_crops_become_rgb_between_0_and_1() -> None:
    crop = np.zeros((2, 2, 3), np.uint8)
    crop[..., 2] = 255
    tensor = crops_to_tensor([crop], CPU)
    assert tensor.shape == (1, 3, 2, 2)
    assert tensor.mean(dim=(0, 2, 3)).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("name", "weights", "classes"),
    [
        ("mask_mobilenet", None, ("mask", "no_mask", "background")),
        ("mask_mobilenet", INCORRECT, ("mask", "no_mask", "incorrect", "background")),
        ("mask_resnet18", None, ("mask", "no_mask", "incorrect")),
    ],
)
def test_what_the_shipped_classifiers_tell_apart(
    config: Config, name: str, weights: str | None, classes: tuple[str, ...]
) -> None:
    classifier = CLASSIFIERS[name](ClassifierOptions(CPU, config.clip, weights))
    assert classifier.class_names == classes
    assert classifier.input_size_px == 112


def test_incorrect_is_told_only_by_weights_that_know_it() -> None:
    asked = [Layer.of_assignment("classifier.incorrect_as=incorrect")]
    with pytest.raises(
        ConfigError, match="incorrect is not one of the classes of the classifier: mask, no_mask, background; give"
    ):
        build_analyzer(load_config(layers=asked))
    build_analyzer(load_config(layers=[*asked, Layer.of_key("test", "classifier.weights", INCORRECT)]))
    with pytest.raises(ConfigError, match="incorrect is not one of"):
        build_analyzer(SourceSettings(load_config(), {"gate": load_config(layers=asked)}))


def test_weights_of_the_detector_are_refused(config: Config) -> None:
    other = str(weights_path(None, "face_mobilenet.safetensors"))
    with pytest.raises(WeightsError, match="contains a 'face_mobilenet', not a 'mask_mobilenet'"):
        CLASSIFIERS["mask_mobilenet"](ClassifierOptions(CPU, config.clip, other))
