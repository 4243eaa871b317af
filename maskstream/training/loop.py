"""The training loop that both trainers share: steps, moving average, validation, checkpoints, resuming, several processes."""

import json
import math
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

import torch
from loguru import logger
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from maskstream.errors import MaskStreamError, ModelError, SinkError, WeightsError
from maskstream.io.files import one_line, replace_file
from maskstream.training.distributed import Ranks
from maskstream.training.plots import draw_curves
from maskstream.training.task import Run, Task

_EMA_WARMUP: Final = 10
"""The average forgets sooner in the first steps: after n of them its decay is at most (1 + n) / (10 + n)."""
_LAST_LR: Final = 0.01
"""Of the learning rate, at the end of the cosine."""
_MOST_SKIPPED: Final = 20
"""Steps in a row that the scaler of float16 may leave out while it looks for a scale without overflow: it has 16 to halve."""


class _Samples(Dataset[Any]):
    def __init__(self, task: Task) -> None:
        self._task = task

    def __getitem__(self, number: int) -> Any:
        try:
            return self._task.sample(number)
        except MaskStreamError as error:  # one that is raised in a worker comes out with its traceback as its message
            return error


class _Collate:
    """Makes a batch of samples; of samples with an error among them the error."""

    def __init__(self, task: Task) -> None:
        self._collate = task.collate

    def __call__(self, samples: list[Any]) -> Any:
        return next((sample for sample in samples if isinstance(sample, MaskStreamError)), None) or self._collate(samples)


class Trainer:
    """One training, from its first step or from where a killed one was."""

    def __init__(self, task: Task, run: Run, ranks: Ranks) -> None:
        """Set up, and take over the state that an earlier run of the same recipe and data has left.

        Raises:
            WeightsError: That state is damaged or of another recipe or data.
        """
        recipe = task.recipe
        self._task, self._run, self._ranks = task, run, ranks
        task.to_device(run.device)
        groups = task.parameter_groups()
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=run.device.type == "cuda")
        self._average = AveragedModel(task.module, multi_avg_fn=self._blend, use_buffers=True)
        self._step = 0
        self._history: list[dict[str, Any]] = []
        self._best = -math.inf
        self._losses: dict[str, float] = {}
        self._skipped = 0
        self._steps_per_epoch = max(recipe.samples_per_epoch // recipe.batch_size, 1)
        self._total = self._steps_per_epoch * recipe.epochs
        self._scaler = torch.amp.GradScaler(run.device.type, enabled=run.device.type == "cuda")
        self._load()
        self._module: nn.Module = task.module if ranks.world == 1 else DistributedDataParallel(task.module)

    def _blend(self, averages: Any, parameters: Any, count: Any) -> None:
        steps = int(count)
        decay = min(self._task.recipe.ema_decay, (1 + steps) / (_EMA_WARMUP + steps))
        get_ema_multi_avg_fn(decay)(averages, parameters, count)  # type: ignore[no-untyped-call]

    def train(self) -> list[dict[str, Any]]:
        """Train to the end.

        Returns:
            The history: one entry per epoch with its losses, its learning rate, its figures, and whether it is the best.

        Raises:
            ModelError: A gradient, a weight or a figure is not finite; the best weights so far stay as they are.
            MaskStreamError: Something cannot be read or written.
        """
        saved_at, epoch_began_at = monotonic(), monotonic()
        for batch in self._batches():
            if isinstance(batch, MaskStreamError):
                raise batch
            self._advance(batch)
            self._run.tick(self._step, self._total)
            if self._step % self._steps_per_epoch == 0:
                self._finish_epoch(monotonic() - epoch_began_at)
                epoch_began_at = monotonic()
            elif monotonic() - saved_at > self._task.recipe.save_every_s:
                self._save()
                saved_at = monotonic()
        if self._ranks.rank == 0 and not self._run.out.exists():
            out, state = one_line(str(self._run.out)), one_line(str(self._state_path))
            raise WeightsError(f"{out}: gone, and its training has ended; delete {state} to train anew")
        return self._history

    def _batches(self) -> Iterator[Any]:
        recipe, ranks = self._task.recipe, self._ranks
        share = recipe.batch_size // ranks.world
        numbers = [
            step * recipe.batch_size + ranks.rank * share + index
            for step in range(self._step, self._total)
            for index in range(share)
        ]
        workers = (8 if self._run.device.type == "cuda" else 0) if recipe.workers is None else recipe.workers
        return iter(
            DataLoader(
                _Samples(self._task),
                batch_size=share,
                sampler=numbers,
                num_workers=workers,
                collate_fn=_Collate(self._task),
                persistent_workers=workers > 0,
            )
        )

    def _advance(self, batch: Any) -> None:
        torch.manual_seed(self._task.recipe.seed + self._step * self._ranks.world + self._ranks.rank)
        self._module.train()
        rate = self._rate()
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        with torch.autocast(self._run.device.type, enabled=self._scaler.is_enabled()):
            losses = self._task.losses(self._module, batch, self._run.device)
            total = torch.stack(list(losses.values())).sum()
        self._optimizer.zero_grad()
        self._scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        trained = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(trained, self._task.recipe.clip_norm))
        self._skipped = 0 if math.isfinite(norm) else self._skipped + 1
        if self._skipped > (_MOST_SKIPPED if self._scaler.is_enabled() else 0):
            raise self._diverged(self._step + 1, f"its gradient is not finite ({_listed(losses)})")
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._average.update_parameters(self._task.module)
        self._step += 1
        for name, value in losses.items():
            if not self._skipped:
                self._losses[name] = self._losses.get(name, 0.0) + float(value.detach())

    def _rate(self) -> float:
        """Return the learning rate: a linear warm-up, then half a cosine. Loshchilov and Hutter, "SGDR" (2017)."""
        recipe = self._task.recipe
        if self._step < recipe.warmup_steps:
            return recipe.learning_rate * (self._step + 1) / recipe.warmup_steps
        progress = (self._step - recipe.warmup_steps) / max(self._total - recipe.warmup_steps, 1)
        return recipe.learning_rate * (_LAST_LR + (1 - _LAST_LR) * (1 + math.cos(math.pi * progress)) / 2)

    def _require_finite(self) -> None:
        """Raise `ModelError` where a weight is not finite, so that nothing of it is judged or saved."""
        for module in (self._task.module, self._average.module):
            for name, tensor in module.state_dict().items():
                if not torch.isfinite(tensor).all():
                    raise self._diverged(self._step, f"the weight {name} is not finite")

    def _diverged(self, step: int, what: str) -> ModelError:
        """Return the error of a training that cannot go on; `step` counts from 1."""
        best = next((entry["epoch"] for entry in reversed(self._history) if entry["best"]), None)
        out, folder = one_line(str(self._run.out)), one_line(str(self._run.folder))
        kept = "no weights are kept" if best is None else f"{out} keeps the weights of epoch {best}"
        return ModelError(
            f"training has diverged in epoch {(step - 1) // self._steps_per_epoch + 1}, step {step}: {what}; {kept}; "
            f"lower learning_rate ({self._task.recipe.learning_rate:g}) and give another --run than {folder}, "
            "or look for damaged pictures"
        )

    def _finish_epoch(self, seconds: float) -> None:
        self._require_finite()
        module = self._average.module.eval()
        predicted = self._ranks.gathered(self._task.predict(module, self._ranks.share_of(self._task.val_items), self._run.device))
        if self._ranks.rank == 0:
            self._judge(module, predicted, seconds)
        self._losses = {}
        self._save()

    def _judge(self, module: nn.Module, predicted: list[Any], seconds: float) -> None:
        figures = self._task.validate(predicted)
        if any(not math.isfinite(figure) for figure in figures.values()):
            raise self._diverged(self._step, f"the validation is not finite ({_listed(figures)})")
        value = figures[self._task.best_by]
        is_best = value > self._best
        entry = {
            "epoch": self._step // self._steps_per_epoch,
            "seconds": round(seconds, 1),
            "learning_rate": round(self._rate(), 8),
            "losses": {name: round(total / self._steps_per_epoch, 5) for name, total in self._losses.items()},
            "figures": {name: round(figure, 5) for name, figure in figures.items()},
            "best": is_best,
        }
        self._history.append(entry)
        logger.info("epoch {}: {}{}", entry["epoch"], _described(entry), " (best)" if is_best else "")
        self._task.save(self._run.folder / "last.safetensors", module, predicted, figures, self._run.command)
        if is_best:
            self._best = value
            self._task.save(self._run.out, module, predicted, figures, self._run.command)
        text = json.dumps(
            {"command": self._run.command, "recipe": self._task.recipe.model_dump(), "epochs": self._history}, indent=1
        )
        replace_file(self._run.out.with_suffix(".history.json"), text.encode() + b"\n")
        replace_file(self._run.out.with_suffix(".curves.png"), draw_curves(self._history))

    @property
    def _state_path(self) -> Path:
        return self._run.folder / "state.pt"

    @property
    def _fingerprint(self) -> str:
        return json.dumps([self._task.recipe.model_dump(), self._run.data_sha256], sort_keys=True)

    def _save(self) -> None:
        """Write, in one step, all that a killed run goes on from."""
        if self._ranks.rank != 0:
            return
        self._require_finite()
        state = {
            "fingerprint": self._fingerprint,
            "step": self._step,
            "module": self._task.module.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "history": self._history,
            "best": self._best,
            "losses": self._losses,
        }
        partial = self._state_path.with_suffix(".part")
        try:
            torch.save(state, partial)
            partial.replace(self._state_path)
        except (OSError, RuntimeError) as error:
            raise SinkError(f"{one_line(str(self._state_path))}: cannot be written: {error}; make room") from error

    def _load(self) -> None:
        path = self._state_path
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self._run.device, weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
            raise WeightsError(f"{one_line(str(path))}: damaged; delete it to start anew") from error
        if state["fingerprint"] != self._fingerprint:
            raise WeightsError(f"{one_line(str(path))}: of another recipe or other data; delete it or give another --run folder")
        self._task.module.load_state_dict(state["module"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._step, self._history, self._best = state["step"], state["history"], state["best"]
        self._losses = state["losses"]
        logger.info("going on from step {} of {}", self._step, self._total)


def _listed(values: Mapping[str, Any]) -> str:
    """Return the losses or figures that are not finite; all of them where each is."""
    plain = {name: float(value.detach() if isinstance(value, torch.Tensor) else value) for name, value in values.items()}
    told = {name: value for name, value in plain.items() if not math.isfinite(value)} or plain
    return ", ".join(f"{name} {value:g}" for name, value in told.items())


def _described(entry: dict[str, Any]) -> str:
    loss = sum(entry["losses"].values())
    return f"loss {loss:.3f}, " + ", ".join(f"{name} {value:.3f}" for name, value in entry["figures"].items())
