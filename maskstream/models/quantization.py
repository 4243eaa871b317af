"""Quantise exported networks to int8 with NNCF: weights and activations of convolutions become 8-bit integers.

The ranges of the activations are measured on images (post-training quantisation, with bias correction; Nagel et al., "Data-Free
Quantization", 2019). Weights use half of the range, so that sums do not overflow on CPUs without VNNI. Layers that round badly
stay in float32: the input's arithmetic, box coordinates, the heads of the detector, the last layer of a classifier.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from numpy.typing import NDArray

from maskstream.errors import ConfigError, SourceOpenError
from maskstream.io.folders import find_files
from maskstream.io.images import read_image
from maskstream.models.detections import Scaling, resized
from maskstream.models.face_mobilenet import LONGEST_SIDE
from maskstream.models.graph_classifier import crops_to_array
from maskstream.models.graph_detector import graph_inputs
from maskstream.models.metadata import Metadata
from maskstream.models.telemetry import nncf_package, openvino_package
from maskstream.types import BgrImage

Inputs = tuple[NDArray[Any], ...]

SAMPLES: Final = 300
"""Images from which the ranges are measured."""
_OF_DETECTOR: Final = ("/backbone/", "/rpn_head/conv")
"""Prefixes of the names of the operations of a detector that are quantised."""
_NOT_OF_CLASSIFIER: Final = ["Subtract", "Divide", "MatMul", "Softmax"]
"""Types of the operations of a classifier that are not quantised."""
_MIN_SCORE: Final = 0.05


def quantized(content: bytes, metadata: Metadata, properties: Mapping[str, str], folder: Path) -> Any:
    """Return a network as a quantised OpenVINO model.

    Args:
        content: The ONNX graph of a `face_mobilenet`, or of a classifier of crops.
        metadata: Of the network.
        properties: The metadata in the format of a file header, which the model gets.
        folder: Images like those of the later use: complete images for a detector, crops for a classifier. Subfolders are read.

    Raises:
        ConfigError: The package nncf is not installed.
        SourceOpenError: The folder has no images.
    """
    if find_spec("nncf") is None:
        raise ConfigError("--int8 needs nncf, which is not installed; pip install 'maskstream[int8]'")
    nncf = nncf_package()
    model = _read(content)
    if metadata.keypoint_names:
        names = [each.get_friendly_name() for each in model.get_ordered_ops()]
        ignored = nncf.IgnoredScope(names=[name for name in names if not name.startswith(_OF_DETECTOR)], validate=False)
        samples = list(_inputs(folder, _detector_inputs(metadata)))
    else:
        ignored = nncf.IgnoredScope(types=_NOT_OF_CLASSIFIER, validate=False)
        samples = list(_inputs(folder, _classifier_inputs(metadata)))
    result = nncf.quantize(
        model,
        nncf.Dataset(samples),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=ignored,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
    )
    for name, value in properties.items():
        result.set_rt_info(value, ["framework", name])
    return result


def _read(content: bytes) -> Any:
    """Return an OpenVINO model whose constants are folded and whose batch norms are fused, which reading alone does not do."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(content)
        return openvino_package().convert_model(path)


def _inputs(folder: Path, prepare: Callable[[BgrImage], Inputs]) -> Iterator[Inputs]:
    """Yield the inputs for at most `SAMPLES` images, which are spread over the folder."""
    found = find_files(str(folder), recursive=True)
    if found is None or not found.images:
        raise SourceOpenError(f"--int8: {folder} is not a folder with images; give images like those of the later use")
    step = max(1, len(found.images) // SAMPLES)
    for path in found.images[::step][:SAMPLES]:
        yield prepare(read_image(path))


def _detector_inputs(metadata: Metadata) -> Callable[[BgrImage], Inputs]:
    scaling = Scaling.chosen(metadata.input_size, LONGEST_SIDE, None)
    return lambda image: graph_inputs(image, scaling.size_hw(image), _MIN_SCORE)


def _classifier_inputs(metadata: Metadata) -> Callable[[BgrImage], Inputs]:
    size_hw = (metadata.input_size, metadata.input_size)
    return lambda crop: (crops_to_array([resized(crop, size_hw)]),)
