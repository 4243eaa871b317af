"""Build the engine of a run from a request and a configuration. Only this package connects concrete sources and sinks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from loguru import logger

from maskstream.cli.assembly import Assembly, load_models
from maskstream.cli.file_sinks import Inputs, OpenSinks, close_quietly, open_file_sinks
from maskstream.cli.opening import open_source
from maskstream.cli.outputs import checked_targets, with_free_summary
from maskstream.cli.reporting import Reporting
from maskstream.cli.request import StreamRequest
from maskstream.cli.web import WebRun, wants_store
from maskstream.config.camera_watch import CameraWatch
from maskstream.config.cameras import Camera, read_cameras
from maskstream.config.detector_interval import remarks
from maskstream.config.image_settings import for_images
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, MaskStreamError
from maskstream.io.file_names import FileNames
from maskstream.io.locations import is_pipe, is_webcam, local_path, location_kind
from maskstream.protocols import Source
from maskstream.sinks import ProgressSink, WindowSink, why_no_window
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.live_cameras import LiveCameras
from maskstream.stream.source_states import SourceStates, StateListener


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
    if all(location_kind(camera.location) == "images" for camera in cameras):
        config = for_images(config)
    pipes = [local_path(camera.location) for camera in cameras if is_pipe(camera.location)]
    in_batches = any(camera.batch is not None for camera in cameras)
    request = replace(request, in_batches=in_batches, reads=(*request.reads, *pipes))
    settings = SourceSettings(config, {camera.name: camera.config for camera in cameras})
    states, names = SourceStates(), FileNames()
    reporting = Reporting(settings)
    reporting.require_people(request.events, request.summary, store=wants_store(config))
    with ExitStack() as closing:
        web = WebRun(config, settings, states.clock)
        closing.callback(web.close)
        sources = _open_sources(cameras, states, closing, None if request.into_folder else request.output)
        infos = [source.info for source in sources]
        request = with_free_summary(request, infos)
        inputs = Inputs(cameras, sources, checked_targets(request, infos, config, names))
        analyzer = load_models(settings, several=len(infos) > 1 or not infos[0].live)
        sinks = OpenSinks(closing)
        open_file_sinks(request, inputs, config, reporting, sinks)
        for sink in web.sinks(reporting):
            sinks.add(sink)
        window = _open_display_sinks(request, inputs, settings, sinks)
        closing.pop_all()
    for line in dict.fromkeys(line for camera in cameras for line in remarks(camera.config)):
        logger.info("{}", line)
    assembly = Assembly(analyzer, settings, states)
    work = assembly.camera_work(request.output, names)
    live = LiveCameras(watch, cameras, settings, work, states)
    engine = assembly.engine(_hooks(window, sinks, live, web))
    engine.add(sources, sinks.bindings)
    web.start(engine, request, reporting, work.check)
    return engine


def _hooks(window: WindowSink | None, sinks: OpenSinks, live: LiveCameras, web: WebRun) -> EngineHooks:
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
        closing.callback(close_quietly, source)
        return [source]
    with ThreadPoolExecutor(len(cameras)) as parallel, ThreadPoolExecutor(1) as in_order:
        opening = [(parallel if camera.batch is None else in_order).submit(open_one, camera) for camera in cameras]
    failures: list[BaseException] = []
    for future in opening:
        error = future.exception()
        if error is None:
            closing.callback(close_quietly, future.result())
        else:
            failures.append(error)
    for failure in [error for error in failures if isinstance(error, MaskStreamError)][1:]:
        logger.error("{}", failure)
    return [future.result() for future in opening]  # raises the first failure


def _open_display_sinks(request: StreamRequest, inputs: Inputs, settings: SourceSettings, sinks: OpenSinks) -> WindowSink | None:
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
