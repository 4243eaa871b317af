"""Classify aligned face crops with PyTorch: torchvision's networks as a `Classifier`."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import nn
from torch.nn import functional

from maskstream.models.conv_bn_fusion import fold_batch_norm
from maskstream.models.devices import kind_of
from maskstream.models.graph_classifier import CHUNK, crops_to_array, in_chunks
from maskstream.models.metadata import Metadata
from maskstream.models.onnx_export import Signature
from maskstream.models.out_of_memory import memory_errors
from maskstream.models.padded_boxes import at_least
from maskstream.models.precision import InPrecision
from maskstream.types import BgrImage, FloatArray

CHUNK_SIZES: Final = (1, 4, 16, CHUNK)
"""On CUDA, crops are padded to the next of these numbers, so that kernels are chosen once for each of them."""


class CropNetwork(nn.Module):
    """A network that normalises its own input."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, metadata: Metadata) -> None:
        """Wrap a network; its input is normalised with the mean and standard deviation of the metadata."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(metadata.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(metadata.std).view(3, 1, 1), persistent=False)

    def forward(self, crops_rgb: torch.Tensor) -> torch.Tensor:
        """Return logits (N, C) of crops (N, 3, S, S), RGB in [0, 1]."""
        logits: torch.Tensor = self.network((crops_rgb - self.mean) / self.std)
        return logits


def crops_to_tensor(crops_bgr: Sequence[BgrImage], device: torch.device | str) -> torch.Tensor:
    """Return (N, 3, S, S) float32 RGB in [0, 1] of N crops (S, S, 3) uint8 BGR; a tensor is returned unchanged."""
    if isinstance(crops_bgr, torch.Tensor):
        return crops_bgr
    return torch.from_numpy(crops_to_array(crops_bgr)).to(device)


class CropProbabilities(nn.Module):
    """Turns crops (N, 3, S, S), RGB in [0, 1], into calibrated probabilities (N, C)."""

    module: nn.Module

    def __init__(self, module: CropNetwork, temperature: float) -> None:
        """Share the weights of a module."""
        super().__init__()
        self.module = module
        self.temperature = temperature

    def forward(self, crops_rgb: torch.Tensor) -> torch.Tensor:
        """Return the probabilities."""
        logits: torch.Tensor = self.module(crops_rgb)
        return (logits / self.temperature).softmax(1)

    @staticmethod
    def signature(input_size_px: int) -> tuple[tuple[torch.Tensor, ...], Signature]:
        """Return example inputs for the export, and the names of inputs and outputs."""
        example = (torch.zeros(2, 3, input_size_px, input_size_px),)
        return example, Signature(("crops",), ("probabilities",), {"crops": {0: "faces"}, "probabilities": {0: "faces"}})


class MaskClassifier:
    """A `Classifier` that PyTorch runs."""

    def __init__(self, module: CropNetwork, metadata: Metadata, device: str, precision: torch.dtype = torch.float32) -> None:
        """Prepare a loaded module for inference. The probabilities are float32 in any precision."""
        self.class_names = metadata.class_names
        self.input_size_px = metadata.input_size
        self.module = module.eval().to(device)
        fold_batch_norm(self.module)
        self.module.to(memory_format=torch.channels_last)
        self._probabilities = CropProbabilities(self.module, metadata.temperature or 1.0)
        if precision is not torch.float32:
            self.module.network = InPrecision(self.module.network, precision)  # the input is normalised in float32
        self._device = device
        self._sizes = CHUNK_SIZES if kind_of(device) == "cuda" else ()

    @memory_errors()
    @torch.inference_mode()
    def classify(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        """Return calibrated class probabilities (N, C) float32 of N crops (S, S, 3) uint8 BGR, S = `input_size_px`.

        Raises:
            OutOfMemory: The device has not enough memory; call again with fewer crops.
        """
        return in_chunks(self._classify_chunk, crops_bgr, len(self.class_names))

    def _classify_chunk(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        crops = crops_to_tensor(crops_bgr, self._device)
        missing = at_least(len(crops), self._sizes) - len(crops)
        padded = functional.pad(crops, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else crops
        probabilities: FloatArray = self._probabilities(padded).cpu().numpy()
        return probabilities[: len(crops)]
