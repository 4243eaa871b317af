"""Write a small labelled set and predictions for it: every part of metrics.json has a number."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from maskstream.io.images import write_image

EYES_AND_NOSE = ("nose", "left_eye", "right_eye")
GROUP_BY = "^([a-z]+)_"
_SIZE = (320, 240)
_MEANINGS = ("mask", "no_mask", "incorrect", "face")


def write_small_set(folder: Path) -> tuple[Path, Path, Path]:
    """Write six images, their COCO labels, and predictions as records of `--jsonl`; return the three paths."""
    generator = np.random.default_rng(11)
    images, annotations, records = [], [], []
    for index in range(6):
        name = f"{'street' if index % 2 else 'hall'}_{index}.png"
        (folder / "images").mkdir(exist_ok=True)
        write_image(folder / "images" / name, np.full((_SIZE[1], _SIZE[0], 3), 20 * index, np.uint8))
        images.append({"id": index, "file_name": name, "width": _SIZE[0], "height": _SIZE[1]})
        faces: list[dict[str, Any]] = []
        for place in range(5):
            side = float(8 + 12 * place)
            left, top = 2 + 62.0 * place, float(generator.integers(0, 140))
            worn = _MEANINGS[int(generator.integers(0, 4))]
            annotations.append(_annotation(index, worn, (left, top, side, 1.2 * side), is_ignored=(index + place) % 9 == 0))
            faces += _found(generator, worn, left, top, side)
        records.append({"file": name, "width": _SIZE[0], "height": _SIZE[1], "faces": faces})
    annotations.append(_annotation(5, "mask", (300.0, 200.0, 40.0, 30.0), is_ignored=False))  # reaches over the edge
    categories = [{"id": 1, "name": "face", "keypoints": list(EYES_AND_NOSE)}]
    labels, predictions = folder / "labels.json", folder / "predictions.jsonl"
    labels.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    predictions.write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder / "images", labels, predictions


def _annotation(image: int, worn: str, box: tuple[float, float, float, float], *, is_ignored: bool) -> dict[str, Any]:
    left, top, width, height = box
    points = [
        left + width / 2,
        top + height / 2,
        2,
        left + 0.7 * width,
        top + height / 3,
        2,
        left + 0.3 * width,
        top + height / 3,
        2,
    ]
    ours = {"mask": None if worn == "face" else worn}
    return {"image_id": image, "category_id": 1, "bbox": list(box), "keypoints": points, "iscrowd": int(is_ignored), **ours}


def _found(generator: np.random.Generator, worn: str, left: float, top: float, side: float) -> list[dict[str, Any]]:
    """Return one prediction near a face, now and then none, a second one, or one with another label."""
    found = []
    for number in range(int(generator.choice([0, 1, 1, 1, 2]))):
        shift = float(generator.normal(0, 0.08)) * side
        edges = (left + shift, top + shift, left + shift + side, top + shift + 1.2 * side)
        sure = float(generator.uniform(0.5, 1))
        label = worn if generator.random() < 0.7 else ("no_mask", "mask", "unknown")[number]
        label = "unknown" if label == "face" else label
        points = {
            name: [edges[0] + side * x, edges[1] + side * y, 0.9]
            for name, x, y in (("nose", 0.5, 0.6), ("left_eye", 0.7, 0.4), ("right_eye", 0.3, 0.4))
        }
        found.append(
            {
                "label": label,
                "confidence": None if label == "unknown" else round(sure, 4),
                "score": round(float(generator.uniform(0.2, 1)), 4),
                "box": dict(zip(("x1", "y1", "x2", "y2"), (round(edge, 2) for edge in edges), strict=True)),
                "keypoints": points,
            }
        )
    return found
