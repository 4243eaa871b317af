"""Models put together from a configuration, for single pictures and for the stream."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from loguru import logger

from maskstream.align import cut_faces
from maskstream.analyzer import Analyzer
from maskstream.config import load_config
from maskstream.errors import ConfigError
from maskstream.models import CLASSIFIERS, CROP_ARCHITECTURES, DETECTORS, ClassifierOptions, DetectorOptions
from maskstream.models.backends import choose_backend
from maskstream.models.devices import CPU, kind_of, pick_device
from maskstream.models.runtimes import STREAMS
from maskstream.overlay import Overlay
from maskstream.protocols import Cutter, Detector
from maskstream.settings import ClassifierConfig, Config, DetectorConfig
from maskstream.types import BgrImage, Face, Frame, FrameResult

if TYPE_CHECKING:
    from maskstream.models.on_device import Uploads

_GPU_BATCH_SIZE: Final = 8
_PER_STREAM: Final = 2
"""Frames for each of OpenVINO's streams in one go, where there are so many: the streams wait for each other less often."""


class MaskPipeline:
    """Judges the faces of single pictures.

    pipeline = MaskPipeline()
    faces = pipeline(cv2.imread("photo.jpg"))
    picture = pipeline.draw(cv2.imread("photo.jpg"), faces)
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

    def __call__(self, picture_bgr: BgrImage) -> tuple[Face, ...]:
        """Return the faces of a picture (H, W, 3) uint8 BGR, as `cv2.imread` gives it; the most certain first.

        Raises:
            ValueError: It is not such a picture.
        """
        return self.analyzer.analyze([_lone_frame(picture_bgr)])[0].faces

    def draw(self, picture_bgr: BgrImage, faces: Sequence[Face]) -> BgrImage:
        """Return a copy of the picture with the faces drawn."""
        result = FrameResult("picture", 0, 0.0, tuple(faces))
        return Overlay(self._config).paint(_lone_frame(picture_bgr), result)


def _lone_frame(picture_bgr: BgrImage) -> Frame:
    return Frame(np.asarray(picture_bgr), index=0, source_id="picture", time_s=0.0)


def build_analyzer(config: Config, by_source: Mapping[str, Config] | None = None, *, several: bool = False) -> Analyzer:
    """Load the models a configuration names.

    Args:
        config: The models, and the thresholds of all sources that are not in `by_source`.
        by_source: The thresholds of single sources, by their names.
        several: Whether mostly several frames are analysed in one go.

    Raises:
        ConfigError: The device or a model's name is not known here.
        ModelError: A model cannot be loaded.
    """
    device = pick_device(config.device)
    uploads = None
    if device != CPU:
        from maskstream.models.on_device import DeviceCutter, Uploads

        uploads = Uploads(device)
    detector = build_detector(config, by_source, uploads, several=several)
    chosen = config.classifier
    options = ClassifierOptions(device, config.clip, chosen.weights, chosen.backend, config.precision)
    classifier = CLASSIFIERS[chosen.name](options)
    require_incorrect(classifier.class_names, [config, *(by_source or {}).values()])
    logger.info("{} and {} on {}", config.detector.name, config.classifier.name, device)
    cut: Cutter = cut_faces
    if uploads and kind_of(device) == "cuda" and chosen.name in CROP_ARCHITECTURES:  # elsewhere volumes cannot be sampled
        cut = DeviceCutter(uploads)
    return Analyzer(detector, classifier, config, by_source, cut)


def build_detector(
    config: Config,
    by_source: Mapping[str, Config] | None = None,
    uploads: "Uploads | None" = None,
    *,
    several: bool = False,
) -> Detector:
    """Load the detector that a configuration names, as sensitive as the most sensitive source wants it.

    Args:
        config: The model.
        by_source: The thresholds of single sources, by their names.
        uploads: What sends pictures to the device, where others look at them too.
        several: Whether mostly several pictures are shown to it at a time.

    Raises:
        ConfigError: The device or the model's name is not known here.
        ModelError: It cannot be loaded.
    """
    require_models(config)
    detectors = [config.detector, *(own.detector for own in (by_source or {}).values())]
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


def batch_size_of(config: Config, every: int = 1) -> int:
    """Return how many frames are analysed in one go, at most.

    Args:
        config: Says it, or the device and what runs the detector.
        every: The detector looks at every Nth of them alone.
    """
    if config.stream.batch_size is not None:
        return config.stream.batch_size
    device = pick_device(config.device)
    backend = choose_backend("detector.backend", config.detector.backend, device, config.precision)
    looks = _GPU_BATCH_SIZE if device != CPU else _PER_STREAM * STREAMS if backend == "openvino" else 1
    return looks * every
