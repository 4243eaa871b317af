"""Opens what a user named: with `app`, the only module that names concrete sources and sinks."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from loguru import logger

from maskstream.config.cameras import Camera
from maskstream.errors import SourceOpenError, SourceRefused
from maskstream.io.file_names import FileNames
from maskstream.io.files import make_folder
from maskstream.io.images import IMAGE_SUFFIXES, WRITABLE_SUFFIXES
from maskstream.io.locations import is_stdin
from maskstream.io.output_paths import output_paths
from maskstream.protocols import Sink, Source
from maskstream.sinks import DeferredVideoSink, ImageSink, SegmentedRecordingSink, VideoSink
from maskstream.sinks.video import new_video
from maskstream.sources import (
    SOURCES,
    DeferredSource,
    PipedImageSource,
    PipeSource,
    ReconnectingSource,
    ReconnectPolicy,
    UrlImageSource,
    UrlOpener,
    UrlSource,
    source_kind,
)
from maskstream.sources.pipe import Pipe, require_no_terminal
from maskstream.sources.url_parts import HTTP_SCHEMES, scheme_of
from maskstream.stream.live_cameras import Opened
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceState, SourceStatus
from maskstream.types import SourceInfo

_AT_ONCE_S: Final = 0.5
"""A camera that answers later is waited for by the thread that reads it."""


def is_one_image(camera: Camera, output: str | None = None) -> bool:
    """Return whether what a URL leads to, or what comes through a pipe, is wanted as one picture that is read once.

    That is so where the output is a picture. A URL that ends as a picture does is one too where the output is a folder, or
    `network.snapshot_s` is 0.

    Args:
        camera: Where it is.
        output: Where its pictures go, where it is the only source; None where it is not, or they go nowhere.
    """
    into_folder = output is not None and (output.endswith("/") or os.path.isdir(output))  # noqa: PTH112 (Path raises where nobody may look)
    into_image = output is not None and not into_folder and Path(output).suffix.lower() in WRITABLE_SUFFIXES
    if scheme_of(camera.location) in HTTP_SCHEMES:
        is_named_so = Path(urlsplit(camera.location).path).suffix.lower() in IMAGE_SUFFIXES
        return into_image or (is_named_so and (into_folder or not camera.config.network.snapshot_s))
    return into_image and (is_stdin(camera.location) or source_kind(camera.location) == "pipe")


def open_source(
    camera: Camera, states: SourceStates, *, alone: bool, status: SourceStatus | None = None, output: str | None = None
) -> Source:
    """Open files and pictures; of what may be lost and come back, say only how it is opened.

    Args:
        camera: What to open.
        states: Where it says what becomes of it.
        alone: Whether it is the only source, so that one that answers and refuses is a mistake of the user.
        status: Its own, where it has one already; None: that of the states.
        output: Where its pictures go, where it is the only source that was named; see `is_one_image`.

    Raises:
        SourceError: It cannot be opened.
    """
    kind = source_kind(camera.location)
    network = camera.config.network
    opener: Callable[[], Source] = partial(SOURCES[kind], camera.location, camera.name, camera.config)
    if is_one_image(camera, output):
        return _one_image(camera, kind)
    if kind in ("url", "webcam"):
        policy = ReconnectPolicy(network.max_reconnects, refusal_ends=alone)
        if kind == "url":
            opener = UrlOpener(camera.location, camera.name, network, camera.config.video)
        if alone and kind == "webcam":
            opener = _opened_already(opener)
        elif alone and network.transport != "udp":
            opener = _opening_already(opener, policy)
        unread = opener.close if isinstance(opener, _OpenedAhead) else None
        told = status or states.status(camera.name)
        return ReconnectingSource(
            camera.name, opener, policy, told, states.clock, next_connection=states.next_connection, close_unread=unread
        )
    if camera.batch is not None or kind == "pipe":
        return _deferred(camera, kind, opener, status or states.status(camera.name, quiet=True))
    source = opener()
    logger.info("{}", _described(source.info))
    return source


def _one_image(camera: Camera, kind: str) -> Source:
    if kind == "url":
        source: Source = UrlImageSource(camera.location, camera.config.network, camera.name)
    else:
        require_no_terminal(camera.location, camera.name)
        source = PipedImageSource(camera.location, camera.name, camera.config.pictures.max_megapixels)
    logger.info("{}", _described(source.info))
    return source


def _deferred(camera: Camera, kind: str, opener: Callable[[], Source], status: SourceStatus) -> Source:
    """Return a source that the thread that reads it opens: a pipe, or a video of a folder; its pictures are opened now."""
    if kind == "pipe":
        require_no_terminal(camera.location, camera.name)
        pipe = Pipe(camera.location, camera.name)
        own = camera.config
        opener = partial(PipeSource, camera.location, camera.name, own.pictures.max_megapixels, own.video, pipe)
        return DeferredSource(SourceInfo(camera.name, 0, 0, live=False), opener, camera.batch, pipe.cancel)
    if kind == "images":
        return _images_beside_videos(camera, opener)
    info = SourceInfo(camera.name, 0, 0, live=False, path=camera.location)
    return DeferredSource(info, opener, camera.batch, failed=lambda why: status.change(SourceState.ENDED, why))


def _images_beside_videos(camera: Camera, opener: Callable[[], Source]) -> Source:
    """Open the pictures of a folder; where none can be read, the videos are."""
    try:
        source = opener()
    except SourceOpenError:  # the batch says so at its end
        return DeferredSource(SourceInfo(camera.name, 0, 0, live=False), opener, camera.batch)
    if camera.batch is not None:
        camera.batch.readable()
    logger.info("{}", _described(source.info))
    return source


class _OpenedAhead:
    """An opener whose first source is there, or on its way, before anybody asks for it."""

    def __init__(self, opener: Callable[[], Source]) -> None:
        """Open nothing yet; `opener` is asked for the first source by `open`, and for those after it."""
        self.first: Future[Source] = Future()
        self._opener = opener
        self._waiting = [self.first]

    def open(self) -> None:
        """Open the first source; what goes wrong is raised in the thread that asks for it."""
        try:
            self.first.set_result(self._opener())
        except BaseException as error:
            self.first.set_exception(error)

    def __call__(self) -> Source:
        """Return the first source, then another at each call.

        By UDP, what nobody reads yet is lost: where that is how a camera sends, it is opened again when its pictures are wanted.
        """
        with suppress(IndexError):
            source = self._waiting.pop().result()
            if not (isinstance(source, UrlSource) and source.transport == "udp"):
                return source
            source.close()
        return self._opener()

    def close(self) -> None:
        """Close the first source where nobody has asked for it, as soon as it is open."""
        with suppress(IndexError):
            self._waiting.pop().add_done_callback(lambda first: None if first.exception() else first.result().close())


def _opened_already(opener: Callable[[], Source]) -> _OpenedAhead:
    """Open a webcam by this thread, the main one, as some systems want it; reopening it is left to the thread that reads.

    Raises:
        SourceError: It cannot be opened.
    """
    ahead = _OpenedAhead(opener)
    ahead.open()
    ahead.first.result()
    return ahead


def _opening_already(opener: Callable[[], Source], policy: ReconnectPolicy) -> _OpenedAhead:
    """Begin to open a camera while the models are loaded, and say at once what it refuses at once.

    Raises:
        SourceError: It refuses, or cannot be opened and may not be tried again.
    """
    ahead = _OpenedAhead(opener)
    Thread(target=ahead.open, name="opening", daemon=True).start()
    with suppress(TimeoutError):
        error = ahead.first.exception(_AT_ONCE_S)
        if isinstance(error, SourceRefused) or (error is not None and policy.max_reconnects == 0):
            raise error
    return ahead


def open_camera(camera: Camera, status: SourceStatus, states: SourceStates, output: str | None, names: FileNames) -> Opened:
    """Open a camera that is added to others, and what its pictures are written to.

    Args:
        camera: What to open.
        status: Where it says what becomes of it.
        states: Of the run.
        output: The folder for all pictures; None: they are not written.
        names: Those that sources of the run have there.

    Raises:
        MaskStreamError: Something cannot be opened; what was opened is closed again.
    """
    with ExitStack() as closing:
        source = open_source(camera, states, alone=False, status=status)
        closing.callback(source.close)
        sinks: tuple[SinkBinding, ...] = ()
        if output is not None:
            make_folder(output)
            (path,) = output_paths(output, [source.info], into_folder=True, names=names)
            sinks = (SinkBinding(image_sink(path, source, camera, replace=False), camera.name),)
        closing.pop_all()
    return Opened(source, sinks)


def image_sink(path: str, source: Source, camera: Camera, *, replace: bool = True) -> Sink:
    """Open what annotated pictures of a source are written to.

    Args:
        path: A file or a folder.
        source: What will be written.
        camera: How it is encoded.
        replace: Whether the video of a file may replace one that is there; that of a camera never does.

    Raises:
        SinkError: It cannot be written.
    """
    if source.info.images:
        return ImageSink(path, source.info)
    if isinstance(source, ReconnectingSource):
        return SegmentedRecordingSink(path, lambda: source.info, camera.config.video)
    if isinstance(source, DeferredSource):
        return DeferredVideoSink(path, lambda: _video_sink(path, source.info, camera, replace=replace))
    return _video_sink(path, source.info, camera, replace=replace)


def _video_sink(path: str, info: SourceInfo, camera: Camera, *, replace: bool) -> VideoSink:
    if replace:
        return VideoSink(path, info, camera.config.video)
    sink, _ = new_video(path, info, camera.config.video)
    if sink.path != path:
        logger.info("{}: the video is {}, since there is a file {} already", camera.name, Path(sink.path).name, Path(path).name)
    return sink


def _described(info: SourceInfo) -> str:
    if info.images:
        return f"{info.source_id}: {len(info.images)} pictures" if len(info.images) > 1 else info.source_id
    return f"{info.source_id}: {info.size_and_rate}"
