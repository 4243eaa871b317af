"""Run `--system yolo`: an Ultralytics detector with mask classes, for comparison with our own models.

It finds and classifies faces in one step, so that it replaces detector, aligned crops and classifier. The library is optional:
`pip install -r requirements-yolo.txt`. Jocher et al., "Ultralytics YOLO" (2023).
"""

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

import cv2
import numpy as np
import PIL.Image
import torch

from maskstream.config.label_meanings import ambiguous_names, question, setting_of
from maskstream.config.loading import plain_name
from maskstream.config.schema import IncorrectAs, LabelMeaning
from maskstream.errors import ConfigError, ModelError, WeightsError
from maskstream.io.user_folders import expand_home
from maskstream.models.fork_safety import require_unforked
from maskstream.types import BgrImage, Detection, Face, Frame, FrameResult, Label
from maskstream.vision.geometry import box_corners

NAME = "yolo"

_SETTINGS: Final = {
    "YOLO_OFFLINE": "true",  # no network access and no usage reports
    "YOLO_AUTOINSTALL": "false",  # does not run pip
    "YOLO_VERBOSE": "false",  # prints nothing to standard output
    "ULTRALYTICS_SAFE_LOAD": "true",  # see load_yolo
}
_DAMAGED: Final = (TypeError, ValueError, AttributeError, LookupError, RuntimeError, ImportError, EOFError, UnpicklingError)


class YoloAnalyzer:
    """Find and classify the faces of a batch of frames, with the interface of `Analyzer`."""

    def __init__(self, model: Any, labels: Mapping[int, Label], device: str, min_score: float, max_faces: int) -> None:
        """Wrap a loaded model.

        Args:
            model: An `ultralytics.YOLO` with the task `detect`.
            labels: Label of each class, by its number; other classes are left out.
            device: Device of the model.
            min_score: Minimum score of a face.
            max_faces: Maximum number of faces in an image, those with the highest scores.
        """
        self._model = model
        self._labels = labels
        chosen = {"conf": min_score, "max_det": max_faces, "classes": list(labels), "device": device}
        self._settings = {**chosen, "verbose": False, "save": False}

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        """Return one result per frame, in order.

        A face has no keypoints, its outline is its box, and its confidence is its score: YOLO has one number for both. Its
        non-maximum suppression works for each class, so that one face may be found with two classes.
        """
        started = perf_counter()
        found = self._predict([frame.bgr for frame in frames])
        detect_ms = (perf_counter() - started) * 1000 / max(len(frames), 1)
        results = []
        for frame, faces in zip(frames, found, strict=True):
            timing_ms = {"capture": frame.capture_ms, "detect": detect_ms, "total": frame.capture_ms + detect_ms}
            results.append(FrameResult(frame.source_id, frame.index, frame.time_s, faces, frame.wall_time, frame.file, timing_ms))
        return results

    def _predict(self, images_bgr: Sequence[BgrImage]) -> list[tuple[Face, ...]]:
        """Return the faces of each (H, W, 3) image; images of one size at a time, because a batch of several sizes is padded."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images_bgr):
            by_shape.setdefault(image.shape, []).append(index)
        found: list[tuple[Face, ...]] = [() for _ in images_bgr]
        for indices in by_shape.values():
            results = self._model.predict([images_bgr[index] for index in indices], **self._settings)
            for index, result in zip(indices, results, strict=True):
                found[index] = self._to_faces(result.boxes)
        return found

    def _to_faces(self, boxes: Any) -> tuple[Face, ...]:
        faces = []
        for row, score, number in zip(boxes.xyxy.cpu().numpy(), boxes.conf.tolist(), boxes.cls.int().tolist(), strict=True):
            box_xyxy, label = np.asarray(row, np.float32), self._labels[number]
            detection = Detection(box_xyxy, score, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), ())
            confidence = None if label is Label.UNKNOWN else score
            faces.append(Face(detection, box_corners(box_xyxy), box_xyxy, label, confidence))
        return tuple(sorted(faces, key=lambda face: -face.detection.score))


def load_yolo(
    weights: str,
    device: str,
    min_score: float,
    max_faces: int,
    meanings: Mapping[str, LabelMeaning],
    incorrect_as: IncorrectAs,
) -> YoloAnalyzer:
    """Load a `.pt` file of Ultralytics as a detector.

    Such a file is a pickle, which may run code when it is read. It is therefore read in the restricted mode of PyTorch, which
    allows only classes of PyTorch and Ultralytics. Use files from trusted sources all the same.

    Args:
        weights: The file.
        device: Device of the model.
        min_score: Minimum score of a face; the model has no lower threshold of its own.
        max_faces: Maximum number of faces in an image.
        meanings: Meanings of the class names; case, spaces, hyphens and dots make no difference.
        incorrect_as: Label of a mask worn incorrectly (`classifier.incorrect_as`).

    Raises:
        ConfigError: A class name has no meaning, or is ambiguous beside the other names.
        ModelError: The library is missing, or the model is not a detector.
        WeightsError: The file is missing, damaged, or not a plain Ultralytics model.
    """
    path = Path(expand_home(weights))
    if not os.path.isfile(path):  # noqa: PTH113 (Path raises if a folder may not be searched)
        raise WeightsError(f"{weights}: no such weights file; give the .pt file of an Ultralytics detector")
    require_unforked("PyTorch")
    with contained():
        model = _read(path)
        if model.task != "detect":
            raise ModelError(f"{path}: an Ultralytics model for {model.task!r}; give one for 'detect'")
        labels = _labels_by_class(dict(model.names), meanings, incorrect_as, path)
        analyzer = YoloAnalyzer(model, labels, device, min_score, max_faces)
        analyzer.analyze([Frame(np.zeros((64, 64, 3), np.uint8), 0, NAME, 0.0)])  # sets up the device and its threads
    return analyzer


@contextmanager
def contained() -> Iterator[None]:
    """Undo the changes that Ultralytics makes to the process when it is imported and set up.

    Ultralytics accesses the network, creates a settings folder in the home directory, sets environment variables, switches off
    the threads of OpenCV, reduces those of PyTorch, filters warnings, allows its own classes in the restricted mode of PyTorch
    from then on, and replaces `PIL.Image.open` with a function that installs a package if an image cannot be read.
    """
    environment, print_options = dict(os.environ), np.get_printoptions()
    threads, opencv_threads = torch.get_num_threads(), cv2.getNumThreads()
    open_image, save = PIL.Image.open, torch.save
    allowed = torch.serialization.get_safe_globals()
    with TemporaryDirectory() as settings, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"(torch|ultralytics)\b")  # about refused files
        os.environ.update(_SETTINGS, YOLO_CONFIG_DIR=settings)
        try:
            yield
        finally:
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            os.environ.update(environment)
            np.set_printoptions(**print_options)
            torch.set_num_threads(threads)
            cv2.setNumThreads(opencv_threads)
            PIL.Image.open, torch.save = open_image, save
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(allowed)


def _read(path: Path) -> Any:
    """Return the `ultralytics.YOLO` of a file, read in restricted mode.

    Ultralytics downloads files with some names even if they exist, so that it gets a copy with another name.
    """
    try:
        from ultralytics import YOLO
        from ultralytics.nn.tasks import BaseModel, torch_safe_load
        from ultralytics.utils import SAFE_LOAD  # noqa: F401 (a version without the restricted mode is too old)
    except ImportError as error:
        raise ModelError("yolo needs the package ultralytics; pip install -r requirements-yolo.txt") from error
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "weights.pt"
        try:
            shutil.copyfile(path, copy)
            torch_safe_load(str(copy), safe_only=True)  # YOLO() itself is restricted only if we imported it first
            model = YOLO(str(copy))
            if not isinstance(model.model, BaseModel):
                raise TypeError(f"holds a {type(model.model).__name__}")
            return model
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror or error}); choose another file") from error
        except _DAMAGED as error:
            reason = type(error.__cause__ or error).__name__
            raise WeightsError(f"{path}: damaged, or not a plain Ultralytics model ({reason}); give another .pt file") from error


def _labels_by_class(
    names: Mapping[int, str], meanings: Mapping[str, LabelMeaning], incorrect_as: IncorrectAs, path: Path
) -> dict[int, Label]:
    """Return the label of each class, without the classes that mean `ignore`."""
    known = {plain_name(name): meaning for name, meaning in meanings.items()}
    unknown = [plain_name(name) for name in names.values() if plain_name(name) not in known]
    if unknown:
        setting = setting_of(unknown[0], "mask")
        raise ConfigError(f"{path}: the meaning of its classes {', '.join(unknown)} is not known; set it, as in {setting}")
    if ambiguous := ambiguous_names(names.values(), meanings):
        raise ConfigError(f"{path}: {question(ambiguous, names.values(), meanings)}")
    found = {number: known[plain_name(name)] for number, name in names.items()}
    replaced = {"incorrect": incorrect_as, "ask": "unknown"}
    return {number: Label(replaced.get(meaning, meaning)) for number, meaning in found.items() if meaning != "ignore"}
