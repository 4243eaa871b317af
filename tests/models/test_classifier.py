import numpy as np
import pytest
import torch

from maskstream.config import Config
from maskstream.errors import WeightsError
from maskstream.models import CLASSIFIERS, ClassifierOptions
from maskstream.models.crop_classifier import crops_to_tensor
from maskstream.models.files import weights_path

CPU = torch.device("cpu")


def test_crops_become_rgb_between_0_and_1() -> None:
    crop = np.zeros((2, 2, 3), np.uint8)
    crop[..., 2] = 255
    tensor = crops_to_tensor([crop], CPU)
    assert tensor.shape == (1, 3, 2, 2)
    assert tensor.mean(dim=(0, 2, 3)).tolist() == [1, 0, 0]


def test_the_shipped_classifier_knows_three_classes(config: Config) -> None:
    classifier = CLASSIFIERS["mask_mobilenet"](ClassifierOptions(CPU, config.clip))
    assert classifier.class_names == ("mask", "no_mask", "incorrect")
    assert classifier.input_size_px == 112


def test_weights_of_the_detector_are_refused(config: Config) -> None:
    other = str(weights_path(None, "face_mobilenet.safetensors"))
    with pytest.raises(WeightsError, match="holds a 'face_mobilenet', not a 'mask_mobilenet'"):
        CLASSIFIERS["mask_mobilenet"](ClassifierOptions(CPU, config.clip, other))
