"""Compute batch norms as part of the convolutions before them, which is faster and does not change the results.

torchvision's networks define their layers in the order of execution. Jacob et al., "Quantization and Training of Neural Networks
for Efficient Integer-Arithmetic-Only Inference" (2018), section 3.2.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d


def fold_batch_norm(module: nn.Module) -> None:
    """Fold each batch norm into the convolution that is defined directly before it, in place; for inference only."""
    for parent, conv, name, norm in list(_pairs(module)):
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
    for part in module.modules():
        if type(part) is _TrainedConv2d:
            part.norms_behind = ()
            part.__class__ = nn.Conv2d  # type: ignore[assignment]


def quicken_training(module: nn.Module) -> None:
    """Make the steps of a training faster on a CPU, in place; parameters and gradients stay the same.

    Convolutions compute the frozen batch norms directly behind them: a norm of its own reads and writes a complete feature map in
    each direction, which costs a third of the time of a step. Convolutions that are slow in bfloat16 are computed in float32.
    """
    for part in module.modules():
        if type(part) is nn.Conv2d:
            part.__class__ = _TrainedConv2d
    for _, conv, _, norm in _pairs(module):
        if isinstance(conv, _TrainedConv2d) and isinstance(norm, FrozenBatchNorm2d) and conv.bias is None:
            norm.__class__ = _AppliedNorm
            conv.norms_behind = (norm,)


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Module, nn.Conv2d, str, FrozenBatchNorm2d | nn.BatchNorm2d]]:
    """Yield parent, convolution, name of the norm, and norm."""
    for parent in module.modules():
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
                yield parent, conv, name, norm


class _AppliedNorm(FrozenBatchNorm2d):  # type: ignore[misc]
    """A frozen batch norm that the convolution before it has computed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class _TrainedConv2d(nn.Conv2d):
    """A convolution in a training, with the frozen batch norm behind it; in float32 where it is slow in bfloat16."""

    norms_behind: tuple[FrozenBatchNorm2d, ...] = ()
    """None or one; in a tuple, so that it is no part of this module and keeps its name."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the name in nn.Conv2d)
        weight, bias = self.weight, self.bias
        for norm in self.norms_behind:
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            weight, bias = weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
        is_slow_in_bfloat16 = self.groups > 1 and self.stride != (1, 1) and input.device.type == "cpu"
        output: torch.Tensor
        if is_slow_in_bfloat16:  # 5 to 20 times the time for the backward pass, measured with PyTorch 2.14
            with torch.autocast("cpu", enabled=False):
                output = self._conv_forward(input.float(), weight, bias)
        else:
            output = self._conv_forward(input, weight, bias)
        return output
