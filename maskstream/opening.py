"""Opens what a user named: with `app`, the only module that names concrete sources and sinks."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final

from loguru import logger

from maskstream.cameras import Camera
from maskstream.errors import SourceRefused
from maskstream.files import make_folder
from maskstream.live_cameras import Opened
from maskstream.protocols import Sink, Source
from maskstream.sinks import PictureSink, RecordingSink, VideoSink
from maskstream.sinks.names import FileNames
from maskstream.sinks.paths import output_paths
from maskstream.sinks.video import new_video
from maskstream.sources import SOURCES, ReconnectingSource, ReconnectPolicy, UrlOpener, UrlSource, source_kind
from maskstream.states import SourceStatus
from maskstream.stream.board import StatusBoard
from maskstream.stream.outlets import SinkBinding
from maskstream.types import SourceInfo

_AT_ONCE_S: Final = 0.5
"""A camera that answers later is waited for by the thread that reads it."""


def open_source(camera: Camera, board: StatusBoard, *, alone: bool, status: SourceStatus | None = None) -> Source:
    """Open files and pictures; of what may be lost and come back, say only how it is opened.

    Args:
        camera: What to open.
        board: Where it says what becomes of it.
        alone: Whether it is the only source, so that one that answers and refuses is a mistake of the user.
        status: Its own, where it has one already; None: that of the board.

    Raises:
        SourceError: It cannot be opened.
    """
    kind = source_kind(camera.location)
    network = camera.config.network
    opener: Callable[[], Source] = partial(SOURCES[kind], camera.location, camera.name, camera.config)
    if kind in ("url", "webcam"):
        policy = ReconnectPolicy(network.max_reconnects, refusal_ends=alone)
        if kind == "webcam" and alone:
            opener = _opened_once_already(opener)
        if kind == "url":
            remembering = UrlOpener(camera.location, camera.name, network, camera.config.video)
            opener = _opening_already(remembering, policy) if alone and network.transport != "udp" else remembering
        told = status or board.status(camera.name)
        return ReconnectingSource(camera.name, opener, policy, told, board.clock, board.next_connection)
    source = opener()
    logger.info("{}", _described(source.info))
    return source


def _opened_once_already(opener: Callable[[], Source]) -> Callable[[], Source]:
    """Open a webcam by this thread, the main one, as some systems want it; reopening it is left to the thread that reads."""
    first = [opener()]
    return lambda: first.pop() if first else opener()


def _opening_already(opener: UrlOpener, policy: ReconnectPolicy) -> Callable[[], Source]:
    """Begin to open a camera while the models are loaded, and say at once what it refuses at once.

    By UDP, what nobody reads yet is lost: where that is how a camera sends, it is opened again when its pictures are wanted.

    Raises:
        SourceError: It refuses, or cannot be opened and may not be tried again.
    """
    first: Future[UrlSource] = Future()

    def begin() -> None:
        try:
            first.set_result(opener())
        except BaseException as error:  # raised in the thread that wants the source
            first.set_exception(error)

    Thread(target=begin, name="opening", daemon=True).start()
    with suppress(TimeoutError):
        error = first.exception(_AT_ONCE_S)
        if isinstance(error, SourceRefused) or (error is not None and policy.max_reconnects == 0):
            raise error
    waiting = [first]

    def open_when_wanted() -> UrlSource:
        if not waiting:
            return opener()
        source = waiting.pop().result()
        if source.transport != "udp":
            return source
        source.close()
        return opener()

    return open_when_wanted


def open_camera(camera: Camera, status: SourceStatus, board: StatusBoard, output: str | None, names: FileNames) -> Opened:
    """Open a camera that is added to others, and what its pictures are written to.

    Args:
        camera: What to open.
        status: Where it says what becomes of it.
        board: Of the run.
        output: The folder for all pictures; None: they are not written.
        names: Those that sources of the run have there.

    Raises:
        MaskStreamError: Something cannot be opened; what was opened is closed again.
    """
    with ExitStack() as closing:
        source = open_source(camera, board, alone=False, status=status)
        closing.callback(source.close)
        sinks: tuple[SinkBinding, ...] = ()
        if output is not None:
            make_folder(output)
            (path,) = output_paths(output, [source.info], into_folder=True, names=names)
            sinks = (SinkBinding(picture_sink(path, source, camera, replace=False), camera.name),)
        closing.pop_all()
    return Opened(source, sinks)


def picture_sink(path: str, source: Source, camera: Camera, *, replace: bool = True) -> Sink:
    """Open what annotated pictures of a source are written to.

    Args:
        path: A file or a folder.
        source: What will be written.
        camera: How it is encoded.
        replace: Whether the video of a file may replace one that is there; that of a camera never does.

    Raises:
        SinkError: It cannot be written.
    """
    if source.info.pictures:
        return PictureSink(path, source.info)
    if isinstance(source, ReconnectingSource):
        return RecordingSink(path, lambda: source.info, camera.config.video)
    if replace:
        return VideoSink(path, source.info, camera.config.video)
    sink, _ = new_video(path, source.info, camera.config.video)
    if sink.path != path:
        logger.info("{}: the video is {}, since there is a file {} already", camera.name, Path(sink.path).name, Path(path).name)
    return sink


def _described(info: SourceInfo) -> str:
    if info.pictures:
        return f"{info.source_id}: {len(info.pictures)} pictures" if len(info.pictures) > 1 else info.source_id
    fps = f"{info.average_fps:.4g} fps" if info.average_fps else "unknown fps"
    return f"{info.source_id}: {info.width}x{info.height}, {fps}"
