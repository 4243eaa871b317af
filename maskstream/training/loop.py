"""The training loop of both trainers: steps, moving average, validation, checkpoints, resuming, several processes."""

import json
import math
import pickle
from collections.abc import Iterator, Mapping
from functools import partial
from time import monotonic
from typing import Any, Final

import cv2
import torch
from loguru import logger
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from maskstream.errors import MaskStreamError, ModelError, SinkError, WeightsError
from maskstream.io.files import one_line, replace_file
from maskstream.training.distributed import ProcessGroup
from maskstream.training.plots import draw_curves
from maskstream.training.task import Metrics, Run, Task

_EMA_WARMUP: Final = 10
"""After n steps the decay of the moving average is at most (1 + n) / (10 + n), so that it forgets the first steps."""
_LAST_LR: Final = 0.01
"""Learning rate at the end of the cosine, as a fraction of `learning_rate`."""
_MAX_SKIPPED: Final = 20
"""Consecutive steps that the float16 gradient scaler may skip: it needs up to 16 to halve its scale until nothing overflows."""
_MUCH_HIGHER: Final = 2.0
"""A loss this many times the lowest one of an epoch before is reported: a training can fail with all numbers finite."""


class _Samples(Dataset[Any]):
    def __init__(self, task: Task) -> None:
        self._task = task

    def __getitem__(self, number: int) -> Any:
        try:
            return self._task.sample(number)
        except MaskStreamError as error:  # returned: raised in a worker process, its message would be a traceback
            return error


def _collate(task: Task, samples: list[Any]) -> Any:
    """Return a batch of samples, or the first error where a sample is an error."""
    for sample in samples:
        if isinstance(sample, MaskStreamError):
            return sample
    return task.collate(samples)


class Trainer:
    """One training, from its first step or from the state of a stopped one."""

    def __init__(self, task: Task, run: Run, group: ProcessGroup) -> None:
        """Set up the training, and load the state of a stopped training with the same recipe and data.

        Raises:
            WeightsError: That state is damaged, or of another recipe or other data.
        """
        recipe = task.recipe
        self._task, self._run, self._group = task, run, group
        self._state_path = run.folder / "state.pt"
        self._fingerprint = json.dumps([recipe.model_dump(), run.data_sha256], sort_keys=True)
        task.to_device(run.device)
        groups = task.parameter_groups()
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=run.device.type in ("cuda", "cpu"))
        self._average = AveragedModel(task.module, multi_avg_fn=self._blend, use_buffers=True)
        self._step = 0
        self._trained_s = 0.0
        self._history: list[dict[str, Any]] = []
        self._best = -math.inf
        self._losses: dict[str, float] = {}
        self._skipped = 0
        self._steps_per_epoch = max(recipe.samples_per_epoch // recipe.batch_size, 1)
        self._total = self._steps_per_epoch * recipe.epochs
        precisions = {"auto": torch.float16 if run.device.type == "cuda" else None, "float32": None, "bfloat16": torch.bfloat16}
        self._autocast_to = precisions[recipe.precision]
        self._scaler = torch.amp.GradScaler(run.device.type, enabled=self._autocast_to is torch.float16)
        self._load()
        self._module: nn.Module = task.module if group.world_size == 1 else DistributedDataParallel(task.module)

    def _blend(self, averages: Any, parameters: Any, count: Any) -> None:
        steps = int(count)
        decay = min(self._task.recipe.ema_decay, (1 + steps) / (_EMA_WARMUP + steps))
        get_ema_multi_avg_fn(decay)(averages, parameters, count)  # type: ignore[no-untyped-call]

    def train(self) -> list[dict[str, Any]]:
        """Train to the end.

        Returns:
            The history: one entry per epoch with its losses, its learning rate, its metrics, and whether it is the best.

        Raises:
            ModelError: A gradient, a weight or a metric is not finite. The file of the best weights is not changed.
            MaskStreamError: A file cannot be read or written.
        """
        saved_at = epoch_began_at = stepped_at = monotonic()
        for batch in self._batches():
            if isinstance(batch, MaskStreamError):
                raise batch
            self._advance(batch)
            self._trained_s += monotonic() - stepped_at
            if self._task.recipe.max_minutes is not None:  # all processes must end in the same step
                self._trained_s = self._group.largest(self._trained_s)
            self._run.tick(self._step, self._last_step())
            if self._step % self._steps_per_epoch == 0 or self._time_is_up():
                self._finish_epoch(monotonic() - epoch_began_at)
                epoch_began_at = monotonic()
                if self._time_is_up():
                    break
            elif monotonic() - saved_at > self._task.recipe.save_every_s:
                self._save()
                saved_at = monotonic()
            stepped_at = monotonic()
        if self._group.rank == 0 and not self._run.out.exists():
            out, state = one_line(str(self._run.out)), one_line(str(self._state_path))
            raise WeightsError(f"{out}: does not exist, but its training has finished; delete {state} to train again")
        return self._history

    def _batches(self) -> Iterator[Any]:
        recipe, group = self._task.recipe, self._group
        batch_size = recipe.batch_size // group.world_size
        numbers: list[int] = []
        for step in range(self._step, self._total):
            first = step * recipe.batch_size + group.rank * batch_size
            numbers += range(first, first + batch_size)
        workers = recipe.workers
        if workers is None:
            workers = 8 if self._run.device.type == "cuda" else 0
        loader = DataLoader(
            _Samples(self._task),
            batch_size=batch_size,
            sampler=numbers,
            num_workers=workers,
            collate_fn=partial(_collate, self._task),
            persistent_workers=workers > 0,
        )
        opencv_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the processes of the loader inherit it; in a fork of OpenCV's threads this call waits without end
        try:
            return iter(loader)
        finally:
            cv2.setNumThreads(opencv_threads)

    def _advance(self, batch: Any) -> None:
        torch.manual_seed(self._task.recipe.seed + self._step * self._group.world_size + self._group.rank)
        self._module.train()
        rate = self._rate()
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["lr_factor"]
        with torch.autocast(self._run.device.type, self._autocast_to, enabled=self._autocast_to is not None):
            losses = self._task.losses(self._module, batch, self._run.device)
            total = torch.stack(list(losses.values())).sum()
        self._optimizer.zero_grad()
        self._scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        trained = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(trained, self._task.recipe.clip_norm))
        self._skipped = 0 if math.isfinite(norm) else self._skipped + 1
        if self._skipped > (_MAX_SKIPPED if self._scaler.is_enabled() else 0):
            plain = {name: value.detach() for name, value in losses.items()}
            raise self._diverged(self._step + 1, f"the gradient is not finite ({_listed(plain)})")
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._average.update_parameters(self._task.module)
        self._step += 1
        for name, value in losses.items():
            if not self._skipped:
                self._losses[name] = self._losses.get(name, 0.0) + float(value.detach())

    def _rate(self) -> float:
        """Return the learning rate: a linear warm-up, then half a cosine (Loshchilov and Hutter, "SGDR", 2017)."""
        recipe = self._task.recipe
        if self._step < recipe.warmup_steps:
            return recipe.learning_rate * (self._step + 1) / recipe.warmup_steps
        progress = (self._step - recipe.warmup_steps) / max(self._total - recipe.warmup_steps, 1)
        progress = min(max(progress, self._time_used()), 1.0)
        return recipe.learning_rate * (_LAST_LR + (1 - _LAST_LR) * (1 + math.cos(math.pi * progress)) / 2)

    def _time_used(self) -> float:
        """Return the fraction of `max_minutes` that has passed; 0 without this limit."""
        limit = self._task.recipe.max_minutes
        return 0.0 if limit is None else self._trained_s / (60 * limit)

    def _time_is_up(self) -> bool:
        return self._time_used() >= 1

    def _last_step(self) -> int:
        """Return the step at which the training will end, at its speed so far."""
        used = self._time_used()
        return max(min(round(self._step / used), self._total), self._step) if used else self._total

    def _require_finite(self) -> None:
        """Raise `ModelError` where a weight is not finite, so that it is neither validated nor saved."""
        for module in (self._task.module, self._average.module):
            for name, tensor in module.state_dict().items():
                if not torch.isfinite(tensor).all():
                    raise self._diverged(self._step, f"the weight {name} is not finite")

    def _diverged(self, step: int, what: str) -> ModelError:
        """Return the error of a training that cannot continue; `step` counts from 1."""
        best_epochs = [entry["epoch"] for entry in self._history if entry["best"]]
        out, folder = one_line(str(self._run.out)), one_line(str(self._run.folder))
        kept = f"{out} keeps the weights of epoch {best_epochs[-1]}" if best_epochs else "no weights are kept"
        return ModelError(
            f"training has diverged in epoch {(step - 1) // self._steps_per_epoch + 1}, step {step}: {what}; {kept}; "
            f"lower learning_rate ({self._task.recipe.learning_rate:g}) and give another --run than {folder}, "
            "or check the training images for damage"
        )

    def _finish_epoch(self, seconds: float) -> None:
        self._require_finite()
        module = self._average.module.eval()
        items = self._group.shard(self._task.val_items)
        predicted = self._group.gather(self._task.predict(module, items, self._run.device))
        if self._group.rank == 0:
            self._validate(module, predicted, seconds)
        self._losses = {}
        self._save()

    def _validate(self, module: nn.Module, predicted: list[Any], seconds: float) -> None:
        metrics = self._task.validate(predicted)
        if any(not math.isfinite(metric) for metric in metrics.values()):
            raise self._diverged(self._step, f"the validation is not finite ({_listed(metrics)})")
        value = metrics[self._task.best_by]
        is_best = value > self._best
        steps = (self._step - 1) % self._steps_per_epoch + 1
        entry: dict[str, Any] = {
            "epoch": math.ceil(self._step / self._steps_per_epoch),
            "seconds": round(seconds, 1),
            "learning_rate": round(self._rate(), 8),
            "losses": {name: round(total / steps, 5) for name, total in self._losses.items()},
            "figures": _rounded(metrics),
            "best": is_best,
        }
        by_set = self._task.by_set(predicted, metrics)
        if by_set:
            entry["by_set"] = {part: _rounded(of_part) for part, of_part in by_set.items()}
        self._history.append(entry)
        _log_epoch(entry)
        self._warn_of_a_risen_loss()
        self._task.save(self._run.folder / "last.safetensors", module, predicted, metrics, self._run.command)
        if is_best:
            self._best = value
            self._task.save(self._run.out, module, predicted, metrics, self._run.command)
        text = json.dumps(
            {"command": self._run.command, "recipe": self._task.recipe.model_dump(), "epochs": self._history}, indent=1
        )
        replace_file(self._run.out.with_suffix(".history.json"), text.encode() + b"\n")
        replace_file(self._run.out.with_suffix(".curves.png"), draw_curves(self._history))

    def _warn_of_a_risen_loss(self) -> None:
        *before, last = map(_loss, self._history)
        if before and last > _MUCH_HIGHER * min(before):
            logger.warning(
                "epoch {}: the loss {:.3f} is more than {:g} times the lowest one before ({:.3f}); if it stays high, "
                "stop the training, lower learning_rate ({:g}) and start from {} (--init)",
                self._history[-1]["epoch"],
                last,
                _MUCH_HIGHER,
                min(before),
                self._task.recipe.learning_rate,
                one_line(str(self._run.out)),
            )

    def _save(self) -> None:
        """Write the state that a stopped training resumes from; the file is replaced in one step."""
        if self._group.rank != 0:
            return
        self._require_finite()
        state = {
            "fingerprint": self._fingerprint,
            "step": self._step,
            "trained_s": self._trained_s,
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
            raise SinkError(f"{one_line(str(self._state_path))}: cannot be written: {error}; free disk space") from error

    def _load(self) -> None:
        path = self._state_path
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self._run.device, weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
            raise WeightsError(f"{one_line(str(path))}: damaged; delete it to start again") from error
        if state["fingerprint"] != self._fingerprint:
            raise WeightsError(
                f"{one_line(str(path))}: state of another recipe or other data; delete it or give another --run folder"
            )
        self._task.module.load_state_dict(state["module"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._step, self._history, self._best = state["step"], state["history"], state["best"]
        self._losses, self._trained_s = state["losses"], state["trained_s"]
        logger.info("resuming from step {} of {}", self._step, self._total)


def _loss(entry: Mapping[str, Any]) -> float:
    return math.fsum(entry["losses"].values())


def _log_epoch(entry: Mapping[str, Any]) -> None:
    text = _text(entry["figures"], ", ")
    logger.info("epoch {}: loss {:.3f}, {}{}", entry["epoch"], _loss(entry), text, " (best)" * entry["best"])
    if "by_set" in entry:
        parts = [f"{part} {_text(metrics, ' ')}" for part, metrics in entry["by_set"].items()]
        logger.info("epoch {} by set: {}", entry["epoch"], "; ".join(parts))


def _text(metrics: Metrics, separator: str) -> str:
    return separator.join(f"{name} {metric:.3f}" for name, metric in metrics.items())


def _rounded(metrics: Metrics) -> Metrics:
    return {name: round(metric, 5) for name, metric in metrics.items()}


def _listed(values: Mapping[str, Any]) -> str:
    """Return the losses or metrics that are not finite; all of them where each is finite."""
    plain = {name: float(value) for name, value in values.items()}
    broken = {name: value for name, value in plain.items() if not math.isfinite(value)}
    return ", ".join(f"{name} {value:g}" for name, value in (broken or plain).items())
