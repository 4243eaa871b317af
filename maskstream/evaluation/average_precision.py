"""Compute average precision by the rules of COCO, with pycocotools."""

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import Any, Final

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskstream.evaluation.matching import UNKNOWN, IntArray, Overlaps
from maskstream.evaluation.metrics import Floats, as_number, as_numbers, interval
from maskstream.evaluation.metrics_json import AveragePrecision
from maskstream.types import FloatArray

_EVERY_SIZE: Final = [[0, 1e10]]
_MEANS: Final = ("map50", "map50_95")
_MOST_FACES: Final = 100
_MOST_DRAWS: Final = 200  # a draw takes about 10 ms


def average_precision(overlaps: Sequence[Overlaps], classes: Sequence[str], draws: Floats) -> AveragePrecision:
    """Return the average precision of each class, and the means over classes.

    Predictions are ranked by score times confidence, which is the probability of a face of this class. A prediction that matches
    a label of unknown class, or one that does not count, is neither right nor wrong.

    Args:
        overlaps: All images, with all predictions from `evaluation.score_floor` up.
        classes: Names of the first classes of `CLASSES`.
        draws: (times, P) draws of the bootstrap.
    """
    with redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluator = COCOeval(_labels(overlaps, classes), iouType="bbox")
        evaluator.cocoDt = _results(evaluator.cocoGt, overlaps, classes)
        evaluator.params.areaRng, evaluator.params.areaRngLbl = _EVERY_SIZE, ["all"]
        evaluator.params.maxDets = [_MOST_FACES]
        evaluator.params.imgIds = list(range(len(overlaps)))
        evaluator.params.catIds = list(range(len(classes)))
        evaluator.evaluate()
        of_all = _accumulated(evaluator)
        resampled = [_accumulated(evaluator, drawn) for drawn in draws[:_MOST_DRAWS]]
    values, drawn_values = _named(of_all, classes), [_named(each, classes) for each in resampled]
    return AveragePrecision(
        by_class=as_numbers({name: values[name] for name in values if name not in _MEANS}),
        **{name: as_number(values[name]) for name in _MEANS},
        ci95={name: interval(np.array([each[name] for each in drawn_values])) for name in values},
    )


def _labels(overlaps: Sequence[Overlaps], classes: Sequence[str]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(overlaps))],
        "categories": [{"id": category, "name": name} for category, name in enumerate(classes)],
        "annotations": [
            {**annotation, "id": number} for number, annotation in enumerate(_annotations(overlaps, len(classes)), start=1)
        ],
    }
    coco.createIndex()
    return coco


def _annotations(overlaps: Sequence[Overlaps], classes: int) -> Iterator[dict[str, Any]]:
    for image_id, each in enumerate(overlaps):
        ignored = [face.box_xyxy for face in each.image.faces if face.ignore]
        counting: list[tuple[int, FloatArray, int]] = []
        for box_xyxy, label in zip(each.label_boxes, each.labels.tolist(), strict=True):
            if label == UNKNOWN:
                ignored.append(box_xyxy)
            else:
                counting.append((label, box_xyxy, 0))
        crowds = [(category, box_xyxy, 1) for box_xyxy in ignored for category in range(classes)]
        for category, box_xyxy, crowd in counting + crowds:
            box = _xywh(box_xyxy)
            yield {"image_id": image_id, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}


def _results(labels: COCO, overlaps: Sequence[Overlaps], classes: Sequence[str]) -> COCO:
    found = [
        {
            "image_id": image_id,
            "category_id": answer,
            "bbox": _xywh(prediction.box_xyxy),
            "score": prediction.score * (1.0 if prediction.confidence is None else prediction.confidence),
        }
        for image_id, each in enumerate(overlaps)
        for prediction, answer in zip(each.predictions, each.answers.tolist(), strict=True)
        if answer < len(classes)
    ]
    if found:
        return labels.loadRes(found)
    nothing = COCO()
    nothing.dataset = {**labels.dataset, "annotations": []}
    nothing.createIndex()
    return nothing


def _xywh(box_xyxy: FloatArray) -> list[float]:
    x1, y1, x2, y2 = box_xyxy.tolist()
    return [x1, y1, x2 - x1, y2 - y1]


def _accumulated(evaluator: COCOeval, drawn: Floats | None = None) -> Floats:
    """Return average precision (10, C) by IoU and class, of all images or of those drawn (P,); NaN without labels."""
    every = evaluator.evalImgs
    if drawn is not None:
        picks: IntArray = np.repeat(np.arange(len(drawn)), drawn.astype(int))
        by_class = [every[start : start + len(drawn)] for start in range(0, len(every), len(drawn))]
        evaluator.evalImgs = [images[pick] for images in by_class for pick in picks]
    evaluator.accumulate()
    evaluator.evalImgs = every
    precision = evaluator.eval["precision"][:, :, :, 0, 0]  # by IoU, recall, class; -1 without labels
    return np.asarray(np.where(precision > -1, precision, np.nan).mean(1), np.float64)


def _named(by_iou_and_class: Floats, classes: Sequence[str]) -> dict[str, float]:
    has_labels = np.isfinite(by_iou_and_class[0])
    mean = by_iou_and_class[:, has_labels].mean(1) if has_labels.any() else np.full(len(by_iou_and_class), np.nan)
    return {
        **{name: float(by_iou_and_class[:, index].mean()) for index, name in enumerate(classes)},
        **{f"{name}_50": float(by_iou_and_class[0, index]) for index, name in enumerate(classes)},
        "map50": float(mean[0]),
        "map50_95": float(mean.mean()),
    }
