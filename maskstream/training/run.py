"""Run a training from files: read data and recipe, choose the device, train, or do a dry run. Called by the command line."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

import numpy as np
import torch
from loguru import logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from maskstream.config.loading import Layer, load_config, load_settings
from maskstream.errors import ConfigError, ModelError
from maskstream.io.files import make_folder
from maskstream.models import CLASSIFIERS, ClassifierOptions
from maskstream.models.checkpoint import load_checkpoint
from maskstream.models.crop_classifier import CropNetwork
from maskstream.models.devices import kind_of, pick_device
from maskstream.models.face_mobilenet_network import restore
from maskstream.training.classifier import ClassifierTask
from maskstream.training.classifier_metrics import metrics_of_probabilities
from maskstream.training.crop_set import NO_CLASS, CropSet, read_crops, require_both_answers
from maskstream.training.crops import UNLABELLED, centre_crop
from maskstream.training.detector import DetectorTask
from maskstream.training.distributed import process_group
from maskstream.training.loop import Trainer
from maskstream.training.prepare import read_sets, report_broken
from maskstream.training.recipe import ClassifierRecipe, DetectorRecipe
from maskstream.training.task import Metrics, Run, Task
from maskstream.training.teachers import TRAINABLE

_LOG_EVERY_S: Final = 60.0
_DRY_RUN_ITEMS: Final = 8
_DRY_RUN_MIN_METRIC: Final = 0.9
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
    """The options of a training, besides the recipe."""

    out: Path
    """File of the best checkpoint."""
    run: Path | None
    """Folder of the state to resume from; None: a folder with the name of `out` and the suffix `.run`."""
    device: str
    backbone_weights: str | None
    """torchvision's ImageNet weights: a file, `none` for a random start, or None to fetch them."""
    init: Path | None
    """A checkpoint of this program to start from, instead of ImageNet weights."""
    strict: bool
    """Stop at the first unreadable label or image."""
    command: str
    progress: Console | None = None
    """Where the progress bar is drawn; None: no progress bar."""

    @property
    def backbone(self) -> str | None:
        """The argument of `imagenet_weights`: `none` where `init` gives all weights."""
        return "none" if self.init else self.backbone_weights


def load_detector_recipe(path: Path | None, layers: Sequence[Layer], *, dry_run: bool = False) -> DetectorRecipe:
    """Return the default recipe, overridden by a file and by layers; `ConfigError` where a value is not allowed.

    A dry run switches augmentation off; the layers override this.
    """
    unchanged = {"mosaic_share": 0, "by_face_share": 0, "turn_deg": 0, "large_turn_share": 0, "hidden_share": 0, "zoom": [1, 1]}
    defaults = [Layer("--dry-run", {**_DRY_RUN, **unchanged})] if dry_run else []
    return load_settings(DetectorRecipe, path, [*defaults, *layers])


def load_classifier_recipe(path: Path | None, layers: Sequence[Layer], *, dry_run: bool = False) -> ClassifierRecipe:
    """Return the default recipe, overridden as in `load_detector_recipe`."""
    unchanged = {"jitter_turn_deg": 0, "jitter_scale": 0, "jitter_shift": 0, "small_share": 0}
    defaults = [Layer("--dry-run", {**_DRY_RUN, **unchanged})] if dry_run else []
    return load_settings(ClassifierRecipe, path, [*defaults, *layers])


@dataclass(frozen=True)
class DetectorData:
    """The files that a detector is trained on. See `read_sets` for several sets."""

    images: Sequence[Path]
    """Folders of the images."""
    labels: Sequence[Path]
    """Training labels, in any supported format."""
    val_labels: Sequence[Path]
    """Validation labels; they select the best weights."""
    negatives: Sequence[Path] = ()
    """Folders of training images without any face."""


def train_detector(request: TrainingRequest, recipe: DetectorRecipe, data: DetectorData, teacher: Path | None = None) -> Metrics:
    """Train a detector.

    Args:
        request: The options of the training.
        recipe: The settings of the training.
        data: Images and labels.
        teacher: A checkpoint of the same architecture with any widths; its answers are a training target beside the labels.

    Returns:
        The metrics of the best weights.

    Raises:
        MaskStreamError: A file cannot be read, fetched or written.
    """
    network = None if teacher is None else restore(*load_checkpoint(teacher, recipe.architecture), str(teacher))
    train = read_sets(data.images, data.labels, data.negatives, strict=request.strict)
    val = read_sets(data.images, data.val_labels, strict=request.strict)
    read = train.sha256 + val.sha256 + ("" if teacher is None else sha256(teacher.read_bytes()).hexdigest())
    task = DetectorTask(recipe, train, val, request.backbone)
    if network is not None:
        task.learn_from(network)
    return _train(task, request, read)


def train_classifier(
    request: TrainingRequest, recipe: ClassifierRecipe, data: Sequence[Path], teacher: Path | None = None
) -> Metrics:
    """Train a classifier on the crops in DATA/train and DATA/val.

    Args:
        request: The options of the training.
        recipe: The settings of the training.
        data: Folders of crops, as `make_crops` writes them. One of them at least has validation crops.
        teacher: A checkpoint with the same classes, of any architecture; its answers are a training target beside the labels,
            and the only one of unlabelled crops.

    Returns:
        The metrics of the best weights.

    Raises:
        MaskStreamError: A file cannot be read, fetched or written.
    """
    network = None if teacher is None else _read_teacher(teacher, recipe)
    draws_unlabelled = network is not None and recipe.class_shares.get(UNLABELLED, 1.0) > 0
    train = _read_crops([folder / "train" for folder in data], recipe, request, unlabelled=draws_unlabelled)
    val = _read_crops(_validation_folders(data), recipe, request)
    unlabelled = int((train.labels == NO_CLASS).sum())
    logger.info("{} training crops, {} of them unlabelled; {} validation crops", len(train.labels), unlabelled, len(val.labels))
    read = train.sha256 + val.sha256 + ("" if teacher is None else sha256(teacher.read_bytes()).hexdigest())
    return _train(ClassifierTask(recipe, train, val, request.backbone, network), request, read)


def _read_teacher(path: Path, recipe: ClassifierRecipe) -> CropNetwork:
    state_dict, metadata = load_checkpoint(path, *TRAINABLE)
    if list(metadata.class_names) != recipe.classes or metadata.input_size != recipe.size_px:
        raise ConfigError(
            f"{path}: has the classes {', '.join(metadata.class_names)} at {metadata.input_size} px, "
            f"the recipe {', '.join(recipe.classes)} at {recipe.size_px} px; choose another --teacher"
        )
    return TRAINABLE[metadata.architecture].restore(state_dict, metadata, str(path))


def _validation_folders(data: Sequence[Path]) -> list[Path]:
    """Return DATA/val of each data folder that has validation crops; the first one where none has."""
    return [folder / "val" for folder in data if (folder / "val").exists()] or [data[0] / "val"]


def try_detector(request: TrainingRequest, recipe: DetectorRecipe, data: DetectorData) -> Metrics:
    """Train a detector on eight images and validate it on the same images; no file is kept.

    Raises:
        ModelError: The detector does not find these faces afterwards.
    """
    annotations = read_sets(data.images, data.labels, strict=request.strict)
    with_faces = [image for image in annotations.images if any(not face.ignore for face in image.faces)]
    few = replace(annotations, images=tuple(with_faces[:_DRY_RUN_ITEMS]))
    return _try(DetectorTask(recipe, few, few, request.backbone), request, few.sha256)


def try_classifier(request: TrainingRequest, recipe: ClassifierRecipe, data: Sequence[Path]) -> Metrics:
    """Train a classifier on eight crops of each class and validate it on the same crops; no file is kept.

    Raises:
        ModelError: The classifier does not recognise these crops afterwards.
    """
    crops = _read_crops([folder / "train" for folder in data], recipe, request)
    of_each_class = [np.flatnonzero(crops.labels == index)[:_DRY_RUN_ITEMS] for index in range(len(recipe.classes))]
    picks = np.concatenate(of_each_class)
    few = crops.picked(picks)
    return _try(ClassifierTask(recipe, few, few, request.backbone), request, few.sha256)


def _try(task: Task, request: TrainingRequest, data_sha256: str) -> Metrics:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "dry_run.safetensors"
        metrics = _train(task, replace(request, out=out, run=Path(folder)), data_sha256)
    name = "ap50" if "ap50" in metrics else "accuracy"
    if metrics[name] < _DRY_RUN_MIN_METRIC:
        raise ModelError(
            f"the dry run failed: {name} on its own training images is {metrics[name]:.3f}, expected {_DRY_RUN_MIN_METRIC}; "
            "check labels and recipe"
        )
    logger.info("the dry run succeeded: {} on its own training images is {:.3f}", name, metrics[name])
    return metrics


def _train(task: Task, request: TrainingRequest, data_sha256: str) -> Metrics:
    if request.init is not None:
        task.load(load_checkpoint(request.init, task.recipe.architecture)[0], str(request.init))
    run = request.run or request.out.with_suffix(".run")
    make_folder(str(request.out.parent))
    make_folder(str(run))
    device_name = pick_device(request.device)
    local_rank = os.environ.get("LOCAL_RANK")
    if local_rank and kind_of(device_name) == "cuda":  # under torchrun each process has its own GPU
        device_name = f"cuda:{local_rank}"
    device = torch.device(device_name)
    with process_group(device) as group, _progress(request.progress) as tick:
        trainer = Trainer(task, Run(request.out, run, device, request.command, data_sha256, tick), group)
        history = trainer.train()
    return max((entry["figures"] for entry in history), key=lambda metrics: metrics[task.best_by], default={})


@contextmanager
def _progress(console: Console | None) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that updates a progress bar after each step; without a console, one that logs a line every minute."""
    if console is None:
        yield _StepLog()
        return
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("remaining"), TimeRemainingColumn()
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
        started_at, first = self._first
        remaining = timedelta(seconds=round((now - started_at) / (done - first) * (total - done)))
        logger.info("step {} of {}, {} remaining", done, total, remaining)


def _read_crops(
    folders: Sequence[Path], recipe: ClassifierRecipe, request: TrainingRequest, *, unlabelled: bool = False
) -> CropSet:
    crops = read_crops(folders, recipe, unlabelled=unlabelled)
    report_broken(crops.unreadable, strict=request.strict)
    return crops


def check_classifier(request: TrainingRequest, recipe: ClassifierRecipe, data: Sequence[Path], weights: str) -> Metrics:
    """Classify the crops in DATA/val with `weights` as the stream does, and return the metrics.

    Raises:
        ConfigError: The weights have other classes than the recipe.
        MaskStreamError: A file cannot be read.
    """
    crops = _read_crops(_validation_folders(data), recipe, request)
    loaders = {**CLASSIFIERS, **{name: architecture.load for name, architecture in TRAINABLE.items()}}
    classifier = loaders[recipe.architecture](ClassifierOptions(pick_device(request.device), load_config().clip, weights))
    if list(classifier.class_names) != recipe.classes:
        known, wanted = ", ".join(classifier.class_names), ", ".join(recipe.classes)
        raise ConfigError(f"{weights}: has the classes {known}, the recipe has {wanted}; add --set classes=[{known}]")
    require_both_answers(crops, recipe)
    probabilities = classifier.classify([centre_crop(crop, recipe.size_px) for crop in crops.pixels_bgr])
    broken = int((~np.isfinite(probabilities)).any(1).sum())
    if broken:
        raise ModelError(f"{weights}: gives NaN for {broken} of {len(probabilities)} crops; train it again")
    return metrics_of_probabilities(probabilities, crops.labels, recipe.classes)
