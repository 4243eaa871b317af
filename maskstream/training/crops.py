"""Labelled faces cut out as the stream cuts them, with a margin for training to move in."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from maskstream.annotations import Annotations, LabelledFace, LabelledImage
from maskstream.errors import SinkError, SourceError
from maskstream.evaluation.matching import box_iou
from maskstream.evaluation.types import BoxKind
from maskstream.io.files import make_folder, one_line, replace_file
from maskstream.io.images import read_image, write_image
from maskstream.protocols import Detector
from maskstream.types import BACKGROUND, BgrImage, Detection, FloatArray, Label
from maskstream.vision.align import AlignRules, crop_quad, cut_quad
from maskstream.vision.geometry import face_box, face_box_from_keypoints, head_box

MARGIN: Final = 1.25
"""Side of a stored crop, in sides of what the classifier sees, which is its middle."""
DESCRIPTION: Final = "crops.json"
_LONGEST_NAME: Final = 200
"""Bytes of the name of an image in that of a crop; a file system takes 255 in all."""
MIN_IOU: Final[dict[BoxKind, float]] = {"face": 0.5, "head": 0.3}
"""From which overlap on a detection is taken for a labelled face; hand-drawn heads vary."""
_BACKGROUND_BELOW_IOU: Final = 0.1
"""A detection that overlaps every labelled box by less shows no face."""

KeypointSource = Literal["labels", "detector", "both"]


class Miss(StrEnum):
    """Why a labelled face gave no crop."""

    UNKNOWN_CLASS = "its class is not known"
    IGNORED = "marked as neither right nor wrong"
    NO_KEYPOINTS = "no keypoints are labelled"
    NOT_DETECTED = "the detector did not find it"
    TOO_SMALL = "too small or no eye certain enough"
    UNREADABLE = "the picture cannot be read"


@dataclass(frozen=True)
class CropRules:
    """What is cut, and how."""

    size_px: int
    """Side of what the classifier sees."""
    rules: AlignRules
    keypoints: KeypointSource
    """`labels`: labelled points, and the detector's for a face that has none; `both`: one crop with each."""
    box: BoxKind
    background: re.Pattern[str] | None = None
    """In images of such names, what is detected beside all labelled and ignored faces is cut out as background."""


@dataclass(frozen=True)
class Missed:
    """A labelled face without a crop."""

    image: str
    box_xyxy: tuple[float, ...]
    reason: Miss


def stored_size(size_px: int) -> int:
    """Return the side of a stored crop, as even or odd as `size_px`, so that its middle lies on whole pixels."""
    return size_px + 2 * _margin_px(size_px)


def _margin_px(size_px: int) -> int:
    return round(size_px * (MARGIN - 1) / 2)


def middle(stored_bgr: BgrImage, size_px: int) -> BgrImage:
    """Return what the stream would have cut: the middle (size_px, size_px, 3) of a stored crop."""
    start = (stored_bgr.shape[0] - size_px) // 2
    return np.ascontiguousarray(stored_bgr[start : start + size_px, start : start + size_px])


def cut_stored(
    image_bgr: BgrImage, detection: Detection, face_box_xyxy: FloatArray, size_px: int, rules: AlignRules
) -> BgrImage | None:
    """Return a crop with its margin; its middle is, but for rounding, what `align_face` cuts. None where that refuses."""
    quad_xy = crop_quad(detection, face_box_xyxy, rules)
    return None if quad_xy is None else cut_quad(image_bgr, quad_xy, size_px, _margin_px(size_px))


def make_crops(
    annotations: Annotations, detector: Detector | None, out: Path, rules: CropRules, tick: Callable[[int], None]
) -> dict[str, Any]:
    """Write a PNG for each labelled face into a folder named after its class, and a description beside these folders.

    Args:
        annotations: The labelled images.
        detector: Gives keypoints where labels have none; None where no face needs it.
        out: Folder; made where it is missing. It must not hold crops of another set.
        rules: What is cut.
        tick: Called with 1 after each image.

    Returns:
        The description: settings, crops by class, misses by reason, and each miss.

    Raises:
        SinkError: There are crops already, or something cannot be written.
    """
    if (out / DESCRIPTION).exists() or any(out.glob("*/*.png")):
        raise SinkError(f"{one_line(str(out))}: holds crops already; delete it or choose another folder")
    counts: Counter[str] = Counter()
    misses: list[Missed] = []
    for image_number, image in enumerate(annotations.images):
        for number, result in enumerate(_crops_of(image, detector, rules)):
            if isinstance(result, Missed):
                misses.append(result)
                continue
            name, crop = result
            folder = out / name
            make_folder(str(folder))
            write_image(folder / f"{_file_name(image.name)}__{image_number}_{number}.png", crop)
            counts[name] += 1
        tick(1)
    description = {
        "size_px": rules.size_px,
        "stored_px": stored_size(rules.size_px),
        "min_face_px": rules.rules.min_face_px,
        "keypoints": rules.keypoints,
        "background": rules.background.pattern if rules.background else None,
        "labels_sha256": annotations.sha256,
        "crops": dict(sorted(counts.items())),
        "missed": dict(Counter(missed.reason.value for missed in misses)),
        "misses": [
            {"picture": one_line(missed.image), "box": missed.box_xyxy, "reason": missed.reason.value} for missed in misses
        ],
    }
    make_folder(str(out))
    replace_file(out / DESCRIPTION, json.dumps(description, indent=1).encode() + b"\n")
    return description


def _file_name(image: str) -> str:
    """Return the name of an image, with its folders, in one name that leaves room for numbers and a suffix."""
    name = image.replace("/", "_")
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST_NAME else encoded[-_LONGEST_NAME:].decode(errors="ignore")


def _crops_of(image: LabelledImage, detector: Detector | None, rules: CropRules) -> Iterator[tuple[str, BgrImage] | Missed]:
    """Yield each crop with the name of its class."""
    wanted = [face for face in image.faces if not face.ignore and face.label is not Label.UNKNOWN]
    for face in image.faces:
        if face.ignore or face.label is Label.UNKNOWN:
            yield _missed(image, face, Miss.IGNORED if face.ignore else Miss.UNKNOWN_CLASS)
    with_background = detector is not None and rules.background is not None and rules.background.search(image.name)
    if not wanted and not with_background:
        return
    try:
        bgr = read_image(str(image.path))
    except SourceError:
        yield from (_missed(image, face, Miss.UNREADABLE) for face in wanted)
        return
    needed = with_background or rules.keypoints != "labels" or any(face.keypoints_xy is None for face in wanted)
    found = detector.detect([bgr])[0] if detector is not None and needed else []
    boxes = _boxes(found, image, rules)
    for face, detections in zip(wanted, _detections(wanted, found, boxes, rules), strict=True):
        if not detections:
            yield _missed(image, face, Miss.NO_KEYPOINTS if detector is None else Miss.NOT_DETECTED)
        for detection in detections:
            crop = cut_stored(bgr, detection, _tight_box(detection, face, rules), rules.size_px, rules.rules)
            yield _missed(image, face, Miss.TOO_SMALL) if crop is None else (face.label.value, crop)
    if with_background:
        highest = _overlap(boxes, image.faces).max(axis=1, initial=0)
        beside = [each for each, iou in zip(found, highest, strict=True) if iou < _BACKGROUND_BELOW_IOU]
        crops = [cut_stored(bgr, each, face_box(each), rules.size_px, rules.rules) for each in beside]
        yield from ((BACKGROUND, crop) for crop in crops if crop is not None)


def _tight_box(detection: Detection, face: LabelledFace, rules: CropRules) -> FloatArray:
    is_head = rules.box == "head" and detection.box_xyxy is face.box_xyxy  # labelled, not detected
    return face_box_from_keypoints(detection) if is_head else face_box(detection)


def _boxes(found: Sequence[Detection], image: LabelledImage, rules: CropRules) -> FloatArray:
    """Return the boxes (D, 4) of detections, as labels go around them."""
    boxes = [face_box(each) for each in found]
    if rules.box == "head":
        boxes = [head_box(box, image.width, image.height) for box in boxes]
    return np.array(boxes, np.float32).reshape(-1, 4)


def _overlap(boxes_xyxy: FloatArray, faces: Sequence[LabelledFace]) -> NDArray[np.float64]:
    """Return IoU (D, L) of boxes (D, 4) and L labelled faces."""
    return box_iou(boxes_xyxy, np.array([face.box_xyxy for face in faces], np.float32).reshape(-1, 4))


def _detections(
    faces: Sequence[LabelledFace], found: Sequence[Detection], boxes_xyxy: FloatArray, rules: CropRules
) -> list[list[Detection]]:
    """Return what each face is aligned by: labelled or detected keypoints, both, or none."""
    labelled = [
        [face.as_detection()] if face.keypoints_xy is not None and rules.keypoints != "detector" else [] for face in faces
    ]
    taken = _best_pairs(_overlap(boxes_xyxy, faces), MIN_IOU[rules.box])
    return [
        own + ([found[taken[index]]] if index in taken and (not own or rules.keypoints == "both") else [])
        for index, own in enumerate(labelled)
    ]


def _best_pairs(overlap: Any, at_least: float) -> dict[int, int]:
    """Return detection by face, the largest overlap (D, L) first, each used once."""
    taken: dict[int, int] = {}
    for flat in np.argsort(-overlap, axis=None):
        detection, face = (int(index) for index in np.unravel_index(flat, overlap.shape))
        if overlap[detection, face] < at_least:
            break
        if face not in taken and detection not in taken.values():
            taken[face] = detection
    return taken


def _missed(image: LabelledImage, face: LabelledFace, reason: Miss) -> Missed:
    return Missed(image.name, tuple(round(value, 1) for value in face.box_xyxy.tolist()), reason)
