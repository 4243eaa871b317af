"""The training task of the face detector, a Keypoint R-CNN: samples, losses, validation, checkpoint."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.models.detection import KeypointRCNN

from maskstream.annotations import Annotations, LabelledImage
from maskstream.errors import ConfigError, SourceOpenError
from maskstream.models import face_mobilenet, face_mobilenet_network
from maskstream.models.checkpoint import StateDict, load_into, save_checkpoint
from maskstream.models.conv_bn_fusion import quicken_training
from maskstream.models.keypoint_rcnn import to_rgb_tensor
from maskstream.models.metadata import Metadata
from maskstream.training.detector_metrics import as_detector, calibrate_keypoints, metrics_by_set, validation_metrics
from maskstream.training.distillation import DetectorTeacher, watched
from maskstream.training.mosaic import Window, make_window
from maskstream.training.rcnn_sampling import IGNORED, set_for_training
from maskstream.training.recipe import DetectorRecipe
from maskstream.types import FACE_KEYPOINTS

_VAL_BATCH: Final = 8
"""Validation images per call of the detector."""
_MIN_BIAS: Final = 0.05
"""Size of a bias in a relative learning rate, at least: many biases are 0."""

Batch = tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]


@dataclass(frozen=True)
class Trainable:
    """How a detector architecture is trained."""

    build: Callable[[str | None], KeypointRCNN]
    """Returns the module; the argument chooses the backbone's weights, see `imagenet_weights`."""
    build_like: Callable[[StateDict, str], KeypointRCNN]
    """Returns the untrained module with the widths of a state dict, whose origin is the second argument."""
    short_side: int
    backbone_blocks: Callable[[KeypointRCNN], list[nn.Module]]
    """Returns the blocks of the backbone, the one next to the image first. The first blocks are frozen."""


TRAINABLE: Final = {
    face_mobilenet.NAME: Trainable(
        face_mobilenet_network.build_for_training,
        face_mobilenet_network.build_like,
        face_mobilenet.SHORT_SIDE,
        face_mobilenet_network.backbone_blocks,
    )
}


class DetectorTask:
    """Train the face detector; implements `Task` for the training loop."""

    best_by = "ap50"

    def __init__(self, recipe: DetectorRecipe, train: Annotations, val: Annotations, backbone_weights: str | None) -> None:
        """Build the module for training.

        Args:
            recipe: The settings of the training.
            train: Training images.
            val: Validation images; the best weights are chosen by them.
            backbone_weights: See `imagenet_weights`.

        Raises:
            ConfigError: The architecture is not known, or `picture_weights` gives every image the weight 0.
            SourceOpenError: No face is labelled in the validation images.
            ModelError: The backbone's weights are not available.
        """
        self.recipe = recipe
        self._train, self._val = train, val
        self.val_items = val.images
        if recipe.architecture not in TRAINABLE:
            raise ConfigError(f"architecture: {recipe.architecture!r} cannot be trained; allowed: {', '.join(TRAINABLE)}")
        self._teacher: DetectorTeacher | None = None
        self._use(TRAINABLE[recipe.architecture].build(backbone_weights))
        if all(face.ignore for image in val.images for face in image.faces):
            raise SourceOpenError("no face is labelled in the validation images; give --val-annotations with labelled faces")
        self._probabilities = _probabilities(train.images, recipe)
        self._backgrounds = [image for image in train.images if not image.faces]

    def _use(self, module: KeypointRCNN) -> None:
        self.module = module
        for block in TRAINABLE[self.recipe.architecture].backbone_blocks(module)[: self.recipe.frozen_blocks]:
            block.requires_grad_(False)
        set_for_training(module, self.recipe)
        quicken_training(module.backbone)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the trained parameters with the factor of their learning rate; weight decay is 0 for norms and biases."""
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad:
                factor = self.recipe.backbone_lr_factor if name.startswith("backbone.body") else 1.0
                if self.recipe.relative_learning_rate:
                    factor *= max(float(parameter.detach().square().mean().sqrt()), 0.0 if parameter.ndim > 1 else _MIN_BIAS)
                groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
        return [
            {"params": parameters, "lr_factor": factor, "weight_decay": self.recipe.weight_decay if decays else 0.0}
            for (factor, decays), parameters in groups.items()
        ]

    def load(self, state_dict: StateDict, origin: str) -> None:
        """Start from the tensors of a checkpoint, with its widths. Raises `WeightsError` where names or other shapes differ."""
        self._use(TRAINABLE[self.recipe.architecture].build_like(state_dict, origin))
        load_into(self.module, state_dict, origin)

    def learn_from(self, teacher: KeypointRCNN) -> None:
        """Train by the answers of a trained module too, see `teacher_share`. Raises `ConfigError` where it does not fit."""
        self._teacher = DetectorTeacher(teacher, self.module)

    def to_device(self, device: torch.device) -> None:
        """Move the module; not all of it is channels last: torchvision's keypoint loss does not support it."""
        if self._teacher is not None:
            self._teacher.to_device(device)
        self.module.to(device)
        for part in (self.module.backbone, self.module.rpn.head):
            part.to(memory_format=torch.channels_last)

    def sample(self, number: int) -> Window:
        """Return the window of a number; the same for the same seed. All windows of a batch have one size."""
        recipe = self.recipe
        batch_rng = np.random.default_rng((recipe.seed, 0, number // recipe.batch_size))
        size = int(batch_rng.choice(recipe.window_px))
        rng = np.random.default_rng((recipe.seed, 1, number))
        count = 4 if rng.random() < recipe.mosaic_share else 1
        chosen = [self._train.images[index] for index in rng.choice(len(self._probabilities), count, p=self._probabilities)]
        return make_window(chosen, self._backgrounds, recipe, size, rng)

    def collate(self, windows: Sequence[Window]) -> Batch:
        """Return images and targets in the format of torchvision's detectors; an ignored face has the label -1."""
        device = torch.device("cpu")
        images = [to_rgb_tensor(window.bgr, device) for window in windows]
        targets = [
            {
                "boxes": torch.from_numpy(window.boxes_xyxy),
                "labels": torch.from_numpy(np.where(window.counts > 0, 1, IGNORED)),
                "keypoints": torch.from_numpy(window.keypoints),
            }
            for window in windows
        ]
        return images, targets

    def losses(self, module: nn.Module, batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
        """Return the weighted losses of a batch, of its labels and of a teacher's answers."""
        images = [image.to(device) for image in batch[0]]
        targets = [{name: tensor.to(device) for name, tensor in target.items()} for target in batch[1]]
        if self._teacher is None:
            losses: dict[str, torch.Tensor] = module(images, targets)
        else:
            with watched(self.module) as seen:
                losses = module(images, targets)
            share = self.recipe.teacher_share
            by_teacher = self._teacher.losses(seen)
            losses = {
                **{name: (1 - share) * value for name, value in losses.items()},
                **{name: share * value for name, value in by_teacher.items()},
            }
        return {name: value * self.recipe.loss_weights.get(name, 1.0) for name, value in losses.items()}

    def predict(self, module: nn.Module, images: Sequence[LabelledImage], device: torch.device) -> list[Any]:
        """Return name and detections of validation images."""
        detector = as_detector(module, device)
        predicted: list[Any] = []
        with ThreadPoolExecutor(_VAL_BATCH) as pool:
            for start in range(0, len(images), _VAL_BATCH):
                predicted += detector.detect(list(pool.map(LabelledImage.read, images[start : start + _VAL_BATCH])))
        return [(image.name, found) for image, found in zip(images, predicted, strict=True)]

    def validate(self, predicted: Sequence[Any]) -> dict[str, float]:
        """Return the defined metrics of the detections, computed by `maskstream.evaluation`."""
        metrics = validation_metrics(self._val, dict(predicted))
        return {name: value for name, value in metrics.items() if value is not None}

    def by_set(self, predicted: Sequence[Any], metrics: dict[str, float]) -> dict[str, dict[str, float]]:
        """Return the metrics of `metrics_by_set` at the best score of all images."""
        return metrics_by_set(self._val, dict(predicted), metrics["score"])

    def save(self, path: Path, module: nn.Module, predicted: Sequence[Any], metrics: dict[str, float], command: str) -> None:
        """Write a checkpoint, its keypoint scores calibrated on the validation images."""
        save_checkpoint(
            path,
            module.state_dict(),
            Metadata(
                architecture=self.recipe.architecture,
                input_size=TRAINABLE[self.recipe.architecture].short_side,
                mean=tuple(self.module.transform.image_mean),
                std=tuple(self.module.transform.image_std),
                keypoint_names=FACE_KEYPOINTS,
                keypoint_calibration=calibrate_keypoints(self._val, dict(predicted)),
                training_command=command,
                data_manifest_sha256=self._train.sha256,
                figures=metrics,
                licence="see MODEL_CARD.md",
            ),
        )


def _probabilities(images: Sequence[LabelledImage], recipe: DetectorRecipe) -> NDArray[np.float64]:
    """Return how often each image is drawn (N,); the first pattern that matches the name of an image counts."""
    weights = np.ones(len(images))
    for index, image in enumerate(images):
        matching = [weight for pattern, weight in recipe.picture_weights.items() if re.search(pattern, image.name)]
        if matching:
            weights[index] = matching[0]
        has_face_without_keypoints = any(face.keypoints_xy is None and not face.ignore for face in image.faces)
        if has_face_without_keypoints:
            weights[index] *= recipe.without_keypoints_weight
    if not weights.any():
        raise ConfigError("picture_weights: all training images have the weight 0; give at least one pattern a weight above 0")
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities
