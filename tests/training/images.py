"""Images that no face detector was trained on: blue discs with three white dots, on stripes."""

import json
from pathlib import Path

import cv2
import numpy as np

from maskstream.types import FACE_KEYPOINTS


def write_discs(folder: Path, count: int = 8) -> Path:
    """Write images of 256x192 px with one or two discs each; return their COCO keypoints file."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(count):
        bgr = np.full((192, 256, 3), 90, np.uint8)
        bgr[:, :: int(rng.integers(5, 12))] = rng.integers(60, 200, 3)
        for x in (70, 180)[: 1 + number % 2]:
            centre, radius = np.array([x, int(rng.integers(60, 130))]), int(rng.integers(24, 40))
            cv2.circle(bgr, centre.tolist(), radius, (220, 60, 10), -1, cv2.LINE_AA)
            points = centre + radius * np.array([[0, 0.3], [0.4, -0.3], [-0.4, -0.3]])
            for point in points.round().astype(int).tolist():
                cv2.circle(bgr, point, max(radius // 8, 2), (255, 255, 255), -1, cv2.LINE_AA)
            box = [*(centre - radius).tolist(), 2 * radius, 2 * radius]
            keypoints = [value for point in points.tolist() for value in (*point, 2)]
            annotations.append({"image_id": number, "category_id": 1, "bbox": box, "keypoints": keypoints, "mask": "mask"})
        cv2.imwrite(str(folder / f"{number}.png"), bgr)
        images.append({"id": number, "file_name": f"{number}.png", "width": 256, "height": 192})
    labels = folder.with_suffix(".json")
    categories = [{"id": 1, "name": "face", "keypoints": FACE_KEYPOINTS}]
    numbered = [{**annotation, "id": number} for number, annotation in enumerate(annotations)]
    labels.write_text(json.dumps({"images": images, "annotations": numbered, "categories": categories}))
    return labels
