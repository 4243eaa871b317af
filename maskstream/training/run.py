"""Builds a training from files: picks the device, trains, or only tries out whether it can learn."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

import numpy as np
import torch
from loguru import logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from maskstream.config.loading import Layer, load_config, load_sections
from maskstream.errors import ConfigError, ModelError
from maskstream.io.files import make_folder
from maskstream.io.resources import resource
from maskstream.models import CLASSIFIERS, CROP_ARCHITECTURES, ClassifierOptions
from maskstream.models.checkpoint import load_checkpoint
from maskstream.models.crop_classifier import CropNetwork
from maskstream.models.devices import kind_of, pick_device
from maskstream.training.classifier import ClassifierTask
from maskstream.training.classifier_metrics import metrics_of_probabilities
from maskstream.training.crop_set import CropSet, read_crops, require_both_answers
from maskstream.training.crops import centre_crop
from maskstream.training.detector import DetectorTask
from maskstream.training.distributed import joined
from maskstream.training.loop import Trainer
from maskstream.training.prepare import read_labelled, report_broken
from maskstream.training.recipe import ClassifierRecipe, DetectorRecipe
from maskstream.training.task import Figures, Run, Task

CONFIGS: Final = resource("configs")
_LOG_EVERY_S: Final = 60.0
_DRY_RUN_ITEMS: Final = 8
_DRY_RUN_REACHES: Final = 0.9
_DRY_RUN: Final[dict[str, Any]] = {
    "epochs": 1,
    "samples_per_epoch": 480,
    "batch_size": 8,
    "warmup_steps": 5,
    "ema_decay": 0,
    "weight_decay": 0,
    "photometric": 0,
}


@dataclass(frozen=True)
class TrainingRequest:
    """What a user wants to be trained, besides the recipe."""

    out: Path
    """The best checkpoint."""
    run: Path | None
    """Folder of the state to go on from; None: a folder named after `out`, beside it."""
    device: str
    backbone_weights: str | None
    """torchvision's ImageNet weights: a file, `none` for a random start, or None to fetch them."""
    init: Path | None
    """A checkpoint of ours to start from, instead of ImageNet weights."""
    strict: bool
    """Refuse broken labels and images."""
    command: str
    progress: Console | None = None
    """Where to draw a progress bar; None for none."""

    @property
    def backbone(self) -> str | None:
        """ImageNet weights as `imagenet_weights` takes them: none where a checkpoint has everything."""
        return "none" if self.init else self.backbone_weights


def load_detector_recipe(path: Path | None, layers: Sequence[Layer], *, dry_run: bool = False) -> DetectorRecipe:
    """Return `configs/train_detector.yaml` with a file and layers laid over it; `ConfigError` where they do not fit.

    A dry run changes nothing about its images; what the layers say stands above that.
    """
    still = {"mosaic_share": 0, "by_face_share": 0, "turn_deg": 0, "large_turn_share": 0, "hidden_share": 0, "zoom": [1, 1]}
    below = [Layer("--dry-run", {**_DRY_RUN, **still})] if dry_run else []
    return load_sections(DetectorRecipe, CONFIGS / "train_detector.yaml", path, [*below, *layers])


def load_classifier_recipe(path: Path | None, layers: Sequence[Layer], *, dry_run: bool = False) -> ClassifierRecipe:
    """Return `configs/train_classifier.yaml` likewise."""
    still = {"jitter_turn_deg": 0, "jitter_scale": 0, "jitter_shift": 0, "occluded_share": 0, "small_share": 0}
    below = [Layer("--dry-run", {**_DRY_RUN, **still})] if dry_run else []
    return load_sections(ClassifierRecipe, CONFIGS / "train_classifier.yaml", path, [*below, *layers])


def train_detector(request: TrainingRequest, recipe: DetectorRecipe, images: Path, labels: tuple[Path, Path]) -> Figures:
    """Train a detector.

    Args:
        request: See there.
        recipe: How.
        images: Folder of the images.
        labels: COCO keypoints files, or labels in any format that is read: to learn from, and to choose by.

    Returns:
        The figures of the weights that were kept.

    Raises:
        MaskStreamError: Something cannot be read, fetched or written.
    """
    train, val = (read_labelled(images, path, strict=request.strict) for path in labels)
    return _train(DetectorTask(recipe, train, val, request.backbone), request, train.sha256 + val.sha256)


def train_classifier(request: TrainingRequest, recipe: ClassifierRecipe, data: Path, teacher: Path | None = None) -> Figures:
    """Train a classifier on the crops in `data`/train and `data`/val.

    Args:
        request: See there.
        recipe: How.
        data: Crops as `make_crops` writes them.
        teacher: A classifier of ours, of any architecture and the same classes, to learn from beside the labels.

    Returns:
        The figures of the weights that were kept.

    Raises:
        MaskStreamError: Something cannot be read, fetched or written.
    """
    train, val = (_report(read_crops(data / part, recipe), strict=request.strict) for part in ("train", "val"))
    network = None if teacher is None else _read_teacher(teacher, recipe)
    return _train(ClassifierTask(recipe, train, val, request.backbone, network), request, train.sha256 + val.sha256)


def _read_teacher(path: Path, recipe: ClassifierRecipe) -> CropNetwork:
    state_dict, metadata = load_checkpoint(path, *CROP_ARCHITECTURES)
    if list(metadata.class_names) != recipe.classes or metadata.input_size != recipe.size_px:
        raise ConfigError(f"{path}: tells {', '.join(metadata.class_names)} at {metadata.input_size} px, unlike the recipe")
    return CROP_ARCHITECTURES[metadata.architecture].restore(state_dict, metadata, str(path))


def try_detector(request: TrainingRequest, recipe: DetectorRecipe, images: Path, labels: Path) -> Figures:
    """Let a detector learn eight images by heart, and leave nothing behind.

    Raises:
        ModelError: It did not learn them.
    """
    annotations = read_labelled(images, labels, strict=request.strict)
    with_faces = [image for image in annotations.images if any(not face.ignore for face in image.faces)]
    few = replace(annotations, images=tuple(with_faces[:_DRY_RUN_ITEMS]))
    return _try(lambda: DetectorTask(recipe, few, few, request.backbone), request, few.sha256)


def try_classifier(request: TrainingRequest, recipe: ClassifierRecipe, data: Path) -> Figures:
    """Let a classifier learn eight crops of each class by heart, and leave nothing behind.

    Raises:
        ModelError: It did not learn them.
    """
    crops = _report(read_crops(data / "train", recipe), strict=request.strict)
    picks = np.concatenate([np.flatnonzero(crops.labels == index)[:_DRY_RUN_ITEMS] for index in range(len(recipe.classes))])
    few = replace(crops, pixels_bgr=crops.pixels_bgr[picks], labels=crops.labels[picks])
    return _try(lambda: ClassifierTask(recipe, few, few, request.backbone), request, few.sha256)


def _try(build: Callable[[], Task], request: TrainingRequest, data_sha256: str) -> Figures:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "dry_run.safetensors"
        figures = _train(build(), replace(request, out=out, run=Path(folder)), data_sha256)
    name = "ap50" if "ap50" in figures else "accuracy"
    if figures[name] < _DRY_RUN_REACHES:
        raise ModelError(
            f"the dry run did not learn its pictures by heart: {name} {figures[name]:.3f}, expected {_DRY_RUN_REACHES}"
        )
    logger.info("the dry run learnt its pictures by heart: {} {:.3f}", name, figures[name])
    return figures


def _train(task: Task, request: TrainingRequest, data_sha256: str) -> Figures:
    if request.init is not None:
        task.load(load_checkpoint(request.init, task.recipe.architecture)[0], str(request.init))
    run = request.run or request.out.with_suffix(".run")
    make_folder(str(request.out.parent))
    make_folder(str(run))
    device = _device(request.device)
    with joined(device) as ranks, _progress(request.progress) as tick:
        trainer = Trainer(task, Run(request.out, run, device, request.command, data_sha256, tick), ranks)
        history = trainer.train()
    return max((entry["figures"] for entry in history), key=lambda figures: figures[task.best_by], default={})


@contextmanager
def _progress(console: Console | None) -> Iterator[Callable[[int, int], None]]:
    """Yield what draws a progress bar after each step, or without a console writes a line to the log now and then."""
    if console is None:
        yield _StepLog()
        return
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("to go"), TimeRemainingColumn()
    with Progress(TextColumn("steps"), *columns, console=console, transient=True) as bar:
        steps = bar.add_task("steps", total=None)
        yield lambda done, total: bar.update(steps, completed=done, total=total)


class _StepLog:
    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._logged_at = monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = monotonic()
        self._first = self._first or (now, done)
        if now - self._logged_at < _LOG_EVERY_S or done == self._first[1]:
            return
        self._logged_at = now
        to_go = timedelta(seconds=round((now - self._first[0]) / (done - self._first[1]) * (total - done)))
        logger.info("step {} of {}, {} to go", done, total, to_go)


def _device(name: str) -> torch.device:
    """Return the device, of several the one of this process of torchrun."""
    local_rank = os.environ.get("LOCAL_RANK")
    device = pick_device(name)
    return torch.device(f"cuda:{local_rank}" if local_rank and kind_of(device) == "cuda" else device)


def _report(crops: CropSet, *, strict: bool) -> CropSet:
    report_broken(crops.unreadable, strict=strict)
    return crops


def check_classifier(request: TrainingRequest, recipe: ClassifierRecipe, data: Path, weights: str) -> Figures:
    """Judge the crops in `data`/val with weights as the stream would, and return the figures.

    Raises:
        ConfigError: The weights tell other classes than the recipe.
        MaskStreamError: Something cannot be read.
    """
    crops = _report(read_crops(data / "val", recipe), strict=request.strict)
    classifier = CLASSIFIERS[recipe.architecture](ClassifierOptions(pick_device(request.device), load_config().clip, weights))
    if list(classifier.class_names) != recipe.classes:
        known, wanted = ", ".join(classifier.class_names), ", ".join(recipe.classes)
        raise ConfigError(f"{weights}: tells {known}, the recipe says {wanted}; --set classes=[{known}]")
    require_both_answers(crops, recipe)
    probabilities = classifier.classify([centre_crop(crop, recipe.size_px) for crop in crops.pixels_bgr])
    broken = int((~np.isfinite(probabilities)).any(1).sum())
    if broken:
        raise ModelError(f"{weights}: says no finite numbers of {broken} of {len(probabilities)} crops; train it anew")
    return metrics_of_probabilities(probabilities, crops.labels, recipe.classes)
