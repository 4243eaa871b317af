"""`mask_mobilenet`: MobileNetV2 on aligned face crops. Sandler et al., "MobileNetV2" (2018)."""

from torch import nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from maskstream.models.crop_classifier import Architecture


def build_network(classes: int) -> nn.Module:
    """Return the untrained network: 2.2 million parameters."""
    network: nn.Module = mobilenet_v2(weights=None, num_classes=classes)
    return network


ARCHITECTURE = Architecture("mask_mobilenet", build_network, MobileNet_V2_Weights.IMAGENET1K_V1.url, head="classifier.")
