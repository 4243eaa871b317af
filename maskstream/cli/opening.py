"""Open the sources that a user named, and the sinks of their annotated frames."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from loguru import logger

from maskstream.cli.early_opening import EarlyOpener
from maskstream.config.cameras import Camera
from maskstream.errors import SourceOpenError
from maskstream.io.file_names import FileNames
from maskstream.io.files import make_folder
from maskstream.io.image_formats import IMAGE_SUFFIXES, WRITABLE_SUFFIXES
from maskstream.io.locations import is_stdin, local_path
from maskstream.io.output_paths import output_paths
from maskstream.protocols import Sink, Source
from maskstream.sinks import DeferredVideoSink, ImageSink, SegmentedRecordingSink, VideoSink
from maskstream.sinks.video import new_video
from maskstream.sources import (
    SOURCES,
    DeferredSource,
    ImageSource,
    PipedImageSource,
    PipeSource,
    ReconnectingSource,
    ReconnectPolicy,
    UrlImageSource,
    UrlOpener,
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
"""The maximum time to wait for a single camera before the models are loaded."""


def is_one_image(camera: Camera, output: str | None = None) -> bool:
    """Return whether a URL or a pipe is read once, as one image.

    This is so where the output is an image. A URL with the suffix of an image is also read once where the output is a folder, or
    where `network.snapshot_s` is 0.

    Args:
        camera: The URL or pipe.
        output: Where the annotated frames of the only source go; None for several sources, or without `--output`.
    """
    into_folder = output is not None and (output.endswith("/") or os.path.isdir(output))  # noqa: PTH112 (Path raises without permission)
    into_image = output is not None and not into_folder and Path(output).suffix.lower() in WRITABLE_SUFFIXES
    if scheme_of(camera.location) in HTTP_SCHEMES:
        has_image_suffix = Path(urlsplit(camera.location).path).suffix.lower() in IMAGE_SUFFIXES
        return into_image or (has_image_suffix and (into_folder or not camera.config.network.snapshot_s))
    return into_image and (is_stdin(camera.location) or source_kind(camera.location) == "pipe")


def open_source(
    camera: Camera, states: SourceStates, *, alone: bool, status: SourceStatus | None = None, output: str | None = None
) -> Source:
    """Open a file or images now. A camera, a pipe or a video of a folder is opened later, by the thread that reads it.

    Args:
        camera: The source to open.
        states: The states of all sources.
        alone: Whether it is the only source. A camera that refuses is then an error of the start.
        status: The status of the source, if it has one already; None: the one in `states`.
        output: Where the annotated frames of the only source go; see `is_one_image`.

    Raises:
        SourceError: It cannot be opened.
    """
    kind = source_kind(camera.location)
    opener: Callable[[], Source] = partial(SOURCES[kind], camera.location, camera.name, camera.config)
    if camera.images is not None:
        files = camera.images  # which were searched for to find the videos beside them
        opener = partial(ImageSource, local_path(camera.location), camera.config.pictures, camera.name, files)
    if is_one_image(camera, output):
        return _open_one_image(camera, kind)
    if kind in ("url", "webcam"):
        return _reconnecting(camera, kind, states, status or states.status(camera.name), alone=alone)
    if kind == "pipe" or camera.batch is not None:
        status = status or states.status(camera.name, quiet=True)
        if kind == "pipe":
            return _deferred_pipe(camera)
        if kind == "images":
            return _open_images_beside_videos(camera, opener)
        return _deferred_video(camera, opener, status)
    source = opener()
    logger.info("{}", _description(source.info))
    return source


def _open_one_image(camera: Camera, kind: str) -> Source:
    if kind == "url":
        source: Source = UrlImageSource(camera.location, camera.config.network, camera.name)
    else:
        require_no_terminal(camera.location, camera.name)
        source = PipedImageSource(camera.location, camera.name, camera.config.pictures.max_megapixels)
    logger.info("{}", _description(source.info))
    return source


def _reconnecting(camera: Camera, kind: str, states: SourceStates, status: SourceStatus, *, alone: bool) -> Source:
    """Return a camera that is opened by the thread that reads it, and reopened when it is lost.

    A single webcam is opened now by this thread, the main one, which some systems require. Opening a single camera behind a URL
    begins now, in parallel to loading the models.
    """
    network = camera.config.network
    opener: Callable[[], Source] = partial(SOURCES[kind], camera.location, camera.name, camera.config)
    if kind == "url":
        opener = UrlOpener(camera.location, camera.name, network, camera.config.video)
    close_unread = None
    if alone and kind == "webcam":
        early = EarlyOpener(opener)
        early.open_now()
        opener, close_unread = early, early.close
    elif alone and network.transport != "udp":
        early = EarlyOpener(opener)
        early.start_opening(_AT_ONCE_S, may_retry=network.max_reconnects != 0)
        opener, close_unread = early, early.close
    return ReconnectingSource(
        camera.name,
        opener,
        ReconnectPolicy(network.max_reconnects, refusal_ends=alone),
        status,
        states.clock,
        next_connection=states.next_connection,
        close_unread=close_unread,
    )


def _deferred_pipe(camera: Camera) -> Source:
    require_no_terminal(camera.location, camera.name)
    pipe = Pipe(camera.location, camera.name)
    config = camera.config
    opener = partial(PipeSource, camera.location, camera.name, config.pictures.max_megapixels, config.video, pipe)
    return DeferredSource(SourceInfo(camera.name, 0, 0, live=False), opener, camera.batch, pipe.cancel)


def _deferred_video(camera: Camera, opener: Callable[[], Source], status: SourceStatus) -> Source:
    """Return a video of a folder, which is opened when the videos before it have been read."""
    info = SourceInfo(camera.name, 0, 0, live=False, path=camera.location)
    return DeferredSource(info, opener, camera.batch, failed=partial(status.change, SourceState.ENDED))


def _open_images_beside_videos(camera: Camera, opener: Callable[[], Source]) -> Source:
    """Open the images of a folder with videos. Where no image can be read, the videos still are."""
    try:
        source = opener()
    except SourceOpenError:  # the batch logs it at its end
        return DeferredSource(SourceInfo(camera.name, 0, 0, live=False), opener, camera.batch)
    if camera.batch is not None:
        camera.batch.readable()
    logger.info("{}", _description(source.info))
    return source


def open_camera(camera: Camera, status: SourceStatus, states: SourceStates, output: str | None, names: FileNames) -> Opened:
    """Open a camera that is added to a run, and the sink of its annotated frames.

    Args:
        camera: The camera to open.
        status: The status of the camera.
        states: The states of all sources of the run.
        output: The folder of all annotated frames; None without `--output`.
        names: The file names in this folder that other sources of the run have.

    Raises:
        MaskStreamError: The source or the sink cannot be opened. What was opened is closed again.
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
    """Open the sink of the annotated frames of a source.

    Args:
        path: A file or a folder.
        source: The source of the frames.
        camera: How video is encoded.
        replace: Whether the video of a file may replace an existing one. The recording of a camera never does.

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
        logger.info("{}: the video is {}, because a file {} exists already", camera.name, Path(sink.path).name, Path(path).name)
    return sink


def _description(info: SourceInfo) -> str:
    if len(info.images) > 1:
        return f"{info.source_id}: {len(info.images)} images"
    return info.source_id if info.images else f"{info.source_id}: {info.size_and_rate}"
