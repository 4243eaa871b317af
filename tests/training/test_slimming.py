from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.detection import KeypointRCNN

from maskstream.models.checkpoint import load_checkpoint
from maskstream.models.face_mobilenet_network import restore
from maskstream.models.face_mobilenet_widths import FULL, SLIM
from maskstream.training.slimming import slim
from maskstream.vision.geometry import box_iou
from tests.command_lines import ROOT

DEMO = ROOT / "assets" / "demo.mp4"


@pytest.fixture(scope="module")
def shipped() -> KeypointRCNN:
    path = ROOT / "weights" / "face_mobilenet.safetensors"
    return restore(*load_checkpoint(path, "face_mobilenet"), str(path)).eval()


@pytest.fixture(scope="module")
def frames() -> list[torch.Tensor]:
    """Frames (3, H, W) in [0, 1], sides multiples of 32, from all over the demonstration clip."""
    capture, frames = cv2.VideoCapture(str(DEMO)), []
    every = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // 12
    while True:
        has_frame, bgr = capture.read()
        if not has_frame:
            break
        frames.append(torch.from_numpy(np.ascontiguousarray(bgr[:352, :608, ::-1])).permute(2, 0, 1).float() / 255)
    capture.release()
    return frames[::every][:12]


def normalised(shipped: KeypointRCNN, frames: list[torch.Tensor]) -> list[torch.Tensor]:
    return [shipped.transform.normalize(frame)[None] for frame in frames]


def boxes_of(module: KeypointRCNN, frame: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        found = module([frame])[0]
    boxes: np.ndarray = found["boxes"][found["scores"] > 0.5].numpy()
    return boxes


@pytest.mark.slow
def test_a_copy_of_full_width_finds_the_same_boxes(shipped: KeypointRCNN, frames: list[torch.Tensor]) -> None:
    copy = slim(shipped, replace(FULL, is_folded=True), normalised(shipped, frames))
    for frame in frames[::4]:
        own, wanted = boxes_of(copy, frame), boxes_of(shipped, frame)
        assert len(own) == len(wanted)
        assert (box_iou(own, wanted).max(axis=1, initial=0) > 0.9).all()


def test_a_narrow_copy_finds_the_faces_again_without_any_training(shipped: KeypointRCNN, frames: list[torch.Tensor]) -> None:
    before = {name: tensor.clone() for name, tensor in shipped.state_dict().items()}
    narrow = slim(shipped, SLIM, normalised(shipped, frames))
    wanted, own = ([boxes_of(module, frame) for frame in frames[1::4]] for module in (shipped, narrow))
    assert sum(map(len, wanted)) >= 3
    found = sum(
        int((box_iou(of_wide, of_narrow).max(axis=1, initial=0) > 0.5).sum())
        for of_wide, of_narrow in zip(wanted, own, strict=True)
    )
    assert found >= 0.7 * sum(map(len, wanted))
    assert all(torch.equal(tensor, before[name]) for name, tensor in shipped.state_dict().items())


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(shipped: KeypointRCNN, frames: list[torch.Tensor]) -> None:
    few = [image[..., :128, :160] for image in normalised(shipped, frames)[:3]]
    one, again = (slim(shipped, SLIM, few, seed=4).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, again[name]) for name, tensor in one.items())
