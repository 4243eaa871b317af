"""Contain the content of metrics.json as dataclasses; docs/evaluation.md defines each number.

A field has the name of its key, and the fields have the order of the keys. Numbers are rounded when they are computed. A number
that is not defined is None. `ci95` has the 95 % interval of each number by the name of its field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
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
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}  # type: ignore[arg-type]


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
    """Number of labelled faces."""
    known_class: int
    """Labelled faces of known class."""
    found_faces: int
    """Labelled faces that are found."""
    right_faces: int
    """Labelled faces that are found and classified as labelled."""
    false_faces: int
    """Predictions without a labelled face."""
    confusion: Mapping[str, Mapping[str, int]]
    """Number of faces by `ROWS` and `COLUMNS` of `matching`."""
    found: float | None
    """`found_faces / labelled`."""
    judged_rightly: float | None
    """`right_faces` / found faces of known class."""
    end_to_end_accuracy: float | None
    """`right_faces / known_class`."""
    precision: float | None
    """Faces labelled and classified as mask / all predictions classified as mask."""
    recall: float | None
    """Faces labelled and classified as mask / all faces labelled as mask."""
    specificity: float | None
    """Faces labelled and classified as not mask / all faces labelled as not mask."""
    fpr: float | None
    """Faces labelled as not mask and classified as mask / all faces labelled as not mask."""
    f1: float | None
    """Harmonic mean of precision and recall."""
    balanced_accuracy: float | None
    """Mean of recall and specificity."""
    face_precision: float | None
    """Predictions with a labelled face / all predictions."""
    false_per_image: float | None
    """`false_faces / pictures`."""
    unknown_share: float | None
    """Found faces classified as unknown / found faces."""
    ci95: Intervals
    """95 % interval of each number, by its field."""


@dataclass(frozen=True, kw_only=True)
class PaperMetrics(JsonRecord):
    """Metrics of the paper's protocol at one IoU threshold."""

    tp: int
    """Pairs labelled as mask and classified as mask."""
    fn: int
    """Pairs labelled as mask and classified as not mask."""
    fp: int
    """Pairs labelled as not mask and classified as mask."""
    tn: int
    """Pairs labelled as not mask and classified as not mask."""
    accuracy: float | None
    """`(tp + tn) / (tp + fn + fp + tn)`."""
    precision: float | None
    """`tp / (tp + fp)`."""
    recall: float | None
    """`tp / (tp + fn)`."""
    f1: float | None
    """Harmonic mean of precision and recall."""
    fpr: float | None
    """`fp / (fp + tn)`."""
    ci95: Intervals
    """95 % interval of each number, by its field."""


@dataclass(frozen=True, kw_only=True)
class ClassMetrics(JsonRecord):
    """Metrics of the faces with one label."""

    labelled: int
    """Number of faces with this label."""
    found_faces: int
    """Those that are found."""
    right_faces: int
    """Those that are found and classified as labelled."""
    found: float | None
    """`found_faces / labelled`."""
    judged_rightly: float | None
    """`right_faces / found_faces`."""
    end_to_end_accuracy: float | None
    """`right_faces / labelled`."""
    ci95: Intervals
    """95 % interval of each number, by its field."""


@dataclass(frozen=True, kw_only=True)
class AveragePrecision(JsonRecord):
    """Average precision of each class and their means."""

    by_class: Mapping[str, float | None]
    """`mask`, `no_mask`: mean over IoU 0.50 to 0.95. `mask_50`, `no_mask_50`: at IoU 0.50. In the file beside the means."""
    map50: float | None
    """Mean over the classes at IoU 0.50."""
    map50_95: float | None
    """Mean over the classes and IoU 0.50 to 0.95."""
    ci95: Intervals
    """95 % interval of each number, by its field."""

    def to_json(self) -> dict[str, Any]:
        """Return one flat object with the classes first."""
        content = super().to_json()
        by_class: dict[str, Any] = content.pop("by_class")
        return by_class | content


@dataclass(frozen=True, kw_only=True)
class Roc(JsonRecord):
    """Receiver operating characteristic of mask against no mask."""

    faces: int
    """Number of faces."""
    auc: float | None
    """Area under the curve."""
    ci95: Interval | None
    """95 % interval of `auc`."""
    points: Points
    """False positive rate and true positive rate."""


@dataclass(frozen=True, kw_only=True)
class CalibrationBin(JsonRecord):
    """Faces with a confidence from `low` to `high`."""

    low: float
    """Lower limit of the confidence."""
    high: float
    """Upper limit of the confidence."""
    faces: int
    """Number of faces."""
    confidence: float | None
    """Mean confidence."""
    accuracy: float | None
    """Fraction that is classified as labelled."""


@dataclass(frozen=True, kw_only=True)
class Calibration(JsonRecord):
    """Expected calibration error and its bins."""

    faces: int
    """Number of faces."""
    ece: float | None
    """Expected calibration error."""
    ci95: Interval | None
    """95 % interval of `ece`."""
    bins: tuple[CalibrationBin, ...]
    """Bins of equal width."""


@dataclass(frozen=True, kw_only=True)
class KeypointErrors(JsonRecord):
    """Distance of found keypoints from the labelled ones, in distances of the labelled eyes."""

    faces: int
    """Number of faces."""
    mean: float | None
    """Mean distance."""
    median: float | None
    """Median distance."""
    p95: float | None
    """95th percentile of the distance."""
    ci95: Interval | None
    """Of the mean."""
    by_name: Mapping[str, float | None]
    """Mean distance by keypoint."""


@dataclass(frozen=True, kw_only=True)
class ScoreBin(JsonRecord):
    """Predictions with a score from `low` to `high`."""

    low: float
    """Lower limit of the score."""
    high: float
    """Upper limit of the score."""
    predictions: int
    """Number of predictions."""
    labelled: int
    """Predictions that match a label."""
    right: int
    """Predictions that are classified as labelled."""


@dataclass(frozen=True, kw_only=True)
class OperatingPoint(JsonRecord):
    """Metrics at another threshold of the detector's score."""

    min_score: float
    """Threshold of the score."""
    found: float | None
    """As in the one-to-one metrics."""
    end_to_end_accuracy: float | None
    """As in the one-to-one metrics."""
    precision: float | None
    """As in the one-to-one metrics."""
    recall: float | None
    """As in the one-to-one metrics."""
    fpr: float | None
    """As in the one-to-one metrics."""
    false_per_image: float | None
    """As in the one-to-one metrics."""


@dataclass(frozen=True, kw_only=True)
class ErrorCounts(JsonRecord):
    """Number of errors of each kind at the reference IoU."""

    false_mask: int
    """Faces labelled as not mask and classified as mask."""
    false_no_mask: int
    """Faces labelled as mask and classified as not mask."""
    missed: int
    """Labelled faces that are not found."""
    false_face: int
    """Predictions without a labelled face."""
    missed_near: int
    """Missed faces that overlap a false face."""
    false_face_near: int
    """False faces that overlap a missed face."""


@dataclass(frozen=True, kw_only=True)
class SystemInfo(JsonRecord):
    """The system that made the predictions."""

    name: str
    """`maskstream`, `yolo`, `clip` or `predictions`."""
    description: str
    """One line about the system."""
    weights: Mapping[str, str]
    """SHA-256 by file name."""
    device: str | None
    """Device of the models; None for predictions from a file."""
    other: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of a file of predictions. In the file beside those above."""

    def to_json(self) -> dict[str, Any]:
        """Return one flat object."""
        content = super().to_json()
        other: dict[str, Any] = content.pop("other")
        return content | other


@dataclass(frozen=True, kw_only=True)
class SettingsInfo(JsonRecord):
    """The settings that decide about the metrics."""

    box: str
    """Boxes of the labels: `face` or `head`."""
    predicted_box: str
    """Boxes of the predictions: `face` or `head`."""
    min_score: float
    """Minimum score of a prediction."""
    score_floor: float
    """Minimum score of a prediction in the curves."""
    iou: float
    """Reference IoU."""
    incorrect_as: str
    """Label of a mask worn below nose or mouth: `no_mask` or `incorrect`."""
    bootstrap: int
    """Number of resamples for the intervals."""
    group_by: str | None
    """Regular expression of `--group-by`."""
    unlabelled: str
    """`--unlabelled`: images without a label are skipped, or have no faces."""


@dataclass(frozen=True, kw_only=True)
class DataInfo(JsonRecord):
    """The labelled images."""

    images: str
    """Folder of the images."""
    labels: str | None
    """File or folder of the labels."""
    format: str
    """Format of the labels."""
    sha256: str
    """Hash of images and labels."""
    pictures: int
    """Number of images."""
    faces: int
    """Faces that count."""
    ignored: int
    """Faces that are neither right nor wrong."""
    by_class: Mapping[str, int]
    """Number of faces by label."""
    names: Mapping[str, int]
    """Number of faces by class name in the labels."""
    problems: Mapping[str, int]
    """Number of problems by kind."""
    problem_list: tuple[Problem, ...]
    """The first problems."""


@dataclass(frozen=True, kw_only=True)
class Speed(JsonRecord):
    """How fast the system analysed the images."""

    pictures_analysed: int
    """Number of images, without those of an earlier, stopped run."""
    elapsed_s: float
    """Seconds."""
    pictures_per_s: float
    """Images per second."""
    model_share: float
    """Fraction of the time that the models took."""


@dataclass(frozen=True, kw_only=True)
class ScoreMetrics(JsonRecord):
    """The part of metrics.json that labels and predictions decide."""

    classes: tuple[str, ...]
    """Labels that count as classes."""
    one_to_one: Mapping[str, FaceMetrics]
    """By IoU threshold, as `iou_key` writes it."""
    paper: Mapping[str, PaperMetrics]
    """By IoU threshold."""
    ap: AveragePrecision
    """Average precision by the rules of COCO."""
    roc: Roc | None
    """None without both classes or without probabilities."""
    calibration: Calibration | None
    """Calibration of the confidence; None without probabilities."""
    precision_recall: Mapping[str, Points]
    """Recall, precision and score, by class."""
    keypoints: KeypointErrors | None
    """None where the labels have no keypoints."""
    sizes: Mapping[str, FaceMetrics]
    """By the shorter side of the labelled box in pixels, at the reference IoU."""
    by_class: Mapping[str, ClassMetrics]
    """By label, at the reference IoU."""
    groups: Mapping[str, FaceMetrics]
    """By the match of `--group-by`, at the reference IoU."""
    scores: tuple[ScoreBin, ...]
    """By tenths of the score."""
    operating_points: tuple[OperatingPoint, ...]
    """For other thresholds of the score, at the reference IoU."""
    mistakes: ErrorCounts
    """Number of errors of each kind."""


@dataclass(frozen=True, kw_only=True)
class Metrics(ScoreMetrics):
    """The content of metrics.json."""

    maskstream: str
    """Version of the program."""
    created_utc: str
    """Time of the evaluation in UTC."""
    system: SystemInfo
    """The system that made the predictions."""
    settings: SettingsInfo
    """The settings of the evaluation."""
    data: DataInfo
    """The labelled images."""
    unusable: int
    """Answers of the models with numbers that are not finite."""
    speed: Speed | None
    """None for predictions from a file."""

    @classmethod
    def of(cls, scored: ScoreMetrics, **run: Any) -> "Metrics":
        """Add the fields of the run to those of the score."""
        return cls(**{each.name: getattr(scored, each.name) for each in fields(ScoreMetrics)}, **run)

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
