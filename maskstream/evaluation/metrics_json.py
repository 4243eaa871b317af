"""Contain the content of metrics.json as dataclasses; docs/evaluation.md defines each number.

A field has the name of its key, and the fields have the order of the keys. Numbers are rounded when they are computed. A number
that is not defined is None. `ci95` has the 95 % interval of each number by the name of its field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from maskstream.annotations.labelled_images import Problem

Interval = tuple[float, float]
Intervals = Mapping[str, Interval | None]
Points = tuple[tuple[float, ...], ...]

_RUN_KEYS: Final = ("maskstream", "created_utc", "system", "settings", "data")
"""Keys that come first in metrics.json."""


class JsonRecord:
    """Base of the dataclasses below."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as `json.dumps` takes them."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, JsonRecord):
        return value.to_json()
    if isinstance(value, Problem):
        return {"kind": value.kind.value, "where": value.where, "detail": value.detail}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


@dataclass(frozen=True, kw_only=True)
class FaceMetrics(JsonRecord):
    """Metrics of the one-to-one protocol at one IoU threshold, of all faces or of a part of them."""

    pictures: int
    """Number of images."""
    labelled: int
    known_class: int
    found_faces: int
    right_faces: int
    false_faces: int
    confusion: Mapping[str, Mapping[str, int]]
    """Number of faces by `ROWS` and `COLUMNS` of `matching`."""
    found: float | None
    judged_rightly: float | None
    end_to_end_accuracy: float | None
    precision: float | None
    recall: float | None
    specificity: float | None
    fpr: float | None
    f1: float | None
    balanced_accuracy: float | None
    face_precision: float | None
    false_per_image: float | None
    unknown_share: float | None
    ci95: Intervals


@dataclass(frozen=True, kw_only=True)
class PaperMetrics(JsonRecord):
    """Metrics of the paper's protocol at one IoU threshold."""

    tp: int
    fn: int
    fp: int
    tn: int
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    fpr: float | None
    ci95: Intervals


@dataclass(frozen=True, kw_only=True)
class ClassMetrics(JsonRecord):
    """Metrics of the faces with one label."""

    labelled: int
    found_faces: int
    right_faces: int
    found: float | None
    judged_rightly: float | None
    end_to_end_accuracy: float | None
    ci95: Intervals


@dataclass(frozen=True, kw_only=True)
class AveragePrecision(JsonRecord):
    """Average precision of each class and their means."""

    by_class: Mapping[str, float | None]
    """`mask`, `no_mask`: mean over IoU 0.50 to 0.95. `mask_50`, `no_mask_50`: at IoU 0.50. In the file beside the means."""
    map50: float | None
    map50_95: float | None
    ci95: Intervals

    def to_json(self) -> dict[str, Any]:
        """Return one flat object with the classes first."""
        content = super().to_json()
        by_class: dict[str, Any] = content.pop("by_class")
        return by_class | content


@dataclass(frozen=True, kw_only=True)
class Roc(JsonRecord):
    """Receiver operating characteristic of mask against no mask."""

    faces: int
    auc: float | None
    ci95: Interval | None
    points: Points
    """False positive rate and true positive rate."""


@dataclass(frozen=True, kw_only=True)
class CalibrationBin(JsonRecord):
    """Faces with a confidence from `low` to `high`."""

    low: float
    high: float
    faces: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Calibration(JsonRecord):
    """Expected calibration error and its bins."""

    faces: int
    ece: float | None
    ci95: Interval | None
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True, kw_only=True)
class KeypointErrors(JsonRecord):
    """Distance of found keypoints from the labelled ones, in distances of the labelled eyes."""

    faces: int
    mean: float | None
    median: float | None
    p95: float | None
    ci95: Interval | None
    """Of the mean."""
    by_name: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class ScoreBin(JsonRecord):
    """Predictions with a score from `low` to `high`."""

    low: float
    high: float
    predictions: int
    labelled: int
    """Predictions that match a label."""
    right: int


@dataclass(frozen=True, kw_only=True)
class OperatingPoint(JsonRecord):
    """Metrics at another threshold of the detector's score."""

    min_score: float
    found: float | None
    end_to_end_accuracy: float | None
    precision: float | None
    recall: float | None
    fpr: float | None
    false_per_image: float | None


@dataclass(frozen=True, kw_only=True)
class ErrorCounts(JsonRecord):
    """Number of errors of each kind at the reference IoU."""

    false_mask: int
    false_no_mask: int
    missed: int
    false_face: int
    missed_near: int
    """Missed faces that overlap a false face."""
    false_face_near: int
    """False faces that overlap a missed face."""


@dataclass(frozen=True, kw_only=True)
class SystemInfo(JsonRecord):
    """The system that made the predictions."""

    name: str
    description: str
    weights: Mapping[str, str]
    """SHA-256 by file name."""
    device: str | None


@dataclass(frozen=True, kw_only=True)
class SettingsInfo(JsonRecord):
    """The settings that decide about the metrics."""

    box: str
    predicted_box: str
    min_score: float
    score_floor: float
    iou: float
    incorrect_as: str
    bootstrap: int
    group_by: str | None
    unlabelled: str


@dataclass(frozen=True, kw_only=True)
class DataInfo(JsonRecord):
    """The labelled images."""

    images: str
    labels: str | None
    format: str
    sha256: str
    pictures: int
    """Number of images."""
    faces: int
    """Faces that count."""
    ignored: int
    by_class: Mapping[str, int]
    names: Mapping[str, int]
    problems: Mapping[str, int]
    problem_list: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class Speed(JsonRecord):
    """How fast the system analysed the images."""

    pictures_analysed: int
    elapsed_s: float
    pictures_per_s: float
    model_share: float
    """Fraction of the time that the models took."""


@dataclass(frozen=True, kw_only=True)
class ScoreMetrics(JsonRecord):
    """The part of metrics.json that labels and predictions decide."""

    classes: tuple[str, ...]
    one_to_one: Mapping[str, FaceMetrics]
    """By IoU threshold, as `iou_key` writes it."""
    paper: Mapping[str, PaperMetrics]
    """By IoU threshold."""
    ap: AveragePrecision
    roc: Roc | None
    calibration: Calibration | None
    precision_recall: Mapping[str, Points]
    """Recall, precision and score, by class."""
    keypoints: KeypointErrors | None
    sizes: Mapping[str, FaceMetrics]
    by_class: Mapping[str, ClassMetrics]
    groups: Mapping[str, FaceMetrics]
    scores: tuple[ScoreBin, ...]
    operating_points: tuple[OperatingPoint, ...]
    mistakes: ErrorCounts


@dataclass(frozen=True, kw_only=True)
class Metrics(ScoreMetrics):
    """The content of metrics.json."""

    maskstream: str
    """Version of the program."""
    created_utc: str
    system: SystemInfo
    settings: SettingsInfo
    data: DataInfo
    unusable: int
    """Answers of the models with numbers that are not finite."""
    speed: Speed | None
    """None for predictions from a file."""

    @classmethod
    def of(cls, scored: ScoreMetrics, **run: Any) -> "Metrics":
        """Add the fields of the run to those of the score."""
        return cls(**{field.name: getattr(scored, field.name) for field in fields(ScoreMetrics)}, **run)

    def to_json(self) -> dict[str, Any]:
        """Return the content in the order of the file."""
        content = super().to_json()
        return {name: content.pop(name) for name in _RUN_KEYS} | content

    @property
    def reference(self) -> FaceMetrics:
        """The one-to-one metrics at the reference IoU, `evaluation.iou`."""
        return self.one_to_one[iou_key(self.settings.iou)]


def iou_key(iou: float) -> str:
    """Return an IoU threshold as the keys of metrics.json have it: `0.50`."""
    return f"{iou:.2f}"
