"""What differs between torchvision's R-CNN in training and in use: windows in their own size, few proposals, ignored faces."""

from typing import Any, Final

import torch
from torchvision.models.detection import KeypointRCNN
from torchvision.ops import box_iou

from maskstream.training.recipe import DetectorRecipe

IGNORED: Final = -1
"""The label of a face that is neither positive nor negative."""
_IGNORED_ABOVE_IOU: Final = 0.3
"""What overlaps an ignored face by more is no example of background."""


def prepare(module: KeypointRCNN, recipe: DetectorRecipe) -> None:
    """Set what differs between training and use."""
    module.transform._skip_resize = True  # windows come in their size; it serves training alone
    module.rpn._pre_nms_top_n["training"] = recipe.proposals_before_nms
    module.rpn._post_nms_top_n["training"] = recipe.proposals
    module.rpn.fg_bg_sampler.batch_size_per_image = recipe.rpn_samples
    module.roi_heads.fg_bg_sampler.batch_size_per_image = recipe.box_samples
    _respect_ignored(module)


def _respect_ignored(module: KeypointRCNN) -> None:
    """Let what overlaps an ignored face (label -1) be neither positive nor negative, for anchors and for proposals.

    torchvision's samplers leave out what is labelled -1.
    """
    assign_anchors = module.rpn.assign_targets_to_anchors
    assign_proposals = module.roi_heads.assign_targets_to_proposals

    def assign_targets_to_anchors(anchors: list[torch.Tensor], targets: list[dict[str, torch.Tensor]]) -> Any:
        counting = [{"boxes": target["boxes"][target["labels"] != IGNORED]} for target in targets]
        labels, boxes = assign_anchors(anchors, counting)
        ignored = [target["boxes"][target["labels"] == IGNORED] for target in targets]
        return [_leave_out(*each) for each in zip(labels, anchors, ignored, strict=True)], boxes

    def assign_targets_to_proposals(proposals: list[torch.Tensor], boxes: list[torch.Tensor], labels: list[torch.Tensor]) -> Any:
        taken, assigned = assign_proposals(proposals, boxes, labels)
        ignored = [each[label == IGNORED] for each, label in zip(boxes, labels, strict=True)]
        return taken, [_leave_out(*each) for each in zip(assigned, proposals, ignored, strict=True)]

    module.rpn.assign_targets_to_anchors = assign_targets_to_anchors
    module.roi_heads.assign_targets_to_proposals = assign_targets_to_proposals


def _leave_out(labels: torch.Tensor, boxes: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
    if not len(ignored):
        return labels
    meets_ignored = box_iou(boxes, ignored).amax(1) > _IGNORED_ABOVE_IOU
    return torch.where(meets_ignored & (labels == 0), torch.full_like(labels, IGNORED), labels)
