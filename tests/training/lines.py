"""The smallest real task: a line through noisy points. Shared by the tests of the loop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maskstream.models.checkpoint import StateDict, load_into, save_checkpoint
from maskstream.models.metadata import Metadata
from maskstream.training.recipe import Recipe

SLOPE, OFFSET = 2.0, -1.0
PLAIN = {
    "architecture": "line",
    "epochs": 2,
    "samples_per_epoch": 40,
    "batch_size": 8,
    "learning_rate": 0.2,
    "warmup_steps": 2,
    "weight_decay": 0.0,
    "clip_norm": 10.0,
    "ema_decay": 0.5,
    "seed": 3,
    "workers": 0,
    "save_every_s": 0.000001,
    "photometric": 0.0,
}


class LineTask:
    """Fits y = 2 x - 1; the dropout makes every step depend on the seed."""

    best_by = "fit"

    def __init__(self, **changed: Any) -> None:
        self.recipe = Recipe.model_validate(PLAIN | changed)
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.1), nn.Linear(8, 1))
        self.val_items = list(range(10))
        self.seen: list[int] = []

    def load(self, state_dict: StateDict, origin: str) -> None:
        load_into(self.module, state_dict, origin)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters()), "lr_factor": 1.0, "weight_decay": 0.0}]

    def to_device(self, device: torch.device) -> None:
        self.module.to(device)

    def sample(self, number: int) -> tuple[float, float]:
        self.seen.append(number)
        x = (number * 0.37) % 2 - 1
        return x, SLOPE * x + OFFSET

    def collate(self, samples: Sequence[tuple[float, float]]) -> torch.Tensor:
        return torch.tensor(samples)

    def losses(self, module: nn.Module, batch: torch.Tensor, device: torch.device) -> dict[str, torch.Tensor]:
        error = module(batch[:, :1]) - batch[:, 1:]
        return {"square": error.square().mean(), "absolute": 0.1 * error.abs().mean()}

    @torch.inference_mode()
    def predict(self, module: nn.Module, items: Sequence[int], device: torch.device) -> list[tuple[int, float]]:
        return [(item, float(module(torch.tensor([[item / 10]])))) for item in items]

    def validate(self, predicted: Sequence[Any]) -> dict[str, float]:
        assert sorted(item for item, _ in predicted) == self.val_items
        return {"fit": -sum(abs(y - (SLOPE * item / 10 + OFFSET)) for item, y in predicted) / len(predicted)}

    def by_set(self, predicted: Sequence[Any], metrics: dict[str, float]) -> dict[str, dict[str, float]]:
        halves = {"left": predicted[:5], "right": predicted[5:]}
        return {name: {"mean": sum(y for _, y in half) / len(half)} for name, half in halves.items()}

    def save(self, path: Path, module: nn.Module, predicted: Sequence[Any], figures: dict[str, float], command: str) -> None:
        metadata = Metadata(
            architecture="line",
            input_size=1,
            mean=(0, 0, 0),
            std=(1, 1, 1),
            training_command=command,
            data_manifest_sha256=None,
            figures=figures,
            licence="none",
        )
        save_checkpoint(path, module.state_dict(), metadata)
