"""Mark faces that are not labelled, so that no training counts them as background."""

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from maskstream.annotations import Annotations, LabelledImage, ProblemKind
from maskstream.annotations.raw_labels import whole_number
from maskstream.io.files import one_line
from maskstream.protocols import Detector
from maskstream.types import FloatArray
from maskstream.vision.geometry import box_iou, face_box

_LABELLED_FROM_IOU: Final = 0.3
"""A detection with at least this IoU to a labelled face is that face."""


def add_unlabelled(
    coco: dict[str, Any], annotations: Annotations, detector: Detector, only: re.Pattern[str], tick: Callable[[int], None]
) -> int:
    """Add the unlabelled faces that a detector finds to COCO labels, with `ignore`: neither positive nor negative.

    Two kinds of images are not changed. Images without any labelled face show the detector what is background. Where the labels
    state another size than the image has, detections and labels are in different coordinates.

    Args:
        coco: The content of the labels file; changed.
        annotations: The same labels, parsed.
        detector: Returns only detections above the wanted score.
        only: Only images whose name matches are changed.
        tick: Called with 1 after each image.

    Returns:
        The number of added faces.

    Raises:
        SourceError: An image cannot be read.
    """
    image_ids = {name: id_ for id_, name in annotations.coco_image_ids.items()}
    of_other_size = {problem.where for problem in annotations.problems if problem.kind is ProblemKind.SIZE_DIFFERS}
    next_id = max((whole_number(entry.get("id")) or 0 for entry in coco["annotations"]), default=0) + 1
    added: list[dict[str, Any]] = []
    for image in annotations.images:
        boxes = np.zeros((0, 4), np.float32)
        if image.faces and only.search(image.name) and one_line(image.name) not in of_other_size:
            boxes = _unlabelled_boxes(image, detector)
        for x1, y1, x2, y2 in boxes.tolist():
            box = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
            category = coco["categories"][0]["id"]
            entry = {
                "id": next_id + len(added),
                "image_id": image_ids[image.name],
                "category_id": category,
                "bbox": box,
                "ignore": 1,
            }
            added.append(entry)
        tick(1)
    coco["annotations"] += added
    return len(added)


def _unlabelled_boxes(image: LabelledImage, detector: Detector) -> FloatArray:
    """Return the boxes (N, 4) of detections that are no labelled face."""
    detections = detector.detect([image.read()])[0]
    boxes = np.array([face_box(detection) for detection in detections], np.float32).reshape(-1, 4)
    labelled = np.array([face.box_xyxy for face in image.faces], np.float32)
    return boxes[(box_iou(boxes, labelled) < _LABELLED_FROM_IOU).all(axis=1)]
