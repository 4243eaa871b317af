"""Select boxes without shapes that depend on the data, so that a GPU never waits for the CPU and a CUDA graph can be captured.

Boxes that are not selected stay in their tensors; a mask tells which ones count.
"""

from collections.abc import Sequence
from typing import Final

import torch

ROUNDS: Final = 12
"""Rounds of `suppress` that are enough for nearly all images; those tried need at most 7."""


def decode(boxes: torch.Tensor, deltas: torch.Tensor, weights: torch.Tensor, longest_log: float) -> torch.Tensor:
    """Return boxes (..., 4) moved and scaled, as torchvision's `BoxCoder` does, without a constant that is created on the CPU."""
    sides = boxes[..., 2:] - boxes[..., :2]
    centres = boxes[..., :2] + 0.5 * sides
    deltas = deltas / weights
    moved = deltas[..., :2] * sides + centres
    half = 0.5 * (deltas[..., 2:].clamp(max=longest_log).exp() * sides)
    return torch.cat([moved - half, moved + half], -1)


def clip(boxes: torch.Tensor, sizes_hw: torch.Tensor) -> torch.Tensor:
    """Return boxes (N, ..., 4) within images of the sizes (N, 2)."""
    limits = sizes_hw.flip(1).repeat(1, 2).view(len(sizes_hw), *(1,) * (boxes.ndim - 2), 4)
    return torch.minimum(boxes.clamp(min=0), limits)


def is_larger(boxes: torch.Tensor, side: float) -> torch.Tensor:
    """Return for boxes (..., 4) whether both sides have at least this length."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= side).all(-1)


def best(scores: torch.Tensor, is_valid: torch.Tensor, count: int) -> torch.Tensor:
    """Return the indices (N, count) of the valid entries of each row by falling score, then of others.

    Args:
        scores: (N, K) in [0, 1]; equal ones keep their order.
        is_valid: (N, K).
        count: At most K.
    """
    indices = scores.masked_fill(~is_valid, -1).sort(dim=1, descending=True, stable=True).indices
    return indices[:, :count]


def suppress(boxes: torch.Tensor, is_valid: torch.Tensor, iou: float, rounds: int = ROUNDS) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which boxes non-maximum suppression keeps, and whether `rounds` were enough for that.

    A box is kept if no box before it that is kept overlaps it. In each round, all boxes are decided from the decisions of the
    round before. After round n, all boxes are right that depend on a chain of fewer than n others; where a round changes
    nothing, all are right. K rounds are always enough for K boxes; more are not done.

    Args:
        boxes: (..., K, 4), the best first; only boxes of the same K suppress each other.
        is_valid: (..., K); other boxes are neither kept nor suppress any.
        iou: Boxes with a larger IoU overlap.
        rounds: At least 1.

    Returns:
        (..., K) bool, and (...) bool.
    """
    overlaps = _overlaps(boxes, iou) & is_valid[..., :, None]
    is_kept = before = is_valid
    for _ in range(min(rounds, boxes.shape[-2])):
        is_suppressed = (overlaps & is_kept[..., :, None]).any(-2)
        before, is_kept = is_kept, is_suppressed < is_valid  # valid and not suppressed
    return is_kept, (before == is_kept).all(-1)


def _overlaps(boxes: torch.Tensor, iou: float) -> torch.Tensor:
    """Return (..., K, K) bool: whether a box overlaps one after it, with the arithmetic of torchvision's `nms`."""
    left, top, right, bottom = boxes.unbind(-1)
    across = _shared(left, right)
    down = _shared(top, bottom)
    both = across.mul_(down)
    areas = (right - left) * (bottom - top)
    return (both / (areas[..., :, None] + areas[..., None, :] - both) > iou).triu(1)


def _shared(begin: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """Return the lengths (..., K, K) that pairs of intervals share."""
    last = torch.maximum(begin[..., :, None], begin[..., None, :])
    return (torch.minimum(end[..., :, None], end[..., None, :]) - last).clamp_(min=0)


def at_least(count: int, allowed: Sequence[int]) -> int:
    """Return the smallest allowed number that is not smaller; the count itself beyond the last."""
    return next((each for each in allowed if each >= count), count)
