"""torchvision's Keypoint R-CNN behind our `Detector` interface, whatever its backbone.

He et al., "Mask R-CNN" (2017), section 5: keypoints as one-hot heatmaps of a region.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import cv2
import numpy as np
import torch
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.image_list import ImageList

from maskstream.models.backends import choose_backend, compiled
from maskstream.models.folding import fold_batch_norm
from maskstream.models.heatmaps import decode_heatmaps
from maskstream.models.memory import memory_errors
from maskstream.models.on_device import Uploads, scaled
from maskstream.models.precision import InPrecision
from maskstream.models.runtimes import Graph
from maskstream.models.whole import OUTPUTS, WholeDetector, whole_signature
from maskstream.types import BgrImage, Detection

SMALLEST_SCALED_SIDE = 8
"""A picture so long and thin that its scaled short side falls below this holds no face and is not shown to the model."""
_PROPOSED_PER_FACE = 3
"""On each level of the pyramid, before overlapping ones are put together."""


@dataclass(frozen=True)
class DetectorOptions:
    """What a user may choose of a detector."""

    device: torch.device
    min_score: float
    max_faces: int
    """Most detections per picture; the most certain are kept."""
    short_side: int | None = None
    """Pictures are scaled to this short side in pixels; None is the model's own."""
    weights: str | None = None
    """A file instead of the usual weights."""
    backend: str = "torch"
    """What runs the network: `auto`, `torch`, `openvino` or `onnx`."""
    precision: torch.dtype = torch.float32
    """Of convolutions and linear layers in PyTorch; what places boxes and points is float32 in any case."""
    uploads: Uploads | None = None
    """What sends the pictures to a device, to be scaled there, and looked at by others too; None: they are scaled on the CPU."""


@dataclass(frozen=True)
class KeypointCalibration:
    """Turns the height of a heatmap's peak, a logit, into a probability: sigmoid(scale * logit + bias)."""

    scale: float
    bias: float

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Map logits of any shape to probabilities."""
        return torch.sigmoid(self.scale * logits + self.bias)


def to_rgb_tensor(picture_bgr: BgrImage, device: torch.device) -> torch.Tensor:
    """Return (3, H, W) float32 RGB in [0, 1]: what every model here takes, in training and in the stream."""
    pixels = torch.from_numpy(picture_bgr).to(device)
    return pixels.flip(-1).permute(2, 0, 1).float().div_(255)


class KeypointRCNNDetector:
    """A Keypoint R-CNN in inference mode."""

    def __init__(
        self,
        module: KeypointRCNN,
        keypoint_names: tuple[str, ...],
        calibration: KeypointCalibration,
        options: DetectorOptions,
        graph: Graph | None = None,
    ) -> None:
        """Take over a loaded module and set it to the options.

        Args:
            module: Scales and normalises its pictures itself.
            keypoint_names: COCO's names in the order of the heatmaps.
            calibration: For the keypoint scores.
            options: What the user chose.
            graph: The network as it was exported; the module then only scales its pictures.
        """
        self.keypoint_names = keypoint_names
        self.module = module.eval().to(options.device)
        fold_batch_norm(self.module)
        self.module.to(memory_format=torch.channels_last)  # halves the time of depthwise convolutions
        heads = module.roi_heads
        self._to_heatmaps = (heads.keypoint_roi_pool, heads.keypoint_head, heads.keypoint_predictor)
        heads.keypoint_roi_pool = None  # torchvision then gives boxes alone
        self._calibration = calibration
        self._device = options.device
        self._uploads = options.uploads
        if options.precision is not torch.float32:
            self._lower_precision(options.precision)
        heads.score_thresh, heads.detections_per_img = options.min_score, options.max_faces
        self._propose(options.max_faces)
        if options.short_side is not None:
            module.transform.min_size = (options.short_side,)
            module.transform.max_size = max(module.transform.max_size, 2 * options.short_side)
        self._graph = graph
        wanted = ("detector.backend", options.backend, options.device, options.precision)
        self._backend = None if graph else choose_backend(*wanted)
        self._graph = self._compiled()

    def admit(self, min_score: float, max_faces: int) -> None:
        """Find what is as uncertain as this, and as many, besides what was found before."""
        heads = self.module.roi_heads
        heads.score_thresh = min(heads.score_thresh, min_score)
        heads.detections_per_img = max(heads.detections_per_img, max_faces)
        if max_faces > self._most_faces:
            self._propose(max_faces)
            self._graph = self._compiled()

    def _lower_precision(self, precision: torch.dtype) -> None:
        """Let convolutions and linear layers compute in half precision; in between everything is float32.

        In half precision alone box coordinates would be whole pixels at best, and the scores of all anchors of a crowd alike.
        """
        heads = self.module.roi_heads
        for parent, name in ((self.module, "backbone"), (self.module.rpn, "head"), (heads, "box_head"), (heads, "box_predictor")):
            setattr(parent, name, InPrecision(getattr(parent, name), precision))
        pool, *parts = self._to_heatmaps
        self._to_heatmaps = (pool, *(InPrecision(part, precision) for part in parts))

    def whole(self) -> WholeDetector:
        """Return it as one graph of tensors, to be compiled or exported; the weights are shared."""
        return WholeDetector(self.module, self._to_heatmaps)

    def _compiled(self) -> Graph | None:
        if self._backend in (None, "torch"):
            return self._graph
        return compiled(self.whole(), *whole_signature(), self._backend)

    def _propose(self, faces: int) -> None:
        """Let the first stage propose at least so many regions."""
        self._most_faces = faces
        proposals = self.module.rpn
        for limits, least in ((proposals._pre_nms_top_n, _PROPOSED_PER_FACE * faces), (proposals._post_nms_top_n, faces)):
            limits["testing"] = max(limits["testing"], least)

    @memory_errors()
    @torch.inference_mode()
    def detect(self, pictures_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        """Return the detections of each (H, W, 3) uint8 BGR picture, the most certain first, in pixels of that picture.

        Raises:
            OutOfMemory: Fewer pictures at a time may do.
        """
        shown = [index for index, picture in enumerate(pictures_bgr) if self._is_thick_enough(picture)]
        detections: list[list[Detection]] = [[] for _ in pictures_bgr]
        if shown:
            found = self._to_detections(self._find([pictures_bgr[index] for index in shown]))
            for index, detected in zip(shown, found, strict=True):
                detections[index] = detected
        return detections

    def _find(self, pictures_bgr: Sequence[BgrImage]) -> list[dict[str, torch.Tensor]]:
        """Return what torchvision's `KeypointRCNN.forward` does, with keypoints of our own decoding."""
        transform = self.module.transform
        sizes = [self._scaled_size(picture) for picture in pictures_bgr]
        if self._graph is not None:
            found = self._find_by_graph(self._graph, list(map(_resized, pictures_bgr, sizes)))
        else:
            if self._uploads is None:
                small = [to_rgb_tensor(each, self._device) for each in map(_resized, pictures_bgr, sizes)]
            else:
                small = scaled(self._uploads(pictures_bgr), sizes)
            batch = transform.batch_images(list(map(transform.normalize, small)), transform.size_divisible)
            found = self._find_scaled(ImageList(batch, sizes))
        outputs: list[dict[str, torch.Tensor]]
        outputs = transform.postprocess(found, sizes, [picture.shape[:2] for picture in pictures_bgr])
        return outputs

    def _scaled_size(self, picture_bgr: BgrImage) -> tuple[int, int]:
        """Return height and width that torchvision's transform gives a picture."""
        height, width = picture_bgr.shape[:2]
        scale = self._scale(picture_bgr)
        return floor(height * scale), floor(width * scale)

    def _scale(self, picture_bgr: BgrImage) -> float:
        short, long = sorted(picture_bgr.shape[:2])
        transform = self.module.transform
        scale: float = min(transform.min_size[-1] / short, transform.max_size / long)
        return scale

    def _find_scaled(self, scaled: ImageList) -> list[dict[str, torch.Tensor]]:
        module, (pool, head, predictor) = self.module, self._to_heatmaps
        features = module.backbone(scaled.tensors)
        proposals, _ = module.rpn(scaled, features)
        found: list[dict[str, torch.Tensor]]
        found, _ = module.roi_heads(features, proposals, scaled.image_sizes)
        boxes = [each["boxes"] for each in found]
        points, peaks = decode_heatmaps(predictor(head(pool(features, boxes, scaled.image_sizes))), torch.cat(boxes))
        counts = [len(each) for each in boxes]
        for each, points_of, peaks_of in zip(found, torch.split(points, counts), torch.split(peaks, counts), strict=True):
            each.update(keypoints=points_of, keypoints_scores=peaks_of)
        return found

    def _find_by_graph(self, graph: Graph, pictures_bgr: Sequence[BgrImage]) -> list[dict[str, torch.Tensor]]:
        """Return the same for scaled pictures."""
        least = np.array([self.module.roi_heads.score_thresh], np.float32)
        divisor = self.module.transform.size_divisible
        calls = [(_padded(each, divisor)[None], np.array(each.shape[:2], np.float32), least) for each in pictures_bgr]
        return [dict(zip(OUTPUTS, map(torch.from_numpy, outputs), strict=True)) for outputs in graph.each(calls)]

    def _is_thick_enough(self, picture_bgr: BgrImage) -> bool:
        return bool(min(picture_bgr.shape[:2]) * self._scale(picture_bgr) >= SMALLEST_SCALED_SIDE)

    def _to_detections(self, outputs: list[dict[str, torch.Tensor]]) -> list[list[Detection]]:
        """Return the detections of each picture; everything leaves the device in one go."""
        keypoints = len(self.keypoint_names)
        rows = [
            torch.cat(
                [
                    *(output["boxes"], output["scores"][:, None], output["keypoints"][..., :2].flatten(1)),
                    self._calibration(output["keypoints_scores"]),
                ],
                dim=1,
            )
            for output in outputs
        ]
        found = torch.cat(rows).cpu().numpy().astype(np.float32)
        boxes, scores, points, point_scores = np.split(found, [4, 5, 5 + 2 * keypoints], axis=1)
        points = points.reshape(-1, keypoints, 2)
        all_of = [
            Detection(boxes[index], float(scores[index, 0]), points[index], point_scores[index], self.keypoint_names)
            for index in range(len(found))
        ]
        ends = np.cumsum([len(row) for row in rows]).tolist()
        return [all_of[end - len(row) : end] for end, row in zip(ends, rows, strict=True)]


def _resized(picture_bgr: BgrImage, size_hw: tuple[int, int]) -> BgrImage:
    """Return a picture in another size; on a CPU bytes are resized much sooner than floats."""
    return np.asarray(cv2.resize(picture_bgr, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _padded(picture_bgr: BgrImage, divisor: int) -> BgrImage:
    """Return a picture whose sides are multiples of a number, black below and to the right."""
    below, right = (-side % divisor for side in picture_bgr.shape[:2])
    return np.asarray(cv2.copyMakeBorder(picture_bgr, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)
