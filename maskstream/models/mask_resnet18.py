"""`mask_resnet18`: ResNet-18 on aligned face crops. He et al., "Deep Residual Learning for Image Recognition" (2016)."""

from typing import TYPE_CHECKING

from maskstream.models.architecture import Architecture

if TYPE_CHECKING:
    from torch import nn


def build_network(classes: int) -> "nn.Module":
    """Return the untrained network: 11.2 million parameters."""
    from torchvision.models import resnet18

    network: nn.Module = resnet18(weights=None, num_classes=classes)
    return network


ARCHITECTURE = Architecture("mask_resnet18", build_network, "ResNet18_Weights.IMAGENET1K_V1", head="fc.")
