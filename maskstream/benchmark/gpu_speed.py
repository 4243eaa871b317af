"""Time a device: its peak rates, and the models alone on images of camera size."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from shutil import which
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from maskstream.benchmark.gpu_setup import Check, logged_lines, steps_passed, tf32
from maskstream.benchmark.rounds import Workload, take_turns
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.inference.pipeline import build_analyzer, build_detector
from maskstream.models import coco_resnet50, face_mobilenet
from maskstream.models.gpu_images import Uploads
from maskstream.models.precision import PRECISIONS
from maskstream.types import BgrImage

_PRODUCTS: Final = 10
_COPIED_BYTES: Final = 2**26
_PERSONS: Final = 5
"""Persons that the network with random weights finds in each image, so that its last stage has typical work."""
_SEED: Final = 1


def ceilings(check: Check) -> dict[str, Any]:
    """Measure the rates of matrix products and of copies to the device, which are upper limits for all models."""
    rates = {}
    for name, dtype in PRECISIONS.items():
        if name in check.precisions:
            with tf32(convolutions=False, products=False):
                rates[name] = _products_per_s(check, dtype)
    if check.is_cuda:
        with tf32(convolutions=True, products=True):
            rates["tf32"] = _products_per_s(check, torch.float32)
    tflop = 2 * check.plan.matrix_side**3 / 1e12
    record: dict[str, Any] = {"passed": None, "tflop_per_s": {name: round(rate * tflop, 3) for name, rate in rates.items()}}
    name = str(check.device)
    if check.is_cuda:
        name = torch.cuda.get_device_name(check.device)
        record |= {"driver": _driver(), "cuda": torch.version.cuda, "gb_per_s_to_device": round(_copied_gb_per_s(check), 1)}
        record["memory_gb"] = round(torch.cuda.get_device_properties(check.device).total_memory / 2**30, 1)
    said = ", ".join(f"{name} {rate:g}" for name, rate in record["tflop_per_s"].items())
    return {**record, "said": f"{name}: matrix products in TFLOP/s: {said}"}


def _products_per_s(check: Check, dtype: torch.dtype) -> float:
    side = check.plan.matrix_side
    first, second = (torch.rand(side, side, device=check.device).to(dtype) for _ in range(2))

    def run() -> int:
        for _ in range(_PRODUCTS):
            product = first @ second
        product[0, 0].item()  # waits for the device
        return _PRODUCTS

    return _per_s(check, run)


def _copied_gb_per_s(check: Check) -> float:
    pinned = torch.zeros(_COPIED_BYTES, dtype=torch.uint8).pin_memory()

    def run() -> int:
        for _ in range(_PRODUCTS):
            copied = pinned.to(check.device, non_blocking=True)
        copied[0].item()
        return _PRODUCTS

    return _per_s(check, run) * _COPIED_BYTES / 1e9


def _per_s(check: Check, run: Callable[[], int]) -> float:
    return median(take_turns([Workload("ceiling", "", run)], check.plan.rounds, lambda _: None)["ceiling"].fps)


def _driver() -> str | None:
    """Return the version of the driver; None if nvidia-smi does not give it."""
    program = which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout  # noqa: S603 (found above)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(iter(said.split()), None)


class _Images(Uploads):
    """Sends images to the device, or keeps them there: the copies are then not part of the timed work."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.stay = False
        self._stayed: dict[int, tuple[BgrImage, torch.Tensor]] = {}

    def __call__(self, images_bgr: Sequence[BgrImage]) -> list[torch.Tensor]:
        if not self.stay:
            return super().__call__(images_bgr)
        missing = [image for image in images_bgr if id(image) not in self._stayed]
        for image, sent in zip(missing, super().__call__(missing), strict=True):
            self._stayed[id(image)] = (image, sent)
        return [self._stayed[id(image)][1] for image in images_bgr]


def speed(check: Check) -> dict[str, Any]:
    """Time both detectors in all precisions, batch sizes and executions, with the copies to the device and back.

    `coco_resnet50` has random weights, because the real ones need a network. The time does not depend on the weights.
    """
    rows: list[dict[str, Any]] = []
    gflop = {}
    with TemporaryDirectory() as folder:
        for name, short_side in check.plan.model_sides.items():
            chosen: dict[str, Any] = {"name": name, "short_side": short_side}
            if name == coco_resnet50.NAME:
                check.say("speed: random weights")
                weights = random_weights(Path(folder))
                chosen |= {"weights": str(weights), "min_score": 0.0, "max_faces": _PERSONS}
            detector = build_detector(check.config(detector=chosen))
            with FlopCounterMode(display=False) as counter:
                detector.detect([frame.bgr for frame in check.timed_images(1)])
            gflop[name] = round(counter.get_total_flops() / 1e9, 2)
            for precision in check.timed_precisions:
                config = check.config(precision=precision, detector=chosen)
                for row in chain(_steps(check, config), _executions(check, config)):
                    rows.append({"model": f"{name} {short_side} px", "precision": precision, **row})
                    _compare_with_ceiling(check, rows[-1], gflop[name])
                    check.keep(rows)
    left_out = [row for row in rows if "fps" not in row]
    height, width = check.plan.image_hw
    per_frame = ", ".join(f"{name} {each:g} GFLOP per frame" for name, each in gflop.items())
    said = f"images of {width}x{height}; {per_frame}"
    said += f"; {len(left_out)} steps were left out" if left_out else ""
    return {"passed": steps_passed(rows), "said": said, "gflop_per_frame": gflop, "rows": rows}


def random_weights(folder: Path) -> Path:
    """Write random weights of `coco_resnet50` with which activations keep their magnitude through the network.

    Batch norm has the statistics of noise. Without them activations double in each block and overflow in float16.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(_SEED)
        module = coco_resnet50.build_module()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None  # use the plain mean
        module.backbone.body.train()(torch.randn(2, 3, 128, 128))
    path = folder / f"{coco_resnet50.NAME}.pth"
    torch.save(module.state_dict(), path)
    return path


def _steps(check: Check, config: Config) -> Iterator[dict[str, Any]]:
    """Time the detector with images on the host and on the device, and `face_mobilenet` also with the classifier."""
    on_cpu = check.device.type == "cpu"
    uploads = _Images(check.device)
    name = f"speed: {config.detector.name}, {config.precision}"
    detector = build_detector(config, None if on_cpu else uploads)
    for where in ("host",) if on_cpu else ("host", "device"):
        uploads.stay = where == "device"
        for size in check.plan.batches:
            images = [frame.bgr for frame in check.timed_images(max(size, check.plan.least_frames))]
            run = partial(_in_batches, detector.detect, images, size)
            yield {"what": "detector", "pictures": where, "batch": size, **check.timed(f"{name}, batch {size}", run)}
    if config.detector.name == face_mobilenet.NAME:
        analyzer = build_analyzer(config)
        for size in check.plan.batches:
            run = partial(_in_batches, analyzer.analyze, check.timed_images(max(size, check.plan.least_frames)), size)
            yield {"what": "and classifier", "pictures": "host", "batch": size, **check.timed(f"{name}, batch {size}", run)}


def _executions(check: Check, config: Config) -> Iterator[dict[str, Any]]:
    """Time the detector in each `detector.execution` that is not the usual one, with images on the host.

    A device that cannot record CUDA graphs has no such figure, but that of `padded`.
    """
    for execution in (each for each in check.executions if each != config.detector.execution):
        chosen = refine(config, Layer("gpu_check", {"detector": {"execution": execution}}))
        detector = build_detector(chosen, None if check.device.type == "cpu" else Uploads(check.device))
        with logged_lines("detector.execution") as refused:
            for size in check.plan.batches:
                images = [frame.bgr for frame in check.timed_images(max(size, check.plan.least_frames))]
                what = f"speed: {config.detector.name}, {config.precision}, {execution}, batch {size}"
                timed = {} if refused else check.timed(what, partial(_in_batches, detector.detect, images, size))
                yield {"what": execution, "pictures": "host", "batch": size} | ({"failed": refused[0]} if refused else timed)


def _in_batches(work: Callable[[Any], Any], items: Sequence[Any], size: int) -> int:
    """Process all complete batches and return the number of their items."""
    starts = range(0, len(items) - size + 1, size)
    for start in starts:
        work(items[start : start + size])
    return len(starts) * size


def _compare_with_ceiling(check: Check, row: dict[str, Any], gflop: float) -> None:
    """Add the detector's fraction of the rate of matrix products, if the section `device` has run."""
    rates = check.found.get("device", {}).get("tflop_per_s", {})
    kind = "tf32" if row["precision"] == "float32" and check.is_cuda else row["precision"]  # PyTorch's default
    if kind in rates and "fps" in row and row["what"] != "and classifier":
        row["of_ceiling"] = round(gflop * row["fps"] / 1000 / rates[kind], 4)
