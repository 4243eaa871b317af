"""Fold batch norms into convolutions, which makes inference faster and does not change the results."""

from itertools import pairwise
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d


def fold_batch_norm(module: nn.Module) -> None:
    """Fold each batch norm into the convolution that is defined directly before it, in place; for inference only.

    torchvision's networks define their layers in the order of execution. Jacob et al., "Quantization and Training of Neural
    Networks for Efficient Integer-Arithmetic-Only Inference" (2018), section 3.2.
    """
    for parent in module.modules():
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv_w=conv.weight,
                    conv_b=conv.bias,
                    bn_rm=cast("torch.Tensor", norm.running_mean),
                    bn_rv=cast("torch.Tensor", norm.running_var),
                    bn_eps=norm.eps,
                    bn_w=norm.weight,
                    bn_b=norm.bias,
                )
                setattr(parent, name, nn.Identity())
