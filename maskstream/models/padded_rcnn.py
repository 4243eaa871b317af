"""Keypoint R-CNN for a batch of images with fixed shapes: each step is one call for all images, and none waits for the GPU.

It computes what torchvision's `KeypointRCNN.forward` computes in inference mode. There the numbers of proposals and faces are
shapes, for which the CPU waits several times for each image. Here they are masks.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.nn import functional
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, roi_align

from maskstream.models.heatmaps import decode_heatmaps
from maskstream.models.padded_boxes import ROUNDS, best, clip, decode, is_larger, suppress

_MIN_PROPOSAL_PX: Final = 1e-3
_MIN_FACE_PX: Final = 1e-2
_AWAY_PX: Final = -1e5
"""Coordinate of a region that is of another level: `roi_align` returns zeros there and reads nothing."""


@dataclass(frozen=True, eq=False)
class PaddedFaces:
    """The faces of N images with room for D faces each, and what their keypoints are computed from."""

    summary: torch.Tensor
    """(N, 5 D + 2) for one copy to the host: boxes (D, 4), scores (D), whether the features are finite, whether non-maximum
    suppression was finished."""
    boxes: torch.Tensor
    """(N, D, 4) pixels of the scaled image, the best first."""
    scores: torch.Tensor
    """(N, D); negative where there is no face."""
    levels: list[torch.Tensor]
    """Features for the heads."""


class PaddedRCNN:
    """The two stages of a Keypoint R-CNN of one class besides the background; numbers in the module may change between calls."""

    def __init__(self, module: KeypointRCNN, to_heatmaps: tuple[MultiScaleRoIAlign, Any, Any]) -> None:
        """Share the weights of a module.

        Args:
            module: Gives all thresholds.
            to_heatmaps: Its keypoint pooler, head and predictor.
        """
        self.exclusive: AbstractContextManager[Any] = nullcontext()
        """Held while results are used."""
        self._module = module
        self._to_heatmaps = to_heatmaps
        like = next(module.parameters())
        constants = (module.transform.image_mean, module.transform.image_std)
        self._mean, self._std = (torch.tensor(each, device=like.device).view(3, 1, 1) for each in constants)
        coders = (module.rpn.box_coder, module.roi_heads.box_coder)
        self._proposal_weights, self._box_weights = (torch.tensor(coder.weights, device=like.device) for coder in coders)

    def forget(self) -> None:
        """Follow changed numbers in the module, of which nothing is kept here."""

    def find_faces(self, rgb: torch.Tensor, sizes_hw: torch.Tensor, rounds: int = ROUNDS) -> PaddedFaces:
        """Find the faces of a batch.

        Args:
            rgb: (N, 3, H, W) float32 in [0, 1], images padded below and to the right; H and W are multiples of 32.
            sizes_hw: (N, 2) float32, heights and widths without padding; 0 for no image.
            rounds: Of `suppress`.
        """
        rows, columns = (torch.arange(side, device=rgb.device) for side in rgb.shape[-2:])
        is_inside = (rows[:, None] < sizes_hw[:, :1, None]) & (columns < sizes_hw[:, 1:, None])
        images = (rgb - self._mean) / self._std * is_inside[:, None]  # as torchvision: normalised, then padded with zeros
        features: dict[str, torch.Tensor] = self._module.backbone(images)
        proposals, is_proposal, are_proposals_done = self._propose(images, list(features.values()), sizes_hw, rounds)
        levels = [features[name] for name in self._module.roi_heads.box_roi_pool.featmap_names]
        boxes, scores, are_faces_done = self._judge(levels, rgb.shape[-1], proposals, is_proposal, sizes_hw, rounds)
        sums = torch.stack([level.flatten(1).sum(1) for level in features.values()]).sum(0)
        marks = torch.stack([sums.isfinite(), are_proposals_done & are_faces_done], 1).float()
        return PaddedFaces(torch.cat([boxes.flatten(1), scores, marks], 1), boxes, scores, levels)

    def find_keypoints(self, faces: PaddedFaces, width: int, slots: int) -> torch.Tensor:
        """Find the keypoints of the first faces of a batch, all of one image before those of the next.

        Args:
            faces: Of the batch.
            width: W of its images.
            slots: The number of faces, at most N D; those beyond the last face have any values.

        Returns:
            (slots, 3 K): x and y of each keypoint in pixels of the scaled image, then the logits of the peaks.
        """
        is_face = (faces.scores >= 0).reshape(1, -1)
        index = best(is_face.float(), is_face, slots)[0]
        boxes, image = faces.boxes.reshape(-1, 4)[index], index // faces.scores.shape[1]
        pool, head, predictor = self._to_heatmaps
        heatmaps = predictor(head(pooled(faces.levels, width, boxes, image, pool)))
        points, logits = decode_heatmaps(heatmaps, boxes)
        return torch.cat([points[..., :2].flatten(1), logits], 1)

    def _propose(
        self, images: torch.Tensor, levels: list[torch.Tensor], sizes_hw: torch.Tensor, rounds: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return proposals (N, P, 4), which of them count (N, P), and for which images suppression was finished (N,)."""
        rpn = self._module.rpn
        objectness, deltas = rpn.head(levels)
        anchors = rpn.anchor_generator(ImageList(images, [tuple(images.shape[-2:])]), levels)[0]
        parts = anchors.split([each.shape[1:].numel() for each in objectness])
        widest = min(rpn.pre_nms_top_n(), max(map(len, parts)))
        all_boxes, all_scores = [], []
        for of_level, logits, moves in zip(parts, objectness, deltas, strict=True):
            top, index = logits.permute(0, 2, 3, 1).flatten(1).topk(min(widest, len(of_level)), dim=1)
            moved = moves.permute(0, 2, 3, 1).reshape(len(images), -1, 4).gather(1, index[..., None].expand(-1, -1, 4))
            boxes = decode(of_level[index], moved, self._proposal_weights, rpn.box_coder.bbox_xform_clip)
            missing = widest - len(of_level)
            all_boxes.append(functional.pad(boxes, (0, 0, 0, max(missing, 0))))
            all_scores.append(functional.pad(top.sigmoid(), (0, max(missing, 0)), value=-1.0))
        boxes, scores = clip(torch.stack(all_boxes, 1), sizes_hw), torch.stack(all_scores, 1)
        is_good = is_larger(boxes, _MIN_PROPOSAL_PX) & (scores >= rpn.score_thresh) & (scores >= 0)
        is_kept, is_done = suppress(boxes, is_good, rpn.nms_thresh, rounds)
        boxes, scores, is_kept = boxes.flatten(1, 2), scores.flatten(1), is_kept.flatten(1)
        index = best(scores, is_kept, min(rpn.post_nms_top_n(), scores.shape[1]))
        return _rows(boxes, index), is_kept.gather(1, index), is_done.all(1)

    def _judge(
        self,
        levels: list[torch.Tensor],
        width: int,
        proposals: torch.Tensor,
        is_proposal: torch.Tensor,
        sizes_hw: torch.Tensor,
        rounds: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the boxes (N, D, 4) and scores (N, D) of faces, and for which images suppression was finished (N,)."""
        heads = self._module.roi_heads
        count, per_image = is_proposal.shape
        image = torch.arange(count, device=proposals.device)[:, None].expand(count, per_image).reshape(-1)
        regions = pooled(levels, width, proposals.reshape(-1, 4), image, heads.box_roi_pool)
        logits, deltas = heads.box_predictor(heads.box_head(regions))
        scores = logits.softmax(-1)[:, 1].view(count, per_image)
        moved = decode(proposals.reshape(-1, 4), deltas[:, 4:8], self._box_weights, heads.box_coder.bbox_xform_clip)
        boxes = clip(moved.view(count, per_image, 4), sizes_hw)
        is_good = is_proposal & (scores > heads.score_thresh) & is_larger(boxes, _MIN_FACE_PX)
        order = best(scores, is_good, per_image)
        boxes, scores, is_good = _rows(boxes, order), scores.gather(1, order), is_good.gather(1, order)
        is_kept, is_done = suppress(boxes, is_good, heads.nms_thresh, rounds)
        chosen = best(scores, is_kept, min(heads.detections_per_img, per_image))
        return _rows(boxes, chosen), scores.masked_fill(~is_kept, -1).gather(1, chosen), is_done


def _rows(boxes: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return the boxes (N, I, 4) at the indices (N, I) of boxes (N, K, 4)."""
    return boxes.gather(1, index[..., None].expand(-1, -1, 4))


def pooled(
    levels: list[torch.Tensor], width: int, boxes: torch.Tensor, image: torch.Tensor, pool: MultiScaleRoIAlign
) -> torch.Tensor:
    """Return (R, C, S, S) of R regions, each from the level of its size, as `MultiScaleRoIAlign` does.

    torchvision selects the regions of each level, for which the CPU waits. Here each level is asked for all regions, and those of
    other levels are outside of it.

    Args:
        levels: (N, C, h, w) each, the finest first.
        width: Of the images that the levels are of.
        boxes: (R, 4) pixels of these images.
        image: (R,) index of the image of each region.
        pool: Gives size, sampling and the choice of levels.
    """
    halvings = [round(width / level.shape[-1]).bit_length() - 1 for level in levels]
    sides = boxes[:, 2:] - boxes[:, :2]
    wanted = pool.canonical_level + torch.log2((sides[:, 0] * sides[:, 1]).sqrt() / pool.canonical_scale) + 1e-6
    wanted = wanted.floor().clamp(min=halvings[0], max=halvings[-1])
    total: torch.Tensor | None = None
    for level, halved in zip(levels, halvings, strict=True):
        is_here = (wanted == halved)[:, None]
        regions = torch.cat([image[:, None].to(boxes.dtype), torch.where(is_here, boxes, _AWAY_PX)], 1)
        part: torch.Tensor = roi_align(level, regions, pool.output_size, 1 / 2**halved, pool.sampling_ratio)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total
