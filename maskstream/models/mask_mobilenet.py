"""`mask_mobilenet`: MobileNetV2 on aligned face crops. Sandler et al., "MobileNetV2" (2018)."""

from typing import TYPE_CHECKING

from maskstream.models.architecture import Architecture

if TYPE_CHECKING:
    from torch import nn


def build_network(classes: int) -> "nn.Module":
    """Return the untrained network: 2.2 million parameters."""
    from torchvision.models import mobilenet_v2

    network: nn.Module = mobilenet_v2(weights=None, num_classes=classes)
    return network


ARCHITECTURE = Architecture("mask_mobilenet", build_network, "MobileNet_V2_Weights.IMAGENET1K_V1", head="classifier.")
