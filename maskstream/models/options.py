"""What a user may choose of a model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskstream.config.schema import ClipConfig, Precision

if TYPE_CHECKING:
    from maskstream.models.gpu_images import Uploads


@dataclass(frozen=True)
class DetectorOptions:
    """What a user may choose of a detector."""

    device: str
    """Where the network runs: `cpu`, `cuda`, `cuda:1` or `mps`."""
    min_score: float
    max_faces: int
    """Most detections per image; the most certain are kept."""
    short_side: int | None = None
    """Images are scaled to this short side in pixels; None is the model's own."""
    weights: str | None = None
    """A file instead of the usual weights."""
    backend: str = "torch"
    """What runs the network: `auto`, `torch`, `openvino` or `onnx`."""
    precision: Precision = "float32"
    """Of convolutions and linear layers in PyTorch; what places boxes and points is float32 in any case."""
    several: bool = False
    """Whether mostly several images are shown to it at a time, as those of a file are."""
    uploads: "Uploads | None" = None
    """What sends the images to a device, to be scaled there, and looked at by others too; None: they are scaled on the CPU."""


@dataclass(frozen=True)
class ClassifierOptions:
    """What a user may choose of a classifier."""

    device: str
    """Where the network runs: `cpu`, `cuda`, `cuda:1` or `mps`."""
    clip: ClipConfig
    """For the classifier `clip` alone."""
    weights: str | None = None
    """A file instead of the usual weights."""
    backend: str = "torch"
    """What runs the network: `auto`, `torch`, `openvino` or `onnx`."""
    precision: Precision = "float32"
    """Of convolutions and linear layers in PyTorch."""
