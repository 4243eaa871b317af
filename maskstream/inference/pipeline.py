"""Models put together from a configuration, for single images and for the stream."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from maskstream.config.detector_interval import analysed_per_look, covers_faces
from maskstream.config.loading import load_config
from maskstream.config.schema import ClassifierConfig, Config, DetectorConfig
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError
from maskstream.inference.analyzer import Analyzer
from maskstream.models import CLASSIFIERS, CROP_ARCHITECTURES, DETECTORS, ClassifierOptions, DetectorOptions
from maskstream.models.backends import choose_backend
from maskstream.models.devices import CPU, kind_of, pick_device
from maskstream.models.runtimes import STREAMS
from maskstream.protocols import Cutter, Detector
from maskstream.rendering.anonymize import is_covered
from maskstream.rendering.overlay import Overlay
from maskstream.types import BgrImage, Face, Frame, FrameResult
from maskstream.vision.align import cut_faces

if TYPE_CHECKING:
    from maskstream.models.gpu_images import Uploads

_GPU_BATCH_SIZE: Final = 8
_PER_STREAM: Final = 2
"""Frames for each of OpenVINO's streams in one go, where there are so many: the streams wait for each other less often."""


class MaskPipeline:
    """Judges the faces of single images. Several threads may call one; a forked process needs one of its own.

    pipeline = MaskPipeline()
    faces = pipeline(cv2.imread("photo.jpg"))
    image = pipeline.draw(cv2.imread("photo.jpg"), faces)
    """

    def __init__(self, config: Config | None = None) -> None:
        """Load the models.

        Args:
            config: From `load_config`; None for the defaults.

        Raises:
            ConfigError: The device or a model's name is not known here.
            ModelError: A model cannot be loaded.
        """
        self._config = config or load_config()
        self.analyzer = build_analyzer(self._config)

    def __call__(self, image_bgr: BgrImage) -> tuple[Face, ...]:
        """Return the faces of an image (H, W, 3) uint8 BGR, as `cv2.imread` gives it; the most certain first.

        Raises:
            ModelError: This is a fork of the process that loaded the models.
            TypeError: It is no NumPy array: a path, an image of PIL, or the None that `cv2.imread` returns.
            ValueError: It is an array of another shape or type.
        """
        return self.analyzer.analyze([_lone_frame(image_bgr)])[0].faces

    def draw(self, image_bgr: BgrImage, faces: Sequence[Face]) -> BgrImage:
        """Return a copy of an image as `__call__` takes it, with the faces drawn.

        Where faces are covered (`privacy.blur`), the models look at it again: also what may be no face is covered then, and what
        is not among the faces that are given.
        """
        frame = _lone_frame(image_bgr)
        result = FrameResult.of(frame, tuple(faces), (), {})
        if covers_faces(self._config):
            found = self.analyzer.analyze([frame])[0]
            others = tuple(face for face in found.faces if is_covered(face, self._config.privacy.blur))
            result = replace(found, faces=tuple(faces), hidden=found.hidden + others)
        return Overlay(self._config).paint(frame, result)


def _lone_frame(image_bgr: BgrImage) -> Frame:
    _require_array(image_bgr)
    wrong = _what_is_wrong(image_bgr)
    if wrong:
        raise ValueError(f"the picture is {image_bgr.dtype} {image_bgr.shape}, expected uint8 (height, width, 3): {wrong}")
    return Frame(image_bgr, index=0, source_id="picture", time_s=0.0)


def _require_array(image: object) -> None:
    """Raise `TypeError` for what is no array, and say what to do with it."""
    if isinstance(image, np.ndarray):
        return
    if image is None:
        raise TypeError("the picture is None: cv2.imread returns that where it cannot read a file; check the path and the file")
    kind = f"{type(image).__module__}.{type(image).__qualname__}"
    if kind.startswith("PIL."):
        how = 'cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2BGR), for PIL has red first'
    elif isinstance(image, str | PathLike):
        how = "cv2.imread(path)"
    else:
        how = "a NumPy array, uint8 (height, width, 3), blue first"
    raise TypeError(f"the picture is a {kind.removeprefix('builtins.')}; give {how}")


def _what_is_wrong(image: NDArray[Any]) -> str:
    """Return what to do with an array that is no image (H, W, 3) uint8; nothing for one that is."""
    if image.size == 0:
        return "it is empty; check how it was cut"
    if image.ndim not in (2, 3):
        return "give one picture at a time" if image.ndim == 4 else "it has no rows and columns"
    if image.ndim == 2 or image.shape[2] == 1:
        return "it is grey; cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)"
    if image.shape[2] == 4:
        return "it has a channel for transparency; cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)"
    if image.shape[2] != 3:
        return "give channels last; picture.transpose(1, 2, 0)" if image.shape[0] == 3 else "give three channels"
    if image.dtype != np.uint8:
        is_float = np.issubdtype(image.dtype, np.floating)
        return "scale it to 0..255 and cast it; " + (
            "(picture * 255).astype(np.uint8) for 0..1" if is_float else "astype(np.uint8)"
        )
    return ""


def build_analyzer(settings: Config | SourceSettings, *, several: bool = False) -> Analyzer:
    """Load the models that a configuration names.

    Args:
        settings: The models, and the thresholds of each source.
        several: Whether mostly several frames are analysed in one go.

    Raises:
        ConfigError: The device or a model's name is not known here.
        ModelError: A model cannot be loaded.
    """
    settings = SourceSettings.shared(settings)
    config = settings.common
    device = pick_device(config.device)
    uploads = None
    if device != CPU:
        from maskstream.models.gpu_images import DeviceCutter, Uploads

        uploads = Uploads(device)
    detector = build_detector(settings, uploads, several=several)
    chosen = config.classifier
    options = ClassifierOptions(device, config.clip, chosen.weights, chosen.backend, config.precision)
    classifier = CLASSIFIERS[chosen.name](options)
    require_incorrect(classifier.class_names, settings.all())
    logger.info("{} and {} on {}", config.detector.name, config.classifier.name, device)
    cut: Cutter = cut_faces
    if uploads and kind_of(device) == "cuda" and chosen.name in CROP_ARCHITECTURES:  # elsewhere volumes cannot be sampled
        cut = DeviceCutter(uploads)
    return Analyzer(detector, classifier, settings, cut)


def build_detector(settings: Config | SourceSettings, uploads: "Uploads | None" = None, *, several: bool = False) -> Detector:
    """Load the detector that a configuration names, as sensitive as the most sensitive source wants it.

    Args:
        settings: The model, and the thresholds of each source.
        uploads: What sends images to the device, where others look at them too.
        several: Whether mostly several images are shown to it at a time.

    Raises:
        ConfigError: The device or the model's name is not known here.
        ModelError: It cannot be loaded.
    """
    settings = SourceSettings.shared(settings)
    config = settings.common
    require_models(config)
    detectors = [own.detector for own in settings.all()]
    options = DetectorOptions(
        pick_device(config.device),
        min(each.min_score for each in detectors),
        max(each.max_faces for each in detectors),
        config.detector.short_side,
        config.detector.weights,
        config.detector.backend,
        config.precision,
        several,
        uploads,
    )
    return DETECTORS[config.detector.name](options)


def require_incorrect(class_names: Sequence[str], configs: Iterable[Config]) -> None:
    """Refuse to ask a classifier for what it does not tell.

    Raises:
        ConfigError: A source wants to know it.
    """
    if "incorrect" not in class_names and any(each.classifier.incorrect_as == "incorrect" for each in configs):
        raise ConfigError(
            f"classifier.incorrect_as: incorrect is none of what the classifier tells: {', '.join(class_names)}; "
            "give weights that know it, such as --classifier weights/mask_mobilenet_incorrect.safetensors"
        )


def require_models(config: Config) -> None:
    """Find out whether what a configuration names is known, before anything is loaded.

    Raises:
        ConfigError: The device, what runs a model, or its name is not known here.
    """
    device = pick_device(config.device)
    for section, known in (("detector", DETECTORS), ("classifier", CLASSIFIERS)):
        chosen: DetectorConfig | ClassifierConfig = getattr(config, section)
        _require_known(f"{section}.name", chosen.name, known)
        choose_backend(f"{section}.backend", chosen.backend, device, config.precision)


def _require_known(key: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise ConfigError(f"{key}: {name!r} is not known; allowed: {', '.join(known)}")


def batch_size_of(config: Config, *, follows: bool = True) -> int:
    """Return how many frames are analysed in one go, at most: the one place where that is decided.

    It is `stream.batch_size`. Where that is null, it is as many as the detector looks at in one go, which depends on the device
    and on what runs it, times the analysed frames that come to one look (`detector_interval`). During a run its `Batcher` has the
    number: the engine halves it there where memory does not suffice.

    Args:
        config: Says it.
        follows: Whether faces are followed between looks, as in a video; False for images.
    """
    if config.stream.batch_size is not None:
        return config.stream.batch_size
    device = pick_device(config.device)
    backend = choose_backend("detector.backend", config.detector.backend, device, config.precision)
    looks = _GPU_BATCH_SIZE if device != CPU else _PER_STREAM * STREAMS if backend == "openvino" else 1
    return looks * analysed_per_look(config) if follows else looks
