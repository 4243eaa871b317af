"""Build the engine of a run from a request and a configuration. Only this package connects concrete sources and sinks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from threading import Thread

from loguru import logger

from maskstream.cli.opening import image_sink, open_camera, open_source
from maskstream.cli.outputs import checked_targets, with_free_summary
from maskstream.cli.reporting import Reporting
from maskstream.cli.request import StreamRequest
from maskstream.cli.web import WebRun, wants_store
from maskstream.config.camera_watch import CameraWatch
from maskstream.config.cameras import Camera, read_cameras
from maskstream.config.detector_interval import remarks
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, MaskStreamError
from maskstream.inference.analyzer import Analyzer
from maskstream.inference.pipeline import batch_size_of, build_analyzer, require_incorrect, require_models
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.io.file_names import FileNames
from maskstream.io.files import make_folder
from maskstream.io.locations import is_pipe, is_webcam, local_path
from maskstream.protocols import Sink, Source
from maskstream.rendering.overlay import Overlay
from maskstream.sinks import CsvSink, JsonlSink, ProgressSink, StatusSink, WindowSink, why_no_window
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.live_cameras import CameraWork, LiveCameras
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates, StateListener
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import SourceInfo


@dataclass(frozen=True)
class _Inputs:
    """The cameras of a run, their opened sources, and where the annotated frames of each go."""

    cameras: Sequence[Camera]
    sources: Sequence[Source]
    targets: Sequence[str]
    """Empty without `--output`."""

    @property
    def infos(self) -> list[SourceInfo]:
        return [source.info for source in self.sources]

    def latest_info(self, source_id: str) -> SourceInfo | None:
        """Return what is known of a source now: files of a folder are opened during the run."""
        return next((info for info in self.infos if info.source_id == source_id), None)


@dataclass(frozen=True)
class _OpenSinks:
    """The sinks of a run. Until the run takes them over, `closing` closes them."""

    closing: ExitStack
    bindings: list[SinkBinding] = field(default_factory=list)

    def add(self, sink: Sink, source_id: str | None = None) -> None:
        """Take over a sink for the frames of one source, or of all."""
        self.closing.callback(_close_quietly, sink)
        self.bindings.append(SinkBinding(sink, source_id))


def build_engine(request: StreamRequest, config: Config) -> Engine:
    """Open the sources, load the models and open the sinks. No existing file is changed before all else is ready.

    A camera behind a URL is opened by the thread that reads it, which also reconnects it.

    Raises:
        MaskStreamError: Something cannot be opened. Everything that was opened is closed again.
    """
    if not request.sources:
        raise ConfigError("--source is missing; give a webcam's index, a video, images, a URL or a list of cameras")
    watch = CameraWatch(request.sources, config, command_line=request.command_line)
    cameras = read_cameras(request.sources, config, request.command_line)
    pipes = [local_path(camera.location) for camera in cameras if is_pipe(camera.location)]
    in_batches = any(camera.batch is not None for camera in cameras)
    request = replace(request, in_batches=in_batches, reads=(*request.reads, *pipes))
    settings = SourceSettings(config, {camera.name: camera.config for camera in cameras})
    states, names = SourceStates(), FileNames()
    reporting, overlay = Reporting(settings), Overlay(settings)
    reporting.require_people(request.events, request.summary, store=wants_store(config))
    with ExitStack() as closing:
        web = WebRun(config, settings, states.clock)
        closing.callback(web.close)
        sources = _open_sources(cameras, states, closing, None if request.into_folder else request.output)
        infos = [source.info for source in sources]
        request = with_free_summary(request, infos)
        inputs = _Inputs(cameras, sources, checked_targets(request, infos, config, names))
        analyzer = _load_models(settings, infos)
        sinks = _OpenSinks(closing)
        _open_file_sinks(request, inputs, config, reporting, sinks)
        for sink in web.sinks(reporting):
            sinks.add(sink)
        window = _open_display_sinks(request, inputs, settings, sinks)
        closing.pop_all()
    for line in dict.fromkeys(line for camera in cameras for line in remarks(camera.config)):
        logger.info("{}", line)
    work = CameraWork(
        check=lambda config: require_incorrect(analyzer.class_names, [config]),
        prepare=analyzer.admit,
        open=partial(open_camera, states=states, output=request.output, names=names),
    )
    live = LiveCameras(watch, cameras, settings, work, states)
    hooks = _hooks(window, sinks, live, web)
    people = PeopleAnalyzer(PropagatingAnalyzer(analyzer, settings), settings)
    engine = Engine(people, overlay.paint, config.stream, batch_size_of(config), hooks, states)
    engine.add(sources, sinks.bindings)
    web.start(engine, request, reporting, work.check)
    return engine


def _hooks(window: WindowSink | None, sinks: _OpenSinks, live: LiveCameras, web: WebRun) -> EngineHooks:
    """Return what the engine calls between frames: the window, the lists of cameras, the dashboard."""

    def maintain(engine: Engine) -> None:
        live.maintain(engine)
        web.attend()

    return EngineHooks(
        window=None if window is None else window.attend,
        listeners=[binding.sink for binding in sinks.bindings if isinstance(binding.sink, StateListener)],
        maintain=maintain,
        leave=lambda: [*live.leave(), *web.leave()],
    )


def _open_sources(cameras: Sequence[Camera], states: SourceStates, closing: ExitStack, output: str | None) -> list[Source]:
    """Open the sources in parallel, while this thread stays free for signals. A single webcam is opened by this thread.

    Videos of a folder are opened during the run. Here they are put into the order in which they will be read.

    Args:
        cameras: The cameras to open.
        states: The states of all sources.
        closing: Closes the sources.
        output: Where the annotated frames of a single source go; None for several sources, or without `--output`.
    """
    open_one = partial(open_source, states=states, alone=len(cameras) == 1, output=output)
    if len(cameras) == 1 and is_webcam(cameras[0].location):
        source = open_one(cameras[0])
        closing.callback(_close_quietly, source)
        return [source]
    with ThreadPoolExecutor(len(cameras)) as parallel, ThreadPoolExecutor(1) as in_order:
        opening = [(parallel if camera.batch is None else in_order).submit(open_one, camera) for camera in cameras]
    failures: list[BaseException] = []
    for future in opening:
        error = future.exception()
        if error is None:
            closing.callback(_close_quietly, future.result())
        else:
            failures.append(error)
    for failure in [error for error in failures if isinstance(error, MaskStreamError)][1:]:
        logger.error("{}", failure)
    return [future.result() for future in opening]  # raises the first failure


def _load_models(settings: SourceSettings, infos: Sequence[SourceInfo]) -> Analyzer:
    """Load the models. Meanwhile a thread imports the tracker, which takes a second."""
    require_models(settings.common)
    if settings.common.tracking.enabled:
        Thread(target=import_module, args=("maskstream.tracking.tracker",), daemon=True).start()
    return build_analyzer(settings, several=len(infos) > 1 or not infos[0].live)


def _open_file_sinks(request: StreamRequest, inputs: _Inputs, config: Config, reporting: Reporting, sinks: _OpenSinks) -> None:
    """Open the outputs that are files, pipes or receivers of events.

    Records are opened before videos: opening a pipe waits for its reader, and an existing video must survive a run that is
    stopped meanwhile.
    """
    mode = request.mode(inputs.infos)
    if request.jsonl is not None:
        sinks.add(JsonlSink(request.jsonl, mode))
    if request.csv is not None:
        sinks.add(CsvSink(request.csv, mode, bom=config.csv.bom))
    if request.status is not None:
        sinks.add(StatusSink(request.status, mode))
    for sink in reporting.sinks(request.events, request.summary, request.console, replace=request.overwrite is True):
        sinks.add(sink)
    if request.output is not None and request.into_folder:
        make_folder(request.output)
    for target, source, camera in zip(inputs.targets, inputs.sources, inputs.cameras, strict=False):
        sinks.add(image_sink(target, source, camera), camera.name)


def _open_display_sinks(
    request: StreamRequest, inputs: _Inputs, settings: SourceSettings, sinks: _OpenSinks
) -> WindowSink | None:
    """Open the window and the progress bar, and return the window; None where there is none."""
    show = request.show
    if show is None:
        show = any(is_webcam(camera.location) for camera in inputs.cameras)
    window = None
    if show:
        with why_no_window() as obstacle:
            if obstacle is None:
                window = WindowSink(inputs.infos, settings.common.window, settings)
                sinks.add(window)
        if obstacle is not None:
            logger.warning("continuing without a window: {}", obstacle)
    if request.progress is not None:
        max_frames = settings.common.stream.max_frames
        sinks.add(ProgressSink(request.progress, inputs.infos, max_frames, inputs.latest_info))
    return window


def _close_quietly(opened: Sink | Source) -> None:
    """Close a source or sink after a failed start. The user sees the first error only."""
    try:
        opened.close()
    except Exception as error:
        logger.debug("closing {} failed: {!r}", type(opened).__name__, error)
