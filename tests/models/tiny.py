"""Real models, small enough to be made in a test."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from maskstream.evaluation.yolo_detector import contained
from maskstream.models import mask_resnet18
from maskstream.models.checkpoint import load_checkpoint, save_checkpoint
from maskstream.models.metadata import TENSORS_SHA256, Metadata, tensors_sha256, to_header
from maskstream.types import BgrImage
from tests.command_lines import ROOT

CLIP_NAME = "maskstream-tiny-clip"
CLIP_SIDE = 32
YOLO_SIDE = 64
_YOLO_STEPS = 150
RED, BLUE = (20, 20, 230), (230, 20, 20)
"""BGR: what `save_tiny_yolo` takes for its first and its second class."""

_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": CLIP_SIDE, "patch_size": 8, "layers": 2, "width": 64, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
_YOLO_BODY = [[-1, 1, "Conv", [channels, 3, stride]] for channels, stride in ((16, 2), (32, 2), (64, 2), (64, 1), (64, 1))]


def save_tiny_clip(path: Path) -> Path:
    """Write the state dict of a CLIP with random weights, `.pt` or `.safetensors`, and its architecture; open_clip is told it."""
    import open_clip

    config = path.with_name(f"{CLIP_NAME}.json")  # always written: a test may give it to another process
    config.write_text(json.dumps(_CLIP))
    if CLIP_NAME not in open_clip.list_models():
        open_clip.add_model_config(config)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = open_clip.create_model(CLIP_NAME).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def save_overflowing(path: Path, name: str) -> Path:
    """Write the shipped weights of a classifier with a temperature by which its logits become infinite: every answer is NaN."""
    state, metadata = load_checkpoint(ROOT / "weights" / f"{name}.safetensors", name)
    save_checkpoint(path, state, metadata.model_copy(update={"temperature": 1e-42}))
    return path


def save_broken(path: Path, name: str) -> Path:
    """Write shipped weights with a NaN in the last bias."""
    state, metadata = load_checkpoint(ROOT / "weights" / f"{name}.safetensors", name)
    bias = [key for key in state if key.endswith("bias")][-1]
    state[bias][0] = float("nan")
    halves = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    header = to_header(metadata) | {TENSORS_SHA256: tensors_sha256({key: half.numpy() for key, half in halves.items()})}
    path.parent.mkdir(exist_ok=True)
    save_file(halves, path, header)  # `save_checkpoint` would refuse it
    return path


def save_resnet(path: Path) -> Path:
    """Write a `mask_resnet18` of random weights that knows all four classes."""
    metadata = Metadata(
        architecture="mask_resnet18",
        input_size=32,
        mean=mask_resnet18.ARCHITECTURE.mean,
        std=mask_resnet18.ARCHITECTURE.std,
        class_names=("mask", "no_mask", "incorrect", "background"),
        training_command="",
        data_manifest_sha256=None,
        figures={},
        licence="none",
        temperature=1.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = mask_resnet18.ARCHITECTURE.build_for_training(metadata, "none")
    save_checkpoint(path, module.network.state_dict(), metadata)
    return path


def draw(height: int, width: int, *squares: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> BgrImage:
    """Return a grey picture with rectangles of a box x1, y1, x2, y2 and a colour."""
    image = np.full((height, width, 3), 110, np.uint8)
    for (x1, y1, x2, y2), bgr in squares:
        image[y1:y2, x1:x2] = bgr
    return image


def save_tiny_yolo(path: Path, names: tuple[str, str] = ("with_mask", "without_mask")) -> Path:
    """Write an Ultralytics detector that learnt within seconds that red rectangles are the first class, blue ones the second.

    What it learnt is kept for all processes that run tests.
    """
    learnt = Path(os.environ["XDG_CACHE_HOME"]) / "tiny_yolo.pt"
    with contained(), torch.random.fork_rng():
        from ultralytics.nn.tasks import DetectionModel
        from ultralytics.utils import DEFAULT_CFG

        torch.manual_seed(0)
        torch.set_num_threads(1)  # several would mostly wait for each other in so small a model
        model = DetectionModel({"nc": 2, "backbone": _YOLO_BODY, "head": [[[-1], 1, "Detect", ["nc"]]]}, nc=2, verbose=False)
        model.args = DEFAULT_CFG
        for part in model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = 0.1
        for scores in model.model[-1].cv3:
            scores[-1].bias.data.fill_(
                -3
            )  # made for large pictures, it would start at so low a score that a class may never rise
        if learnt.exists():
            model.load_state_dict(torch.load(learnt, weights_only=True))
        else:
            _train(model, _YOLO_STEPS)
            own = learnt.with_name(f"tiny_yolo_{os.getpid()}.pt")
            own.parent.mkdir(parents=True, exist_ok=True)
            torch.save(model.state_dict(), own)
            own.replace(learnt)
        model.names, model.task, model.args = dict(enumerate(names)), "detect", {"imgsz": YOLO_SIDE, "task": "detect"}
        torch.save({"model": model.eval(), "train_args": {"imgsz": YOLO_SIDE}}, path)
    return path


def _train(model: Any, steps: int) -> None:
    random = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps) + 1e-5
        loss, _ = model.train()(_batch(random, 8))
        optimizer.zero_grad()
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()


def _batch(random: np.random.Generator, count: int) -> dict[str, torch.Tensor]:
    """Return pictures with a rectangle on the left and one on the right, as Ultralytics' loss wants them."""
    images, rows, half = np.zeros((count, YOLO_SIDE, YOLO_SIDE, 3), np.uint8), [], YOLO_SIDE // 2
    for index, image in enumerate(images):
        image[:] = random.integers(60, 200)
        for left in (0, half):
            kind, (width, height) = int(random.integers(2)), random.integers(10, 28, 2)
            x, y = left + random.integers(0, half - width + 1), random.integers(0, YOLO_SIDE - height)
            image[y : y + height, x : x + width] = (RED, BLUE)[kind][::-1]
            rows.append((index, kind, x + width / 2, y + height / 2, width, height))
    table = torch.tensor(np.array(rows), dtype=torch.float32)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return {"img": tensor, "batch_idx": table[:, 0], "cls": table[:, 1:2], "bboxes": table[:, 2:] / YOLO_SIDE}
