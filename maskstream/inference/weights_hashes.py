"""Hash the weights files of a configuration: results are only comparable where they are the same."""

import hashlib
from pathlib import Path
from typing import Final

from maskstream.config.schema import Config
from maskstream.models.classifier_choice import pick_classifier
from maskstream.models.devices import pick_device
from maskstream.models.weights_path import weights_path

_PIECE: Final = 1 << 20


def weights_hashes(config: Config) -> dict[str, str]:
    """Return the SHA-256 of the weights of detector and classifier, by the names of the files. Missing files are left out.

    Raises:
        ConfigError: The device is unknown.
        WeightsError: The weights of the classifier are damaged.
    """
    detector, chosen = config.detector, config.classifier
    classifier = pick_classifier(chosen.name, chosen.weights, pick_device(config.device))
    given = chosen.weights or (config.clip.weights if chosen.name == "clip" else None)
    named = (detector.name, detector.weights), (classifier, given)
    files = [weights_path(file, f"{model}.safetensors") for model, file in named]
    return {file.name: _sha256(file) for file in files if file.is_file()}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
