"""A Keypoint R-CNN that OpenVINO or ONNX Runtime runs as one graph behind our `Detector` interface, without PyTorch."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from maskstream.models.detections import Found, KeypointCalibration, Scaling, detect, outputs_as_found, padded, resized
from maskstream.models.runtimes import Graph
from maskstream.types import BgrImage, Detection

_DIVISOR: Final = 32
"""Sides of images are padded to multiples of this, as torchvision does."""


class GraphDetector:
    """A graph of `models.whole`, with images scaled before it."""

    def __init__(
        self,
        graph_for: Callable[[int], Graph],
        scaling: Scaling,
        keypoint_names: tuple[str, ...],
        calibration: KeypointCalibration,
        min_score: float,
        max_faces: int,
    ) -> None:
        """Read the graph.

        Args:
            graph_for: Returns the graph that finds so many faces in an image, or as many as there is one for.
            scaling: How large images are shown to it.
            keypoint_names: COCO's names in the order of its keypoints.
            calibration: For the keypoint scores.
            min_score: What it is less certain of is left out.
            max_faces: Most detections per image; the most certain are kept.
        """
        self.keypoint_names = keypoint_names
        self._graph_for = graph_for
        self._scaling = scaling
        self._calibration = calibration
        self._min_score, self._max_faces = min_score, max_faces
        self._graph = graph_for(max_faces)

    def admit(self, min_score: float, max_faces: int) -> None:
        """Find what is as uncertain as this, and as many, besides what was found before."""
        self._min_score = min(self._min_score, min_score)
        if max_faces > self._max_faces:
            self._graph = self._graph_for(max_faces)
            self._max_faces = max_faces

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        """Return the detections of each (H, W, 3) uint8 BGR image, the most certain first, in pixels of that image."""
        found = detect(images_bgr, self._scaling, self._find, self.keypoint_names, self._calibration)
        return [each[: self._max_faces] for each in found]

    def _find(self, images_bgr: list[BgrImage], sizes_hw: list[tuple[int, int]]) -> list[Found]:
        least = np.array([self._min_score], np.float32)
        small = map(resized, images_bgr, sizes_hw)
        calls = [(padded(each, _DIVISOR)[None], np.array(each.shape[:2], np.float32), least) for each in small]
        return list(map(outputs_as_found, self._graph.each(calls)))
