"""Decode the heatmaps of Keypoint R-CNN to keypoints, for all regions in one call."""

from typing import Final

import torch

_REACH: Final = 14
"""Cells further than this from the peak, across or down, are not used: a second peak there is not this keypoint."""


def decode_heatmaps(heatmaps: torch.Tensor, boxes_xyxy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the keypoints: the mean of the distribution around its peak, which is finer than a cell.

    torchvision enlarges the heatmaps to their regions in sequence and takes the highest pixel. A heatmap is trained as one
    distribution over its cells, whose mean is more accurate.

    Args:
        heatmaps: (N, K, S, S) logits: how likely the keypoint is in each cell.
        boxes_xyxy: (N, 4) the regions, pixels.

    Returns:
        Keypoints (N, K, 3), x, y and 1 as torchvision gives them, and the logits of their peaks (N, K).
    """
    cells = heatmaps.shape[-1]
    flat = (heatmaps.shape[0], heatmaps.shape[1], cells * cells)  # explicit: ONNX Runtime cannot infer -1 for N = 0
    heatmaps = heatmaps.float()
    peaks, at = heatmaps.reshape(flat).max(-1)
    indices = torch.arange(cells, device=heatmaps.device)
    row_is_near, column_is_near = ((indices - index[..., None]).abs() <= _REACH for index in (at // cells, at % cells))
    is_near = row_is_near[..., :, None] & column_is_near[..., None, :]
    near = heatmaps.masked_fill(~is_near, -torch.inf).reshape(flat).softmax(-1).reshape(heatmaps.shape)
    centres = (indices + 0.5) / cells
    within = torch.stack([near.sum(-2) @ centres, near.sum(-1) @ centres], dim=-1)
    corner, sides = boxes_xyxy[:, None, :2], (boxes_xyxy[:, None, 2:] - boxes_xyxy[:, None, :2]).clamp(min=1)
    points = corner + within * sides
    return torch.cat([points, torch.ones_like(points[..., :1])], dim=-1), peaks
