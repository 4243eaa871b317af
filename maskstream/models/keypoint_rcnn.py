"""torchvision's Keypoint R-CNN behind our `Detector` interface, whatever its backbone, run by PyTorch.

He et al., "Mask R-CNN" (2017), section 5: keypoints as one-hot heatmaps of a region.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.image_list import ImageList

from maskstream.models.conv_bn_fusion import fold_batch_norm
from maskstream.models.detections import Found, KeypointCalibration, Scaling, detect, resized
from maskstream.models.gpu_images import scaled
from maskstream.models.heatmaps import decode_heatmaps
from maskstream.models.keypoint_rcnn_graph import allow_faces
from maskstream.models.options import DetectorOptions
from maskstream.models.out_of_memory import memory_errors
from maskstream.models.precision import PRECISIONS, InPrecision
from maskstream.types import BgrImage, Detection


def to_rgb_tensor(image_bgr: BgrImage, device: torch.device | str) -> torch.Tensor:
    """Return (3, H, W) float32 RGB in [0, 1]: what every model here takes, in training and in the stream."""
    pixels = torch.from_numpy(image_bgr).to(device)
    return pixels.flip(-1).permute(2, 0, 1).float().div_(255)


class KeypointRCNNDetector:
    """A Keypoint R-CNN in inference mode."""

    def __init__(
        self,
        module: KeypointRCNN,
        keypoint_names: tuple[str, ...],
        calibration: KeypointCalibration,
        options: DetectorOptions,
    ) -> None:
        """Take over a loaded module and set it to the options.

        Args:
            module: Normalises its images itself.
            keypoint_names: COCO's names in the order of the heatmaps.
            calibration: For the keypoint scores.
            options: What the user chose; the backend is PyTorch in any case.
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
        if options.precision != "float32":
            self._lower_precision(PRECISIONS[options.precision])
        heads.score_thresh, heads.detections_per_img = options.min_score, options.max_faces
        allow_faces(module, options.max_faces)
        self._scaling = scaling_of(module, options.short_side)

    def admit(self, min_score: float, max_faces: int) -> None:
        """Find what is as uncertain as this, and as many, besides what was found before."""
        heads = self.module.roi_heads
        heads.score_thresh = min(heads.score_thresh, min_score)
        heads.detections_per_img = max(heads.detections_per_img, max_faces)
        allow_faces(self.module, max_faces)

    def _lower_precision(self, precision: torch.dtype) -> None:
        """Let convolutions and linear layers compute in half precision; in between everything is float32.

        In half precision alone box coordinates would be whole pixels at best, and the scores of all anchors of a crowd alike.
        """
        heads = self.module.roi_heads
        for parent, name in ((self.module, "backbone"), (self.module.rpn, "head"), (heads, "box_head"), (heads, "box_predictor")):
            setattr(parent, name, InPrecision(getattr(parent, name), precision))
        pool, *parts = self._to_heatmaps
        self._to_heatmaps = (pool, *(InPrecision(part, precision) for part in parts))

    @memory_errors()
    @torch.inference_mode()
    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        """Return the detections of each (H, W, 3) uint8 BGR image, the most certain first, in pixels of that image.

        Raises:
            OutOfMemory: Fewer images at a time may do.
        """
        return detect(images_bgr, self._scaling, self._find, self.keypoint_names, self._calibration)

    def _find(self, images_bgr: list[BgrImage], sizes_hw: list[tuple[int, int]]) -> list[Found]:
        """Return what torchvision's `KeypointRCNN.forward` does, with keypoints of our own decoding."""
        transform = self.module.transform
        if self._uploads is None:
            small = [to_rgb_tensor(each, self._device) for each in map(resized, images_bgr, sizes_hw)]
        else:
            small = scaled(self._uploads(images_bgr), sizes_hw)
        batch = transform.batch_images(list(map(transform.normalize, small)), transform.size_divisible)
        return self._find_scaled(ImageList(batch, sizes_hw))

    def _find_scaled(self, scaled: ImageList) -> list[Found]:
        module, (pool, head, predictor) = self.module, self._to_heatmaps
        features = module.backbone(scaled.tensors)
        proposals, _ = module.rpn(scaled, features)
        found: list[dict[str, torch.Tensor]]
        found, _ = module.roi_heads(features, proposals, scaled.image_sizes)
        boxes, scores = [each["boxes"] for each in found], torch.cat([each["scores"] for each in found])
        points, logits = decode_heatmaps(predictor(head(pool(features, boxes, scaled.image_sizes))), torch.cat(boxes))
        results = self._as_found(torch.cat(boxes), scores, points[..., :2], logits, [len(each) for each in boxes])
        sums = torch.stack([level.flatten(1).sum(1) for level in features.values()]).sum(0)
        return [each if fine else self._broken() for each, fine in zip(results, sums.isfinite().tolist(), strict=True)]

    def _broken(self) -> Found:
        """Return a face of which nothing is a number: from features that are none, thresholds make an image without faces."""
        keypoints, nothing = len(self.keypoint_names), np.float32("nan")
        shapes = ((1, 4), (1,), (1, keypoints, 2), (1, keypoints))
        return Found(*(np.full(shape, nothing, np.float32) for shape in shapes))

    def _as_found(
        self, boxes: torch.Tensor, scores: torch.Tensor, points: torch.Tensor, logits: torch.Tensor, counts: list[int]
    ) -> list[Found]:
        """Return what was found in each image, of which there are so many; everything leaves the device in one go."""
        keypoints = len(self.keypoint_names)
        rows = torch.cat([boxes, scores[:, None], points.flatten(1), logits], 1).cpu().numpy().astype(np.float32)
        found = []
        for of_image in np.split(rows, np.cumsum(counts)[:-1]):
            corners, certainty, places, peaks = np.split(of_image, [4, 5, 5 + 2 * keypoints], axis=1)
            found.append(Found(corners, certainty[:, 0], places.reshape(-1, keypoints, 2), peaks))
        return found


def scaling_of(module: KeypointRCNN, short_side: int | None) -> Scaling:
    """Return how large a module wants its images, or how large a user does."""
    return Scaling.chosen(module.transform.min_size[-1], module.transform.max_size, short_side)
