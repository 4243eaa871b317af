"""Cut labelled faces into crops for training, aligned as the stream aligns them, with a margin for augmentation."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from maskstream.annotations import Annotations, LabelledFace, LabelledImage
from maskstream.errors import ConfigError, SinkError, SourceError
from maskstream.evaluation.predictions import BoxKind
from maskstream.io.files import make_folder, one_line, replace_file
from maskstream.io.images import read_image, write_image
from maskstream.protocols import Detector
from maskstream.training.mosaic import make_window
from maskstream.training.recipe import DetectorRecipe
from maskstream.types import BACKGROUND, BgrImage, Detection, FloatArray, Label
from maskstream.vision.align import AlignRules, crop_quad, cut_quad
from maskstream.vision.geometry import box_iou, face_box, face_box_from_keypoints, head_box

MARGIN: Final = 1.25
"""Side of a stored crop divided by the side of the classifier's input, which is the centre of the stored crop."""
DESCRIPTION: Final = "crops.json"
UNLABELLED: Final = "unlabelled"
"""Folder of the faces whose class is not known."""
_MAX_NAME_BYTES: Final = 200
"""Length of the image's name in the name of a crop; a file system allows 255 bytes for the complete name."""
MIN_IOU: Final[dict[BoxKind, float]] = {"face": 0.5, "head": 0.3}
"""Minimum IoU of a detection and the labelled face it belongs to; hand-drawn heads vary more."""
_VIEW_PX: Final = 480
"""Side of a view."""
_VIEW_RECIPE: Final = DetectorRecipe(large_turn_share=0.25)
_BACKGROUND_BELOW_IOU: Final = 0.1
"""A detection is background when its IoU with every labelled box is below this."""

KeypointSource = Literal["labels", "detector", "both"]


class MissReason(StrEnum):
    """Why a labelled face has no crop."""

    IGNORED = "labelled with ignore"
    NO_KEYPOINTS = "no keypoints are labelled"
    NOT_DETECTED = "the detector did not find it"
    TOO_SMALL = "too small, or the scores of both eyes too low"
    UNREADABLE = "the image cannot be read"


@dataclass(frozen=True)
class CropRules:
    """Which faces are cut, and how."""

    size_px: int
    """Side of the classifier's input."""
    rules: AlignRules
    keypoints: KeypointSource
    """`labels`: labelled keypoints, or those of the detector where none are labelled; `both`: one crop with each."""
    box: BoxKind
    background: re.Pattern[str] | None = None
    """In images whose names match, detections away from all labelled and ignored faces are cut as background."""
    views: int = 0
    """Number of views: training windows of the detector from matching images without any face, cut as background too."""


@dataclass(frozen=True)
class Missed:
    """A labelled face without a crop."""

    image: str
    box_xyxy: tuple[float, ...]
    reason: MissReason


@dataclass(frozen=True, eq=False)
class Crop:
    """A crop and the name of its folder: its class, or `UNLABELLED`."""

    class_name: str
    bgr: BgrImage


def stored_size(size_px: int) -> int:
    """Return the side of a stored crop. It is odd where `size_px` is odd, so that the centre is on whole pixels."""
    margin_px = round(size_px * (MARGIN - 1) / 2)
    return size_px + 2 * margin_px


def centre_crop(stored_bgr: BgrImage, size_px: int) -> BgrImage:
    """Return the centre (size_px, size_px, 3) of a stored crop: the pixels that the stream would classify."""
    start = (stored_bgr.shape[0] - size_px) // 2
    return np.ascontiguousarray(stored_bgr[start : start + size_px, start : start + size_px])


def cut_with_margin(
    image_bgr: BgrImage, detection: Detection, face_box_xyxy: FloatArray, size_px: int, rules: AlignRules
) -> BgrImage | None:
    """Return a crop with its margin, or None where `align_face` returns None.

    The centre of the crop equals the crop of `align_face`, except for rounding.
    """
    quad_xy = crop_quad(detection, face_box_xyxy, rules)
    if quad_xy is None:
        return None
    margin_px = (stored_size(size_px) - size_px) // 2
    return cut_quad(image_bgr, quad_xy, size_px, margin_px)


def make_crops(
    annotations: Annotations, detector: Detector | None, out: Path, rules: CropRules, tick: Callable[[int], None]
) -> dict[str, Any]:
    """Write a PNG file for each face into a folder of its class or of unlabelled faces, and a description beside these folders.

    Args:
        annotations: The labelled images.
        detector: Gives keypoints where none are labelled; None where no face needs it.
        out: Folder, created where it does not exist. It must not contain crops.
        rules: Which faces are cut, and how.
        tick: Called with 1 after each image and each view.

    Returns:
        The description: settings, number of crops per class, number of missed faces per reason, and each missed face.

    Raises:
        ConfigError: `views` needs `background`, and images without faces.
        SinkError: The folder contains crops already, or a file cannot be written.
    """
    if (out / DESCRIPTION).exists() or any(out.glob("*/*.png")):
        raise SinkError(f"{one_line(str(out))}: contains crops already; delete it or choose another folder")
    view_images = _images_of_views(annotations, rules)
    counts: Counter[str] = Counter()
    misses: list[Missed] = []

    def write(crop: Crop, name: str) -> None:
        folder = out / crop.class_name
        make_folder(str(folder))
        write_image(folder / name, crop.bgr)
        counts[crop.class_name] += 1

    for image_number, image in enumerate(annotations.images):
        for number, result in enumerate(_cut_image(image, detector, rules)):
            if isinstance(result, Missed):
                misses.append(result)
                continue
            write(result, f"{_file_name(image.name)}__{image_number}_{number}.png")
        tick(1)
    for view in range(rules.views):
        for number, crop in enumerate(_cut_view(view, view_images, detector, rules)):
            write(crop, f"view_{view}_{number}.png")
        tick(1)
    description = {
        "size_px": rules.size_px,
        "stored_px": stored_size(rules.size_px),
        "min_face_px": rules.rules.min_face_px,
        "keypoints": rules.keypoints,
        "background": rules.background.pattern if rules.background else None,
        "views": rules.views,
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
    """Return the path of an image as one name that leaves space for numbers and a suffix."""
    name = image.replace("/", "_")
    encoded = os.fsencode(name)
    return name if len(encoded) <= _MAX_NAME_BYTES else encoded[-_MAX_NAME_BYTES:].decode(errors="ignore")


def _cut_image(image: LabelledImage, detector: Detector | None, rules: CropRules) -> list[Crop | Missed]:
    """Return the crops of an image, and its labelled faces without a crop."""
    faces = [face for face in image.faces if not face.ignore]
    misses = [_missed(image, face, MissReason.IGNORED) for face in image.faces if face.ignore]
    cuts_background = detector is not None and rules.background is not None and bool(rules.background.search(image.name))
    if not faces and not cuts_background:
        return [*misses]
    try:
        bgr = read_image(str(image.path))
    except SourceError:
        return [*misses, *(_missed(image, face, MissReason.UNREADABLE) for face in faces)]
    detections = _detect(bgr, faces, detector, rules, for_background=cuts_background)
    boxes = _comparable_boxes(detections, image, rules)
    detected = _match(_iou(boxes, faces), MIN_IOU[rules.box])
    without_crop = MissReason.NO_KEYPOINTS if detector is None else MissReason.NOT_DETECTED
    results: list[Crop | Missed] = [*misses]
    for index, face in enumerate(faces):
        detection = detections[detected[index]] if index in detected else None
        crops = _cut_face(bgr, face, detection, rules)
        results += [crop or _missed(image, face, MissReason.TOO_SMALL) for crop in crops] or [_missed(image, face, without_crop)]
    if cuts_background:
        results += _cut_background(bgr, detections, _iou(boxes, image.faces), rules)
    return results


def _detect(
    bgr: BgrImage, faces: Sequence[LabelledFace], detector: Detector | None, rules: CropRules, *, for_background: bool
) -> list[Detection]:
    """Return the detections of an image; none where the labelled keypoints are enough."""
    labels_suffice = rules.keypoints == "labels" and all(face.keypoints_xy is not None for face in faces)
    if detector is None or (labels_suffice and not for_background):
        return []
    return detector.detect([bgr])[0]


def _cut_face(bgr: BgrImage, face: LabelledFace, detection: Detection | None, rules: CropRules) -> list[Crop | None]:
    """Return a crop aligned by the labelled keypoints, by those of the face's detection, or both; None where it is too small."""
    crops = []
    folder = UNLABELLED if face.label is Label.UNKNOWN else face.label.value
    if face.keypoints_xy is not None and rules.keypoints != "detector":
        labelled = face.as_detection()
        box = face_box_from_keypoints(labelled) if rules.box == "head" else face_box(labelled)
        crops.append(_cut(bgr, labelled, box, folder, rules))
    if detection is not None and (rules.keypoints == "both" or not crops):
        crops.append(_cut(bgr, detection, face_box(detection), folder, rules))
    return crops


def _cut_background(bgr: BgrImage, detections: Sequence[Detection], iou: NDArray[np.float64], rules: CropRules) -> list[Crop]:
    """Return the crops of detections that overlap no labelled face, by their IoU (D, L) with the labelled faces."""
    highest = iou.max(axis=1, initial=0)
    unlabelled = [detection for detection, value in zip(detections, highest, strict=True) if value < _BACKGROUND_BELOW_IOU]
    crops = [_cut(bgr, detection, face_box(detection), BACKGROUND, rules) for detection in unlabelled]
    return [crop for crop in crops if crop is not None]


def _images_of_views(annotations: Annotations, rules: CropRules) -> list[LabelledImage]:
    """Return the images without faces that the views show; refuse views where there is none."""
    if not rules.views:
        return []
    if rules.background is None:
        raise ConfigError(f"--views {rules.views}: needs --background; give a regular expression for the names of the images")
    images = [image for image in annotations.images if not image.faces and rules.background.search(image.name)]
    if not images:
        raise ConfigError(f"--views {rules.views}: no image without faces matches --background {rules.background.pattern}")
    return images


def _cut_view(number: int, images: Sequence[LabelledImage], detector: Detector | None, rules: CropRules) -> list[Crop]:
    """Return the background crops of a view: a few images without faces give many different false detections."""
    rng = np.random.default_rng(number)
    count = 4 if rng.random() < _VIEW_RECIPE.mosaic_share else 1
    chosen = [images[index] for index in rng.integers(len(images), size=count)]
    try:
        bgr = make_window(chosen, images, _VIEW_RECIPE, _VIEW_PX, rng).bgr
    except SourceError:
        return []
    detections = _detect(bgr, (), detector, rules, for_background=True)
    return _cut_background(bgr, detections, np.zeros((len(detections), 0)), rules)


def _cut(bgr: BgrImage, detection: Detection, box_xyxy: FloatArray, class_name: str, rules: CropRules) -> Crop | None:
    crop_bgr = cut_with_margin(bgr, detection, box_xyxy, rules.size_px, rules.rules)
    return None if crop_bgr is None else Crop(class_name, crop_bgr)


def _comparable_boxes(detections: Sequence[Detection], image: LabelledImage, rules: CropRules) -> FloatArray:
    """Return the boxes (D, 4) of detections as the labels are drawn: tight faces, or heads."""
    boxes = [face_box(detection) for detection in detections]
    if rules.box == "head":
        boxes = [head_box(box, image.width, image.height) for box in boxes]
    return np.array(boxes, np.float32).reshape(-1, 4)


def _iou(boxes_xyxy: FloatArray, faces: Sequence[LabelledFace]) -> NDArray[np.float64]:
    """Return the IoU (D, L) of D boxes and L labelled faces."""
    return box_iou(boxes_xyxy, np.array([face.box_xyxy for face in faces], np.float32).reshape(-1, 4))


def _match(iou: NDArray[np.float64], min_iou: float) -> dict[int, int]:
    """Return the index of the detection for each matched face: pairs (D, L) by falling IoU, each detection once."""
    taken: dict[int, int] = {}
    for flat in np.argsort(-iou, axis=None):
        detection, face = (int(index) for index in np.unravel_index(flat, iou.shape))
        if iou[detection, face] < min_iou:
            break
        if face not in taken and detection not in taken.values():
            taken[face] = detection
    return taken


def _missed(image: LabelledImage, face: LabelledFace, reason: MissReason) -> Missed:
    return Missed(image.name, tuple(round(value, 1) for value in face.box_xyxy.tolist()), reason)
