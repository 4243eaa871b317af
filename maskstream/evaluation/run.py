"""Builds an evaluation from a configuration: reads labels, runs a system or reads its predictions, scores, writes."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from loguru import logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from maskstream import __version__
from maskstream.annotations import Annotations, LabelFormat, Problem, ProblemKind, ReadOptions, read_annotations
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.errors import SourceOpenError
from maskstream.evaluation.analysis import Journal, System, analyse
from maskstream.evaluation.matching import CLASSES
from maskstream.evaluation.outputs import write_predictions, write_results
from maskstream.evaluation.prediction_files import read_predictions
from maskstream.evaluation.predictions import from_record
from maskstream.evaluation.scoring import ScoreSettings, score
from maskstream.evaluation.types import BoxKind, ImagePredictions
from maskstream.evaluation.yolo import load_yolo
from maskstream.inference.pipeline import batch_size_of, build_analyzer
from maskstream.io.files import make_folder, one_line
from maskstream.models.devices import pick_device
from maskstream.models.weights_path import weights_path

SystemName = Literal["maskstream", "yolo", "clip"]
YOLO_MIN_SCORE: Final = 0.25  # what Ultralytics itself shows from
_MOST_PROBLEMS: Final = 1000
"""In metrics.json: they are counted all the same."""
_JOURNAL_FILE: Final = ".predictions.partial.jsonl"


@dataclass(frozen=True)
class EvaluationRequest:
    """What a user wants to be measured, besides the configuration."""

    images: Path
    labels: Path | None
    """None for images without people; then `unlabelled` is `negative`."""
    out: Path
    format: LabelFormat | None = None
    unlabelled: Literal["skip", "negative"] = "skip"
    strict: bool = False
    """Refuse broken labels and images."""
    box: BoxKind = "face"
    """What the labels are."""
    system: SystemName = "maskstream"
    weights: str | None = None
    """Of yolo or clip."""
    predictions: Path | None = None
    """A file of predictions, instead of a system."""
    categories: Mapping[int, str] | None = None
    """Names by id, of COCO results."""
    predicted_box: BoxKind | None = None
    """What boxes of others are; None: what the labels are."""
    min_score: float | None = None
    """The operating threshold; None: the configuration's, or that of the predictions' maker."""
    group_by: re.Pattern[str] | None = None
    progress: Console | None = None
    """Where to draw a progress bar; None for none."""


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a system said, and what is known of it."""

    by_image: Mapping[str, ImagePredictions]
    system: dict[str, Any]
    """`system` of metrics.json."""
    min_score: float
    score_floor: float
    predicted_box: BoxKind | None
    """What the boxes are; None: what the labels are."""
    speed: dict[str, float] | None = None
    unreadable: tuple[Problem, ...] = ()


def evaluate(request: EvaluationRequest, config: Config) -> dict[str, Any]:
    """Measure a system, or somebody's predictions, and write all results.

    Returns:
        What metrics.json holds; docs/evaluation.md describes it.

    Raises:
        MaskStreamError: Something cannot be read, run or written.
    """
    options = ReadOptions(config.evaluation.labels, request.format, request.unlabelled, request.strict)
    annotations = read_annotations(request.images, request.labels, options)
    logger.info("{}: {}", one_line(str(request.images)), _described(annotations))
    make_folder(str(request.out))
    answers = (_answers_of_system if request.predictions is None else _answers_of_file)(request, config, annotations)
    annotations = _without_unreadable(annotations, answers.unreadable, strict=request.strict)
    settings = ScoreSettings(
        box=request.box,
        predicted_box=answers.predicted_box or request.box,
        min_score=answers.min_score,
        score_floor=answers.score_floor,
        iou=config.evaluation.iou,
        incorrect_as=config.classifier.incorrect_as,
        bootstrap=config.evaluation.bootstrap,
        group_by=request.group_by,
    )
    scored = score(annotations, answers.by_image, settings)
    metrics = {
        "maskstream": __version__,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": answers.system,
        "settings": _described_settings(settings, request),
        "data": _described_data(annotations, request),
        **scored.metrics,
        "unusable": sum(each.unusable for each in answers.by_image.values()),
        "speed": answers.speed,
    }
    write_results(request.out, metrics, scored, annotations, csv_bom=config.csv.bom)
    logger.info("{}: report.html and the rest", one_line(str(request.out)))
    return metrics


def _answers_of_file(request: EvaluationRequest, config: Config, annotations: Annotations) -> _Answers:
    path = request.predictions or Path()
    found = read_predictions(path, annotations, config.evaluation.labels, request.categories or {})
    name, images = one_line(str(path)), len(annotations.images)
    absent = images - len(found.by_image)
    if absent and found.kind != "coco":
        logger.warning("{}: {} of {} labelled pictures are not in it: all their faces count as missed", name, absent, images)
    if found.strangers:
        example = one_line(found.strangers[0])
        logger.warning("{}: {} pictures without labels do not count, such as {}", name, len(found.strangers), example)
    min_score = found.min_score if request.min_score is None else request.min_score
    logger.info("{}: {} predictions, of which those with a score of at least {:g} count", name, found.kind, min_score)
    description = f"{found.kind} predictions of {name}"
    unnamed: dict[str, Any] = {"name": "predictions", "description": description, "weights": {}, "device": None}
    system = unnamed if found.system is None else dict(found.system)
    return _Answers(found.by_image, system, min_score, found.score_floor, found.predicted_box or request.predicted_box)


def _answers_of_system(request: EvaluationRequest, config: Config, annotations: Annotations) -> _Answers:
    """Analyse every image once, or what a killed run has left."""
    usual = YOLO_MIN_SCORE if request.system == "yolo" else config.detector.min_score
    min_score = usual if request.min_score is None else request.min_score
    floor = min(config.evaluation.score_floor, min_score)
    config = refine(config, Layer.of_key("evaluation.score_floor", "detector.min_score", floor))
    system, description = _build_system(request, config)
    predicted_box: BoxKind | None = request.predicted_box if request.system == "yolo" else "face"
    images = annotations.images
    with Journal(request.out / _JOURNAL_FILE, _fingerprint(description, config)) as journal, _bar(request, len(images)) as bar:
        resumed = sum(map(journal.has, images))
        if resumed:
            logger.info("{} of {} pictures were analysed before: going on", resumed, len(images))
        size = batch_size_of(config, is_video=False)
        done = analyse(system, images, journal, size, lambda count: bar.advance(bar.task_ids[0], count))
        undone = {name for name, _ in done.unreadable}
        records = [journal.records[image.name] for image in images if image.name not in undone]
        header = {"system": description, "box": predicted_box, "min_score": min_score, "score_floor": floor}
        write_predictions(request.out, header, records)
        journal.remove()
    speed = {
        "pictures_analysed": done.analysed,
        "elapsed_s": round(done.elapsed_s, 3),
        "pictures_per_s": round(done.analysed / done.elapsed_s, 3),
        "model_share": round(done.system_s / done.elapsed_s, 4),
    }
    logger.info("{} pictures in {:.1f} s: {:.1f} a second, {:.0%} of the time in the models", *speed.values())
    unreadable = tuple(Problem(ProblemKind.UNREADABLE_IMAGE, name, reason) for name, reason in done.unreadable)
    predictions = {record["file"]: from_record(record) for record in records}
    unusable = sum(each.unusable for each in predictions.values())
    if unusable:
        logger.warning("{} answers of the models were no finite numbers: such faces count as unknown", unusable)
    return _Answers(predictions, description, min_score, floor, predicted_box, speed, unreadable)


def _fingerprint(description: Mapping[str, Any], config: Config) -> str:
    """Return a sum over all that decides about predictions."""
    settings = config.model_dump(
        include={"detector": True, "classifier": True, "align": True, "clip": True, "evaluation": {"labels"}}
    )
    text = json.dumps([__version__, description, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _build_system(request: EvaluationRequest, config: Config) -> tuple[System, dict[str, Any]]:
    """Return what finds and judges, and what `system` of metrics.json says of it."""
    device = pick_device(config.device)
    if request.system == "yolo":
        path = Path(request.weights or "")
        yolo = load_yolo(
            str(path),
            device,
            min_score=config.detector.min_score,
            max_faces=config.detector.max_faces,
            meanings=config.evaluation.labels,
            incorrect_as=config.classifier.incorrect_as,
        )
        return yolo, _system_record("yolo", f"Ultralytics {path.name}", device, [path])
    if request.system == "clip":
        config = refine(config, Layer.of_key("--system clip", "classifier", {"name": "clip", "weights": request.weights}))
    named = [(config.detector.name, config.detector.weights), (config.classifier.name, config.classifier.weights)]
    if config.classifier.name == "clip":
        named[1] = f"clip {config.clip.model}", config.classifier.weights or config.clip.weights
    files = [weights_path(weights, f"{name}.safetensors") for name, weights in named]
    description = " and ".join(f"{name} ({weights})" if weights else name for name, weights in named)
    return build_analyzer(config), _system_record(request.system, description, device, files)


def _system_record(name: str, description: str, device: object, files: list[Path]) -> dict[str, Any]:
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
    return {"name": name, "description": description, "weights": sums, "device": str(device)}


def _bar(request: EvaluationRequest, total: int) -> Progress:
    """Return a progress bar with the time to go; one that is not drawn where nobody would see it."""
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("to go"), TimeRemainingColumn()
    progress = Progress(
        TextColumn("pictures"), *columns, console=request.progress, transient=True, disable=request.progress is None
    )
    progress.add_task("pictures", total=total)
    return progress


def _without_unreadable(annotations: Annotations, unreadable: tuple[Problem, ...], *, strict: bool) -> Annotations:
    """Leave out the images that turned out to be damaged when they were decoded."""
    names = {problem.where for problem in unreadable}
    left = tuple(image for image in annotations.images if image.name not in names)
    if unreadable and (strict or not left):
        first = unreadable[0]
        raise SourceOpenError(f"{one_line(first.where)}: {first.detail} ({len(unreadable)} such pictures)")
    for problem in unreadable:
        logger.error("{}: {}", one_line(problem.where), problem.detail)
    return replace(annotations, images=left, problems=annotations.problems + unreadable)


def _described(annotations: Annotations) -> str:
    faces = sum(len(image.faces) for image in annotations.images)
    problems = "".join(f", {count} x {kind}" for kind, count in annotations.count_problems().items())
    return f"{len(annotations.images)} pictures, {faces} faces, format {annotations.format}{problems}"


def _described_settings(settings: ScoreSettings, request: EvaluationRequest) -> dict[str, Any]:
    group_by = request.group_by.pattern if request.group_by else None
    return {**asdict(settings), "unlabelled": request.unlabelled, "group_by": group_by}


def _described_data(annotations: Annotations, request: EvaluationRequest) -> dict[str, Any]:
    faces = [face for image in annotations.images for face in image.faces]
    counting = [face.label.value for face in faces if not face.ignore]
    return {
        "images": str(request.images),
        "labels": None if request.labels is None else str(request.labels),
        "format": annotations.format,
        "sha256": annotations.sha256,
        "pictures": len(annotations.images),
        "faces": len(counting),
        "ignored": len(faces) - len(counting),
        "by_class": {label.value: counting.count(label.value) for label in CLASSES},
        "names": dict(annotations.names),
        "problems": annotations.count_problems(),
        "problem_list": [asdict(problem) for problem in annotations.problems[:_MOST_PROBLEMS]],
    }
