"""Convert images to network inputs and network outputs to detections, for every backend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskstream.config.values import ShortSide
from maskstream.types import BgrImage, Detection, FloatArray
from maskstream.vision.geometry import box_iou, without_repeats

_AUTO_FACTOR: Final = 2
"""Maximum short side with `detector.short_side: auto`, in multiples of the model's own short side."""
MIN_SCALED_SIDE = 8
"""Pixels. An image whose scaled short side is below this is too narrow for a face; the network does not run on it."""
_SAME_FACE_IOU: Final = 0.5
"""The intersection over union from which detections in two sizes are the same face or person."""


@dataclass(frozen=True)
class KeypointCalibration:
    """Turns the peak of a heatmap, a logit, into a probability: sigmoid(scale * logit + bias)."""

    scale: float
    bias: float

    def __call__(self, logits: FloatArray) -> FloatArray:
        """Map logits of any shape to probabilities."""
        with np.errstate(over="ignore"):  # exp of a large number is infinite, and the probability 0
            return np.asarray(1 / (1 + np.exp(-(self.scale * logits + self.bias))), np.float32)


@dataclass(frozen=True)
class Scaling:
    """The size of the network's input, as in torchvision's `GeneralizedRCNNTransform`."""

    short_side: float
    """Pixels."""
    longest_side: float
    """Pixels; where the scaled long side would be longer, it gets this length."""
    kept_up_to: float = 0
    """Pixels; an image whose short side is between `short_side` and this is not scaled, a larger image gets this short side.
    The network then runs on the image of `short_side` too: it misses faces that are larger than those it was trained on."""

    @classmethod
    def chosen(cls, own_side: float, longest_side: float, chosen_side: ShortSide) -> "Scaling":
        """Return the scaling of a model, or of `detector.short_side`.

        Args:
            own_side: The short side of the model, in pixels.
            longest_side: The maximum long side of the model, in pixels.
            chosen_side: `detector.short_side`.
        """
        if chosen_side is None:
            return cls(own_side, longest_side)
        largest_side = _AUTO_FACTOR * own_side if chosen_side == "auto" else chosen_side
        longest_side = max(longest_side, 2 * largest_side)
        return cls(own_side, longest_side, largest_side) if chosen_side == "auto" else cls(chosen_side, longest_side)

    def factor(self, image_bgr: BgrImage) -> float:
        """Return the scale of an image."""
        short, long = sorted(image_bgr.shape[:2])
        short_side = max(self.short_side, min(short, self.kept_up_to))
        return float(min(short_side / short, self.longest_side / long))

    def size_hw(self, image_bgr: BgrImage) -> tuple[int, int]:
        """Return height and width of the scaled image."""
        factor = self.factor(image_bgr)
        height, width = image_bgr.shape[:2]
        return floor(height * factor), floor(width * factor)

    def sizes_hw(self, image_bgr: BgrImage) -> list[tuple[int, int]]:
        """Return the sizes in which an image is detected: that of `size_hw`, and before it that of `short_side` if smaller."""
        sizes = [replace(self, kept_up_to=0).size_hw(image_bgr), self.size_hw(image_bgr)]
        return sizes if sizes[0] < sizes[1] else sizes[1:]


@dataclass(frozen=True, eq=False)
class RawDetections:
    """The output of a network for one image, in pixels of the scaled image."""

    boxes_xyxy: FloatArray
    """(N, 4), sorted by falling score."""
    scores: FloatArray
    """(N,) in [0, 1]."""
    keypoints_xy: FloatArray
    """(N, K, 2)."""
    keypoint_logits: FloatArray
    """(N, K), the peaks of the heatmaps."""

    def detections(
        self, scaled_hw: Sequence[int], image_hw: Sequence[int], names: tuple[str, ...], calibration: KeypointCalibration
    ) -> list[Detection]:
        """Return the detections in pixels of the image."""
        factors = np.array(image_hw[::-1], np.float32) / np.array(scaled_hw[::-1], np.float32)
        boxes, points = self.boxes_xyxy * np.tile(factors, 2), self.keypoints_xy * factors
        scores = calibration(self.keypoint_logits)
        return [
            Detection(boxes[index], float(self.scores[index]), points[index], scores[index], names) for index in range(len(boxes))
        ]


Find = Callable[[list[BgrImage], list[tuple[int, int]]], Callable[[], list[RawDetections]]]
"""Begins to run a network on images, which it scales to the given heights and widths. What it returns waits for the outputs."""


def begin(
    images_bgr: Sequence[BgrImage],
    scaling: Scaling,
    find: Find,
    names: tuple[str, ...],
    calibration: KeypointCalibration,
) -> Callable[[], list[list[Detection]]]:
    """Begin to detect in (H, W, 3) uint8 BGR images.

    Args:
        images_bgr: The network does not run on images that are too narrow.
        scaling: The size of the network's input.
        find: Begins to run the network.
        names: Names of the keypoints.
        calibration: Of the keypoint scores.

    Returns:
        Waits for the detections of each image, by falling score, in pixels of that image.
    """
    short_sides = [min(image.shape[:2]) * scaling.factor(image) for image in images_bgr]
    usable = [index for index, side in enumerate(short_sides) if side >= MIN_SCALED_SIDE]
    runs = [(index, size) for index in usable for size in scaling.sizes_hw(images_bgr[index])]
    outputs = find([images_bgr[index] for index, _ in runs], [size for _, size in runs]) if runs else list

    def found() -> list[list[Detection]]:
        detections: list[list[Detection]] = [[] for _ in images_bgr]
        for (index, size), output in zip(runs, outputs(), strict=True):
            in_size = output.detections(size, images_bgr[index].shape[:2], names, calibration)
            detections[index] = _joined(detections[index], in_size)
        return detections

    return found


def _joined(first: list[Detection], second: list[Detection]) -> list[Detection]:
    """Return the detections of an image in two sizes, by falling score, and of those that overlap the one with the highest score.

    Detections whose numbers are not finite are kept.
    """
    if not first or not second:
        return first or second
    found = sorted([*first, *second], key=lambda each: each.score, reverse=True)
    boxes = np.array([each.box_xyxy for each in found], np.float32)
    return [found[index] for index in without_repeats(box_iou(boxes, boxes) > _SAME_FACE_IOU)]


def resized(image_bgr: BgrImage, size_hw: tuple[int, int]) -> BgrImage:
    """Return an image in another size. On a CPU, resizing bytes is much faster than resizing floats."""
    return np.asarray(cv2.resize(image_bgr, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def padded(image_bgr: BgrImage, divisor: int) -> BgrImage:
    """Pad an image with black below and to the right, so that its sides are multiples of `divisor`."""
    below, right = (-side % divisor for side in image_bgr.shape[:2])
    return np.asarray(cv2.copyMakeBorder(image_bgr, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)


def parse_outputs(outputs: Sequence[NDArray[Any]]) -> RawDetections:
    """Return the outputs of a `KeypointRCNNGraph` for one image."""
    boxes, scores, points, logits = outputs
    return RawDetections(boxes, scores, points[..., :2], logits)
