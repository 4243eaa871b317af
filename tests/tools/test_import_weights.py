import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from maskstream import MaskPipeline
from maskstream.models.checkpoint import load_checkpoint
from maskstream.pictures import write_picture
from maskstream.types import FACE_KEYPOINTS, Frame, Label
from tests.conftest import ROOT

NAMES = ("face_mobilenet", "mask_resnet18")


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


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "import_weights.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_state_dicts_become_checkpoints_with_figures(pipeline: MaskPipeline, demo_frames: list[Frame], tmp_path: Path) -> None:
    annotations = annotate(pipeline, demo_frames[::25], tmp_path)
    shipped = {name: load_checkpoint(ROOT / "weights" / f"{name}.safetensors", name)[0] for name in NAMES}
    for name, state in shipped.items():
        torch.save(state, tmp_path / f"{name}.pt")
    done = run(
        *("--detector", tmp_path / "face_mobilenet.pt", "--classifier", tmp_path / "mask_resnet18.pt"),
        *("--images", tmp_path, "--annotations", annotations, "--out", tmp_path / "out"),
    )
    assert done.returncode == 0, done.stderr
    for name, state in shipped.items():
        made, metadata = load_checkpoint(tmp_path / "out" / f"{name}.safetensors", name)
        assert all(torch.equal(made[key], state[key]) for key in state)
        assert metadata.figures
    detector = load_checkpoint(tmp_path / "out" / "face_mobilenet.safetensors", "face_mobilenet")[1]
    assert detector.figures["recall_at_0.7"] == 1  # its own answers were the labels
    assert detector.figures["keypoint_error"] == pytest.approx(0, abs=1e-3)


def test_missing_annotations_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", np.zeros((1, 1, 3), np.uint8))
    no = tmp_path / "no.json"
    done = run(*("--detector", "x", "--classifier", "x", "--images", tmp_path, "--annotations", no, "--out", tmp_path))
    assert done.returncode == 2
    assert done.stderr == f"{no}: no such file or folder; give the labels of the pictures\n"
