"""Keypoint R-CNN as one graph of tensor operations, from the image to its faces, which can be exported and compiled.

It computes what torchvision's `KeypointRCNN.forward` computes for one image in inference mode. It has no Python control flow that
depends on tensors, so that OpenVINO and ONNX Runtime can run it completely.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import nn
from torchvision.models.detection import KeypointRCNN
from torchvision.ops import nms, roi_align

from maskstream.models.heatmaps import decode_heatmaps
from maskstream.models.onnx_export import Signature

OUTPUTS: Final = ("boxes", "scores", "keypoints", "keypoints_scores")
_PROPOSALS_PER_FACE: Final = 3
"""On each level of the pyramid, before non-maximum suppression."""
_MIN_PROPOSAL_PX: Final = 1e-3
_MIN_FACE_PX: Final = 1e-2
_EPS: Final = 1e-6


class KeypointRCNNGraph(nn.Module):
    """A Keypoint R-CNN of one class besides the background.

    Inputs: a scaled image (1, H, W, 3) uint8 BGR, padded below and to the right to multiples of 32; its height and width without
    padding (2,) float32; the minimum score (1,) float32. Outputs by falling score: boxes (N, 4), scores (N,) and keypoints
    (N, K, 3: x, y, 1) in pixels of that image, and the logits of the keypoints' peaks (N, K).
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, module: KeypointRCNN, max_faces: int) -> None:
        """Share the weights of a module.

        Args:
            module: Gives all thresholds except the minimum score.
            max_faces: Maximum number of faces per image; those with the highest scores are kept.
        """
        super().__init__()
        raise_proposals(module, max_faces)
        rpn, heads = module.rpn, module.roi_heads
        self._max_faces = max_faces
        self._max_anchors, self._max_proposals = rpn._pre_nms_top_n["testing"], rpn._post_nms_top_n["testing"]
        self._proposal_iou, self._iou = rpn.nms_thresh, heads.nms_thresh
        self._pooled = tuple(heads.box_roi_pool.featmap_names)
        self._box_pool = (heads.box_roi_pool.output_size, heads.box_roi_pool.sampling_ratio)
        self._mapper: Any = (heads.box_roi_pool.canonical_scale, heads.box_roi_pool.canonical_level)
        self._keypoint_pool = (heads.keypoint_roi_pool.output_size, heads.keypoint_roi_pool.sampling_ratio)
        self._proposal_weights, self._box_weights = rpn.box_coder.weights, heads.box_coder.weights
        self._longest_log = heads.box_coder.bbox_xform_clip
        self._min_objectness = rpn.score_thresh
        self.backbone, self.rpn_head = module.backbone, rpn.head
        self.box_head, self.box_predictor = heads.box_head, heads.box_predictor
        self.keypoint_head, self.keypoint_predictor = heads.keypoint_head, heads.keypoint_predictor
        for name, values in (("mean", module.transform.image_mean), ("std", module.transform.image_std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        for level, anchors in enumerate(rpn.anchor_generator.cell_anchors):
            self.register_buffer(f"anchors_{level}", anchors.clone().float(), persistent=False)
        self.eval()

    def extra_repr(self) -> str:
        """Return the numbers that affect the results besides the weights."""
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int | float | tuple)}
        return str(sorted((name, value) for name, value in numbers.items() if name != "training"))

    def forward(
        self, image: torch.Tensor, size_hw: torch.Tensor, min_score: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Detect faces; see the class."""
        # as torchvision's transform does: RGB (1, 3, H, W), normalised, then padded with zeros
        rgb = (image.flip(-1).permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        rows, columns = (torch.arange(side, device=rgb.device) < size for side, size in zip(rgb.shape[-2:], size_hw, strict=True))
        image = rgb * (rows[:, None] & columns)
        features: dict[str, torch.Tensor] = self.backbone(image)
        proposals = self._propose(image, list(features.values()), size_hw)
        levels = [features[name] for name in self._pooled]
        strides = [2.0 ** round(float(torch.log2(torch.tensor(image.shape[-1] / level.shape[-1])))) for level in levels]
        regions = _pool(levels, strides, proposals, self._box_pool, self._mapper)
        logits, deltas = self.box_predictor(self.box_head(regions))
        scores = logits.softmax(-1)[:, 1]
        boxes = _clip(_decode(proposals, deltas[:, 4:8], self._box_weights, self._longest_log), size_hw)
        good = (scores > min_score) & _is_larger(boxes, _MIN_FACE_PX)
        boxes, scores = boxes[good], scores[good]
        kept = _nms(boxes, scores, torch.ones_like(scores), self._iou)[: self._max_faces]
        boxes, scores = boxes[kept], scores[kept]
        regions = _pool(levels, strides, boxes, self._keypoint_pool, self._mapper)
        points, peaks = decode_heatmaps(self.keypoint_predictor(self.keypoint_head(regions)), boxes)
        return boxes, scores, points, peaks

    def _propose(self, image: torch.Tensor, features: list[torch.Tensor], size_hw: torch.Tensor) -> torch.Tensor:
        boxes, scores, at_level = [], [], []
        for level, (objectness, deltas) in enumerate(zip(*self.rpn_head(features), strict=True)):
            logits = objectness.permute(0, 2, 3, 1).reshape(-1)
            anchors = self._anchors(level, image, features[level])
            likely = (logits.sigmoid() >= self._min_objectness).nonzero().reshape(-1)  # few; sorting all logits would be slow
            best, order = logits[likely].topk(torch.minimum(torch.tensor(self._max_anchors), torch.tensor(likely.shape[0])))
            index = likely[order]
            moved = deltas.permute(0, 2, 3, 1).reshape(-1, 4)[index]
            boxes.append(_decode(anchors[index], moved, self._proposal_weights, self._longest_log))
            scores.append(best)
            at_level.append(torch.full_like(best, float(level)))
        clipped, certain, level_of = _clip(torch.cat(boxes), size_hw), torch.cat(scores).sigmoid(), torch.cat(at_level)
        good = _is_larger(clipped, _MIN_PROPOSAL_PX)
        clipped, certain, level_of = clipped[good], certain[good], level_of[good]
        return clipped[_nms(clipped, certain, level_of, self._proposal_iou)[: self._max_proposals]]

    def _anchors(self, level: int, image: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        cells: torch.Tensor = getattr(self, f"anchors_{level}")
        rows, columns = features.shape[-2:]
        y = torch.arange(rows, device=image.device) * (image.shape[-2] // rows)
        x = torch.arange(columns, device=image.device) * (image.shape[-1] // columns)
        ys, xs = (each.reshape(-1).float() for each in torch.meshgrid(y, x, indexing="ij"))
        return (torch.stack([xs, ys, xs, ys], 1)[:, None] + cells[None]).reshape(-1, 4)


def raise_proposals(module: KeypointRCNN, faces: int) -> None:
    """Raise the numbers of proposals of a module, so that it can find this number of faces."""
    proposals = module.rpn
    for limits, minimum in ((proposals._pre_nms_top_n, _PROPOSALS_PER_FACE * faces), (proposals._post_nms_top_n, faces)):
        limits["testing"] = max(limits["testing"], minimum)


def graph_signature() -> tuple[tuple[torch.Tensor, ...], Signature]:
    """Return example inputs for the export, and the names of inputs and outputs."""
    varying = {"picture": {1: "height", 2: "width"}, **{name: {0: "faces"} for name in OUTPUTS}}
    example = (torch.zeros(1, 256, 320, 3, dtype=torch.uint8), torch.tensor([250.0, 310.0]), torch.tensor([0.5]))
    return example, Signature(("picture", "size_hw", "min_score"), OUTPUTS, varying)


def _nms(boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, iou: float) -> torch.Tensor:
    """Return the indices after non-maximum suppression within each group, as torchvision's `batched_nms`, with its rounding."""
    furthest = torch.cat([boxes.reshape(-1), boxes.new_zeros(1)]).max()
    kept: torch.Tensor = nms(boxes + (groups * (furthest + 1))[:, None], scores, iou)
    return kept


def _decode(boxes: torch.Tensor, deltas: torch.Tensor, weights: Sequence[float], longest_log: float) -> torch.Tensor:
    """Return boxes (N, 4) moved and scaled, as torchvision's `BoxCoder` does."""
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + 0.5 * sides
    moved = centres + deltas[:, :2] / deltas.new_tensor(weights[:2]) * sides
    half = 0.5 * sides * (deltas[:, 2:] / deltas.new_tensor(weights[2:])).clamp(max=longest_log).exp()
    return torch.cat([moved - half, moved + half], 1)


def _clip(boxes: torch.Tensor, size_hw: torch.Tensor) -> torch.Tensor:
    limit = size_hw.flip(0).repeat(2)
    return torch.minimum(boxes.clamp(min=0), limit)


def _is_larger(boxes: torch.Tensor, side: float) -> torch.Tensor:
    return ((boxes[:, 2:] - boxes[:, :2]) >= side).all(1)


def _pool(
    levels: list[torch.Tensor], strides: list[float], boxes: torch.Tensor, pool: tuple[Any, int], mapper: tuple[float, float]
) -> torch.Tensor:
    """Return (N, C, S, S) of N regions, each from the level of its size, as torchvision's `MultiScaleRoIAlign` does."""
    size, sampling = pool
    sides = boxes[:, 2:] - boxes[:, :2]
    wanted = (mapper[1] + torch.log2((sides[:, 0] * sides[:, 1]).sqrt() / mapper[0]) + _EPS).floor()
    logs = [float(torch.log2(torch.tensor(stride))) for stride in strides]
    wanted = wanted.clamp(min=min(logs), max=max(logs))
    regions = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], 1)
    pooled = torch.zeros(())
    for level, stride, log in zip(levels, strides, logs, strict=True):
        aligned = roi_align(level, regions, size, 1 / stride, sampling)
        pooled = pooled + aligned * (wanted == log)[:, None, None, None]
    return pooled
