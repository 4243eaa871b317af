"""Compute parts of a network in half precision, and the other parts in float32."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import nn

from maskstream.config.values import Precision

PRECISIONS: Final[dict[str, torch.dtype]] = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def torch_precision(name: Precision) -> torch.dtype:
    """Return PyTorch's type of a precision; `auto` is float32."""
    return PRECISIONS.get(name, torch.float32)


class InPrecision(nn.Module):
    """A part of a network whose weights and activations have a given precision, between float32 before and after it.

    Its weights are converted once. `torch.autocast` would convert them in each call.
    """

    def __init__(self, inner: nn.Module, precision: torch.dtype) -> None:
        """Convert a part of a network, in place."""
        super().__init__()
        self.inner = inner.to(precision)
        self._precision = precision

    def forward(self, *inputs: Any) -> Any:
        """Run the part."""
        return _converted(self.inner(*_converted(inputs, self._precision)), torch.float32)


def _converted(value: Any, precision: torch.dtype) -> Any:
    """Return a tensor, or the tensors of a mapping or sequence, in another precision."""
    if isinstance(value, torch.Tensor):
        return value.to(precision)
    if isinstance(value, Mapping):
        return type(value)((key, _converted(each, precision)) for key, each in value.items())  # type: ignore[call-arg]
    return type(value)(_converted(each, precision) for each in value)
