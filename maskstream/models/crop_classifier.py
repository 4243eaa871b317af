"""torchvision's networks behind our `Classifier` interface: aligned face crops in, mask, no mask or worn incorrectly out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from maskstream.models.backends import Signature, choose_backend, compiled
from maskstream.models.checkpoint import Metadata, StateDict, load_checkpoint, load_into
from maskstream.models.exported import is_exported, load_exported
from maskstream.models.files import weights_path
from maskstream.models.folding import fold_batch_norm
from maskstream.models.foreign import imagenet_weights
from maskstream.models.memory import memory_errors
from maskstream.models.precision import InPrecision
from maskstream.models.runtimes import Graph
from maskstream.settings import ClipConfig
from maskstream.types import BgrImage, FloatArray

CHUNK = 64
"""Most crops in one forward pass: bounds the memory that a crowd takes."""


@dataclass(frozen=True)
class ClassifierOptions:
    """What a user may choose of a classifier."""

    device: torch.device
    clip: ClipConfig
    """For the classifier `clip` alone."""
    weights: str | None = None
    """A file instead of the usual weights."""
    backend: str = "torch"
    """What runs the network: `auto`, `torch`, `openvino` or `onnx`."""
    precision: torch.dtype = torch.float32
    """Of convolutions and linear layers in PyTorch."""


class CropNetwork(nn.Module):
    """A network that normalises its own input."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, metadata: Metadata) -> None:
        """Put the mean and standard deviation of the metadata before a network."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(metadata.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(metadata.std).view(3, 1, 1), persistent=False)

    def forward(self, crops_rgb: torch.Tensor) -> torch.Tensor:
        """Return logits (N, C) of crops (N, 3, S, S), RGB in [0, 1]."""
        logits: torch.Tensor = self.network((crops_rgb - self.mean) / self.std)
        return logits


def crops_to_tensor(crops_bgr: Sequence[BgrImage], device: torch.device) -> torch.Tensor:
    """Return (N, 3, S, S) float32 RGB in [0, 1] of N crops (S, S, 3) uint8 BGR, or of what `DeviceCutter` has cut."""
    if isinstance(crops_bgr, torch.Tensor):
        return crops_bgr
    pixels = torch.from_numpy(np.stack(crops_bgr)).to(device)
    return pixels.flip(-1).permute(0, 3, 1, 2).float().div_(255)


@memory_errors()
def in_chunks(classify: Callable[[Sequence[BgrImage]], FloatArray], crops_bgr: Sequence[BgrImage], classes: int) -> FloatArray:
    """Return the probabilities (N, C) of N crops, classified `CHUNK` at a time.

    Raises:
        OutOfMemory: Crops of fewer frames may do.
    """
    if not len(crops_bgr):
        return np.zeros((0, classes), np.float32)
    return np.concatenate([classify(crops_bgr[i : i + CHUNK]) for i in range(0, len(crops_bgr), CHUNK)])


class CropProbabilities(nn.Module):
    """Crops (N, 3, S, S), RGB in [0, 1], to calibrated probabilities (N, C)."""

    module: nn.Module

    def __init__(self, module: CropNetwork, temperature: float) -> None:
        """Share the weights of a module."""
        super().__init__()
        self.module = module
        self.temperature = temperature
        self._normalisation = (module.mean.tolist(), module.std.tolist())

    def extra_repr(self) -> str:
        """Return what decides about the results besides the weights."""
        return f"temperature={self.temperature!r}, mean={self._normalisation[0]}, std={self._normalisation[1]}"

    def forward(self, crops_rgb: torch.Tensor) -> torch.Tensor:
        """Return the probabilities."""
        logits: torch.Tensor = self.module(crops_rgb)
        return (logits / self.temperature).softmax(1)

    @staticmethod
    def signature(input_size_px: int) -> tuple[tuple[torch.Tensor, ...], Signature]:
        """Return what it is called with, as an example, and how that is called."""
        example = (torch.zeros(2, 3, input_size_px, input_size_px),)
        return example, Signature(("crops",), ("probabilities",), {"crops": {0: "faces"}, "probabilities": {0: "faces"}})


class MaskClassifier:
    """The network in inference mode behind our `Classifier` interface."""

    def __init__(self, module: CropNetwork, metadata: Metadata, device: torch.device, graph: Graph | None = None) -> None:
        """Take over a loaded module; a graph, compiled or exported, is run instead of it."""
        self.class_names = metadata.class_names
        self.input_size_px = metadata.input_size
        self.module = module.eval().to(device)
        fold_batch_norm(self.module)
        self.module.to(memory_format=torch.channels_last)
        self.probabilities = CropProbabilities(self.module, metadata.temperature or 1.0)
        self._device = device
        self._graph = graph

    def lower_precision(self, precision: torch.dtype) -> None:
        """Compute in half precision; the probabilities are float32 in any case."""
        self.probabilities.module = InPrecision(self.module, precision)

    def compile(self, backend: str) -> None:
        """Let `openvino` or `onnx` run it."""
        self._graph = compiled(self.probabilities, *CropProbabilities.signature(self.input_size_px), backend)

    @torch.inference_mode()
    def classify(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        """Return calibrated class probabilities (N, C) float32 of N crops (S, S, 3) uint8 BGR, S = `input_size_px`."""
        return in_chunks(self._classify_chunk, crops_bgr, len(self.class_names))

    def _classify_chunk(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        crops = crops_to_tensor(crops_bgr, self._device)
        if self._graph is not None:
            return self._graph.each([(crops.numpy(),)])[0][0]
        probabilities: FloatArray = self.probabilities(crops).cpu().numpy()
        return probabilities


@dataclass(frozen=True)
class Architecture:
    """What torchvision network judges crops, under which name."""

    name: str
    build: Callable[[int], nn.Module]
    """The untrained network for a number of classes."""
    imagenet_url: str
    head: str
    """What the names of the tensors of its last layer begin with: ImageNet's are of no use there."""

    def build_for_training(self, metadata: Metadata, backbone_weights: str | None) -> CropNetwork:
        """Return the network with ImageNet weights below its last layer; see `imagenet_weights` for the choice.

        Raises:
            ModelError: The weights cannot be fetched.
            WeightsError: The file is missing, damaged or of another model.
        """
        module = CropNetwork(self.build(len(metadata.class_names)), metadata)
        weights = imagenet_weights(backbone_weights, self.imagenet_url)
        if weights is not None:
            own = {name: tensor for name, tensor in module.network.state_dict().items() if name.startswith(self.head)}
            load_into(module.network, weights | own, backbone_weights or "ImageNet weights")
        return module

    def load(self, options: ClassifierOptions) -> MaskClassifier:
        """Return the classifier with our weights, or those of `options.weights`, which may be a network that was exported.

        Raises:
            ConfigError: The backend cannot run it here.
            WeightsError: The weights are missing, damaged or of another model.
        """
        path = weights_path(options.weights, f"{self.name}.safetensors")
        if is_exported(path):
            graph, metadata = load_exported(path, self.name, options.backend, options.device)
            module = CropNetwork(self.build(len(metadata.class_names)), metadata)
            return MaskClassifier(module, metadata, options.device, graph)
        state_dict, metadata = load_checkpoint(path, self.name)
        classifier = MaskClassifier(self.restore(state_dict, metadata, str(path)), metadata, options.device)
        backend = choose_backend("classifier.backend", options.backend, options.device, options.precision)
        if backend != "torch":
            classifier.compile(backend)
        elif options.precision is not torch.float32:
            classifier.lower_precision(options.precision)
        return classifier

    def restore(self, state_dict: StateDict, metadata: Metadata, origin: str) -> CropNetwork:
        """Return the network of a checkpoint; `WeightsError` where it does not fit."""
        module = CropNetwork(self.build(len(metadata.class_names)), metadata)
        load_into(module.network, state_dict, origin)
        return module
