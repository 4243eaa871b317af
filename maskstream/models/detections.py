"""From images to detections, whatever runs the network: scaling before it, coordinates and probabilities after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskstream.types import BgrImage, Detection, FloatArray

SMALLEST_SCALED_SIDE = 8
"""An image so long and thin that its scaled short side falls below this holds no face and is not shown to the model."""


@dataclass(frozen=True)
class KeypointCalibration:
    """Turns the height of a heatmap's peak, a logit, into a probability: sigmoid(scale * logit + bias)."""

    scale: float
    bias: float

    def __call__(self, logits: FloatArray) -> FloatArray:
        """Map logits of any shape to probabilities."""
        with np.errstate(over="ignore"):  # exp of a large number is infinite, and the probability 0
            return np.asarray(1 / (1 + np.exp(-(self.scale * logits + self.bias))), np.float32)


@dataclass(frozen=True)
class Scaling:
    """How large an image is shown to the network; torchvision's `GeneralizedRCNNTransform`."""

    short_side: float
    """Pixels."""
    longest_side: float
    """Pixels; what is longer is scaled to this instead."""

    @classmethod
    def chosen(cls, own_side: float, longest_side: float, chosen_side: int | None) -> "Scaling":
        """Return that of a model, or that for the short side that a user has chosen."""
        return cls(own_side, longest_side) if chosen_side is None else cls(chosen_side, max(longest_side, 2 * chosen_side))

    def factor(self, image_bgr: BgrImage) -> float:
        """Return how much larger an image becomes."""
        short, long = sorted(image_bgr.shape[:2])
        return float(min(self.short_side / short, self.longest_side / long))

    def size_hw(self, image_bgr: BgrImage) -> tuple[int, int]:
        """Return the height and width that an image gets."""
        factor = self.factor(image_bgr)
        height, width = image_bgr.shape[:2]
        return floor(height * factor), floor(width * factor)


@dataclass(frozen=True, eq=False)
class Found:
    """What a network found in one image, in pixels of the image as it was shown to it."""

    boxes_xyxy: FloatArray
    """(N, 4), the most certain first."""
    scores: FloatArray
    """(N,) in [0, 1]."""
    keypoints_xy: FloatArray
    """(N, K, 2)."""
    keypoint_logits: FloatArray
    """(N, K), the peaks of their heatmaps."""

    def detections(
        self, scaled_hw: Sequence[int], whole_hw: Sequence[int], names: tuple[str, ...], calibration: KeypointCalibration
    ) -> list[Detection]:
        """Return the detections in pixels of the whole image."""
        factors = np.array(whole_hw[::-1], np.float32) / np.array(scaled_hw[::-1], np.float32)
        boxes, points = self.boxes_xyxy * np.tile(factors, 2), self.keypoints_xy * factors
        scores = calibration(self.keypoint_logits)
        return [
            Detection(boxes[index], float(self.scores[index]), points[index], scores[index], names) for index in range(len(boxes))
        ]


def detect(
    images_bgr: Sequence[BgrImage],
    scaling: Scaling,
    find: Callable[[list[BgrImage], list[tuple[int, int]]], list[Found]],
    names: tuple[str, ...],
    calibration: KeypointCalibration,
) -> list[list[Detection]]:
    """Return the detections of each (H, W, 3) uint8 BGR image, the most certain first, in pixels of that image.

    Args:
        images_bgr: Those that are too thin are not shown to the network.
        scaling: How large they are shown.
        find: Returns what is in images, given with the height and width to show them in.
        names: Of the keypoints.
        calibration: For the scores of keypoints.
    """
    short_sides = [min(each.shape[:2]) * scaling.factor(each) for each in images_bgr]
    thick = [index for index, side in enumerate(short_sides) if side >= SMALLEST_SCALED_SIDE]
    detections: list[list[Detection]] = [[] for _ in images_bgr]
    shown = [images_bgr[index] for index in thick]
    sizes = [scaling.size_hw(each) for each in shown]
    found = find(shown, sizes) if shown else []
    for index, each, size in zip(thick, found, sizes, strict=True):
        detections[index] = each.detections(size, images_bgr[index].shape[:2], names, calibration)
    return detections


def resized(image_bgr: BgrImage, size_hw: tuple[int, int]) -> BgrImage:
    """Return an image in another size; on a CPU bytes are resized much sooner than floats."""
    return np.asarray(cv2.resize(image_bgr, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def padded(image_bgr: BgrImage, divisor: int) -> BgrImage:
    """Return an image whose sides are multiples of a number, black below and to the right."""
    below, right = (-side % divisor for side in image_bgr.shape[:2])
    return np.asarray(cv2.copyMakeBorder(image_bgr, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)


def outputs_as_found(outputs: Sequence[NDArray[Any]]) -> Found:
    """Return what a graph of `models.whole` gives for one image."""
    boxes, scores, points, logits = outputs
    return Found(boxes, scores, points[..., :2], logits)
