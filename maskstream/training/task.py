"""The interface between the training loop and the trained model (`Task`), and the settings of one run (`Run`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import torch
from torch import nn

from maskstream.models.checkpoint import StateDict
from maskstream.training.recipe import Recipe

Metrics = dict[str, float]
"""Metrics on the validation set, by name."""


class Task(Protocol):
    """A detector or a classifier in training."""

    @property
    def module(self) -> nn.Module:
        """The trained network."""
        ...

    @property
    def recipe(self) -> Recipe:
        """The settings of the training."""
        ...

    @property
    def best_by(self) -> str:
        """The metric that selects the best weights; higher is better."""
        ...

    @property
    def val_items(self) -> Sequence[Any]:
        """The validation items."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups of the optimiser, each with `lr_factor`."""
        ...

    def load(self, state_dict: StateDict, origin: str) -> None:
        """Start from the tensors of a checkpoint.

        Raises:
            WeightsError: The tensors are of another architecture.
        """
        ...

    def to_device(self, device: torch.device) -> None:
        """Move the module to a device, in the memory format that is fast there."""
        ...

    def sample(self, number: int) -> Any:
        """Return the training sample of a number. The same number always gives the same sample."""
        ...

    def collate(self, samples: Sequence[Any]) -> Any:
        """Return a batch of samples."""
        ...

    def losses(self, module: nn.Module, batch: Any, device: torch.device) -> dict[str, torch.Tensor]:
        """Return the weighted losses; their sum is minimised."""
        ...

    def predict(self, module: nn.Module, items: Sequence[Any], device: torch.device) -> list[Any]:
        """Return the predictions of the module for some of `val_items`."""
        ...

    def validate(self, predicted: Sequence[Any]) -> Metrics:
        """Return the metrics of the predictions for all of `val_items`."""
        ...

    def by_set(self, predicted: Sequence[Any], metrics: Metrics) -> dict[str, Metrics]:
        """Return the metrics of each part of the validation set, by its name; empty where there are no parts.

        `metrics` is the answer of `validate` for the same predictions.
        """
        ...

    def save(self, path: Path, module: nn.Module, predicted: Sequence[Any], metrics: Metrics, command: str) -> None:
        """Write a checkpoint that the stream can load."""
        ...


@dataclass(frozen=True)
class Run:
    """Where a training runs, and which files it writes."""

    out: Path
    """File of the best checkpoint. The history and the curves are written beside it."""
    folder: Path
    """Folder of the state that a stopped training resumes from, and of the last checkpoint."""
    device: torch.device
    command: str
    """The command line of this training; stored in the checkpoint."""
    data_sha256: str
    """Digest of everything a training reads beside its recipe: a stopped training resumes only with the same."""
    tick: Callable[[int, int], None]
    """Called after each step with the number of finished steps and the number at the end, expected where time limits it."""


def set_of(image_name: str) -> str:
    """Return the set of an image or crop: the text before the first `_` of its file name."""
    return PurePosixPath(image_name).name.partition("_")[0]
