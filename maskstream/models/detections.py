"""Convert images to network inputs and network outputs to detections, for every backend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskstream.config.values import ShortSide
from maskstream.types import FACE_KEYPOINTS, BgrImage, Detection, FloatArray
from maskstream.vision.geometry import box_iou

_AUTO_FACTOR: Final = 2
"""Maximum short side with `detector.short_side: auto`, in multiples of the model's own short side."""
MIN_SCALED_SIDE = 8
"""Pixels. An image whose scaled short side is below this is too narrow for a face; the network does not run on it."""
_SMALLEST_NEAR: Final = 32
_LARGEST_FAR: Final = 64
"""Pixels at the model's own short side. Of an image that is detected in two sizes, the small one has faces from `_SMALLEST_NEAR`,
and the large one faces up to `_LARGEST_FAR`. The network misses faces that are larger than those it was trained on."""
_SAME_FACE_IOU: Final = 0.5
"""The intersection over union from which detections of both sizes are the same face."""


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
    Faces are then detected in the image of `short_side` too."""

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
        """Return the sizes for faces: that of `short_side` where the image keeps a larger size, and that of `size_hw`."""
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
    are_faces = len(names) == len(FACE_KEYPOINTS)  # persons are detected in one size: the limits below are those of faces
    sizes = [scaling.sizes_hw(image) if are_faces else [scaling.size_hw(image)] for image in images_bgr]
    runs = [(index, size) for index in usable for size in sizes[index]]
    outputs = find([images_bgr[index] for index, _ in runs], [size for _, size in runs]) if runs else list

    def found() -> list[list[Detection]]:
        by_size: list[list[list[Detection]]] = [[] for _ in images_bgr]
        for (index, size), output in zip(runs, outputs(), strict=True):
            by_size[index].append(output.detections(size, images_bgr[index].shape[:2], names, calibration))
        scales = [size[0][0] / image.shape[0] for size, image in zip(sizes, images_bgr, strict=True)]
        return [_merged(each, scale) for each, scale in zip(by_size, scales, strict=True)]

    return found


def _merged(by_size: list[list[Detection]], scale: float) -> list[Detection]:
    """Return the faces of an image that was detected in one size or two, by falling score.

    Singh and Davis, "An Analysis of Scale Invariance in Object Detection - SNIP" (2018), also choose the faces of each size of an
    image pyramid by their own size. A detection whose numbers are not finite is kept.

    Args:
        by_size: Those of the small image, and those of the large image.
        scale: Pixels of the small image per pixel of the image.
    """
    if len(by_size) < 2:
        return by_size[0] if by_size else []
    near, far = by_size
    kept = [each for each in near if not _size_px(each) * scale < _SMALLEST_NEAR]
    kept += [each for each in far if not _size_px(each) * scale > _LARGEST_FAR]
    kept.sort(key=lambda each: each.score, reverse=True)
    boxes = np.array([each.box_xyxy for each in kept], np.float32).reshape(-1, 4)
    overlaps = box_iou(boxes, boxes) > _SAME_FACE_IOU
    chosen: list[int] = []
    for index in range(len(kept)):
        if not overlaps[index, chosen].any():
            chosen.append(index)
    return [kept[index] for index in chosen]


def _size_px(detection: Detection) -> float:
    x1, y1, x2, y2 = detection.box_xyxy
    return float(max(x2 - x1, y2 - y1))


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
