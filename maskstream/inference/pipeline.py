"""Build the models and the analyzer that a configuration names, for single images and for streams."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from math import ceil
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from maskstream.config.detector_interval import analysed_per_detection, anonymises_faces
from maskstream.config.image_settings import for_images
from maskstream.config.loading import load_config
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError
from maskstream.inference.analyzer import Analyzer
from maskstream.inference.candidates import lowest_score
from maskstream.models import CLASSIFIERS, CROP_ARCHITECTURES, DETECTORS, ClassifierOptions, DetectorOptions
from maskstream.models.backends import choose_backend
from maskstream.models.classifier_choice import AUTO, pick_classifier
from maskstream.models.devices import CPU, kind_of, limit_threads, pick_device
from maskstream.models.runtimes import streams
from maskstream.protocols import Cutter, Detector
from maskstream.rendering.anonymize import is_anonymised
from maskstream.rendering.overlay import Overlay
from maskstream.types import BgrImage, Face, Frame, FrameResult
from maskstream.vision.align import cut_faces

if TYPE_CHECKING:
    from maskstream.models.gpu_images import Uploads

_GPU_BATCH_SIZE: Final = 8
_PER_STREAM: Final = 2
"""Frames in a batch for each OpenVINO stream. With two, the streams wait less often for each other."""


class MaskPipeline:
    """Detects and classifies the faces of single images. Several threads may share one. A forked process needs its own.

    pipeline = MaskPipeline()
    faces = pipeline(cv2.imread("photo.jpg"))
    image = pipeline.draw(cv2.imread("photo.jpg"), faces)
    """

    def __init__(self, config: Config | None = None) -> None:
        """Load the models.

        Args:
            config: From `load_config`; None for the defaults.

        Raises:
            ConfigError: The device or the name of a model is unknown.
            ModelError: A model cannot be loaded.
        """
        self._config = for_images(config or load_config())
        self.analyzer = build_analyzer(self._config)

    def __call__(self, image_bgr: BgrImage) -> tuple[Face, ...]:
        """Return the faces of an image, the highest score first.

        Args:
            image_bgr: (H, W, 3) uint8 BGR, as `cv2.imread` returns it.

        Raises:
            ModelError: This process is a fork of the process that loaded the models.
            TypeError: The image is no NumPy array, but a path, a PIL image, or the None that `cv2.imread` returns.
            ValueError: The array has another shape or type.
        """
        return self.analyzer.analyze([_lone_frame(image_bgr)])[0].faces

    def draw(self, image_bgr: BgrImage, faces: Sequence[Face]) -> BgrImage:
        """Return a copy of an image with the faces drawn.

        With `privacy.blur` the models run on the image again. Faces that they find besides `faces`, and what may be a face, are
        anonymised too.

        Args:
            image_bgr: As for `__call__`.
            faces: The faces to draw, as `__call__` returns them.
        """
        frame = _lone_frame(image_bgr)
        result = FrameResult.of(frame, tuple(faces), (), {})
        if anonymises_faces(self._config):
            found = self.analyzer.analyze([frame])[0]
            others = tuple(face for face in found.faces if is_anonymised(face, self._config.privacy.blur))
            result = replace(found, faces=tuple(faces), hidden=found.hidden + others)
        return Overlay(self._config).paint(frame, result)


def _lone_frame(image_bgr: BgrImage) -> Frame:
    _require_array(image_bgr)
    wrong = _advice(image_bgr)
    if wrong:
        raise ValueError(f"the image is {image_bgr.dtype} {image_bgr.shape}, expected uint8 (height, width, 3): {wrong}")
    return Frame(image_bgr, index=0, source_id="image", time_s=0.0)


def _require_array(image: object) -> None:
    """Raise a `TypeError` that says what to do, if the image is no NumPy array."""
    if isinstance(image, np.ndarray):
        return
    if image is None:
        raise TypeError("the image is None: cv2.imread returns None when it cannot read a file; check the path and the file")
    kind = f"{type(image).__module__}.{type(image).__qualname__}"
    if kind.startswith("PIL."):
        how = 'cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR), because PIL has red first'
    elif isinstance(image, str | PathLike):
        how = "cv2.imread(path)"
    else:
        how = "a NumPy array, uint8 (height, width, 3), blue first"
    raise TypeError(f"the image is a {kind.removeprefix('builtins.')}; give {how}")


def _advice(image: NDArray[Any]) -> str:
    """Return what is wrong with an array and what to do; an empty text for an image (H, W, 3) uint8."""
    if image.size == 0:
        return "it is empty; check how it was cut"
    if image.ndim not in (2, 3):
        return "give one image at a time" if image.ndim == 4 else "it has no rows and columns"
    if image.ndim == 2 or image.shape[2] == 1:
        return "it is grey; cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"
    if image.shape[2] == 4:
        return "it has an alpha channel; cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)"
    if image.shape[2] != 3:
        return "give channels last; image.transpose(1, 2, 0)" if image.shape[0] == 3 else "give three channels"
    if image.dtype != np.uint8:
        if np.issubdtype(image.dtype, np.floating):
            return "scale it to 0..255 and cast it; (image * 255).astype(np.uint8) for 0..1"
        return "scale it to 0..255 and cast it; astype(np.uint8)"
    return ""


def build_analyzer(settings: Config | SourceSettings, *, several: bool = False) -> Analyzer:
    """Load the models that a configuration names.

    Args:
        settings: The models, and the thresholds of each source.
        several: Whether most batches will have several frames.

    Raises:
        ConfigError: The device or the name of a model is unknown.
        ModelError: A model cannot be loaded.
    """
    settings = SourceSettings.shared(settings)
    config = settings.common
    device = pick_device(config.device)
    uploads = None
    if device != CPU:
        from maskstream.models.gpu_images import DeviceCutter, Uploads

        uploads = Uploads(device)
    require_models(config)
    chosen = config.classifier
    name = pick_classifier(chosen.name, chosen.weights, device)
    detector = build_detector(settings, uploads, several=several)
    options = ClassifierOptions(device, config.clip, chosen.weights, chosen.backend, config.precision, config.threads)
    classifier = CLASSIFIERS[name](options)
    if config.threads is not None:
        limit_threads(config.threads)
    require_incorrect(classifier.class_names, settings.all())
    logger.info("{} and {} on {}", config.detector.name, name, device)
    cut: Cutter = cut_faces
    if uploads and kind_of(device) == "cuda" and name in CROP_ARCHITECTURES:  # other devices cannot sample volumes
        cut = DeviceCutter(uploads)
    return Analyzer(detector, classifier, settings, cut)


def build_detector(settings: Config | SourceSettings, uploads: "Uploads | None" = None, *, several: bool = False) -> Detector:
    """Load the detector that a configuration names, with the lowest threshold and the most faces of all sources.

    Args:
        settings: The model, and the thresholds of each source.
        uploads: Copies images to the device, where other stages use them too.
        several: Whether most batches will have several images.

    Raises:
        ConfigError: The device or the name of the model is unknown.
        ModelError: The model cannot be loaded.
    """
    settings = SourceSettings.shared(settings)
    config = settings.common
    require_models(config)
    configs = settings.all()
    device = pick_device(config.device)
    options = DetectorOptions(
        device=device,
        min_score=min(map(lowest_score, configs)),
        max_faces=max(each.detector.max_faces for each in configs),
        short_side=config.detector.short_side,
        weights=config.detector.weights,
        backend=config.detector.backend,
        precision=config.precision,
        execution=config.detector.execution,
        several=several,
        uploads=uploads,
        threads=config.threads,
        warm_up=ceil(batch_size_of(config) / analysed_per_detection(config)) if several and kind_of(device) == "cuda" else 0,
    )
    return DETECTORS[config.detector.name](options)


def require_incorrect(class_names: Sequence[str], configs: Iterable[Config]) -> None:
    """Refuse `classifier.incorrect_as: incorrect` where the classifier has no class `incorrect`.

    Raises:
        ConfigError: A source has this setting.
    """
    if "incorrect" not in class_names and any(each.classifier.incorrect_as == "incorrect" for each in configs):
        raise ConfigError(
            f"classifier.incorrect_as: incorrect is not one of the classes of the classifier: {', '.join(class_names)}; "
            "give weights that have it, such as --classifier weights/mask_mobilenet.safetensors"
        )


def require_models(config: Config) -> None:
    """Check the names of device, backends and models in a configuration, before a model is loaded.

    Raises:
        ConfigError: A name is unknown.
    """
    device = pick_device(config.device)
    _require_known("detector.name", config.detector.name, DETECTORS)
    choose_backend("detector.backend", config.detector.backend, device, config.precision)
    if config.detector.execution == "cuda_graphs" and kind_of(device) != "cuda":
        raise ConfigError(f"detector.execution: cuda_graphs needs a CUDA GPU, not {device}; choose padded or dynamic")
    _require_known("classifier.name", config.classifier.name, (AUTO, *CLASSIFIERS))
    choose_backend("classifier.backend", config.classifier.backend, device, config.precision)


def _require_known(key: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ConfigError(f"{key}: {name!r} is not known; allowed: {', '.join(known)}")


def batch_size_of(config: Config, *, is_video: bool = True) -> int:
    """Return the maximum number of frames in a batch.

    It is `stream.batch_size`. Where that is null, it is the batch size of the detector, which depends on the device and the
    backend, times the number of analysed frames per detection (`detector_interval`). During a run the `Batcher` has the number:
    the engine halves it where memory is short.

    Args:
        config: The device, the backend and how often the detector runs.
        is_video: Whether faces are propagated between detections; False for images.
    """
    if config.stream.batch_size is not None:
        return config.stream.batch_size
    device = pick_device(config.device)
    backend = choose_backend("detector.backend", config.detector.backend, device, config.precision)
    detections = 1
    if device != CPU:
        detections = _GPU_BATCH_SIZE
    elif backend == "openvino":
        detections = _PER_STREAM * streams(config.threads)
    return detections * analysed_per_detection(config) if is_video else detections
