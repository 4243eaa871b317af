"""Selection of boxes with fixed shapes, compared with torchvision on random boxes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image, nms

from maskstream.models.padded_boxes import best, clip, decode, is_larger, suppress
from maskstream.models.padded_rcnn import pooled

_IOU = 0.5
_SIDE = 96


def _boxes(seed: int, rows: int, count: int) -> torch.Tensor:
    """Return boxes (rows, count, 4) on a coarse grid: many are equal, some are empty or beyond the image."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(-2, 12, (rows, count, 2), generator=generator) * 8.0
    return torch.cat([corners, corners + torch.randint(0, 6, (rows, count, 2), generator=generator) * 8.0], -1)


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 4), count=st.integers(0, 60), valid=st.sampled_from([0.0, 0.1, 0.8, 1.0]))
@settings(deadline=None, max_examples=60)
def test_suppression_keeps_the_boxes_of_torchvision(seed: int, rows: int, count: int, valid: float) -> None:
    boxes = _boxes(seed, rows, count)
    is_valid = torch.rand(rows, count, generator=torch.Generator().manual_seed(seed)) < valid
    is_kept, _ = suppress(boxes, is_valid, _IOU, rounds=max(count, 1))
    for row in range(rows):
        indices = is_valid[row].nonzero()[:, 0]
        falling = torch.arange(len(indices), 0, -1).float()
        assert is_kept[row].nonzero()[:, 0].tolist() == indices[nms(boxes[row, indices], falling, _IOU)].sort().values.tolist()


def test_too_few_rounds_are_noticed() -> None:
    """Each box overlaps the next only: every second one stays, and the last depends on all."""
    count = 20
    left = torch.arange(count) * 3.0
    chain = torch.stack([left, torch.zeros(count), left + 10, torch.full((count,), 10.0)], 1)
    lone = torch.arange(count)[:, None] * 20.0 + torch.tensor([0.0, 0.0, 10.0, 10.0])
    boxes, is_valid = torch.stack([chain, lone]), torch.ones(2, count, dtype=torch.bool)
    for rounds in (1, 5, count - 1):
        assert suppress(boxes, is_valid, _IOU, rounds)[1].tolist() == [False, rounds > 0]
    is_kept, _ = suppress(boxes, is_valid, _IOU, rounds=2**31)
    assert is_kept[0].tolist() == [index % 2 == 0 for index in range(count)]
    assert is_kept[1].all()


def test_the_best_come_first_and_equal_ones_keep_their_order() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.5, 0.7], [0.1, 0.2, 0.3, torch.nan]])
    is_valid = torch.tensor([[True, False, True, True], [True, True, False, False]])
    assert best(scores, is_valid, 4).tolist() == [[3, 0, 2, 1], [1, 0, 2, 3]]
    assert best(scores, is_valid, 1).tolist() == [[3], [1]]


@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_boxes_are_decoded_and_clipped_as_by_torchvision(seed: int) -> None:
    boxes, generator = _boxes(seed, 3, 20), torch.Generator().manual_seed(seed)
    deltas = 4 * torch.randn(3, 20, 4, generator=generator)
    weights = (10.0, 8.0, 5.0, 4.0)
    coder = BoxCoder(weights)
    found = decode(boxes, deltas, torch.tensor(weights), coder.bbox_xform_clip)
    expected = coder.decode_single(deltas.view(-1, 4), boxes.view(-1, 4)).view_as(found)
    torch.testing.assert_close(found, expected)
    sizes = torch.tensor([[50.0, 80.0], [0.0, 0.0], [96.0, 31.0]])
    for clipped, given_boxes, (height, width) in zip(clip(found, sizes), found, sizes.int().tolist(), strict=True):
        assert torch.equal(clipped, clip_boxes_to_image(given_boxes, (height, width)))
    assert not is_larger(clip(found, sizes)[1], 1e-3).any()


@given(seed=st.integers(0, 2**31), count=st.integers(1, 40))
@settings(deadline=None, max_examples=30)
def test_regions_are_pooled_as_by_torchvision(seed: int, count: int) -> None:
    """Of all sizes, at the edges too: each from the level of its size, of its own image."""
    generator = torch.Generator().manual_seed(seed)
    levels = {str(at): torch.randn(2, 5, _SIDE >> 2 + at, _SIDE >> 2 + at, generator=generator) for at in range(3)}
    corners = _SIDE * torch.rand(2, count, 2, generator=generator)
    boxes = torch.cat([corners, corners + 2 * _SIDE * torch.rand(2, count, 2, generator=generator) ** 3], -1).clamp(max=_SIDE)
    pool = MultiScaleRoIAlign(["0", "1", "2"], 7, 2, canonical_scale=48)
    expected = pool(levels, list(boxes), [(_SIDE, _SIDE)] * 2)
    image = torch.arange(2)[:, None].expand(2, count).reshape(-1)
    assert torch.equal(pooled(list(levels.values()), _SIDE, boxes.reshape(-1, 4), image, pool), expected)
