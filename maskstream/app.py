"""Builds a run from a configuration: the only module that names concrete sources and sinks."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loguru import logger
from rich.console import Console

from maskstream.cameras import Camera, read_cameras
from maskstream.config import Config
from maskstream.errors import ConfigError, MaskStreamError, SinkError
from maskstream.files import make_folder
from maskstream.overlay import Overlay
from maskstream.pipeline import batch_size_of, build_analyzer
from maskstream.protocols import Sink, Source
from maskstream.sinks import (
    STDOUT,
    CsvSink,
    JsonlSink,
    PictureSink,
    ProgressSink,
    VideoSink,
    WindowSink,
    require_picture_target,
    why_no_window,
)
from maskstream.sinks.paths import output_paths, require_folder, require_video_path, require_writable
from maskstream.sources import SOURCES, source_kind
from maskstream.stream.engine import Engine, SinkBinding
from maskstream.types import SourceInfo


@dataclass(frozen=True)
class StreamRequest:
    """What a user wants of a run, besides the configuration."""

    sources: tuple[str, ...]
    output: str | None = None
    jsonl: str | None = None
    csv: str | None = None
    show: bool | None = None
    """Whether to open a window; None: for webcams."""
    progress: Console | None = None
    """Where to draw a progress bar; None for none."""


def build_engine(request: StreamRequest, config: Config) -> Engine:
    """Open sources, load the models and open sinks; what an output would replace is not touched before all else is ready.

    Raises:
        MaskStreamError: Something cannot be opened; everything that was opened is closed again.
    """
    if not request.sources:
        raise ConfigError("--source is missing; give a webcam's index, a video, pictures, a URL or a list of cameras")
    cameras = read_cameras(request.sources, config)
    with ExitStack() as opened:
        sources = _open_sources(cameras, opened)
        infos = [source.info for source in sources]
        targets = _targets(request, infos)
        analyzer = build_analyzer(config, {camera.name: camera.config for camera in cameras})
        bindings = _open_sinks(request, targets, cameras, opened)
        window = _open_window(request, cameras, infos, config)
        if window is not None:
            opened.callback(window.close)
            bindings.append(SinkBinding(window, None))
        if request.progress is not None:
            bindings.append(SinkBinding(ProgressSink(request.progress, infos, config.stream.max_frames), None))
        opened.pop_all()
    paint, attend = Overlay(config.overlay).paint, window.attend if window else None
    return Engine(sources, analyzer, bindings, paint, config.stream, batch_size_of(config), attend)


def _open_sources(cameras: Sequence[Camera], opened: ExitStack) -> list[Source]:
    """Open all at the same time, while this thread stays free for signals; only webcams want to be opened by the main thread."""
    with ThreadPoolExecutor(len(cameras)) as pool:
        opening = [(_at_once if _is_webcam(camera) else pool.submit)(_open_source, camera) for camera in cameras]
    for future in opening:
        if future.exception() is None:
            opened.callback(future.result().close)
    failures = [str(error) for future in opening if isinstance(error := future.exception(), MaskStreamError)]
    for failure in failures[1:]:
        logger.error("{}", failure)
    return [future.result() for future in opening]


def _at_once(open_source: Callable[[Camera], Source], camera: Camera) -> Future[Source]:
    future: Future[Source] = Future()
    try:
        future.set_result(open_source(camera))
    except MaskStreamError as error:
        future.set_exception(error)
    return future


def _open_source(camera: Camera) -> Source:
    source = SOURCES[source_kind(camera.location)](camera.location, camera.name, camera.config)
    logger.info("{}", _described(source.info))
    return source


def _is_webcam(camera: Camera) -> bool:
    return "://" not in camera.location and source_kind(camera.location) == "webcam"


def _described(info: SourceInfo) -> str:
    if info.pictures:
        return f"{info.source_id}: {len(info.pictures)} pictures" if len(info.pictures) > 1 else info.source_id
    fps = f"{info.average_fps:.4g} fps" if info.average_fps else "unknown fps"
    return f"{info.source_id}: {info.width}x{info.height}, {fps}"


def _targets(request: StreamRequest, infos: Sequence[SourceInfo]) -> list[tuple[str, SourceInfo]]:
    """Return where the pictures of each source go; find what is wrong with any output without changing what is there."""
    given = [path for path in (request.output, request.jsonl, request.csv) if path is not None]
    repeated = next((path for path in given if given.count(path) > 1), None)
    if repeated is not None:
        raise ConfigError(f"{repeated}: given for two outputs; give each output a name of its own")
    targets = [] if request.output is None else list(zip(output_paths(request.output, infos), infos, strict=True))
    read = {Path(path).resolve() for info in infos for path in (info.path, *info.pictures) if path}
    written = [*(path for path in (request.jsonl, request.csv) if path is not None), *(path for path, _ in targets)]
    overwritten = next((path for path in written if Path(path).resolve() in read), None)
    if overwritten is not None:
        raise SinkError(f"{overwritten}: the output would replace its own source; choose another name")
    for path in (request.jsonl, request.csv):
        if path is not None and path != STDOUT:
            require_writable(path)
    for path, info in targets:
        if info.pictures:
            require_picture_target(path, info)
        elif len(infos) == 1:
            require_video_path(path)
    if request.output is not None and len(infos) > 1:
        require_folder(request.output)
    return targets


def _open_sinks(
    request: StreamRequest, targets: Sequence[tuple[str, SourceInfo]], cameras: Sequence[Camera], opened: ExitStack
) -> list[SinkBinding]:
    bindings: list[SinkBinding] = []

    def add(sink: Sink, source_id: str | None = None) -> None:
        opened.callback(sink.close)
        bindings.append(SinkBinding(sink, source_id))

    videos = {camera.name: camera.config.video for camera in cameras}
    if request.output is not None and len(targets) > 1:
        make_folder(request.output)
    for path, info in targets:
        add(PictureSink(path, info) if info.pictures else VideoSink(path, info, videos[info.source_id]), info.source_id)
    if request.jsonl is not None:
        add(JsonlSink(request.jsonl))
    if request.csv is not None:
        add(CsvSink(request.csv))
    return bindings


def _open_window(
    request: StreamRequest, cameras: Sequence[Camera], infos: Sequence[SourceInfo], config: Config
) -> WindowSink | None:
    show = request.show if request.show is not None else any(map(_is_webcam, cameras))
    if not show:
        return None
    with why_no_window() as obstacle:
        if obstacle is None:
            return WindowSink(infos, config.window)
    logger.warning("going on without a window: {}", obstacle)
    return None
