"""Contain the metrics of several sets of images as dataclasses: the metrics.json of `maskstream evaluate --sets`.

Fields, numbers and `ci95` follow the rules of `metrics_json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from maskstream.evaluation.metrics_json import ErrorCounts, Interval, Intervals, JsonRecord, SystemInfo


@dataclass(frozen=True, kw_only=True)
class IncorrectMetrics(JsonRecord):
    """A mask worn incorrectly as a class of its own."""

    labelled: int
    """Faces labelled as incorrect."""
    classified: int
    """Predictions classified as incorrect, without those of faces of unknown class."""
    right: int
    """Faces labelled and classified as incorrect."""
    recall: float | None
    """`right / labelled`."""
    precision: float | None
    """`right / classified`."""
    ci95: Intervals
    """95 % interval of each number, by its field."""


@dataclass(frozen=True, kw_only=True)
class SetFaces(JsonRecord):
    """Metrics of a set at one IoU threshold, one to one. A mask worn incorrectly counts as no mask."""

    labelled: int
    """Labelled faces that count."""
    known_class: int
    """Labelled faces of known class."""
    found_faces: int
    """Labelled faces that are found."""
    right_faces: int
    """Faces of known class that are found with the right label."""
    false_faces: int
    """Predictions without a labelled face."""
    found_bare: int
    """Faces labelled as no mask that are found."""
    bare_as_mask_faces: int
    """Faces labelled as no mask and classified as mask."""
    found_masked: int
    """Faces labelled as mask that are found."""
    mask_as_bare_faces: int
    """Faces labelled as mask and classified as no mask."""
    labelled_incorrect: int
    """Faces labelled as incorrect."""
    found: float | None
    """`found_faces / labelled`."""
    right: float | None
    """`right_faces / known_class`."""
    false_per_image: float | None
    """`false_faces` / images."""
    bare_as_mask: float | None
    """`bare_as_mask_faces / found_bare`."""
    mask_as_bare: float | None
    """`mask_as_bare_faces / found_masked`."""
    incorrect_right: float | None
    """Faces labelled as incorrect that are found and classified as no mask / `labelled_incorrect`."""
    calibration_error: float | None
    """Expected calibration error of the confidence, on found faces of known class."""
    ci95: Intervals
    """95 % interval of each number, by its field."""
    incorrect: IncorrectMetrics | None
    """None unless the predictions have the class `incorrect`."""


@dataclass(frozen=True, kw_only=True)
class SetMetrics(JsonRecord):
    """Metrics of one set of images."""

    images: str
    """Folder of the images."""
    labels: str | None
    """File or folder of the labels."""
    box: str
    """Boxes of the labels: `face` or `head`."""
    pictures: int
    """Number of images."""
    faces: int
    """Faces that count."""
    ignored: int
    """Faces that are neither right nor wrong."""
    by_class: Mapping[str, int]
    """Number of faces by label."""
    problems: int
    """Number of problems with images or labels."""
    min_score: float
    """Minimum score of a prediction."""
    iou: float
    """Reference IoU, of `mistakes` and of the report of the set."""
    at_iou: Mapping[str, SetFaces]
    """By IoU threshold: `0.30` and `0.50`."""
    map50: float | None
    """Mean average precision at IoU 0.50, as in the metrics.json of the set."""
    map50_ci95: Interval | None
    """95 % interval of `map50`."""
    mistakes: ErrorCounts
    """Number of errors of each kind at the reference IoU."""


@dataclass(frozen=True, kw_only=True)
class SetsMetrics(JsonRecord):
    """The content of metrics.json for several sets."""

    maskstream: str
    """Version of the program."""
    created_utc: str
    """Time of the evaluation in UTC."""
    system: SystemInfo
    """The system that made the predictions."""
    sets: Mapping[str, SetMetrics]
    """By name of the set, in the order of the file of `--sets`."""
    pictures_analysed: int
    """Images that the models analysed in this run; 0 for predictions from files."""
    elapsed_s: float
    """Seconds of the complete run, with reading and writing."""
