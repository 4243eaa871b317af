"""Keypoints from the heatmaps of Keypoint R-CNN, all regions at once."""

from typing import Final

import torch

_REACH: Final = 14
"""How far from the highest cell, in cells across and down, others count: a second peak elsewhere is another thing."""


def decode_heatmaps(heatmaps: torch.Tensor, boxes_xyxy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the keypoints are: the mean of the distribution around its peak, which is finer than a cell.

    torchvision blows each map up to its region, one after the other, and takes the highest pixel. The maps are trained as one
    distribution over their cells, whose mean is nearer to the truth.

    Args:
        heatmaps: (N, K, S, S) logits of a cell being the keypoint's.
        boxes_xyxy: (N, 4) the regions, pixels.

    Returns:
        Keypoints (N, K, 3), x, y and 1 as torchvision gives them, and the logits of their peaks (N, K).
    """
    cells = heatmaps.shape[-1]
    flat = (heatmaps.shape[0], heatmaps.shape[1], cells * cells)  # spelt out: ONNX Runtime cannot guess sides of nothing
    heatmaps = heatmaps.float()
    peaks, at = heatmaps.reshape(flat).max(-1)
    places = torch.arange(cells, device=heatmaps.device)
    row_is_near, column_is_near = ((places - index[..., None]).abs() <= _REACH for index in (at // cells, at % cells))
    is_near = row_is_near[..., :, None] & column_is_near[..., None, :]
    near = heatmaps.masked_fill(~is_near, -torch.inf).reshape(flat).softmax(-1).reshape(heatmaps.shape)
    centres = (places + 0.5) / cells
    within = torch.stack([near.sum(-2) @ centres, near.sum(-1) @ centres], dim=-1)
    corner, sides = boxes_xyxy[:, None, :2], (boxes_xyxy[:, None, 2:] - boxes_xyxy[:, None, :2]).clamp(min=1)
    points = corner + within * sides
    return torch.cat([points, torch.ones_like(points[..., :1])], dim=-1), peaks
