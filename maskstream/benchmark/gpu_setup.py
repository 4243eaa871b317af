"""Set up the sections of the GPU check: the device, real images, and models of a precision."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from traceback import format_exception
from typing import Any, Final

import cv2
import numpy as np
import torch
from loguru import logger

from maskstream.benchmark.rounds import Workload, take_turns
from maskstream.config.loading import Layer, load_config, refine
from maskstream.config.schema import Config
from maskstream.config.values import Execution
from maskstream.errors import OutOfMemory, SourceError, SourceOpenError
from maskstream.inference.analyzer import Analyzer
from maskstream.inference.pipeline import build_analyzer
from maskstream.io.files import one_line
from maskstream.io.image_formats import IMAGE_SUFFIXES
from maskstream.io.images import read_image
from maskstream.models.classifier_choice import AUTO, pick_classifier
from maskstream.models.devices import pick_device
from maskstream.models.precision import PRECISIONS
from maskstream.types import BgrImage, Frame, FrameResult

CLIP: Final = Path(__file__).resolve().parents[2] / "assets" / "demo.mp4"
SPENT: Final = "the budget is spent"
LOST: Final = "the device has not answered since an error: run this alone"
BATCH: Final = 8
"""Batch size of comparisons, on both devices."""


@dataclass(frozen=True)
class Plan:
    """Amount of work of a GPU check."""

    frames: int
    """Number of frames of the clip, evenly spaced."""
    short_side: int
    """`detector.short_side` of comparisons, in pixels."""
    batches: tuple[int, ...]
    rounds: int
    least_frames: int
    """Minimum number of frames in a round."""
    image_hw: tuple[int, int]
    """Height and width of timed images."""
    model_sides: Mapping[str, int]
    """`detector.short_side` of timed detectors, by name."""
    crowds: tuple[int, ...]
    """Numbers of faces in a frame."""
    cameras: tuple[int, ...]
    frames_each: int
    """Frames of each camera."""
    matrix_side: int


FULL: Final = Plan(
    frames=15,
    short_side=384,
    batches=(1, 8, 32),
    rounds=5,
    least_frames=16,
    image_hw=(720, 1280),
    model_sides={"face_mobilenet": 480, "coco_resnet50": 800},
    crowds=(1, 10, 50, 100),
    cameras=(1, 2, 4, 8, 16, 32, 64),
    frames_each=30,
    matrix_side=8192,
)
QUICK: Final = Plan(
    frames=3,
    short_side=192,
    batches=(1, 2),
    rounds=1,
    least_frames=1,
    image_hw=(180, 320),
    model_sides={"face_mobilenet": 128, "coco_resnet50": 64},
    crowds=(1, 10),
    cameras=(1, 2),
    frames_each=3,
    matrix_side=256,
)


@dataclass(frozen=True, eq=False)
class Check:
    """The input of a section."""

    device: torch.device
    """The device, with its index if it is CUDA."""
    plan: Plan
    frames: list[Frame]
    """Real images of any size."""
    say: Callable[[str], None]
    """Called with a line of progress."""
    seconds_left: Callable[[], float]
    """Returns the rest of the budget; nothing begins if it is negative."""
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Results of the sections that have run."""
    errors: list[dict[str, str]] = field(default_factory=list)
    """What has failed, and the traceback."""
    keep: Callable[[Sequence[Mapping[str, Any]]], None] = lambda _: None
    """Called with the rows of a section as soon as there is one more, so that an error does not lose them."""

    @property
    def is_cuda(self) -> bool:
        """True for a CUDA GPU; only there can memory and TF32 be set."""
        return self.device.type == "cuda"

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions to compare. float16 takes 40 times as long on a CPU and is left out there."""
        return tuple(name for name in PRECISIONS if self.device.type != "cpu" or name != "float16")

    @property
    def timed_precisions(self) -> tuple[str, ...]:
        """Precisions to time. Half precision is slower than float32 on a CPU and is left out there."""
        return self.precisions if self.device.type != "cpu" else ("float32",)

    def config(self, **values: Any) -> Config:
        """Return the default configuration on the device with the backend torch and the given settings."""
        classifier = {"name": pick_classifier(AUTO, None, str(self.device)), "backend": "torch"}  # the same in `reference`
        usual = {"device": str(self.device), "detector": {"backend": "torch"}, "classifier": classifier}
        return refine(refine(load_config(), Layer("gpu_check", usual)), Layer("gpu_check", values))

    @property
    def executions(self) -> tuple[Execution, ...]:
        """Values of `detector.execution` that the device has."""
        return ("dynamic", "padded", "cuda_graphs") if self.is_cuda else ("dynamic", "padded")

    def analyzer(self, precision: str = "float32", execution: Execution = "dynamic") -> Analyzer:
        """Load the default models on the device."""
        detector = {"short_side": self.plan.short_side, "execution": execution}
        return build_analyzer(self.config(precision=precision, detector=detector))

    def reference(self) -> Analyzer:
        """Load the same models on the CPU in float32."""
        return build_analyzer(self.config(device="cpu", detector={"short_side": self.plan.short_side}))

    def timed_images(self, count: int) -> list[Frame]:
        """Return real images in the size of timed images, each in its own array."""
        height, width = self.plan.image_hw
        shown = [self.frames[index % len(self.frames)].bgr for index in range(count)]
        return [as_frame(cv2.resize(bgr, (width, height)), index) for index, bgr in enumerate(shown)]

    @property
    def is_lost(self) -> bool:
        """True if the device does not answer: after some errors of CUDA, every call of the process fails."""
        return bool(self.errors) and not answers(self.device)

    def failed(self, what: str, error: Exception) -> str:
        """Keep and show the traceback of an error, and return the error as one line."""
        trace = "".join(format_exception(error))
        self.say(f"{what} failed\n{trace}")
        self.errors.append({"what": what, "traceback": trace})
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.200}"

    def timed(self, what: str, run: Callable[[], int]) -> dict[str, Any]:
        """Run a workload once to warm up, and then `plan.rounds` times.

        Args:
            what: Line of progress.
            run: Waits for its results and returns the number of frames.

        Returns:
            Milliseconds per frame, frames per second (median and spread), and on CUDA the peak memory of PyTorch. `left_out` has
            the reason if the budget is spent or the memory is too small, `failed` any other error.
        """
        if self.is_lost:
            return {"left_out": LOST}
        if self.seconds_left() < 0:
            return {"left_out": SPENT}
        self.say(what)
        try:
            if self.is_cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(self.device)
            times = take_turns([Workload("step", "", run)], self.plan.rounds, lambda _: None)["step"]
        except OutOfMemory as error:
            return {"left_out": str(error)}
        except Exception as error:  # a device may fail in any way; the other steps still run
            return {"failed": self.failed(what, error)}
        row: dict[str, Any] = {"ms_per_frame": round(1000 / median(times.fps), 3), "fps": round(median(times.fps), 1)}
        row["fps_spread"] = [round(min(times.fps), 1), round(max(times.fps), 1)]
        if self.is_cuda:
            row["peak_mb"] = round(torch.cuda.max_memory_allocated(self.device) / 2**20, 1)
        return row


def answers(device: torch.device) -> bool:
    """Return whether a device still computes."""
    try:
        return bool(torch.ones(1, device=device).item() == 1)
    except RuntimeError:
        return False


def steps_passed(rows: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return False if a timed step has failed, otherwise None: speeds have no limits."""
    return False if any("failed" in row for row in rows) else None


def find_device(name: str) -> torch.device:
    """Return the device with a name, with its index if it is CUDA.

    Raises:
        ConfigError: The device is not known or does not exist.
    """
    device = torch.device(pick_device(name))
    return torch.device("cuda", torch.cuda.current_device()) if device == torch.device("cuda") else device


def real_images(count: int, folder: Path | None) -> list[Frame]:
    """Return frames of the demo clip, which exists in a checkout, and all images of a folder.

    Args:
        count: Number of frames of the clip, evenly spaced.
        folder: Folder of images of any size; None for no images.

    Raises:
        SourceOpenError: The clip, the folder or an image cannot be read.
    """
    frames = _frames_of_clip(count) if folder is None or CLIP.is_file() else []
    if folder is None:
        return frames
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise SourceOpenError(f"--images {folder}: cannot be read: {error.strerror}; give a folder of images") from error
    if not paths:
        raise SourceOpenError(f"--images {folder}: no images in it; give a folder of images")
    for path in paths:
        try:
            frames.append(as_frame(read_image(str(path)), len(frames)))
        except SourceError as error:
            raise SourceOpenError(f"{one_line(str(path))}: {error}") from error
    return frames


def _frames_of_clip(count: int) -> list[Frame]:
    """Read the clip with OpenCV: the check runs without PyAV."""
    if not CLIP.is_file():
        raise SourceOpenError(f"{CLIP}: does not exist; give --images DIR, or run python tools/gpu_check.py in a checkout")
    capture = cv2.VideoCapture(str(CLIP))
    images = []
    while True:
        has_frame, bgr = capture.read()
        if not has_frame:
            break
        images.append(np.asarray(bgr, np.uint8))
    capture.release()
    if not images:
        raise SourceOpenError(f"{CLIP}: OpenCV cannot read it; check the file, or install an OpenCV with FFmpeg")
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [as_frame(images[index], number) for number, index in enumerate(chosen)]


def as_frame(bgr: Any, index: int = 0) -> Frame:
    """Return an image (H, W, 3) uint8 BGR as a frame."""
    return Frame(np.asarray(bgr, np.uint8), index, "image", 0.0)


def shifted(bgr: BgrImage) -> BgrImage:
    """Return a copy of an image that is shifted by half its width, so that the faces are in other places."""
    return np.roll(bgr, bgr.shape[1] // 2, axis=1)


def analyse(analyzer: Analyzer, frames: Sequence[Frame], size: int = BATCH) -> list[FrameResult]:
    """Analyse frames in batches."""
    starts = range(0, len(frames), size)
    return [result for start in starts for result in analyzer.analyze(frames[start : start + size])]


@contextmanager
def logged_lines(subject: str, level: str = "WARNING") -> Generator[list[str], None, None]:
    """Collect the lines of a level in the log that begin with a subject."""
    lines: list[str] = []
    handler = logger.add(
        lambda line: lines.append(line.strip()),
        level=level,
        format="{message}",
        filter=lambda each: each["level"].name == level and each["message"].startswith(subject),
    )
    try:
        yield lines
    finally:
        logger.remove(handler)


@contextmanager
def tf32(*, convolutions: bool, products: bool) -> Generator[None, None, None]:
    """Allow or forbid TF32 for float32 on CUDA; the defaults of PyTorch are True for convolutions and False for products."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
