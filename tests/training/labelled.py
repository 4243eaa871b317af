"""Frames of the demo with labels, as a user would have them."""

import json
from pathlib import Path

import cv2

from maskstream import MaskPipeline
from maskstream.types import FACE_KEYPOINTS, Frame, Label


def annotate(pipeline: MaskPipeline, frames: list[Frame], folder: Path) -> Path:
    """Write pictures, labelled with what the shipped models say of them."""
    images, annotations = [], []
    for frame in frames:
        images.append({"id": frame.index, "file_name": f"{frame.index}.png"})
        cv2.imwrite(str(folder / f"{frame.index}.png"), frame.bgr)
        for face in pipeline(frame.bgr):
            x1, y1, x2, y2 = face.face_box_xyxy.tolist()
            points = [value for point in face.detection.keypoints_xy.tolist() for value in (*point, 2)]
            label = "mask" if face.label is Label.MASK else "no_mask"
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append({"image_id": frame.index, "category_id": 1, "bbox": box, "keypoints": points, "mask": label})
    path = folder / "val.json"
    categories = [{"id": 1, "name": "face", "keypoints": FACE_KEYPOINTS}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path
