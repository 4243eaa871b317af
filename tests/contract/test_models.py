"""One suite over every classifier in the registry."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskstream.config.schema import Config
from maskstream.errors import WeightsError
from maskstream.models import CLASSIFIERS, ClassifierOptions
from maskstream.models.graph_classifier import CHUNK
from maskstream.protocols import Classifier
from maskstream.types import BACKGROUND, BgrImage, Label
from tests.models.tiny import CLIP_NAME, save_tiny_clip

Load = Callable[[str | None], Classifier]


@pytest.fixture(params=CLASSIFIERS, scope="module")
def load(request: pytest.FixtureRequest, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Load a classifier with a file, or with its usual weights; for `clip` those are random and small."""
    tiny = save_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny.safetensors")
    clip = config.clip.model_copy(update={"model": CLIP_NAME, "weights": str(tiny)})
    return lambda weights: CLASSIFIERS[request.param](ClassifierOptions("cpu", clip, weights))


@pytest.fixture(scope="module")
def classifier(load: Load) -> Classifier:
    return load(None)


def crops(classifier: Classifier, count: int) -> list[BgrImage]:
    side = classifier.input_size_px
    return list(np.random.default_rng(1).integers(0, 255, (count, side, side, 3), np.uint8))


def test_its_classes_are_labels(classifier: Classifier) -> None:
    assert {Label.MASK, Label.NO_MASK} <= {Label(name) for name in classifier.class_names if name != BACKGROUND}


def test_probabilities_are_probabilities(classifier: Classifier) -> None:
    probabilities = classifier.classify(crops(classifier, CHUNK + 3))
    assert probabilities.shape == (CHUNK + 3, len(classifier.class_names))
    assert probabilities.dtype == np.float32
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert probabilities.std(axis=0).min() > 0


def test_a_batch_gives_what_single_crops_give(classifier: Classifier) -> None:
    few = crops(classifier, 3)
    alone = np.concatenate([classifier.classify([crop]) for crop in few])
    assert classifier.classify(few) == pytest.approx(alone, abs=1e-4)


def test_no_crop_is_no_work(classifier: Classifier) -> None:
    assert classifier.classify([]).shape == (0, len(classifier.class_names))


def test_a_missing_file_is_said(load: Load, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt: no such"):
        load(str(tmp_path / "none.pt"))
