"""The training task of a classifier of aligned face crops: samples, losses, validation, checkpoint."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from maskstream.errors import ConfigError
from maskstream.models.checkpoint import StateDict, load_into, save_checkpoint
from maskstream.models.conv_bn_fusion import quicken_training
from maskstream.models.crop_classifier import crops_to_tensor
from maskstream.models.graph_classifier import CHUNK
from maskstream.models.metadata import Metadata
from maskstream.training.classifier_metrics import metrics_by_set, metrics_of_logits
from maskstream.training.crop_augmentation import augment_crop, happens
from maskstream.training.crop_sampling import CropSampler
from maskstream.training.crop_set import NO_CLASS, CropSet, require_both_answers
from maskstream.training.crops import centre_crop
from maskstream.training.mask_colours import RECOLOURED, recolour_mask
from maskstream.training.recipe import ClassifierRecipe
from maskstream.training.teachers import TRAINABLE
from maskstream.types import BgrImage

Batch = tuple[torch.Tensor, torch.Tensor]


class ClassifierTask:
    """Train a crop classifier; implements `Task` for the training loop."""

    best_by = "log_likelihood"

    def __init__(
        self,
        recipe: ClassifierRecipe,
        train: CropSet,
        val: CropSet,
        backbone_weights: str | None,
        teacher: nn.Module | None = None,
    ) -> None:
        """Build the module for training.

        Args:
            recipe: The settings of the training.
            train: Training crops.
            val: Validation crops; the best weights are chosen by them.
            backbone_weights: See `imagenet_weights`.
            teacher: A trained network with the same classes; its answers are a second training target beside the labels.

        Raises:
            ConfigError: The architecture is not known or not installed, or a class has no crops.
            SourceOpenError: All validation crops have the same answer.
            ModelError: The backbone's weights are not available.
        """
        self.recipe = recipe
        self._train, self._val = train, val
        self.val_items = list(range(len(val.labels)))
        if recipe.architecture not in TRAINABLE:
            raise ConfigError(f"architecture: {recipe.architecture!r} cannot be trained; allowed: {', '.join(TRAINABLE)}")
        architecture = TRAINABLE[recipe.architecture]
        self._metadata = Metadata(
            architecture=recipe.architecture,
            input_size=recipe.size_px,
            mean=architecture.mean,
            std=architecture.std,
            class_names=tuple(recipe.classes),
            training_command="",
            data_manifest_sha256=train.sha256,
            figures={},
            licence="see MODEL_CARD.md",
        )
        self._sampler = CropSampler(train, recipe)
        require_both_answers(val, recipe)
        self.module = architecture.build_for_training(self._metadata, backbone_weights)
        quicken_training(self.module)
        self._teacher = None if teacher is None else teacher.eval().requires_grad_(requires_grad=False)

    def load(self, state_dict: StateDict, origin: str) -> None:
        """Start from the tensors of a checkpoint; the last layer is kept where its number of classes differs.

        Raises `WeightsError` where other names or shapes differ.
        """
        own = self.module.network.state_dict()
        head = TRAINABLE[self.recipe.architecture].head
        kept = {
            name for name in state_dict if name.startswith(head) and name in own and own[name].shape != state_dict[name].shape
        }
        load_into(self.module.network, {**state_dict, **{name: own[name] for name in kept}}, origin)

    def to_device(self, device: torch.device) -> None:
        """Move the module and the teacher, in the memory format channels last: it is faster on GPUs and CPUs."""
        for module in (self.module, self._teacher):
            if module is not None:
                module.to(device).to(memory_format=torch.channels_last)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return all parameters; weight decay is 0 for norms and biases."""
        parameters = list(self.module.parameters())
        return [
            {
                "params": [each for each in parameters if each.ndim > 1],
                "lr_factor": 1.0,
                "weight_decay": self.recipe.weight_decay,
            },
            {"params": [each for each in parameters if each.ndim <= 1], "lr_factor": 1.0, "weight_decay": 0.0},
        ]

    def sample(self, number: int) -> tuple[BgrImage, int]:
        """Return an augmented crop and its class, or `NO_CLASS`; the same for the same `number` and seed."""
        rng = np.random.default_rng((self.recipe.seed, 2, number))
        index = self._sampler.draw(rng)
        other = self._train.pixels_bgr[rng.integers(len(self._train.labels))]
        stored, label = self._train.pixels_bgr[index], int(self._train.labels[index])
        is_recoloured = label != NO_CLASS and self.recipe.classes[label] in RECOLOURED
        if is_recoloured and happens(self.recipe.recolour_share, rng):
            stored = recolour_mask(stored, other, rng)
        return augment_crop(stored, other, self.recipe, rng), label

    def collate(self, samples: Sequence[tuple[BgrImage, int]]) -> Batch:
        """Return crops (N, 3, S, S) uint8 RGB, a quarter of the bytes of floats, and classes (N,)."""
        rgb = np.stack([crop for crop, _ in samples])[..., ::-1].transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(rgb)), torch.tensor([label for _, label in samples])

    def losses(self, module: nn.Module, batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
        """Return the cross entropy of a batch; with a teacher also the cross entropy against its answers.

        An unlabelled crop has only the latter.

        Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).
        """
        crops, labels = (tensor.to(device) for tensor in batch)
        crops = crops.float() / 255
        logits = module(crops)
        smoothing = self.recipe.label_smoothing
        hard = cross_entropy(logits, labels, ignore_index=NO_CLASS, label_smoothing=smoothing, reduction="none").mean()
        if self._teacher is None:
            return {"cross_entropy": hard}
        share, temperature = self.recipe.teacher_share, self.recipe.teacher_temperature
        with torch.no_grad():
            answers = (self._teacher(crops) / temperature).softmax(1)
        soft = cross_entropy(logits / temperature, answers) * temperature**2
        return {"cross_entropy": (1 - share) * hard, "distillation": share * soft}

    @torch.inference_mode()
    def predict(self, module: nn.Module, items: Sequence[int], device: torch.device) -> list[tuple[int, list[float]]]:
        """Return the index and logits of validation crops, cut as the stream cuts them."""
        predicted = []
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            crops = [centre_crop(self._val.pixels_bgr[item], self.recipe.size_px) for item in chunk]
            predicted += list(zip(chunk, module(crops_to_tensor(crops, device)).tolist(), strict=True))
        return predicted

    def validate(self, predicted: Sequence[Any]) -> dict[str, float]:
        """Return the metrics of `metrics_of_logits`. Where a logit is not finite, return NaN as `best_by` and no other metric."""
        items = [item for item, _ in predicted]
        logits = torch.tensor([answer for _, answer in predicted])
        if not torch.isfinite(logits).all():
            return {self.best_by: math.nan}
        return metrics_of_logits(logits, self._val.labels[items], self.recipe.classes)

    def by_set(self, predicted: Sequence[Any], metrics: dict[str, float]) -> dict[str, dict[str, float]]:
        """Return the metrics of `metrics_by_set` at the fitted temperature."""
        items = [item for item, _ in predicted]
        logits = torch.tensor([answer for _, answer in predicted]) / metrics["temperature"]
        paths = [self._val.paths[item] for item in items]
        return metrics_by_set(logits, self._val.labels[items], paths, self.recipe.classes)

    def save(self, path: Path, module: nn.Module, predicted: Sequence[Any], metrics: dict[str, float], command: str) -> None:
        """Write a checkpoint with its metrics and temperature."""
        network: Any = module.network
        changed = {"training_command": command, "figures": metrics, "temperature": metrics["temperature"]}
        save_checkpoint(path, network.state_dict(), self._metadata.model_copy(update=changed))
