"""Hash the weights files of a configuration: results are only comparable where they are the same."""

from maskstream.config.schema import Config
from maskstream.models import CROP_ARCHITECTURES
from maskstream.models.classifier_choice import AUTO
from maskstream.models.metadata import file_sha256
from maskstream.models.weights_path import weights_path


def weights_hashes(config: Config) -> dict[str, str]:
    """Return the SHA-256 of the weights files that the models of a configuration may load, by their names.

    A classifier that is chosen by the device has the weights of all devices: workers may have different ones. Weights that are
    downloaded, or belong to another package, are given by their names in the settings.
    """
    classifier = config.classifier
    names = CROP_ARCHITECTURES if classifier.name == AUTO and classifier.weights is None else (classifier.name,)
    wanted = [(config.detector.weights, config.detector.name), *((classifier.weights, name) for name in names)]
    paths = dict.fromkeys(weights_path(given, f"{name}.safetensors") for given, name in wanted)
    both = [part for path in paths for part in (path, path.with_suffix(".bin")) if part == path or path.suffix == ".xml"]
    return {path.name: file_sha256(path) for path in both if path.is_file()}
