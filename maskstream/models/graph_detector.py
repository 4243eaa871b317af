"""Detect faces with a Keypoint R-CNN that OpenVINO or ONNX Runtime runs, without PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskstream.models.detections import KeypointCalibration, RawDetections, Scaling, begin, padded, parse_outputs, resized
from maskstream.models.runtimes import Graph
from maskstream.types import BgrImage, Detection

_DIVISOR: Final = 32
"""The sides of images are padded to multiples of this, as torchvision does."""


class GraphDetector:
    """A `Detector` that runs the graph of a `KeypointRCNNGraph`."""

    def __init__(
        self,
        graph_for: Callable[[int], Graph],
        scaling: Scaling,
        keypoint_names: tuple[str, ...],
        calibration: KeypointCalibration,
        min_score: float,
        max_faces: int,
    ) -> None:
        """Load the graph.

        Args:
            graph_for: Returns a graph that finds at least this number of faces per image, where the file allows it.
            scaling: The size of the network's input.
            keypoint_names: COCO's names in the order of the network's keypoints.
            calibration: Of the keypoint scores.
            min_score: Detections with a lower score are left out.
            max_faces: Maximum number of detections per image; those with the highest scores are kept.
        """
        self.keypoint_names = keypoint_names
        self._graph_for = graph_for
        self._scaling = scaling
        self._calibration = calibration
        self._min_score, self._max_faces = min_score, max_faces
        self._graph = graph_for(max_faces)

    def admit(self, min_score: float, max_faces: int) -> None:
        """Lower the minimum score and raise the maximum number of faces, where the values given are lower and higher."""
        self._min_score = min(self._min_score, min_score)
        if max_faces > self._max_faces:
            self._graph = self._graph_for(max_faces)
            self._max_faces = max_faces

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        """Return the detections of each (H, W, 3) uint8 BGR image, by falling score, in pixels of that image."""
        return self.begin(images_bgr)()

    def begin(self, images_bgr: Sequence[BgrImage]) -> Callable[[], list[list[Detection]]]:
        """Begin to detect; see `AsynchronousDetector`."""
        found = begin(images_bgr, self._scaling, self._begin, self.keypoint_names, self._calibration)
        return lambda: [each[: self._max_faces] for each in found()]

    def _begin(self, images_bgr: list[BgrImage], sizes_hw: list[tuple[int, int]]) -> Callable[[], list[RawDetections]]:
        pairs = zip(images_bgr, sizes_hw, strict=True)
        calls = (graph_inputs(image, size_hw, self._min_score) for image, size_hw in pairs)
        outputs = self._graph.begin(calls, len(images_bgr))
        return lambda: [parse_outputs(each) for each in outputs()]


def graph_inputs(image_bgr: BgrImage, size_hw: tuple[int, int], min_score: float) -> tuple[NDArray[Any], ...]:
    """Return the inputs of a `KeypointRCNNGraph` for one image, which is scaled to the given height and width."""
    scaled = resized(image_bgr, size_hw)
    return padded(scaled, _DIVISOR)[None], np.array(scaled.shape[:2], np.float32), np.array([min_score], np.float32)
