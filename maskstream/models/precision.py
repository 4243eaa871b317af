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
    """A part of a network that computes convolutions and linear layers in a given precision, and returns float32."""

    def __init__(self, inner: nn.Module, precision: torch.dtype) -> None:
        """Wrap a part of a network."""
        super().__init__()
        self.inner = inner
        self._precision = precision

    def forward(self, *inputs: Any) -> Any:
        """Run the part."""
        device = next(self.inner.parameters()).device.type
        with torch.autocast(device, dtype=self._precision):
            return _to_float32(self.inner(*inputs))


def _to_float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float()
    if isinstance(value, Mapping):
        return type(value)((key, _to_float32(each)) for key, each in value.items())  # type: ignore[call-arg]
    return type(value)(map(_to_float32, value))
