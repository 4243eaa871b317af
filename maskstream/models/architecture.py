"""Load, build and export the classifiers of aligned face crops. PyTorch is imported only where it is needed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskstream.models.backends import GraphRequest, choose_backend, graph_for_weights
from maskstream.models.exported_model import is_exported, load_exported
from maskstream.models.graph_classifier import GraphClassifier
from maskstream.models.metadata import Metadata, read_checkpoint
from maskstream.models.options import ClassifierOptions
from maskstream.models.weights_path import weights_path
from maskstream.protocols import Classifier

if TYPE_CHECKING:
    from torch import nn

    from maskstream.models.checkpoint import StateDict
    from maskstream.models.crop_classifier import CropNetwork


@dataclass(frozen=True)
class Architecture:
    """A torchvision network that classifies crops, and its name."""

    name: str
    build: "Callable[[int], nn.Module]"
    """Returns the untrained network for a number of classes."""
    imagenet: str
    """torchvision's name of its ImageNet weights."""
    head: str
    """Prefix of the tensor names of the last layer, which does not start from ImageNet weights."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of the input in RGB, as for the ImageNet weights."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of the input in RGB."""

    def load(self, options: ClassifierOptions) -> Classifier:
        """Return the classifier with the shipped weights, or with `options.weights`, which may be an exported network.

        Raises:
            ConfigError: The backend cannot run the network on this device.
            WeightsError: The weights are missing, damaged or of another model.
        """
        path = weights_path(options.weights, f"{self.name}.safetensors")
        if is_exported(path):
            graph, metadata = load_exported(path, self.name, options.backend, options.device, threads=options.threads)
            return GraphClassifier(graph, metadata)
        backend = choose_backend("classifier.backend", options.backend, options.device, options.precision)
        if backend != "torch":
            _, metadata = read_checkpoint(path, self.name)
            request = GraphRequest(backend, options.precision, threads=options.threads)
            return GraphClassifier(graph_for_weights(path, request, lambda: self.as_onnx(path)), metadata)

        from maskstream.models.checkpoint import load_checkpoint
        from maskstream.models.crop_classifier import MaskClassifier
        from maskstream.models.precision import torch_precision

        state_dict, metadata = load_checkpoint(path, self.name)
        module = self.restore(state_dict, metadata, str(path))
        return MaskClassifier(module, metadata, options.device, torch_precision(options.precision))

    def as_onnx(self, weights: Path) -> bytes:
        """Return the network of a checkpoint, including its calibration, as an ONNX graph.

        Raises:
            WeightsError: The file is missing, damaged or of another model.
        """
        from maskstream.models.checkpoint import load_checkpoint
        from maskstream.models.crop_classifier import CropProbabilities
        from maskstream.models.onnx_export import export

        state_dict, metadata = load_checkpoint(weights, self.name)
        module = self.restore(state_dict, metadata, str(weights))
        network = CropProbabilities(module, metadata.temperature or 1.0).eval()
        example, signature = CropProbabilities.signature(metadata.input_size)
        return export(network, example, signature)

    def restore(self, state_dict: "StateDict", metadata: Metadata, origin: str) -> "CropNetwork":
        """Return the network of a checkpoint.

        Raises:
            WeightsError: Names or shapes differ from the architecture, or a weight is not finite.
        """
        from maskstream.models.checkpoint import load_into, require_finite
        from maskstream.models.crop_classifier import CropNetwork

        module = CropNetwork(self.build(len(metadata.class_names)), metadata)
        load_into(module.network, state_dict, origin)
        require_finite(state_dict, origin)
        return module

    def build_for_training(self, metadata: Metadata, backbone_weights: str | None) -> "CropNetwork":
        """Return the network with ImageNet weights in all but its last layer; `imagenet_weights` explains `backbone_weights`.

        Raises:
            ModelError: The weights cannot be fetched.
            WeightsError: The file is missing, damaged or of another model.
        """
        from torchvision.models import get_weight

        from maskstream.models.checkpoint import load_into
        from maskstream.models.crop_classifier import CropNetwork
        from maskstream.models.torchvision_weights import imagenet_weights

        module = CropNetwork(self.build(len(metadata.class_names)), metadata)
        weights = imagenet_weights(backbone_weights, get_weight(self.imagenet).url)
        if weights is not None:
            head = {name: tensor for name, tensor in module.network.state_dict().items() if name.startswith(self.head)}
            load_into(module.network, weights | head, backbone_weights or "ImageNet weights")
        return module
