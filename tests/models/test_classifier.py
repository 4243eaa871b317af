import numpy as np
import pytest
import torch

from maskstream.models import mask_resnet18
from maskstream.models.mask_resnet18 import CHUNK, MaskClassifier, crops_to_tensor

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def classifier() -> MaskClassifier:
    return mask_resnet18.load(None, CPU)


def crops(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 255, (count, 112, 112, 3), np.uint8))


def test_crops_become_rgb_between_0_and_1() -> None:
    crop = np.zeros((2, 2, 3), np.uint8)
    crop[..., 2] = 255
    tensor = crops_to_tensor([crop], CPU)
    assert tensor.shape == (1, 3, 2, 2)
    assert tensor.mean(dim=(0, 2, 3)).tolist() == [1, 0, 0]


def test_probabilities_are_probabilities(classifier: MaskClassifier) -> None:
    probabilities = classifier.classify(crops(CHUNK + 3))
    assert probabilities.shape == (CHUNK + 3, 3)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert classifier.class_names == ("mask", "no_mask", "incorrect")


def test_a_batch_gives_what_single_crops_give(classifier: MaskClassifier) -> None:
    few = crops(3)
    alone = np.concatenate([classifier.classify([crop]) for crop in few])
    assert classifier.classify(few) == pytest.approx(alone, abs=1e-4)


def test_no_crop_is_no_work(classifier: MaskClassifier) -> None:
    assert classifier.classify([]).shape == (0, 3)
