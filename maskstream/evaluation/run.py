"""Run an evaluation: read labels, run a system or read its predictions, score them, write the results."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from loguru import logger
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from maskstream import __version__
from maskstream.annotations import Annotations, LabelledImage, Problem, ProblemKind, ReadOptions, read_annotations
from maskstream.config.image_settings import for_images
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.errors import SourceOpenError
from maskstream.evaluation.analysis import AnalysisReport, Journal, System, analyse
from maskstream.evaluation.metrics_json import Metrics, Speed, SystemInfo
from maskstream.evaluation.outputs import write_predictions, write_results
from maskstream.evaluation.prediction_files import read_predictions
from maskstream.evaluation.predictions import BoxKind, ImagePredictions, from_record
from maskstream.evaluation.request import EvaluationRequest
from maskstream.evaluation.run_info import data_info, settings_info, speed_of
from maskstream.evaluation.scoring import Scored, ScoreSettings, score
from maskstream.evaluation.systems import build_system, fingerprint_of
from maskstream.inference.pipeline import batch_size_of
from maskstream.io.files import make_folder, one_line

YOLO_MIN_SCORE: Final = 0.25  # the default of Ultralytics
_JOURNAL_FILE: Final = ".predictions.partial.jsonl"


@dataclass(frozen=True, eq=False)
class _Answers:
    """The predictions of a system and how they were made."""

    by_image: Mapping[str, ImagePredictions]
    system: SystemInfo
    min_score: float
    score_floor: float
    predicted_box: BoxKind | None
    """What the boxes contain; None: the same as the labelled boxes."""
    speed: Speed | None = None
    unreadable: tuple[Problem, ...] = ()


@dataclass(frozen=True, eq=False)
class LoadedSystem:
    """A system with its models, ready for any number of sets of images."""

    system: System
    info: SystemInfo
    fingerprint: str
    """Hash of all settings that change predictions."""
    min_score: float
    """Operating threshold."""
    score_floor: float
    """The system returns faces from this score up, for the curves."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """The result of an evaluation before it is written."""

    metrics: Metrics
    scored: Scored
    annotations: Annotations
    predictions: Mapping[str, ImagePredictions]
    """By image name."""
    settings: ScoreSettings


def evaluate(request: EvaluationRequest, config: Config) -> Metrics:
    """Measure a system, or a file of predictions, and write all results into `request.out`.

    Raises:
        MaskStreamError: Something cannot be read, run or written.
    """
    measured = measure(request, config)
    write(measured, request, config)
    remove_journal(request.out)
    return measured.metrics


def write(measured: Measurement, request: EvaluationRequest, config: Config) -> None:
    """Write all results except the predictions into `request.out`.

    Raises:
        SinkError: A file cannot be written.
    """
    write_results(
        request.out,
        measured.metrics,
        measured.scored,
        measured.annotations,
        csv_bom=config.csv.bom,
        most_tiles=request.contact_sheets,
    )
    logger.info("{}: wrote report.html and the other files", one_line(str(request.out)))


def remove_journal(out: Path) -> None:
    """Delete the journal of a finished run: its results are in other files."""
    (out / _JOURNAL_FILE).unlink(missing_ok=True)


def measure(
    request: EvaluationRequest, config: Config, annotations: Annotations | None = None, loaded: LoadedSystem | None = None
) -> Measurement:
    """Measure a system, or a file of predictions. A system also writes predictions.json into `request.out`.

    Args:
        request: The options.
        config: The configuration.
        annotations: Result of `read_labels`; None: read them.
        loaded: Result of `load_system`; None: load it unless the request has a file of predictions.

    Raises:
        MaskStreamError: Something cannot be read, run or written.
    """
    annotations = annotations or read_labels(request, config)
    make_folder(str(request.out))
    if request.predictions is None:
        answers = _answers_of_system(loaded or load_system(request, config), request, config, annotations)
    else:
        answers = _answers_of_file(request.predictions, request, config, annotations)
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
    metrics = Metrics.of(
        scored.metrics,
        maskstream=__version__,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        system=answers.system,
        settings=settings_info(settings, request),
        data=data_info(annotations, request),
        unusable=sum(each.unusable for each in answers.by_image.values()),
        speed=answers.speed,
    )
    return Measurement(metrics, scored, annotations, answers.by_image, settings)


def read_labels(request: EvaluationRequest, config: Config) -> Annotations:
    """Read the labelled images of a request, and log their number.

    Raises:
        MaskStreamError: Images or labels cannot be read.
    """
    options = ReadOptions(config.evaluation.labels, request.format, request.unlabelled, request.strict)
    annotations = read_annotations(request.images, request.labels, options)
    faces = sum(len(image.faces) for image in annotations.images)
    kinds = Counter(problem.kind.text for problem in annotations.problems)
    problems = "".join(f", {count} x {kind}" for kind, count in kinds.items())
    described = f"{len(annotations.images)} images, {faces} faces, format {annotations.format}{problems}"
    logger.info("{}: {}", one_line(str(request.images)), described)
    return annotations


def load_system(request: EvaluationRequest, config: Config) -> LoadedSystem:
    """Load the models of the system that a request names.

    Raises:
        MaskStreamError: A model cannot be loaded.
    """
    default = YOLO_MIN_SCORE if request.system == "yolo" else config.detector.min_score
    min_score = default if request.min_score is None else request.min_score
    floor = min(config.evaluation.score_floor, min_score)
    config = for_images(refine(config, Layer.of_key("evaluation.score_floor", "detector.min_score", floor)))
    system, info = build_system(request.system, request.weights, config)
    return LoadedSystem(system, info, fingerprint_of(info.to_json(), config), min_score, floor)


def _answers_of_file(path: Path, request: EvaluationRequest, config: Config, annotations: Annotations) -> _Answers:
    found = read_predictions(path, annotations, config.evaluation.labels, request.categories or {})
    name, images = one_line(str(path)), len(annotations.images)
    absent = images - len(found.by_image)
    if absent and found.kind != "coco":
        logger.warning("{}: {} of {} labelled images are not in the file: their faces count as missed", name, absent, images)
    if found.strangers:
        example = one_line(found.strangers[0])
        logger.warning("{}: ignored {} images without labels, such as {}", name, len(found.strangers), example)
    min_score = found.min_score if request.min_score is None else request.min_score
    logger.info("{}: {} predictions; those with a score of at least {:g} count", name, found.kind, min_score)
    unnamed = SystemInfo(name="predictions", description=f"{found.kind} predictions of {name}", weights={}, device=None)
    return _Answers(
        by_image=found.by_image,
        system=found.system or unnamed,
        min_score=min_score,
        score_floor=found.score_floor,
        predicted_box=found.predicted_box or request.predicted_box,
    )


def _answers_of_system(loaded: LoadedSystem, request: EvaluationRequest, config: Config, annotations: Annotations) -> _Answers:
    """Analyse each image once; skip the images that an interrupted run has analysed."""
    predicted_box: BoxKind | None = request.predicted_box if request.system == "yolo" else "face"
    thresholds = {"min_score": loaded.min_score, "score_floor": loaded.score_floor}
    header = {"system": loaded.info.to_json(), "box": predicted_box, **thresholds}
    done, records = _analyse_all(loaded, request, config, annotations.images)
    write_predictions(request.out, header, records)
    predictions = {record["file"]: from_record(record) for record in records}
    unusable = sum(each.unusable for each in predictions.values())
    if unusable:
        logger.warning("{} answers of the models have numbers that are not finite: such faces count as unknown", unusable)
    return _Answers(
        by_image=predictions,
        system=loaded.info,
        min_score=loaded.min_score,
        score_floor=loaded.score_floor,
        predicted_box=predicted_box,
        speed=speed_of(done),
        unreadable=tuple(Problem(ProblemKind.UNREADABLE_IMAGE, name, reason) for name, reason in done.unreadable),
    )


def _analyse_all(
    loaded: LoadedSystem, request: EvaluationRequest, config: Config, images: Sequence[LabelledImage]
) -> tuple[AnalysisReport, list[dict[str, Any]]]:
    """Analyse the images, and return the records of predictions.json."""
    with Journal(request.out / _JOURNAL_FILE, loaded.fingerprint) as journal, _bar(request, len(images)) as bar:
        resumed = sum(map(journal.has, images))
        if resumed:
            logger.info("{} of {} images were analysed by an earlier run; continuing with the others", resumed, len(images))
        batch_size = batch_size_of(config, is_video=False)
        done = analyse(loaded.system, images, journal, batch_size, lambda count: bar.advance(bar.task_ids[0], count))
        undone = {name for name, _ in done.unreadable}
        records = [journal.records[image.name] for image in images if image.name not in undone]
    return done, records


def _bar(request: EvaluationRequest, total: int) -> Progress:
    """Return a progress bar with the remaining time; it is not drawn without `request.progress`."""
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("remaining"), TimeRemainingColumn()
    progress = Progress(
        TextColumn("images"), *columns, console=request.progress, transient=True, disable=request.progress is None
    )
    progress.add_task("images", total=total)
    return progress


def _without_unreadable(annotations: Annotations, unreadable: tuple[Problem, ...], *, strict: bool) -> Annotations:
    """Leave out the images that could not be decoded."""
    names = {problem.where for problem in unreadable}
    left = tuple(image for image in annotations.images if image.name not in names)
    if unreadable and (strict or not left):
        first = unreadable[0]
        raise SourceOpenError(f"{one_line(first.where)}: {first.detail} ({len(unreadable)} such images)")
    for problem in unreadable:
        logger.error("{}: {}", one_line(problem.where), problem.detail)
    return replace(annotations, images=left, problems=annotations.problems + unreadable)
