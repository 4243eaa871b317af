"""Builds everything from a configuration: the only module that names concrete classes."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from loguru import logger
from rich.console import Console

from maskstream.analyzer import Analyzer
from maskstream.config import Config, load_config
from maskstream.errors import ConfigError, SinkError, redact
from maskstream.models import CLASSIFIERS, DETECTORS, DetectorOptions
from maskstream.overlay import Overlay
from maskstream.protocols import Source
from maskstream.sinks import STDOUT, CsvSink, JsonlSink, ProgressSink, VideoSink, WindowSink, has_display
from maskstream.sinks.paths import require_video_path, require_writable
from maskstream.sources import SOURCES, source_kind
from maskstream.stream.engine import Engine, SinkBinding
from maskstream.types import BgrImage, Face, Frame, FrameResult

GPU_BATCH_SIZE = 8


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
        return Overlay(self._config.overlay).paint(_lone_frame(picture_bgr), result)


def _lone_frame(picture_bgr: BgrImage) -> Frame:
    return Frame(np.asarray(picture_bgr), index=0, source_id="picture", time_s=0.0)


def build_analyzer(config: Config) -> Analyzer:
    """Load the models a configuration names.

    Raises:
        ConfigError: The device or a model's name is not known here.
        ModelError: A model cannot be loaded.
    """
    device = _device(config.device)
    for key, name, known in (
        ("detector.name", config.detector.name, DETECTORS),
        ("classifier.name", config.classifier.name, CLASSIFIERS),
    ):
        if name not in known:
            raise ConfigError(f"{key}: {name!r} is not known; allowed: {', '.join(known)}")
    options = DetectorOptions(
        device, config.detector.min_score, config.detector.max_faces, config.detector.short_side, config.detector.weights
    )
    detector = DETECTORS[config.detector.name](options)
    classifier = CLASSIFIERS[config.classifier.name](config.classifier.weights, device)
    logger.info("{} and {} on {}", config.detector.name, config.classifier.name, device)
    return Analyzer(detector, classifier, config)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device: {name!r} cannot be used here ({reason:.120}); allowed: auto, cpu, cuda, cuda:1, mps"
        ) from error
    return device


@dataclass(frozen=True)
class StreamRequest:
    """What a user wants of a run, besides the configuration."""

    sources: tuple[str, ...]
    output: str | None = None
    jsonl: str | None = None
    csv: str | None = None
    show: bool = False
    progress: Console | None = None
    """Where to draw a progress bar; None for none."""


def build_engine(request: StreamRequest, config: Config) -> Engine:
    """Open sources, load the models and open sinks; what an output would replace is not touched before all else is ready.

    Raises:
        MaskStreamError: Something cannot be opened; everything that was opened is closed again.
    """
    if not request.sources:
        raise ConfigError("--source is missing; give a video file")
    _check_outputs(request)
    with ExitStack() as opened:
        sources = _open_sources(request.sources, config, opened)
        analyzer = build_analyzer(config)
        bindings = _open_sinks(request, sources, config, opened)
        opened.pop_all()
    batch_size = config.stream.batch_size or (GPU_BATCH_SIZE if _device(config.device).type != "cpu" else 1)
    return Engine(sources, analyzer, bindings, Overlay(config.overlay).paint, config.stream, batch_size)


def _open_sources(locations: Sequence[str], config: Config, opened: ExitStack) -> list[Source]:
    repeated = next((location for location in locations if locations.count(location) > 1), None)
    if repeated is not None:
        raise ConfigError(f"--source {redact(repeated)}: given twice; give each source once")
    sources = []
    for location in locations:
        source = SOURCES[source_kind(location)](location, redact(location), config)
        opened.callback(source.close)
        sources.append(source)
        info = source.info
        logger.info("{}: {}x{}, {:.4g} fps", info.source_id, info.width, info.height, info.average_fps or float("nan"))
    return sources


def _check_outputs(request: StreamRequest) -> None:
    """Find what is wrong with the outputs without changing what is there."""
    given = [path for path in (request.output, request.jsonl, request.csv) if path is not None]
    repeated = next((path for path in given if given.count(path) > 1), None)
    if repeated is not None:
        raise ConfigError(f"{repeated}: given for two outputs; give each output a name of its own")
    sources = {Path(source).resolve() for source in request.sources}
    overwritten = next((path for path in given if Path(path).resolve() in sources), None)
    if overwritten is not None:
        raise SinkError(f"{overwritten}: the output would replace its own source; choose another name")
    for path in (request.jsonl, request.csv):
        if path is not None and path != STDOUT:
            require_writable(path)
    if request.output is not None and len(request.sources) == 1 and not Path(request.output).is_dir():
        require_video_path(request.output)


def _open_sinks(request: StreamRequest, sources: list[Source], config: Config, opened: ExitStack) -> list[SinkBinding]:
    bindings: list[SinkBinding] = []

    def add(binding: SinkBinding) -> None:
        opened.callback(binding.sink.close)
        bindings.append(binding)

    if request.output is not None:
        for source, path in zip(sources, _video_paths(request.output, sources), strict=True):
            add(SinkBinding(VideoSink(str(path), source.info, config.video), source.info.source_id))
    if request.jsonl is not None:
        add(SinkBinding(JsonlSink(request.jsonl), None))
    if request.csv is not None:
        add(SinkBinding(CsvSink(request.csv), None))
    if request.show and has_display():
        for source in sources:
            add(SinkBinding(WindowSink(source.info.source_id), source.info.source_id))
    elif request.show:
        logger.warning("no display here: going on without a window")
    if request.progress is not None:
        add(SinkBinding(ProgressSink(request.progress, [source.info for source in sources], config.stream.max_frames), None))
    return bindings


def _video_paths(output: str, sources: list[Source]) -> list[Path]:
    """One path for one source; for several, files named after them in a folder, which is made."""
    if len(sources) == 1 and not Path(output).is_dir():
        return [Path(output)]
    stems = [Path(source.info.source_id).stem for source in sources]
    names = [stem if stems.count(stem) == 1 else f"{stem}_{number}" for number, stem in enumerate(stems, 1)]
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{output}: cannot be made a folder: {error.strerror}; several sources need a folder") from error
    return [Path(output) / f"{name}.mp4" for name in names]
