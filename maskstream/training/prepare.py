"""Prepare training data: read labels, cut crops, mark unlabelled faces. Called by the command line."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from loguru import logger
from rich.console import Console
from rich.progress import Progress

from maskstream.annotations import Annotations, LabelFormat, LabelledImage, ProblemKind, ReadOptions, read_annotations
from maskstream.config.loading import load_config
from maskstream.config.schema import Config
from maskstream.errors import ConfigError, SourceError, SourceOpenError
from maskstream.evaluation.predictions import BoxKind
from maskstream.inference.pipeline import build_detector
from maskstream.io.files import make_folder, one_line, replace_file
from maskstream.io.output_paths import require_folder
from maskstream.training.crops import CropRules, KeypointSource, make_crops
from maskstream.training.unlabelled import add_unlabelled
from maskstream.vision.align import AlignRules


@dataclass(frozen=True)
class CropRequest:
    """The options of `make-crops`. The detector comes from the configuration."""

    images: Path
    labels: Path
    out: Path
    format: LabelFormat | None
    box: BoxKind
    keypoints: KeypointSource
    size: int
    strict: bool
    background: str | None = None
    """A regular expression; see `CropRules`."""
    views: int = 0
    """See `CropRules`."""
    progress: Console | None = None


def cut_crops(request: CropRequest, config: Config) -> dict[str, Any]:
    """Cut the labelled faces of a folder. See `make_crops` for the files and the returned description.

    Raises:
        MaskStreamError: A file cannot be read, loaded or written.
    """
    options = ReadOptions(config.evaluation.labels, request.format, strict=request.strict)
    annotations = read_annotations(request.images, request.labels, options)
    require_folder(str(request.out))
    make_folder(str(request.out))
    align = AlignRules(config.align.min_face_px, config.align.min_keypoint_score)
    background = None if request.background is None else _pattern("--background", request.background)
    rules = CropRules(request.size, align, request.keypoints, request.box, background, request.views)
    with _images_bar(request.progress, len(annotations.images) + request.views) as tick:
        return make_crops(annotations, build_detector(config), request.out, rules, tick)


def find_unlabelled(images: Path, labels: Path, out: Path, only: str, config: Config, progress: Console | None = None) -> int:
    """Copy COCO labels and add the unlabelled faces that the detector finds, marked `ignore`. Return the number of added faces.

    Args:
        images: Folder of the images.
        labels: A COCO file.
        out: The file to write.
        only: A regular expression: only images whose name matches are changed.
        config: Chooses the detector and its minimum score (`detector.min_score`).
        progress: Where the progress bar is drawn; None: no progress bar.

    Raises:
        MaskStreamError: A file cannot be read, loaded or written.
    """
    pattern = _pattern("--only", only)
    annotations = read_labelled(images, labels, strict=False, label_format="coco")
    coco = json.loads(labels.read_bytes())  # bytes: json detects the encoding
    require_folder(str(out.parent))
    make_folder(str(out.parent))
    with _images_bar(progress, len(annotations.images)) as tick:
        count = add_unlabelled(coco, annotations, build_detector(config), pattern, tick)
    replace_file(out, json.dumps(coco).encode() + b"\n")
    return count


def _pattern(option: str, expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise ConfigError(f"{option} {expression}: not a regular expression: {error}") from error


def read_labelled(folder: Path, labels: Path | None, *, strict: bool, label_format: LabelFormat | None = None) -> Annotations:
    """Return the labels of all images that can be decoded; without labels, images without faces.

    Each other image is logged, or refused with `strict`.

    Raises:
        MaskStreamError: No image can be read, or with `strict` any image cannot.
    """
    meanings = load_config().evaluation.labels
    options = ReadOptions(
        meanings, label_format, "skip" if labels else "negative", strict=strict, classes_matter=False
    )  # the detector is trained on faces of any class
    annotations = read_annotations(folder, labels, options)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow releases the interpreter lock while it decodes
        reasons = list(pool.map(_why_unreadable, annotations.images))
    for problem in annotations.problems:
        if problem.kind is not ProblemKind.IMAGE_WITHOUT_LABEL:  # the labels of the validation set are in another file
            logger.warning("{}: {}: {}", one_line(problem.where), problem.kind.text, problem.detail)
    report_broken([reason for reason in reasons if reason], strict=strict)
    images = tuple(image for image, reason in zip(annotations.images, reasons, strict=True) if not reason)
    faces = sum(len(image.faces) for image in images)
    logger.info("{}: {} images, {} faces", one_line(str(labels or folder)), len(images), faces)
    return replace(annotations, images=images)


def read_sets(folders: Sequence[Path], labels: Sequence[Path], negatives: Sequence[Path] = (), *, strict: bool) -> Annotations:
    """Return the labelled images of several sets as one, and the images of folders without faces.

    An image whose name occurs in several sets has the number of its set, from 2, before its name.

    Args:
        folders: The folders of the images: one for each label file, or one for all.
        labels: The label files, or folders of them.
        negatives: Folders of images without any face.
        strict: Refuse the first image that cannot be read.

    Raises:
        ConfigError: The number of folders does not fit the number of label files.
        MaskStreamError: No image of a set can be read, or with `strict` any image cannot.
    """
    if len(folders) not in (1, len(labels)):
        raise ConfigError(f"--images: {len(folders)} folders for {len(labels)} label files; give one folder, or one for each")
    each_folder = folders if len(folders) == len(labels) else [folders[0]] * len(labels)
    parts = [read_labelled(folder, path, strict=strict) for folder, path in zip(each_folder, labels, strict=True)]
    parts += [read_labelled(folder, None, strict=strict) for folder in negatives]
    images: dict[str, LabelledImage] = {}
    for number, part in enumerate(parts, start=1):
        for image in part.images:
            name = image.name if image.name not in images else f"{number}/{image.name}"
            images[name] = replace(image, name=name)
    digest = parts[0].sha256 if len(parts) == 1 else sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
    return Annotations(tuple(images.values()), parts[0].format, digest)


def report_broken(broken: Sequence[str], *, strict: bool) -> None:
    """Log each file that is left out; with `strict`, raise `SourceOpenError` instead."""
    if broken and strict:
        raise SourceOpenError(f"{broken[0]} ({len(broken)} such images)")
    for line in broken:
        logger.error("{}; left out", line)


def _why_unreadable(image: LabelledImage) -> str:
    try:
        image.read()
    except SourceError as error:
        return str(error)
    return ""


@contextmanager
def _images_bar(console: Console | None, total: int) -> Iterator[Callable[[int], None]]:
    with Progress(console=console, transient=True, disable=console is None) as bar:
        yield partial(bar.advance, bar.add_task("images", total=total))
