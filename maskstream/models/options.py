"""The options of detectors and classifiers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskstream.config.schema import ClipConfig, Precision
from maskstream.config.values import Execution, ShortSide

if TYPE_CHECKING:
    from maskstream.models.gpu_images import Uploads


@dataclass(frozen=True)
class DetectorOptions:
    """The options of a detector."""

    device: str
    """Device that the network runs on: `cpu`, `cuda`, `cuda:1` or `mps`."""
    min_score: float
    max_faces: int
    """Maximum number of detections per image; those with the highest scores are kept."""
    short_side: ShortSide = None
    """Images are scaled to this short side in pixels; None: the default of the model; `auto`: the size of the image, at least
    the default of the model and at most twice the default."""
    weights: str | None = None
    """A weights file instead of the shipped weights."""
    backend: str = "torch"
    """`auto`, `torch`, `openvino` or `onnx`."""
    precision: Precision = "float32"
    """Of convolutions and linear layers; the coordinates are always computed in float32."""
    execution: Execution = "dynamic"
    """How PyTorch runs the network; see `detector.execution`."""
    several: bool = False
    """True where most calls are in batches, as for files."""
    threads: int | None = None
    """Number of CPU threads of OpenVINO and ONNX Runtime; None: all cores."""
    warm_up: int = 0
    """Batches of up to this number of images are run once in the loader, where the network runs with fixed shapes."""
    uploads: "Uploads | None" = None
    """Uploads the images to a device, where they are scaled and can be used again; None: they are scaled on the CPU."""


@dataclass(frozen=True)
class ClassifierOptions:
    """The options of a classifier."""

    device: str
    """Device that the network runs on: `cpu`, `cuda`, `cuda:1` or `mps`."""
    clip: ClipConfig
    """Of the classifier `clip` only."""
    weights: str | None = None
    """A weights file instead of the shipped weights."""
    backend: str = "torch"
    """`auto`, `torch`, `openvino` or `onnx`."""
    precision: Precision = "float32"
    """Of convolutions and linear layers."""
    threads: int | None = None
    """Number of CPU threads of OpenVINO and ONNX Runtime; None: all cores."""
