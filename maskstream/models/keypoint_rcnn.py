"""Detect with torchvision's Keypoint R-CNN in PyTorch, with any backbone.

He et al., "Mask R-CNN" (2017), section 5: keypoints as one-hot heatmaps of a region.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import torch
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.image_list import ImageList

from maskstream.config.values import ShortSide
from maskstream.models.conv_bn_fusion import fold_batch_norm
from maskstream.models.cuda_graphs import GraphedRCNN
from maskstream.models.detections import KeypointCalibration, RawDetections, Scaling, begin, resized
from maskstream.models.gpu_images import scaled
from maskstream.models.heatmaps import decode_heatmaps
from maskstream.models.keypoint_rcnn_graph import raise_proposals
from maskstream.models.options import DetectorOptions
from maskstream.models.out_of_memory import memory_errors
from maskstream.models.padded_batches import PaddedBatches
from maskstream.models.padded_rcnn import PaddedRCNN
from maskstream.models.precision import InPrecision, torch_precision
from maskstream.types import BgrImage, Detection

_USUAL_IMAGE: Final = np.zeros((720, 1280, 3), np.uint8)
"""The network is warmed up for images of this shape, which most cameras have."""


def to_rgb_tensor(image_bgr: BgrImage, device: torch.device | str) -> torch.Tensor:
    """Return (3, H, W) float32 RGB in [0, 1]. Training and stream use this conversion for every detector."""
    pixels = torch.from_numpy(image_bgr).to(device)
    return pixels.flip(-1).permute(2, 0, 1).float().div_(255)


class KeypointRCNNDetector:
    """A `Detector` that runs a Keypoint R-CNN with PyTorch."""

    def __init__(
        self,
        module: KeypointRCNN,
        keypoint_names: tuple[str, ...],
        calibration: KeypointCalibration,
        options: DetectorOptions,
    ) -> None:
        """Prepare a loaded module for inference with the given options.

        Args:
            module: Normalises its images itself.
            keypoint_names: COCO's names in the order of the heatmaps.
            calibration: Of the keypoint scores.
            options: The user's options; `backend` is ignored.
        """
        self.keypoint_names = keypoint_names
        self.module = module.eval().to(options.device)
        fold_batch_norm(self.module)
        self.module.to(memory_format=torch.channels_last)  # halves the time of depthwise convolutions
        heads = module.roi_heads
        self._to_heatmaps = (heads.keypoint_roi_pool, heads.keypoint_head, heads.keypoint_predictor)
        heads.keypoint_roi_pool = None  # so that torchvision returns boxes only
        self._calibration = calibration
        self._device = options.device
        self._uploads = options.uploads
        precision = torch_precision(options.precision)
        if precision is not torch.float32:
            # Convolutions and linear layers alone: half precision would round box coordinates to pixels or more, and give many
            # anchors in a crowd the same score.
            parts = ((module, "backbone"), (module.rpn, "head"), (heads, "box_head"), (heads, "box_predictor"))
            for parent, name in parts:
                setattr(parent, name, InPrecision(getattr(parent, name), precision))
            pool, head, predictor = self._to_heatmaps
            self._to_heatmaps = (pool, InPrecision(head, precision), InPrecision(predictor, precision))
        heads.score_thresh, heads.detections_per_img = options.min_score, options.max_faces
        raise_proposals(module, options.max_faces)
        self._scaling = scaling_of(module, options.short_side)
        self._padded: PaddedBatches | None = None
        if options.execution != "dynamic":
            stages = GraphedRCNN if options.execution == "cuda_graphs" else PaddedRCNN
            network = stages(module, self._to_heatmaps)
            self._padded = PaddedBatches(network, module.transform.size_divisible, len(keypoint_names))
            self._padded.warm_up(self._scaling.size_hw(_USUAL_IMAGE), options.warm_up, torch.device(options.device))

    def admit(self, min_score: float, max_faces: int) -> None:
        """Lower the minimum score and raise the maximum number of faces, where the values given are lower and higher."""
        heads = self.module.roi_heads
        heads.score_thresh = min(heads.score_thresh, min_score)
        heads.detections_per_img = max(heads.detections_per_img, max_faces)
        raise_proposals(self.module, max_faces)
        if self._padded is not None:
            self._padded.forget()

    @memory_errors()
    @torch.inference_mode()
    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        """Return the detections of each (H, W, 3) uint8 BGR image, by falling score, in pixels of that image.

        Raises:
            OutOfMemory: The device has not enough memory; call again with fewer images.
        """
        return begin(images_bgr, self._scaling, self._begin, self.keypoint_names, self._calibration)()

    def _begin(self, images_bgr: list[BgrImage], sizes_hw: list[tuple[int, int]]) -> Callable[[], list[RawDetections]]:
        return partial(self._find, images_bgr, sizes_hw)

    def _find(self, images_bgr: list[BgrImage], sizes_hw: list[tuple[int, int]]) -> list[RawDetections]:
        """Do what torchvision's `KeypointRCNN.forward` does, but decode the keypoints with `decode_heatmaps`."""
        if self._uploads is None:
            pairs = zip(images_bgr, sizes_hw, strict=True)
            small = [to_rgb_tensor(resized(image, size_hw), self._device) for image, size_hw in pairs]
        else:
            small = scaled(self._uploads(images_bgr), sizes_hw)
        if self._padded is not None:
            return [found or self._not_a_number() for found in self._padded.find(small, sizes_hw)]
        transform = self.module.transform
        batch = transform.batch_images([transform.normalize(image) for image in small], transform.size_divisible)
        return self._find_scaled(ImageList(batch, sizes_hw))

    def _find_scaled(self, scaled: ImageList) -> list[RawDetections]:
        module, (pool, head, predictor) = self.module, self._to_heatmaps
        features = module.backbone(scaled.tensors)
        proposals, _ = module.rpn(scaled, features)
        found: list[dict[str, torch.Tensor]]
        found, _ = module.roi_heads(features, proposals, scaled.image_sizes)
        boxes, scores = [each["boxes"] for each in found], torch.cat([each["scores"] for each in found])
        points, logits = decode_heatmaps(predictor(head(pool(features, boxes, scaled.image_sizes))), torch.cat(boxes))
        results = self._split(torch.cat(boxes), scores, points[..., :2], logits, [len(each) for each in boxes])
        sums = torch.stack([level.flatten(1).sum(1) for level in features.values()]).sum(0)
        are_finite = sums.isfinite().tolist()
        return [result if finite else self._not_a_number() for result, finite in zip(results, are_finite, strict=True)]

    def _not_a_number(self) -> RawDetections:
        """Return one detection of NaN. Without it, an image with NaN in its features would look like one without faces."""
        keypoints = len(self.keypoint_names)
        return RawDetections(
            boxes_xyxy=np.full((1, 4), np.nan, np.float32),
            scores=np.full(1, np.nan, np.float32),
            keypoints_xy=np.full((1, keypoints, 2), np.nan, np.float32),
            keypoint_logits=np.full((1, keypoints), np.nan, np.float32),
        )

    def _split(
        self, boxes: torch.Tensor, scores: torch.Tensor, points: torch.Tensor, logits: torch.Tensor, counts: list[int]
    ) -> list[RawDetections]:
        """Split the detections of all images by `counts`. They are copied from the device in one transfer."""
        keypoints = len(self.keypoint_names)
        rows = torch.cat([boxes, scores[:, None], points.flatten(1), logits], 1).cpu().numpy().astype(np.float32)
        found = []
        for of_image in np.split(rows, np.cumsum(counts)[:-1]):
            box, score, points_xy, peaks = np.split(of_image, [4, 5, 5 + 2 * keypoints], axis=1)
            found.append(RawDetections(box, score[:, 0], points_xy.reshape(-1, keypoints, 2), peaks))
        return found


def scaling_of(module: KeypointRCNN, short_side: ShortSide) -> Scaling:
    """Return the scaling of a module, or of `detector.short_side`."""
    return Scaling.chosen(module.transform.min_size[-1], module.transform.max_size, short_side)
