"""Choose the classifier of `classifier.name: auto`, by the weights file or by the device."""

from typing import Final

from maskstream.models import CROP_ARCHITECTURES, mask_mobilenet, mask_resnet18
from maskstream.models.devices import CPU
from maskstream.models.exported_model import exported_metadata, is_exported
from maskstream.models.metadata import read_metadata, require_architecture
from maskstream.models.weights_path import weights_path

AUTO: Final = "auto"
_ON_CPU: Final = mask_mobilenet.ARCHITECTURE.name
_ON_GPU: Final = mask_resnet18.ARCHITECTURE.name


def pick_classifier(name: str, weights: str | None, device: str) -> str:
    """Return the name of a classifier. `auto` is the architecture of the weights file, or the default of the device without one.

    Args:
        name: `classifier.name`.
        weights: `classifier.weights`.
        device: Device that the classifier runs on.

    Raises:
        ConfigError: No installed package can read the exported network.
        WeightsError: The weights of `auto` are missing, damaged or of no classifier.
    """
    if name != AUTO:
        return name
    if weights is None:
        return _ON_CPU if device == CPU else _ON_GPU
    path = weights_path(weights, "")
    metadata = exported_metadata(path) if is_exported(path) else read_metadata(path)
    require_architecture(path, metadata, CROP_ARCHITECTURES)
    return metadata.architecture
