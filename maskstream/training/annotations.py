"""Labelled faces from a COCO keypoints file with our `mask` field."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from maskstream.errors import ConfigError, SourceOpenError
from maskstream.types import FACE_KEYPOINTS, BgrImage, Detection, FloatArray


@dataclass(frozen=True, eq=False)
class LabelledFace:
    """One annotated face."""

    box_xyxy: FloatArray
    """(4,) pixels."""
    keypoints_xy: FloatArray | None
    """(3, 2) nose, left eye, right eye; None where they are not labelled."""
    label: str | None
    """`mask`, `no_mask`, `incorrect`, or None where it is not known."""
    ignore: bool
    """Neither a positive nor a negative."""

    def as_detection(self) -> Detection:
        """Return the annotation as a perfect detector would report it; `ValueError` without keypoints."""
        if self.keypoints_xy is None:
            raise ValueError("a face without keypoints has no detection")
        return Detection(self.box_xyxy, 1.0, self.keypoints_xy, np.ones(len(FACE_KEYPOINTS), np.float32), FACE_KEYPOINTS)


@dataclass(frozen=True)
class LabelledPicture:
    """One picture and its faces."""

    path: Path
    faces: tuple[LabelledFace, ...]

    def read_bgr(self) -> BgrImage:
        """Return the pixels (H, W, 3) uint8; `SourceOpenError` where the file is not a readable picture."""
        picture = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if picture is None:
            raise SourceOpenError(f"{self.path}: not a readable picture; remove it from the annotations")
        return np.asarray(picture, np.uint8)


def load_coco_faces(annotations: Path, images: Path) -> list[LabelledPicture]:
    """Read a COCO keypoints file of faces whose pictures lie in `images`.

    Raises:
        ConfigError: The file is missing or not such a file.
    """
    try:
        content = json.loads(annotations.read_text())
        faces: dict[int, list[LabelledFace]] = {}
        for annotation in content["annotations"]:
            faces.setdefault(annotation["image_id"], []).append(_to_face(annotation))
        return [
            LabelledPicture(images / picture["file_name"], tuple(faces.get(picture["id"], ()))) for picture in content["images"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{annotations}: not a COCO keypoints file of faces ({error!r}); check the path") from error


def _to_face(annotation: dict[str, object]) -> LabelledFace:
    x, y, width, height = np.asarray(annotation["bbox"], np.float32)
    points = np.asarray(annotation.get("keypoints", ()), np.float32).reshape(-1, 3)
    labelled = len(points) == len(FACE_KEYPOINTS) and bool((points[:, 2] > 0).all())
    label = annotation.get("mask")
    return LabelledFace(
        box_xyxy=np.array([x, y, x + width, y + height], np.float32),
        keypoints_xy=points[:, :2] if labelled else None,
        label=None if label is None else str(label),
        ignore=bool(annotation.get("ignore", 0)),
    )
