"""What classifiers of aligned face crops have in common: loading, building, export. PyTorch is imported where it is needed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskstream.models.backends import choose_backend, graph_of
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
    """What torchvision network judges crops, under which name."""

    name: str
    build: "Callable[[int], nn.Module]"
    """The untrained network for a number of classes."""
    imagenet: str
    """torchvision's name of its weights of ImageNet."""
    head: str
    """What the names of the tensors of its last layer begin with: ImageNet's are of no use there."""

    def load(self, options: ClassifierOptions) -> Classifier:
        """Return the classifier with our weights, or those of `options.weights`, which may be a network that was exported.

        Raises:
            ConfigError: The backend cannot run it here.
            WeightsError: The weights are missing, damaged or of another model.
        """
        path = weights_path(options.weights, f"{self.name}.safetensors")
        if is_exported(path):
            return GraphClassifier(*load_exported(path, self.name, options.backend, options.device))
        backend = choose_backend("classifier.backend", options.backend, options.device, options.precision)
        if backend != "torch":
            _, metadata = read_checkpoint(path, self.name)
            return GraphClassifier(graph_of(path, backend, lambda: self.as_onnx(path)), metadata)

        from maskstream.models.checkpoint import load_checkpoint
        from maskstream.models.crop_classifier import MaskClassifier
        from maskstream.models.precision import PRECISIONS

        state_dict, metadata = load_checkpoint(path, self.name)
        module = self.restore(state_dict, metadata, str(path))
        return MaskClassifier(module, metadata, options.device, PRECISIONS[options.precision])

    def as_onnx(self, weights: Path) -> bytes:
        """Return the network of a checkpoint, with its calibration, as an ONNX graph.

        Raises:
            WeightsError: The file is missing, damaged or of another model.
        """
        from maskstream.models.checkpoint import load_checkpoint
        from maskstream.models.crop_classifier import CropProbabilities
        from maskstream.models.onnx_export import export

        state_dict, metadata = load_checkpoint(weights, self.name)
        module = self.restore(state_dict, metadata, str(weights))
        network = CropProbabilities(module, metadata.temperature or 1.0).eval()
        return export(network, *CropProbabilities.signature(metadata.input_size))

    def restore(self, state_dict: "StateDict", metadata: Metadata, origin: str) -> "CropNetwork":
        """Return the network of a checkpoint.

        Raises:
            WeightsError: It does not fit, or holds what is no finite number.
        """
        from maskstream.models.checkpoint import load_into, require_finite
        from maskstream.models.crop_classifier import CropNetwork

        module = CropNetwork(self.build(len(metadata.class_names)), metadata)
        load_into(module.network, state_dict, origin)
        require_finite(state_dict, origin)
        return module

    def build_for_training(self, metadata: Metadata, backbone_weights: str | None) -> "CropNetwork":
        """Return the network with ImageNet weights below its last layer; see `imagenet_weights` for the choice.

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
            own = {name: tensor for name, tensor in module.network.state_dict().items() if name.startswith(self.head)}
            load_into(module.network, weights | own, backbone_weights or "ImageNet weights")
        return module
