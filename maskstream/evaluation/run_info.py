"""Describe a run in metrics.json: its settings, its images and labels, its speed."""

from typing import Final

from loguru import logger

from maskstream.annotations import Annotations
from maskstream.evaluation.analysis import AnalysisReport
from maskstream.evaluation.matching import CLASSES
from maskstream.evaluation.metrics_json import DataInfo, SettingsInfo, Speed
from maskstream.evaluation.request import EvaluationRequest
from maskstream.evaluation.scoring import ScoreSettings

_MOST_PROBLEMS: Final = 1000
"""Maximum length of `problem_list`; the counts in `problems` have no limit."""


def settings_info(settings: ScoreSettings, request: EvaluationRequest) -> SettingsInfo:
    """Return the settings that decide about the metrics."""
    return SettingsInfo(
        box=settings.box,
        predicted_box=settings.predicted_box,
        min_score=settings.min_score,
        score_floor=settings.score_floor,
        iou=settings.iou,
        incorrect_as=settings.incorrect_as,
        bootstrap=settings.bootstrap,
        group_by=request.group_by.pattern if request.group_by else None,
        unlabelled=request.unlabelled,
    )


def data_info(annotations: Annotations, request: EvaluationRequest) -> DataInfo:
    """Return counts of the labelled images."""
    faces = [face for image in annotations.images for face in image.faces]
    counting = [face.label.value for face in faces if not face.ignore]
    return DataInfo(
        images=str(request.images),
        labels=None if request.labels is None else str(request.labels),
        format=annotations.format,
        sha256=annotations.sha256,
        pictures=len(annotations.images),
        faces=len(counting),
        ignored=len(faces) - len(counting),
        by_class={label.value: counting.count(label.value) for label in CLASSES},
        names=dict(annotations.names),
        problems=annotations.count_problems(),
        problem_list=annotations.problems[:_MOST_PROBLEMS],
    )


def speed_of(done: AnalysisReport) -> Speed:
    """Return and log how fast the system analysed the images."""
    found = Speed(
        pictures_analysed=done.analysed,
        elapsed_s=round(done.elapsed_s, 3),
        pictures_per_s=round(done.analysed / done.elapsed_s, 3),
        model_share=round(done.system_s / done.elapsed_s, 4),
    )
    logger.info(
        "{} images in {:.1f} s: {:.1f} images/s, {:.0%} of the time in the models",
        found.pictures_analysed,
        found.elapsed_s,
        found.pictures_per_s,
        found.model_share,
    )
    return found
