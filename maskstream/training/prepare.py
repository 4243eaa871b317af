"""Builds what the trainers learn from: labels with readable images, crops, labels that ignore what nobody labelled."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
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
    """What is to be cut, besides the configuration, which names the detector."""

    images: Path
    labels: Path
    out: Path
    format: LabelFormat | None
    box: BoxKind
    keypoints: KeypointSource
    size: int
    strict: bool
    background: str | None = None
    """A regular expression: see `CropRules`."""
    progress: Console | None = None


def cut_crops(request: CropRequest, config: Config) -> dict[str, Any]:
    """Cut the labelled faces of a folder; see `make_crops` for what comes out.

    Raises:
        MaskStreamError: Something cannot be read, loaded or written.
    """
    options = ReadOptions(config.evaluation.labels, request.format, strict=request.strict)
    annotations = read_annotations(request.images, request.labels, options)
    require_folder(str(request.out))
    make_folder(str(request.out))
    align = AlignRules(config.align.min_face_px, config.align.min_keypoint_score)
    background = None if request.background is None else _pattern("--background", request.background)
    rules = CropRules(request.size, align, request.keypoints, request.box, background)
    with _images_bar(request.progress, annotations) as tick:
        return make_crops(annotations, build_detector(config), request.out, rules, tick)


def find_unlabelled(images: Path, labels: Path, out: Path, only: str, config: Config, progress: Console | None = None) -> int:
    """Write COCO labels anew, with what the detector finds beside them marked `ignore`; return how many these are.

    Args:
        images: Folder of the images.
        labels: A COCO file.
        out: The new file.
        only: A regular expression: images of other names stay as they are.
        config: Names the detector and how sure it must be (`detector.min_score`).
        progress: Where to draw a progress bar; None for none.

    Raises:
        MaskStreamError: Something cannot be read, loaded or written.
    """
    pattern = _pattern("--only", only)
    annotations = read_labelled(images, labels, strict=False, label_format="coco")
    coco = json.loads(labels.read_bytes())  # in whatever encoding it was read before
    require_folder(str(out.parent))
    make_folder(str(out.parent))
    with _images_bar(progress, annotations) as tick:
        count = add_unlabelled(coco, annotations, build_detector(config), pattern, tick)
    replace_file(out, json.dumps(coco).encode() + b"\n")
    return count


def _pattern(option: str, expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise ConfigError(f"{option} {expression}: not a regular expression: {error}") from error


def read_labelled(folder: Path, labels: Path, *, strict: bool, label_format: LabelFormat | None = None) -> Annotations:
    """Return labels whose images can all be decoded; list what is wrong with the others, or refuse them.

    Raises:
        MaskStreamError: Nothing can be read, or with `strict` not everything.
    """
    meanings = load_config().evaluation.labels
    options = ReadOptions(meanings, label_format, strict=strict, classes_matter=False)  # a detector finds faces of any class
    annotations = read_annotations(folder, labels, options)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without the interpreter's lock
        reasons = list(pool.map(_why_unreadable, annotations.images))
    for problem in annotations.problems:
        if problem.kind is not ProblemKind.IMAGE_WITHOUT_LABEL:  # those of the other set
            logger.warning("{}: {}: {}", one_line(problem.where), problem.kind.text, problem.detail)
    report_broken([reason for reason in reasons if reason], strict=strict)
    images = tuple(image for image, reason in zip(annotations.images, reasons, strict=True) if not reason)
    faces = sum(len(image.faces) for image in images)
    logger.info("{}: {} pictures, {} faces", one_line(str(labels)), len(images), faces)
    return replace(annotations, images=images)


def report_broken(broken: Sequence[str], *, strict: bool) -> None:
    """Log what is left out; with `strict`, raise `SourceOpenError` for it."""
    if broken and strict:
        raise SourceOpenError(f"{broken[0]} ({len(broken)} such pictures)")
    for line in broken:
        logger.error("{}; left out", line)


def _why_unreadable(image: LabelledImage) -> str:
    try:
        image.read()
    except SourceError as error:
        return str(error)
    return ""


@contextmanager
def _images_bar(console: Console | None, annotations: Annotations) -> Iterator[Callable[[int], None]]:
    with Progress(console=console, transient=True, disable=console is None) as bar:
        yield partial(bar.advance, bar.add_task("pictures", total=len(annotations.images)))
