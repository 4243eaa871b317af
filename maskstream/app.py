"""Builds a run from a configuration, and changes it while it runs."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Protocol

from loguru import logger
from rich.console import Console

from maskstream.analyzer import Analyzer
from maskstream.camera_watch import CameraWatch
from maskstream.cameras import Camera, is_list, read_cameras
from maskstream.errors import ConfigError, MaskStreamError, SinkError
from maskstream.files import make_folder
from maskstream.following import following
from maskstream.opening import open_source, picture_sink
from maskstream.overlay import Overlay
from maskstream.people.analyzer import PeopleAnalyzer
from maskstream.pipeline import batch_size_of, build_analyzer, require_models
from maskstream.protocols import Sink, Source
from maskstream.reporting import Reporting
from maskstream.settings import Config
from maskstream.sinks import (
    STDOUT,
    CsvSink,
    JsonlSink,
    ProgressSink,
    StatusSink,
    WindowSink,
    require_picture_target,
    why_no_window,
)
from maskstream.sinks.paths import output_paths, picture_beside, require_folder, require_video_path, require_writable
from maskstream.sources import source_kind
from maskstream.stream.board import StateListener, StatusBoard
from maskstream.stream.engine import Attendants, Engine
from maskstream.stream.outlets import SinkBinding
from maskstream.types import SourceInfo


@dataclass(frozen=True)
class StreamRequest:
    """What a user wants of a run, besides the configuration."""

    sources: tuple[str, ...]
    output: str | None = None
    jsonl: str | None = None
    csv: str | None = None
    status: str | None = None
    show: bool | None = None
    """Whether to open a window; None: for webcams."""
    events: str | None = None
    summary: str | None = None
    progress: Console | None = None
    """Where to draw a progress bar; None for none."""
    console: Console | None = None
    """Where to print the table of the summary; None for nowhere."""

    @property
    def text_outputs(self) -> tuple[str, ...]:
        """Where records go."""
        paths = (self.jsonl, self.csv, self.status, self.events, self.summary)
        given = [path for path in paths if path is not None]
        beside = [] if self.summary is None else [str(picture_beside(self.summary))]
        return (*given, *beside)

    @property
    def into_folder(self) -> bool:
        """Whether there may be more than one source."""
        return len(self.sources) > 1 or any(map(is_list, self.sources))


def build_engine(request: StreamRequest, config: Config) -> Engine:
    """Open sources, load the models and open sinks; what an output would replace is not touched before all else is ready.

    What lies behind a URL is opened later, by the thread that reads it, and opened again when it is lost.

    Raises:
        MaskStreamError: Something cannot be opened; everything that was opened is closed again.
    """
    if not request.sources:
        raise ConfigError("--source is missing; give a webcam's index, a video, pictures, a URL or a list of cameras")
    cameras = read_cameras(request.sources, config)
    board = StatusBoard()
    by_source = {camera.name: camera.config for camera in cameras}
    reporting, overlay = Reporting(config, by_source), Overlay(config, by_source)
    reporting.require_people(request.events, request.summary)
    with ExitStack() as opened:
        sources = _open_sources(cameras, board, opened)
        infos = [source.info for source in sources]
        targets = _targets(request, infos)
        analyzer = _load_models(config, by_source, infos)
        bindings: list[SinkBinding] = []

        def add(sink: Sink, source_id: str | None = None) -> None:
            opened.callback(_close_quietly, sink)
            bindings.append(SinkBinding(sink, source_id))

        if targets and request.into_folder:
            make_folder(str(Path(targets[0]).parent))
        for target, source, camera in zip(targets, sources, cameras, strict=False):
            add(picture_sink(target, source, camera), camera.name)
        for path, kind in ((request.jsonl, JsonlSink), (request.csv, CsvSink), (request.status, StatusSink)):
            if path is not None:
                add(kind(path))
        for sink in reporting.sinks(request.events, request.summary, request.console):
            add(sink)
        window = _open_window(request, cameras, infos, config)
        if window is not None:
            add(window)
        if request.progress is not None:
            add(ProgressSink(request.progress, infos, config.stream.max_frames))
        people = PeopleAnalyzer(following(analyzer, config.detector.every), config, by_source)
        opened.pop_all()
    listeners = [binding.sink for binding in bindings if isinstance(binding.sink, StateListener)]
    configured = (analyzer, people, overlay, reporting)
    follow = partial(_follow, CameraWatch(request.sources, cameras, config), request, configured, board)
    attendants = Attendants(window.attend if window else lambda: False, listeners, follow)
    engine = Engine(people, overlay.paint, config.stream, batch_size_of(config, config.detector.every), attendants, board)
    engine.add(sources, bindings)
    return engine


def _load_models(config: Config, by_source: Mapping[str, Config], infos: Sequence[SourceInfo]) -> Analyzer:
    """Load the models, and meanwhile, in a thread, the tracker, which takes a second to import."""
    require_models(config)
    if config.tracking.enabled:
        Thread(target=import_module, args=("maskstream.people.tracking",), daemon=True).start()
    return build_analyzer(config, by_source, several=len(infos) > 1 or not infos[0].live)


class _Configured(Protocol):
    """Something that treats each source as its settings say."""

    def set_source(self, source_id: str, config: Config) -> None:
        """Let a source have settings of its own."""
        ...


def _follow(
    watch: CameraWatch, request: StreamRequest, configured: Sequence[_Configured], board: StatusBoard, engine: Engine
) -> None:
    """Add and remove cameras as their list was edited."""
    change = watch.poll()
    if change is None:
        return
    for name in change.removed:
        engine.remove(name, "removed from the list of cameras, or changed in it")
    for camera in change.added:
        try:
            source = open_source(camera, board, alone=False)
            sinks = [] if request.output is None else [SinkBinding(_added_sink(request.output, source, camera), camera.name)]
        except MaskStreamError as error:
            logger.error("{}; going on without it", error)
            continue
        for each in configured:
            each.set_source(camera.name, camera.config)
        engine.add([source], sinks)


def _added_sink(output: str, source: Source, camera: Camera) -> Sink:
    return picture_sink(output_paths(output, [source.info], into_folder=True)[0], source, camera)


def _open_sources(cameras: Sequence[Camera], board: StatusBoard, opened: ExitStack) -> list[Source]:
    """Open files at the same time, while this thread stays free for signals; a webcam alone wants this thread."""
    open_one = partial(open_source, board=board, alone=len(cameras) == 1)
    if len(cameras) == 1 and _is_webcam(cameras[0]):
        source = open_one(cameras[0])
        opened.callback(_close_quietly, source)
        return [source]
    with ThreadPoolExecutor(len(cameras)) as pool:
        opening = [pool.submit(open_one, camera) for camera in cameras]
    for future in opening:
        if future.exception() is None:
            opened.callback(_close_quietly, future.result())
    failures = [str(error) for future in opening if isinstance(error := future.exception(), MaskStreamError)]
    for failure in failures[1:]:
        logger.error("{}", failure)
    return [future.result() for future in opening]


def _close_quietly(opened: Sink | Source) -> None:
    """Close what a start that failed leaves behind; the user is told of what came first."""
    try:
        opened.close()
    except Exception as error:
        logger.debug("closing {} failed: {!r}", type(opened).__name__, error)


def _is_webcam(camera: Camera) -> bool:
    return "://" not in camera.location and source_kind(camera.location) == "webcam"


def _targets(request: StreamRequest, infos: Sequence[SourceInfo]) -> list[str]:
    """Return where the pictures of each source go; find what is wrong with any output without changing what is there."""
    given = [path for path in (request.output, *request.text_outputs) if path is not None]
    repeated = next((path for path in given if given.count(path) > 1), None)
    if repeated is not None:
        raise ConfigError(f"{repeated}: given for two outputs; give each output a name of its own")
    targets = [] if request.output is None else output_paths(request.output, infos, request.into_folder)
    read = {Path(path).resolve() for info in infos for path in (info.path, *info.pictures) if path}
    overwritten = next((path for path in (*request.text_outputs, *targets) if Path(path).resolve() in read), None)
    if overwritten is not None:
        raise SinkError(f"{overwritten}: the output would replace its own source; choose another name")
    for path in request.text_outputs:
        if path != STDOUT:
            require_writable(path)
    for path, info in zip(targets, infos, strict=False):
        if info.pictures:
            require_picture_target(path, info)
        elif len(infos) == 1 and not request.into_folder:
            require_video_path(path)
    if request.output is not None and request.into_folder:
        require_folder(request.output)
    return targets


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
