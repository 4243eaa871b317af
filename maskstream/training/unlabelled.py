"""Faces that nobody labelled: a detector that finds them is right, and must not be taught that it is wrong."""

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from maskstream.annotations import Annotations, ProblemKind
from maskstream.annotations.raw_labels import whole_number
from maskstream.evaluation.matching import box_iou
from maskstream.io.files import one_line
from maskstream.protocols import Detector
from maskstream.vision.geometry import face_box

_LABELLED_FROM_IOU: Final = 0.3
"""What overlaps a labelled face by this much is that face."""


def add_unlabelled(
    coco: dict[str, Any], annotations: Annotations, detector: Detector, only: re.Pattern[str], tick: Callable[[int], None]
) -> int:
    """Add what a detector finds and nobody labelled to COCO labels, as neither positive nor negative (`ignore`).

    Images without any labelled face stay as they are: they teach what no face is. So do those whose labels state another size
    than the image has: what is detected is in another frame.

    Args:
        coco: The content of the file; changed.
        annotations: The same, read.
        detector: Says what it is sure of, and nothing else.
        only: Images of other names stay as they are.
        tick: Called with 1 after each image.

    Returns:
        How many were added.

    Raises:
        SourceError: An image cannot be read.
    """
    ids = {name: id_ for id_, name in annotations.coco_image_ids.items()}
    known = len(coco["annotations"])
    next_id = max((whole_number(entry.get("id")) or 0 for entry in coco["annotations"]), default=0) + 1
    of_other_size = {problem.where for problem in annotations.problems if problem.kind is ProblemKind.SIZE_DIFFERS}
    for image in annotations.images:
        if image.faces and only.search(image.name) and one_line(image.name) not in of_other_size:
            boxes = np.array([face_box(found) for found in detector.detect([image.read()])[0]], np.float32)
            labelled = np.array([face.box_xyxy for face in image.faces], np.float32)
            strangers = boxes.reshape(-1, 4)
            strangers = strangers[(box_iou(strangers, labelled) < _LABELLED_FROM_IOU).all(axis=1)]
            for x1, y1, x2, y2 in strangers.tolist():
                box = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
                category = coco["categories"][0]["id"]
                entry = {"id": next_id, "image_id": ids[image.name], "category_id": category, "bbox": box, "ignore": 1}
                coco["annotations"].append(entry)
                next_id += 1
        tick(1)
    return len(coco["annotations"]) - known
