"""Train a detector by the answers of a trained one, its teacher, at the same places of the same images.

The student's own forward pass chooses the places: the cells of the pyramid, the anchors, the sampled proposals. Compared are the
pyramid (Romero et al., "FitNets", 2015), the proposals and the answers of the heads (Chen et al., "Learning Efficient Object
Detection Models with Knowledge Distillation", 2017).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Final

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div, smooth_l1_loss
from torchvision.models.detection import KeypointRCNN

from maskstream.errors import ConfigError
from maskstream.models.conv_bn_fusion import fold_batch_norm

_FACTORS: Final = {
    "teacher_pyramid": 8.0,
    "teacher_objectness": 0.25,
    "teacher_proposal": 0.25,
    "teacher_region": 1.0,
    "teacher_class": 0.5,
    "teacher_box": 0.1,
    "teacher_keypoint": 0.5,
}
"""Factors that bring the losses to sizes of the same order."""
_RIDGE: Final = 1e-4
_PROPOSAL_BETA: Final = 0.1
_BOX_BETA: Final = 0.2
"""Errors from which `smooth_l1_loss` is linear, in the units of the box coders."""

Seen = dict[str, Any]
"""What the student read and answered in one forward pass."""


class DetectorTeacher:
    """A trained detector that a student is compared with."""

    def __init__(self, module: KeypointRCNN, student: KeypointRCNN) -> None:
        """Take a copy of the teacher.

        Raises:
            ConfigError: It normalises images in another way, or has other anchors or regions, than the student.
        """
        for name, own, other in _common(module, student):
            if own != other:
                raise ConfigError(f"--teacher: its {name} is {own}, that of the trained detector {other}; give another teacher")
        self.module: Any = deepcopy(module).eval().requires_grad_(requires_grad=False)
        fold_batch_norm(self.module)

    def to_device(self, device: torch.device) -> None:
        """Move the teacher, in the memory format that is fast for its backbone."""
        self.module.to(device)
        self.module.backbone.to(memory_format=torch.channels_last)

    def losses(self, seen: Seen) -> dict[str, torch.Tensor]:
        """Return the losses of a forward pass of the student that `watched` recorded."""
        images = seen["images"]
        with torch.no_grad():
            features = self.module.backbone(images)
            objectness, deltas = self.module.rpn.head(list(features.values()))
        losses = {
            "teacher_pyramid": pyramid_loss(list(seen["features"].values()), list(features.values())),
            **_proposal_losses(seen["proposals"], (objectness, deltas), len(images)),
            **self._region_losses(seen, features, len(images)),
        }
        return {name: loss * _FACTORS[name] for name, loss in losses.items()}

    def _region_losses(self, seen: Seen, features: dict[str, torch.Tensor], images: int) -> dict[str, torch.Tensor]:
        heads = self.module.roi_heads
        with torch.no_grad():
            regions = heads.box_head(heads.box_roi_pool(features, *seen["box_regions"]))
            classes, boxes = heads.box_predictor(regions)
            heatmaps = heads.keypoint_predictor(heads.keypoint_head(heads.keypoint_roi_pool(features, *seen["keypoint_regions"])))
        own_classes, own_boxes = seen["boxes"]
        probabilities = classes.softmax(1)
        by_class = kl_div(own_classes.log_softmax(1), probabilities, reduction="sum")
        by_box = smooth_l1_loss(own_boxes[:, 4:], boxes[:, 4:], reduction="none", beta=_BOX_BETA).sum(1) * probabilities[:, 1]
        own_heatmaps = seen["keypoints"].flatten(2).log_softmax(2)
        by_keypoint = kl_div(own_heatmaps, heatmaps.flatten(2).softmax(2), reduction="sum")
        count = max(heatmaps.shape[0] * heatmaps.shape[1], 1)
        return {
            "teacher_region": region_loss(seen["regions"], regions),
            "teacher_class": by_class / images,
            "teacher_box": by_box.sum() / images,
            "teacher_keypoint": by_keypoint / count,
        }


def _common(one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name of each property that teacher and student share, and both values."""
    getters: dict[str, Callable[[Any], Any]] = {
        "mean": lambda module: list(module.transform.image_mean),
        "standard deviation": lambda module: list(module.transform.image_std),
        "anchors": lambda module: module.rpn.anchor_generator.sizes,
        "size of a region": lambda module: module.roi_heads.box_roi_pool.output_size,
        "number of keypoints": lambda module: module.roi_heads.keypoint_predictor.kps_score_lowres.out_channels,
    }
    for name, getter in getters.items():
        yield name, getter(one), getter(other)


@contextmanager
def watched(module: KeypointRCNN) -> Iterator[Seen]:
    """Record what a detector reads and answers during its forward pass in the `with` block."""
    seen: Seen = {}

    def keep(name: str, what: Callable[[tuple[Any, ...], Any], Any]) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            seen[name] = what(inputs, output)

        return hook

    heads: Any = module.roi_heads
    rpn_head: Any = module.rpn.head
    hooks = [
        module.backbone.register_forward_hook(keep("images", lambda inputs, _: inputs[0])),
        module.backbone.register_forward_hook(keep("features", lambda _, output: dict(output))),
        rpn_head.register_forward_hook(keep("proposals", lambda _, output: output)),
        heads.box_roi_pool.register_forward_hook(keep("box_regions", lambda inputs, _: inputs[1:])),
        heads.box_predictor.register_forward_hook(keep("regions", lambda inputs, _: inputs[0])),
        heads.box_predictor.register_forward_hook(keep("boxes", lambda _, output: output)),
        heads.keypoint_roi_pool.register_forward_hook(keep("keypoint_regions", lambda inputs, _: inputs[1:])),
        heads.keypoint_predictor.register_forward_hook(keep("keypoints", lambda _, output: output)),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def pyramid_loss(own: list[torch.Tensor], wanted: list[torch.Tensor]) -> torch.Tensor:
    """Return the squared error with which the student's channels predict the teacher's, as a fraction of their energy.

    Each batch has its best linear prediction, one for all levels, so that a pyramid may have fewer channels than the teacher's.

    Args:
        own: Levels (N, C, H, W) of the student.
        wanted: The same levels of the teacher, with any number of channels.
    """
    with torch.autocast(own[0].device.type, enabled=False):  # a sum over all cells exceeds the range of float16
        levels = [(_rows(one), _rows(other)) for one, other in zip(own, wanted, strict=True)]
        energies = [other.square().mean() for _, other in levels]
        with torch.no_grad():
            scales = [1 / (len(one) * energy) for (one, _), energy in zip(levels, energies, strict=True)]
            covariance = torch.stack([one.T @ one * scale for (one, _), scale in zip(levels, scales, strict=True)]).sum(0)
            shared = torch.stack([one.T @ other * scale for (one, other), scale in zip(levels, scales, strict=True)]).sum(0)
            covariance += _RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), device=covariance.device)
            decode = torch.linalg.solve(covariance.float(), shared.float())
        errors = [(one @ decode - other).square().mean() / energy for (one, other), energy in zip(levels, energies, strict=True)]
        return torch.stack(errors).sum()


def region_loss(own: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the squared error of what the box head makes of each region, as a fraction of its energy.

    Units that hardly matter for the answers are compared too. Without that an adaptive optimiser lets one of them grow, as it
    takes steps of full size along small gradients, until the least change of its weights changes the answers.

    Args:
        own: (R, C) of the student.
        wanted: (R, C) of the teacher.
    """
    wanted = wanted.float()
    return (own.float() - wanted).square().sum() / wanted.square().sum().clamp_min(torch.finfo(torch.float32).tiny)


def _rows(level: torch.Tensor) -> torch.Tensor:
    return level.float().permute(0, 2, 3, 1).flatten(0, 2)


def _proposal_losses(own: Any, wanted: Any, images: int) -> dict[str, torch.Tensor]:
    """Return the losses of all anchors: of their objectness, and of their boxes where the teacher sees a face."""
    objectness, boxes = [], []
    for logits, deltas, wanted_logits, wanted_deltas in zip(*own, *wanted, strict=True):
        probability = wanted_logits.sigmoid()
        entropy = binary_cross_entropy_with_logits(wanted_logits, probability, reduction="sum")
        objectness.append(binary_cross_entropy_with_logits(logits, probability, reduction="sum") - entropy)
        error = smooth_l1_loss(deltas, wanted_deltas, reduction="none", beta=_PROPOSAL_BETA)
        boxes.append((error.reshape(len(error), -1, 4, *error.shape[2:]).sum(2) * probability).sum())
    return {"teacher_objectness": torch.stack(objectness).sum() / images, "teacher_proposal": torch.stack(boxes).sum() / images}
