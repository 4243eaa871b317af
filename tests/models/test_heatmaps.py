import torch
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

from maskstream.models.heatmaps import decode_heatmaps

CELLS = 56


def blobs(centres_xy: torch.Tensor, spread: float = 1.5, height: float = 12.0) -> torch.Tensor:
    """Return heatmaps (N, K, CELLS, CELLS) that peak at places (N, K, 2) in cells."""
    places = torch.arange(CELLS) + 0.5
    x, y = centres_xy[..., 0, None, None], centres_xy[..., 1, None, None]
    return height - ((places - x) ** 2 + (places[:, None] - y) ** 2) / (2 * spread**2)


def test_a_point_is_found_finer_than_a_cell() -> None:
    centres = torch.tensor([[[20.0, 30.0], [33.3, 12.8], [41.71, 44.49]]])
    boxes = torch.tensor([[100.0, 50.0, 156.0, 162.0]])
    points, peaks = decode_heatmaps(blobs(centres), boxes)
    expected = torch.stack([100 + centres[..., 0], 50 + 2 * centres[..., 1]], dim=-1)
    torch.testing.assert_close(points[..., :2], expected, atol=0.02, rtol=0)
    assert (points[..., 2] == 1).all()
    assert ((peaks > 11.8) & (peaks <= 12)).all()


def test_it_agrees_with_torchvision_within_a_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = 8 + 40 * torch.rand(20, 3, 2, generator=generator)
    corners = 300 * torch.rand(20, 2, generator=generator)
    boxes = torch.cat([corners, corners + 20 + 200 * torch.rand(20, 2, generator=generator)], dim=1)
    maps = blobs(centres) + 0.1 * torch.randn(20, 3, CELLS, CELLS, generator=generator)
    ours, peaks = decode_heatmaps(maps, boxes)
    theirs, scores = heatmaps_to_keypoints(maps, boxes)
    cell = ((boxes[:, 2:] - boxes[:, :2]) / CELLS)[:, None]
    assert ((ours - theirs)[..., :2].abs() <= 1.5 * cell + 0.5).all()
    assert (peaks - scores).abs().max() < 0.5


def test_a_second_peak_far_away_moves_nothing() -> None:
    one, other = blobs(torch.tensor([[[12.0, 12.0]]])), blobs(torch.tensor([[[45.0, 45.0]]]), height=11.5)
    points, _ = decode_heatmaps(torch.maximum(one, other), torch.tensor([[0.0, 0.0, 56.0, 56.0]]))
    torch.testing.assert_close(points[0, 0, :2], torch.tensor([12.0, 12.0]), atol=0.05, rtol=0)


def test_no_region_is_no_point() -> None:
    points, peaks = decode_heatmaps(torch.zeros(0, 3, CELLS, CELLS), torch.zeros(0, 4))
    assert (points.shape, peaks.shape) == ((0, 3, 3), (0, 3))
