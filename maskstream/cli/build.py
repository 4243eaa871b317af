"""Builds a run from a configuration, and changes it while it runs."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread

from loguru import logger
from rich.console import Console

from maskstream.cli.opening import image_sink, open_camera, open_source
from maskstream.cli.reporting import Reporting
from maskstream.config.camera_watch import CameraWatch
from maskstream.config.cameras import Camera, is_list, read_cameras
from maskstream.config.detector_interval import remarks
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, MaskStreamError
from maskstream.inference.analyzer import Analyzer
from maskstream.inference.pipeline import batch_size_of, build_analyzer, require_incorrect, require_models
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.io.file_names import FileNames
from maskstream.io.files import make_folder
from maskstream.io.locations import is_pipe, is_webcam, local_path, plain_location
from maskstream.io.output_paths import (
    image_beside,
    is_stdout,
    next_free,
    output_paths,
    require_distinct,
    require_folder,
    require_new,
    require_not_read,
    require_summary_path,
)
from maskstream.io.text_file import Mode
from maskstream.protocols import Sink, Source
from maskstream.rendering.overlay import Overlay
from maskstream.sinks import (
    CsvSink,
    JsonlSink,
    ProgressSink,
    StatusSink,
    WindowSink,
    image_targets,
    require_image_target,
    why_no_window,
)
from maskstream.sinks.records import require_same_columns
from maskstream.sinks.video_formats import require_recording_path, require_video_path
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.live_cameras import CameraWork, LiveCameras
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates, StateListener
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import SourceInfo


@dataclass(frozen=True)
class StreamRequest:
    """What a user wants of a run, besides the configuration."""

    sources: tuple[str, ...] = field(repr=False)
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
    overwrite: bool | None = None
    """Whether outputs begin anew (True), must not be there yet (False), or are replaced by files and continued by cameras (None).
    Recordings of cameras replace nothing, whatever is said here."""
    command_line: tuple[Layer, ...] = ()
    """What the command line sets: it wins over a camera's own settings. The configuration of the run has it already."""
    reads: tuple[str, ...] = ()
    """Files that the run reads besides its sources: no output may replace them."""
    in_batches: bool = False
    """Whether a source turned out to be a folder or a pattern of videos."""

    @property
    def text_outputs(self) -> tuple[str, ...]:
        """Where records go."""
        paths = (self.jsonl, self.csv, self.status, self.events, self.summary)
        given = [path for path in paths if path is not None]
        beside = [] if self.summary is None else [str(image_beside(self.summary))]
        return (*given, *beside)

    @property
    def into_folder(self) -> bool:
        """Whether there may be more than one source."""
        return self.in_batches or len(self.sources) > 1 or any(map(is_list, self.sources))

    def mode(self, infos: Sequence[SourceInfo]) -> Mode:
        """Return how text files are opened: those of cameras are continued, as the day before belongs to what they tell."""
        return "a" if _is_live(infos) and not self.overwrite else "w"


def build_engine(request: StreamRequest, config: Config) -> Engine:
    """Open sources, load the models and open sinks; what an output would replace is not touched before all else is ready.

    What lies behind a URL is opened later, by the thread that reads it, and opened again when it is lost.

    Raises:
        MaskStreamError: Something cannot be opened; everything that was opened is closed again.
    """
    if not request.sources:
        raise ConfigError("--source is missing; give a webcam's index, a video, pictures, a URL or a list of cameras")
    watch = CameraWatch(request.sources, config, command_line=request.command_line)
    cameras = read_cameras(request.sources, config, request.command_line)
    request = _with_found(request, cameras)
    states, names = SourceStates(), FileNames()
    settings = SourceSettings(config, {camera.name: camera.config for camera in cameras})
    reporting, overlay = Reporting(settings), Overlay(settings)
    reporting.require_people(request.events, request.summary)
    with ExitStack() as opened:
        sources = _open_sources(cameras, states, opened, None if request.into_folder else request.output)
        infos = [source.info for source in sources]
        request = _with_free_names(request, infos)
        targets = _targets(request, infos, config, names)
        analyzer = _load_models(settings, infos)
        bindings: list[SinkBinding] = []

        def add(sink: Sink, source_id: str | None = None) -> None:
            opened.callback(_close_quietly, sink)
            bindings.append(SinkBinding(sink, source_id))

        texts = ((request.jsonl, JsonlSink), (request.csv, partial(CsvSink, bom=config.csv.bom)), (request.status, StatusSink))
        for path, kind in texts:  # before the pictures: a pipe waits for its reader, and who will not wait loses no video
            if path is not None:
                add(kind(path, request.mode(infos)))
        for sink in reporting.sinks(request.events, request.summary, request.console, anew=request.overwrite is True):
            add(sink)
        if targets and request.into_folder:
            make_folder(str(request.output))
        for target, source, camera in zip(targets, sources, cameras, strict=False):
            add(image_sink(target, source, camera), camera.name)
        window = _open_window(request, cameras, infos, settings)
        if window is not None:
            add(window)
        if request.progress is not None:
            by_name = {source.info.source_id: source for source in sources}
            latest = lambda source_id: by_name[source_id].info if source_id in by_name else None  # noqa: E731
            add(ProgressSink(request.progress, infos, config.stream.max_frames, latest))
        looking = PropagatingAnalyzer(analyzer, settings) if config.detector.every > 1 else analyzer
        people = PeopleAnalyzer(looking, settings)
        opened.pop_all()
    _say_remarks(cameras)
    listeners = [binding.sink for binding in bindings if isinstance(binding.sink, StateListener)]
    work = CameraWork(
        lambda own: require_incorrect(analyzer.class_names, [own]),
        analyzer.admit,
        partial(open_camera, states=states, output=request.output, names=names),
    )
    live = LiveCameras(watch, cameras, settings, work, states)
    hooks = EngineHooks(window.attend if window else lambda: False, listeners, live.maintain, live.leave)
    engine = Engine(people, overlay.paint, config.stream, batch_size_of(config), hooks, states)
    engine.add(sources, bindings)
    return engine


def _say_remarks(cameras: Sequence[Camera]) -> None:
    for line in dict.fromkeys(line for camera in cameras for line in remarks(camera.config)):
        logger.info("{}", line)


def _load_models(settings: SourceSettings, infos: Sequence[SourceInfo]) -> Analyzer:
    """Load the models, and meanwhile, in a thread, the tracker, which takes a second to import."""
    require_models(settings.common)
    if settings.common.tracking.enabled:
        Thread(target=import_module, args=("maskstream.tracking.tracker",), daemon=True).start()
    return build_analyzer(settings, several=len(infos) > 1 or not infos[0].live)


def _open_sources(cameras: Sequence[Camera], states: SourceStates, opened: ExitStack, output: str | None) -> list[Source]:
    """Open files at the same time, while this thread stays free for signals; a webcam alone wants this thread.

    Videos of a folder are opened later, and get their turns here, in order.

    Args:
        cameras: What to open.
        states: Where they say what becomes of them.
        opened: Closes them.
        output: Where the pictures of a single source go; None for several, or nowhere.
    """
    open_one = partial(open_source, states=states, alone=len(cameras) == 1, output=output)
    if len(cameras) == 1 and _is_webcam(cameras[0]):
        source = open_one(cameras[0])
        opened.callback(_close_quietly, source)
        return [source]
    with ThreadPoolExecutor(len(cameras)) as pool, ThreadPoolExecutor(1) as in_order:
        opening = [(in_order if camera.batch else pool).submit(open_one, camera) for camera in cameras]
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
    return is_webcam(camera.location)


def _is_live(infos: Sequence[SourceInfo]) -> bool:
    return any(info.live for info in infos)


def _with_found(request: StreamRequest, cameras: Sequence[Camera]) -> StreamRequest:
    """Return what is wanted, with what is known once folders and pipes have been found among the sources."""
    pipes = [local_path(camera.location) for camera in cameras if is_pipe(camera.location)]
    return replace(request, in_batches=any(camera.batch for camera in cameras), reads=(*request.reads, *pipes))


def _with_free_names(request: StreamRequest, infos: Sequence[SourceInfo]) -> StreamRequest:
    """Return what is wanted, with another name for a summary of cameras where one is there: it is not continued, but kept."""
    if request.summary is None or request.overwrite is not None or not _is_live(infos):
        return request
    free = next_free(request.summary, image_beside(request.summary).suffix)
    if free != request.summary:
        logger.info("{}: is there already; the summary goes to {}", request.summary, free)
    return replace(request, summary=free)


def _targets(request: StreamRequest, infos: Sequence[SourceInfo], config: Config, names: FileNames) -> list[str]:
    """Return where the pictures of each source go; find what is wrong with any output without changing what is there."""
    targets = _image_places(request, infos, names)
    read = {path: "its own source" for info in infos for path in (info.path, *info.images) if path}
    lists = {path: "the list of cameras" for path in request.sources if is_list(path)}
    require_not_read((*request.text_outputs, *targets), dict.fromkeys(request.reads, "a file that the run reads") | lists | read)
    videos: list[str] = []
    images: list[str] = []
    for path, info in zip(targets, infos, strict=False):
        if info.images:
            require_image_target(path, info)
            images += map(str, image_targets(path, info).values())
            _warn_of_copies(path, None if request.in_batches else info.path, config)
        elif len(infos) == 1 and not request.into_folder:
            (require_recording_path if info.live else require_video_path)(path)
        if not info.images and not info.live:
            videos.append(path)
    if request.output is not None and request.into_folder:
        _require_folder(request, request.output, config)
    if request.summary is not None:
        for path in (request.summary, str(image_beside(request.summary))):
            require_summary_path(path)
    single = images if len(images) == 1 else []
    there = [path for path in (*videos, *single) if os.path.isdir(Path(path).parent)]  # noqa: PTH112 (Path raises where nobody may look)
    require_distinct((*request.text_outputs, *there))
    _refuse_among([*targets, *images], request.text_outputs)
    if request.overwrite is False:
        require_new((*request.text_outputs, *videos, *images))  # a camera takes the next name that is free
    if request.csv is not None and request.mode(infos) == "a":
        require_same_columns(request.csv)
    return targets


def _image_places(request: StreamRequest, infos: Sequence[SourceInfo], names: FileNames) -> list[str]:
    """Return where the pictures of each source go; those of a folder go where they go without the videos beside them."""
    if request.output is None:
        return []
    targets = output_paths(request.output, infos, request.into_folder, names)
    if not request.in_batches or len(request.sources) > 1:
        return targets
    into = os.path.join(request.output, "")  # noqa: PTH118 (Path would drop the slash)
    return [into if info.images else path for path, info in zip(targets, infos, strict=True)]


def _require_folder(request: StreamRequest, output: str, config: Config) -> None:
    require_folder(output)
    if request.in_batches:
        for location in map(plain_location, request.sources):
            _warn_of_copies(output, location, config)


def _refuse_among(others: Sequence[str], texts: Sequence[str]) -> None:
    """Refuse records in the place of a recording, or of one of many pictures: these are not created to be tried."""
    taken = set(map(os.path.abspath, others))
    shared = next((path for path in texts if not is_stdout(path) and os.path.abspath(path) in taken), None)  # noqa: PTH100 (as above)
    if shared is not None:
        raise ConfigError(f"{shared}: given for two outputs; give each output a name of its own")


def _warn_of_copies(output: str, folder: str | None, config: Config) -> None:
    """Say where the next run would take annotated copies for files of the source; a `folder` of None is let pass."""
    if folder is None:
        return
    source, into = Path(os.path.realpath(folder)), Path(os.path.realpath(output))
    if source.is_dir() and (into == source or (config.pictures.recursive and source in into.parents)):
        logger.warning("{}: is in the folder of the source: the next run reads the copies too; choose another", output)


def _open_window(
    request: StreamRequest, cameras: Sequence[Camera], infos: Sequence[SourceInfo], settings: SourceSettings
) -> WindowSink | None:
    show = request.show if request.show is not None else any(map(_is_webcam, cameras))
    if not show:
        return None
    with why_no_window() as obstacle:
        if obstacle is None:
            return WindowSink(infos, settings.common.window, settings)
    logger.warning("going on without a window: {}", obstacle)
    return None
