"""Make a trained network cheaper without changing what it computes."""

from itertools import pairwise
from typing import Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d


def fold_batch_norm(module: nn.Module) -> None:
    """Multiply each batch norm into the convolution defined right before it, in place; for inference only.

    torchvision's networks define their layers in the order in which they run. Jacob et al., "Quantization and Training of Neural
    Networks for Efficient Integer-Arithmetic-Only Inference" (2018), section 3.2.
    """
    for parent in module.modules():
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
                statistics: Any = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
                conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
                setattr(parent, name, nn.Identity())
