"""`mask_resnet18`: ResNet-18 on aligned face crops. He et al., "Deep Residual Learning for Image Recognition" (2016)."""

from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from maskstream.models.crop_classifier import Architecture


def build_network(classes: int) -> nn.Module:
    """Return the untrained network: 11.2 million parameters."""
    network: nn.Module = resnet18(weights=None, num_classes=classes)
    return network


ARCHITECTURE = Architecture("mask_resnet18", build_network, ResNet18_Weights.IMAGENET1K_V1.url, head="fc.")
