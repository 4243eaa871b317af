"""Classify aligned face crops with OpenVINO or ONNX Runtime, without PyTorch."""

from collections.abc import Callable, Sequence

import numpy as np

from maskstream.models.metadata import Metadata
from maskstream.models.runtimes import Graph
from maskstream.types import BgrImage, FloatArray

CHUNK = 64
"""Maximum number of crops in one forward pass; limits the memory for crowds."""


def crops_to_array(crops_bgr: Sequence[BgrImage]) -> FloatArray:
    """Return (N, 3, S, S) float32 RGB in [0, 1] of N crops (S, S, 3) uint8 BGR; used by every classifier and every training."""
    rgb = np.stack(crops_bgr)[..., ::-1].transpose(0, 3, 1, 2)
    return np.divide(rgb, np.float32(255), dtype=np.float32, order="C")


def in_chunks(classify: Callable[[Sequence[BgrImage]], FloatArray], crops_bgr: Sequence[BgrImage], classes: int) -> FloatArray:
    """Return the probabilities (N, C) of N crops, classified `CHUNK` at a time."""
    if not len(crops_bgr):
        return np.zeros((0, classes), np.float32)
    return np.concatenate([classify(crops_bgr[i : i + CHUNK]) for i in range(0, len(crops_bgr), CHUNK)])


class GraphClassifier:
    """A `Classifier` that runs a graph: crops (N, 3, S, S), RGB in [0, 1], to calibrated probabilities (N, C)."""

    def __init__(self, graph: Graph, metadata: Metadata) -> None:
        """Wrap a loaded graph."""
        self.class_names = metadata.class_names
        self.input_size_px = metadata.input_size
        self._graph = graph

    def classify(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        """Return calibrated class probabilities (N, C) float32 of N crops (S, S, 3) uint8 BGR, S = `input_size_px`."""
        return in_chunks(self._classify_chunk, crops_bgr, len(self.class_names))

    def _classify_chunk(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        return self._graph.each([(crops_to_array(crops_bgr),)])[0][0]
