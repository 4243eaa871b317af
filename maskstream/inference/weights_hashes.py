"""Hash the weights files of a configuration: results are only comparable where they are the same."""

from collections.abc import Mapping

from maskstream.config.schema import Config
from maskstream.errors import ModelError
from maskstream.models import CROP_ARCHITECTURES
from maskstream.models.backends import int8_graph_path, prefers_int8
from maskstream.models.classifier_choice import AUTO
from maskstream.models.metadata import file_sha256
from maskstream.models.weights_path import weights_path


def weights_hashes(config: Config) -> dict[str, str]:
    """Return the SHA-256 of the weights files that the models of a configuration may load, by their names.

    A classifier that is chosen by the device has the weights of all devices: workers may have different ones. Quantised graphs
    belong to the weights where this CPU computes in int8. Weights that are downloaded, or belong to another package, are given by
    their names in the settings.
    """
    classifier = config.classifier
    names = CROP_ARCHITECTURES if classifier.name == AUTO and classifier.weights is None else (classifier.name,)
    wanted = [(config.detector.weights, config.detector.name), *((classifier.weights, name) for name in names)]
    paths = dict.fromkeys(weights_path(given, f"{name}.safetensors") for given, name in wanted)
    files = [path for path in paths if path.is_file()]
    if prefers_int8(config.precision):
        files += [graph for path in files if (graph := int8_graph_path(path)).is_file()]
    files += [path.with_suffix(".bin") for path in files if path.suffix == ".xml"]
    return {path.name: file_sha256(path) for path in files}


def require_same_weights(own: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Refuse a machine whose results could differ from those of the machine of the command.

    Args:
        own: `weights_hashes` of this machine.
        wanted: `weights_hashes` of the machine of the command.

    Raises:
        ModelError: They differ.
    """
    for name in sorted({*own, *wanted}):
        if name not in own or name not in wanted:
            where = "this machine" if name in own else "the machine of the command"
            raise ModelError(f"{name}: only {where} uses it; copy the weights to all machines, or set precision to float32")
        if own[name] != wanted[name]:
            raise ModelError(f"{name}: not the weights of the command; copy them to all machines")
