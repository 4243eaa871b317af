"""Set up torchvision's R-CNN for training: no resizing, the numbers of proposals and samples, ignored faces."""

from typing import Any, Final

import torch
from torchvision.models.detection import KeypointRCNN
from torchvision.ops import box_iou

from maskstream.training.recipe import DetectorRecipe

IGNORED: Final = -1
"""The label of a face that is neither positive nor negative."""
_IGNORED_ABOVE_IOU: Final = 0.3
"""An anchor or proposal with a higher IoU to an ignored face is not sampled as background."""


def set_for_training(module: KeypointRCNN, recipe: DetectorRecipe) -> None:
    """Change a module from its settings for inference to those for training."""
    module.transform._skip_resize = True  # windows have their final size; torchvision reads this flag in training only
    module.rpn._pre_nms_top_n["training"] = recipe.proposals_before_nms
    module.rpn._post_nms_top_n["training"] = recipe.proposals
    module.rpn.fg_bg_sampler.batch_size_per_image = recipe.rpn_samples
    module.roi_heads.fg_bg_sampler.batch_size_per_image = recipe.box_samples
    _exclude_ignored(module)


def _exclude_ignored(module: KeypointRCNN) -> None:
    """Label anchors and proposals that overlap an ignored face with -1: torchvision's samplers skip this label."""
    assign_anchors = module.rpn.assign_targets_to_anchors
    assign_proposals = module.roi_heads.assign_targets_to_proposals

    def assign_targets_to_anchors(anchors: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]) -> Any:
        counting = [{"boxes": target["boxes"][target["labels"] != IGNORED]} for target in targets]
        labels, boxes = assign_anchors(anchors, counting)
        ignored = [target["boxes"][target["labels"] == IGNORED] for target in targets]
        marked = [_mark_ignored(of_image, at, avoided) for of_image, at, avoided in zip(labels, anchors, ignored, strict=True)]
        return marked, boxes

    def assign_targets_to_proposals(proposals: list[torch.Tensor], boxes: list[torch.Tensor], labels: list[torch.Tensor]) -> Any:
        taken, assigned = assign_proposals(proposals, boxes, labels)
        ignored = [each[label == IGNORED] for each, label in zip(boxes, labels, strict=True)]
        marked = [
            _mark_ignored(of_image, at, avoided) for of_image, at, avoided in zip(assigned, proposals, ignored, strict=True)
        ]
        return taken, marked

    module.rpn.assign_targets_to_anchors = assign_targets_to_anchors
    module.roi_heads.assign_targets_to_proposals = assign_targets_to_proposals


def _mark_ignored(labels: torch.Tensor, boxes: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
    if not len(ignored):
        return labels
    overlaps_ignored = box_iou(boxes, ignored).amax(1) > _IGNORED_ABOVE_IOU
    return torch.where(overlaps_ignored & (labels == 0), torch.full_like(labels, IGNORED), labels)
