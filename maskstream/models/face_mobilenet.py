"""`face_mobilenet`: a face detector for CPUs, Keypoint R-CNN on MobileNetV2-FPN with small heads.

3.6 million parameters. Sandler et al., "MobileNetV2" (2018); Lin et al., "Feature Pyramid Networks" (2017).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from maskstream.models.backends import GraphRequest, choose_backend, graph_for_weights
from maskstream.models.detections import KeypointCalibration, Scaling
from maskstream.models.exported_model import is_exported, load_exported
from maskstream.models.graph_detector import GraphDetector
from maskstream.models.metadata import Metadata, read_checkpoint
from maskstream.models.options import DetectorOptions
from maskstream.models.runtimes import Graph
from maskstream.models.weights_path import weights_path
from maskstream.protocols import Detector

NAME = "face_mobilenet"
SHORT_SIDE = 384
LONGEST_SIDE = 1024


def load(options: DetectorOptions) -> Detector:
    """Return the detector with the shipped weights, or with `options.weights`, which may be an exported network.

    Raises:
        ConfigError: The backend cannot run the network on this device.
        WeightsError: The weights are missing, damaged or of another model.
    """
    path = weights_path(options.weights, f"{NAME}.safetensors")
    if is_exported(path):
        graph, metadata = load_exported(
            path, NAME, options.backend, options.device, several=options.several, threads=options.threads
        )
        return _graph_detector(lambda _: graph, metadata, options)
    backend = choose_backend("detector.backend", options.backend, options.device, options.precision)
    if backend != "torch":
        return _graph_detector(partial(_graph, path, backend, options), read_checkpoint(path, NAME)[1], options)

    from maskstream.models.checkpoint import load_checkpoint
    from maskstream.models.face_mobilenet_network import restore
    from maskstream.models.keypoint_rcnn import KeypointRCNNDetector

    state_dict, metadata = load_checkpoint(path, NAME)
    module = restore(state_dict, metadata, str(path))
    return KeypointRCNNDetector(module, metadata.keypoint_names, _calibration(metadata), options)


def _graph_detector(graph_for: Callable[[int], Graph], metadata: Metadata, options: DetectorOptions) -> GraphDetector:
    scaling = Scaling.chosen(metadata.input_size, LONGEST_SIDE, options.short_side)
    names, calibration = metadata.keypoint_names, _calibration(metadata)
    return GraphDetector(graph_for, scaling, names, calibration, options.min_score, options.max_faces)


def _calibration(metadata: Metadata) -> KeypointCalibration:
    scale, bias = metadata.keypoint_calibration or (1.0, 0.0)
    return KeypointCalibration(scale, bias)


def _graph(weights: Path, backend: str, options: DetectorOptions, max_faces: int) -> Graph:
    def make() -> bytes:
        from maskstream.models.face_mobilenet_network import as_onnx

        return as_onnx(weights, max_faces)

    request = GraphRequest(backend, options.precision, max_faces, options.several, options.threads)
    return graph_for_weights(weights, request, make)
