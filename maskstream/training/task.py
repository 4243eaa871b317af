"""What the training loop needs of a detector or a classifier, and of the place where it runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from maskstream.models.checkpoint import StateDict
from maskstream.training.recipe import Recipe

Figures = dict[str, float]


class Task(Protocol):
    """What is trained: a detector or a classifier."""

    @property
    def module(self) -> nn.Module:
        """What learns."""
        ...

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        ...

    @property
    def best_by(self) -> str:
        """The figure, the higher the better, by which the kept weights are chosen."""
        ...

    @property
    def val_items(self) -> Sequence[Any]:
        """What is judged after each epoch."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return groups for the optimiser, each with `lr_factor`."""
        ...

    def load(self, state_dict: StateDict, origin: str) -> None:
        """Start from the tensors of a checkpoint of ours.

        Raises:
            WeightsError: They are of another architecture.
        """
        ...

    def to_device(self, device: torch.device) -> None:
        """Move the module, in the memory format that is fast there."""
        ...

    def sample(self, number: int) -> Any:
        """Return the training sample of a number, the same each time."""
        ...

    def collate(self, samples: Sequence[Any]) -> Any:
        """Return a batch."""
        ...

    def losses(self, module: nn.Module, batch: Any, device: torch.device) -> dict[str, torch.Tensor]:
        """Return the weighted losses, to be added up."""
        ...

    def predict(self, module: nn.Module, items: Sequence[Any], device: torch.device) -> list[Any]:
        """Return what the module says of some of `val_items`."""
        ...

    def validate(self, predicted: Sequence[Any]) -> Figures:
        """Return figures of what `predict` returned for all of them."""
        ...

    def save(self, path: Path, module: nn.Module, predicted: Sequence[Any], figures: Figures, command: str) -> None:
        """Write a checkpoint of the product."""
        ...


@dataclass(frozen=True)
class Run:
    """Where a training runs and what it leaves."""

    out: Path
    """The best checkpoint; history and curves are written beside it."""
    folder: Path
    """For what a killed run goes on from, and the last checkpoint."""
    device: torch.device
    command: str
    """What repeats this training."""
    data_sha256: str
    tick: Callable[[int, int], None]
    """Called after each step with steps done and steps in all."""
