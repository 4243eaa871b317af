from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from maskstream.errors import ConfigError
from maskstream.training.crop_sampling import CropSampler
from maskstream.training.crop_set import NO_CLASS
from tests.training.crops import crop_set, recipe

TWO = {"classes": ["mask", "no_mask"], "folders": {"mask": "mask", "no_mask": "no_mask", "incorrect": "no_mask"}}
EQUAL = {"class_shares": {"mask": 1.0, "no_mask": 1.0, "unlabelled": 0.0}}


def drawn(labels: Sequence[int], paths: Sequence[str], **changes: Any) -> list[float]:
    """Return how often each crop is drawn."""
    sampler = CropSampler(crop_set(*labels, paths=paths), recipe(**{**TWO, **EQUAL, **changes}))
    rng = np.random.default_rng(0)
    counts = Counter(sampler.draw(rng) for _ in range(4000))
    return [counts[index] / 4000 for index in range(len(labels))]


def test_a_folder_is_drawn_more_often_within_its_class() -> None:
    paths = ["c/train/mask/1.png", "c/train/no_mask/1.png", "c/train/no_mask/2.png", "c/train/incorrect/1.png"]
    assert drawn([0, 1, 1, 1], paths) == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6], abs=0.03)
    frequencies = drawn([0, 1, 1, 1], paths, folder_shares={"incorrect": 3.0})
    assert frequencies == pytest.approx([1 / 2, 1 / 10, 1 / 10, 3 / 10], abs=0.03)


def test_the_first_pattern_that_matches_the_name_gives_the_weight() -> None:
    paths = ["c/train/mask/hao_1.png", "c/train/mask/kary_1.png", "c/train/mask/leo_mask.png", "c/train/no_mask/leo_2.png"]
    frequencies = drawn([0, 0, 0, 1], paths, crop_weights={"^hao_": 0.0, "^kary_": 3.0, "_1": 9.0, "no_mask": 9.0})
    assert frequencies == pytest.approx([0, 3 / 8, 1 / 8, 1 / 2], abs=0.03)


def test_unlabelled_crops_are_drawn_by_their_share() -> None:
    paths = ["c/train/mask/1.png", "c/train/no_mask/1.png", "c/train/unlabelled/1.png"]
    labels = [0, 1, NO_CLASS]
    assert drawn(labels, paths)[2] == 0
    shares = {"mask": 1.0, "no_mask": 1.0, "unlabelled": 2.0}
    assert drawn(labels, paths, class_shares=shares) == pytest.approx([1 / 4, 1 / 4, 1 / 2], abs=0.03)
    assert drawn(labels[:2], paths[:2], class_shares=shares) == pytest.approx([1 / 2, 1 / 2], abs=0.03)


def test_a_class_whose_crops_all_have_the_weight_0_is_refused() -> None:
    paths = ["c/train/mask/hao_1.png", "c/train/no_mask/hao_2.png"]
    with pytest.raises(ConfigError, match="folder_shares and crop_weights give all crops of mask the weight 0"):
        drawn([0, 1], paths, crop_weights={"^hao_1": 0.0})
