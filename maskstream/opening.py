"""Opens what a user named: with `app`, the only module that names concrete sources and sinks."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Final

from loguru import logger

from maskstream.cameras import Camera
from maskstream.errors import SourceRefused
from maskstream.protocols import Sink, Source
from maskstream.sinks import PictureSink, RecordingSink, VideoSink
from maskstream.sources import SOURCES, ReconnectingSource, ReconnectPolicy, UrlOpener, UrlSource, source_kind
from maskstream.stream.board import StatusBoard
from maskstream.types import SourceInfo

_AT_ONCE_S: Final = 0.5
"""A camera that answers later is waited for by the thread that reads it."""


def open_source(camera: Camera, board: StatusBoard, *, alone: bool) -> Source:
    """Open files and pictures; of what may be lost and come back, say only how it is opened.

    Args:
        camera: What to open.
        board: Where it says what becomes of it.
        alone: Whether it is the only source, so that one that answers and refuses is a mistake of the user.

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
            remembering = UrlOpener(camera.location, camera.name, network)
            opener = _opening_already(remembering, policy) if alone and network.transport != "udp" else remembering
        return ReconnectingSource(camera.name, opener, policy, board.status(camera.name), board.clock)
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


def picture_sink(path: str, source: Source, camera: Camera) -> Sink:
    """Open what annotated pictures of a source are written to.

    Raises:
        SinkError: It cannot be written.
    """
    if source.info.pictures:
        return PictureSink(path, source.info)
    if isinstance(source, ReconnectingSource):
        return RecordingSink(path, lambda: source.info, camera.config.video)
    return VideoSink(path, source.info, camera.config.video)


def _described(info: SourceInfo) -> str:
    if info.pictures:
        return f"{info.source_id}: {len(info.pictures)} pictures" if len(info.pictures) > 1 else info.source_id
    fps = f"{info.average_fps:.4g} fps" if info.average_fps else "unknown fps"
    return f"{info.source_id}: {info.width}x{info.height}, {fps}"
