"""Metrics and errors as scoring makes them, of counts that are known here: 1,240 faces in 310 images, or nearly none."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from maskstream.annotations.labelled_images import Problem, ProblemKind
from maskstream.evaluation.error_analysis import Mistake, MistakeKind
from maskstream.evaluation.metrics import IOU_THRESHOLDS, draw_images, one_to_one_metrics, paper_metrics
from maskstream.evaluation.metrics_json import (
    AveragePrecision,
    Calibration,
    CalibrationBin,
    ClassMetrics,
    DataInfo,
    ErrorCounts,
    FaceMetrics,
    KeypointErrors,
    Metrics,
    OperatingPoint,
    PaperMetrics,
    Roc,
    ScoreBin,
    SettingsInfo,
    Speed,
    SystemInfo,
    iou_key,
)
from maskstream.evaluation.predictions import Prediction
from maskstream.types import BgrImage, Label

Counts = NDArray[np.int64]
SPEED = Speed(pictures_analysed=310, elapsed_s=24.8, pictures_per_s=12.5, model_share=0.91)
# Rows mask, no_mask, incorrect, unknown, nothing; columns mask, no_mask, incorrect, unknown, missed.
FULL_TABLE = [[590, 12, 0, 8, 30], [14, 505, 0, 9, 32], [0, 0, 0, 0, 0], [10, 22, 0, 3, 5], [9, 20, 0, 4, 0]]
POOR_TABLE = [[0, 0, 0, 0, 0], [1, 6, 0, 0, 2], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
NOTHING_TABLE = [[0] * 5] * 5
SIZE_SHARES = {"<16": 0.1, "16-32": 0.25, "32-64": 0.35, "64-128": 0.2, ">128": 0.1}
PROBLEMS = (
    Problem(ProblemKind.CLIPPED, "street_0003.xml", "x2 641 of 640"),
    Problem(ProblemKind.CLIPPED, "street_0009.xml", "y1 -2"),
    Problem(ProblemKind.DUPLICATE, "hall/<script>alert(1)</script>.xml", "faces 2 and 5"),
)


def full_metrics() -> Metrics:
    """Every part has numbers. At IoU 0.50: 1095 of 1200 faces of known class are found with the right label, 62 are missed."""
    draws = draw_images(310, 200)
    tables = _by_image(FULL_TABLE, 310)
    ap = {"mask": 0.682, "no_mask": 0.641, "mask_50": 0.938, "no_mask_50": 0.921, "map50": 0.9295, "map50_95": 0.6615}
    rises = np.linspace(0, 1, 60)
    falls = tuple((round(0.95 * t, 4), round(1 - 0.1 * t**6, 4), round(1 - 0.95 * t, 4)) for t in rises.tolist())
    return Metrics(
        maskstream="0.1.0",
        created_utc="2026-03-14T09:26:53+00:00",
        system=SystemInfo(
            name="maskstream",
            description="RTMDet-nano and MobileNetV3, fine-tuned",
            weights={"detector.safetensors": "5f" * 32, "classifier.safetensors": "a0" * 32},
            device="cpu",
        ),
        settings=_settings(bootstrap=200),
        data=_data(310, {"mask": 640, "no_mask": 560, "unknown": 40}, PROBLEMS),
        classes=("mask", "no_mask"),
        one_to_one=_one_to_one(tables, draws),
        paper=_paper(tables, draws),
        ap=AveragePrecision(
            by_class={name: value for name, value in ap.items() if not name.startswith("map")},
            map50=ap["map50"],
            map50_95=ap["map50_95"],
            ci95={name: (value - 0.02, value + 0.02) for name, value in ap.items()},
        ),
        roc=Roc(faces=1121, auc=0.991, ci95=(0.985, 0.996), points=tuple((t**3, t**0.2) for t in rises.tolist())),
        calibration=Calibration(faces=1121, ece=0.018, ci95=(0.012, 0.027), bins=tuple(_bin(index) for index in range(15))),
        precision_recall={"face": falls, "mask": falls[:50], "no_mask": falls[:45]},
        keypoints=KeypointErrors(
            faces=612,
            mean=0.071,
            median=0.058,
            p95=0.164,
            ci95=(0.066, 0.077),
            by_name={"nose": 0.083, "left_eye": 0.066, "right_eye": 0.064},
        ),
        sizes={name: one_to_one_metrics(_share(tables, share), draws) for name, share in SIZE_SHARES.items()},
        by_class=_by_class(FULL_TABLE),
        groups={
            name: one_to_one_metrics(tables[part], draw_images(len(tables[part]), 200))
            for name, part in (("entrance", slice(0, 120)), ("hall <b>2</b>", slice(120, 310)))
        },
        scores=tuple(_score_bin(index, 40 * index, 36 * index, 34 * index) for index in range(10)),
        operating_points=tuple(_operating_point(round(step * 0.05, 2)) for step in range(1, 20)),
        mistakes=ErrorCounts(false_mask=14, false_no_mask=12, missed=67, false_face=33, missed_near=9, false_face_near=8),
        unusable=0,
        speed=SPEED,
    )


def poor_metrics() -> Metrics:
    """Nine faces without a mask in six images, from a system without probabilities, and no intervals."""
    return _poor(POOR_TABLE, 6, {"no_mask": 9}, {"false_mask": 1, "false_no_mask": 0, "missed": 2, "false_face": 1})


def empty_metrics() -> Metrics:
    """No face is labelled or found."""
    return _poor(NOTHING_TABLE, 1, {}, {kind.value: 0 for kind in MistakeKind})


def _poor(table: list[list[int]], images: int, by_class: dict[str, int], errors: Mapping[str, int]) -> Metrics:
    draws = draw_images(images, 0)
    tables = _by_image(table, images)
    names = ("mask", "no_mask", "mask_50", "no_mask_50")
    return Metrics(
        maskstream="0.1.0",
        created_utc="2026-03-14T09:26:53+00:00",
        system=SystemInfo(name="predictions", description="boxes from elsewhere", weights={}, device=None),
        settings=_settings(bootstrap=0),
        data=_data(images, by_class, ()),
        classes=("mask", "no_mask"),
        one_to_one=_one_to_one(tables, draws),
        paper=_paper(tables, draws),
        ap=AveragePrecision(
            by_class=dict.fromkeys(names), map50=None, map50_95=None, ci95=dict.fromkeys((*names, "map50", "map50_95"))
        ),
        roc=None,
        calibration=None,
        precision_recall={"face": (), "mask": (), "no_mask": ()},
        keypoints=None,
        sizes={name: one_to_one_metrics(tables * 0, draws) for name in SIZE_SHARES},
        by_class=_by_class(table),
        groups={},
        scores=tuple(_score_bin(index, 0, 0, 0) for index in range(10)),
        operating_points=(),
        mistakes=ErrorCounts(**errors, missed_near=0, false_face_near=0),
        unusable=0,
        speed=None,
    )


def _settings(bootstrap: int) -> SettingsInfo:
    return SettingsInfo(
        box="face",
        predicted_box="face",
        min_score=0.5,
        score_floor=0.05,
        iou=0.5,
        incorrect_as="no_mask",
        bootstrap=bootstrap,
        group_by=None,
        unlabelled="skip",
    )


def _data(images: int, by_class: dict[str, int], problems: tuple[Problem, ...]) -> DataInfo:
    return DataInfo(
        images="photos/test",
        labels="photos/labels.json",
        format="coco",
        sha256="c3" * 32,
        pictures=images,
        faces=sum(by_class.values()),
        ignored=17 if problems else 0,
        by_class=by_class,
        names={"with_mask": 640, "without_mask": 560, "face": 40},
        problems={"box clipped to the picture": 2, "face labelled twice": 1} if problems else {},
        problem_list=problems,
    )


def _by_image(table: list[list[int]], images: int) -> Counts:
    """Spread counts over images: (images, 5, 5), with the table as their sum."""
    generator = np.random.default_rng(1)
    weights = generator.dirichlet(np.full(images, 2.0))
    cells = [generator.multinomial(count, weights) for row in table for count in row]
    return np.array(cells).T.reshape(images, 5, 5)


def _one_to_one(tables: Counts, draws: NDArray[np.float64]) -> dict[str, FaceMetrics]:
    return {iou_key(iou): one_to_one_metrics(_stricter(tables, iou), draws) for iou in IOU_THRESHOLDS}


def _stricter(tables: Counts, iou: float) -> Counts:
    """Above IoU 0.5 more and more found faces become a missed and a false one."""
    lost = np.random.default_rng(2).binomial(tables[:, :4, :4], np.clip((iou - 0.5) / 0.45, 0, 1) ** 2)
    result = tables.copy()
    result[:, :4, :4] -= lost
    result[:, :4, 4] += lost.sum(2)
    result[:, 4, :4] += lost.sum(1)
    return result


def _paper(tables: Counts, draws: NDArray[np.float64]) -> dict[str, PaperMetrics]:
    """Below IoU 0.5 more and more faces count twice."""
    described = {}
    for iou in IOU_THRESHOLDS:
        pairs = _stricter(tables, iou)[:, :2, :2]
        twice = np.random.default_rng(3).binomial(pairs, 0.4 * np.clip(0.5 - iou, 0, 1))
        described[iou_key(iou)] = paper_metrics(pairs + twice, draws)
    return described


def _share(tables: Counts, share: float) -> Counts:
    return np.random.default_rng(4).binomial(tables, share)


def _by_class(table: list[list[int]]) -> dict[str, ClassMetrics]:
    described = {}
    for row, (name, counts) in enumerate(zip(("mask", "no_mask", "incorrect", "unknown"), table, strict=False)):
        labelled, found, right = sum(counts), sum(counts[:4]), counts[row]
        if labelled:
            known = name != "unknown"
            described[name] = ClassMetrics(
                labelled=labelled,
                found_faces=found,
                right_faces=right if known else 0,
                found=found / labelled,
                judged_rightly=right / found if known and found else None,
                end_to_end_accuracy=right / labelled if known else None,
                ci95={"found": (0.9, 0.97), "judged_rightly": None, "end_to_end_accuracy": (0.89, 0.94) if known else None},
            )
    return described


def _score_bin(index: int, predictions: int, labelled: int, right: int) -> ScoreBin:
    return ScoreBin(low=index / 10, high=(index + 1) / 10, predictions=predictions, labelled=labelled, right=right)


def _bin(index: int) -> CalibrationBin:
    low, high, faces = round(index / 15, 4), round((index + 1) / 15, 4), 5 * max(0, index - 6) ** 2
    if not faces:
        return CalibrationBin(low=low, high=high, faces=0, confidence=None, accuracy=None)
    return CalibrationBin(low=low, high=high, faces=faces, confidence=(index + 0.5) / 15, accuracy=(index + 1.1) / 16)


def _operating_point(min_score: float) -> OperatingPoint:
    found = 0.97 - 0.06 * min_score**2 - 0.4 * max(0, min_score - 0.7)
    return OperatingPoint(
        min_score=min_score,
        found=found,
        end_to_end_accuracy=found - 0.03,
        precision=0.93 + 0.05 * min_score,
        recall=found - 0.02,
        fpr=0.03 - 0.01 * min_score,
        false_per_image=0.3 * (1 - min_score) ** 2,
    )


def image(seed: int = 0) -> BgrImage:
    """A grey image, 320 x 240, of noise."""
    return np.random.default_rng(seed).integers(90, 160, (240, 320, 3)).astype(np.uint8)


def mistakes() -> list[Mistake]:
    """As many as `full_metrics` counts, of each kind the worst last, in images `hall/street_0000.jpg` and so on."""
    generator = np.random.default_rng(5)
    counts = full_metrics().mistakes.to_json()
    return [make_mistake(kind, index, generator) for kind in MistakeKind for index in range(counts[kind])]


def make_mistake(kind: MistakeKind, index: int, generator: np.random.Generator) -> Mistake:
    side = float(generator.uniform(12, 90))
    left, top = generator.uniform(0, (320 - side, 240 - 1.3 * side))
    labelled = np.array([left, top, left + side, top + 1.3 * side], np.float32)
    judged = Label.NO_MASK if kind is MistakeKind.FALSE_NO_MASK else Label.MASK
    found = Prediction(
        labelled + np.float32(0.06 * side), float(generator.uniform(0.5, 1)), judged, float(generator.uniform(0.5, 1))
    )
    is_labelled, is_found = kind is not MistakeKind.FALSE_FACE, kind is not MistakeKind.MISSED
    return Mistake(
        kind,
        f"hall/street_{index:04}.jpg",
        badness=float(index),
        label=({MistakeKind.FALSE_NO_MASK: Label.MASK}.get(kind, Label.NO_MASK)) if is_labelled else None,
        label_box_xyxy=labelled if is_labelled else None,
        prediction=found if is_found else None,
    )
