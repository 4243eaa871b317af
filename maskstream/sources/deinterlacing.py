"""Deinterlace video: make complete frames of frames that contain two fields captured in sequence."""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import av
from av.video.frame import VideoFrame
from loguru import logger

from maskstream.config.schema import Deinterlace

_JUMP_S: Final = 1.0
"""Frames that are further apart are not used for each other's missing lines."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Shape:
    """The properties of a frame that a filter graph depends on."""

    width: int
    height: int
    pixel_format: str
    colorspace: int
    color_range: int

    @classmethod
    def of(cls, frame: VideoFrame) -> "_Shape":
        return cls(frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)


class Deinterlacer(Generic[T]):
    """Interpolate the lines of the second field with FFmpeg's `bwdif`; each frame gives one frame, in the same order.

    Frames pass unchanged until the first one is marked as interlaced; no filter is built before that. From then on each frame
    waits for the next one, which the filter also uses. Frames that are not marked still keep their pixels. At most three frames
    are held.
    """

    def __init__(self, mode: Deinterlace, name: str) -> None:
        """Store the arguments; build no filter.

        Args:
            mode: "auto" for frames that are marked as interlaced, True for all frames, False for none.
            name: Name of the source, for messages.
        """
        self._mode = mode
        self._name = name
        self._graph: av.filter.Graph | None = None
        self._shape: _Shape | None = None
        self._waiting: deque[tuple[VideoFrame, T]] = deque()
        self._last_s: float | None = None

    def push(self, frame: VideoFrame, companion: T) -> Iterator[tuple[VideoFrame, T]]:
        """Add a frame; yield the frames that are ready, each with its companion."""
        interlaced = self._mode is True or (self._mode == "auto" and frame.interlaced_frame)
        if self._graph is not None and (self._shape != _Shape.of(frame) or self._has_jumped(frame)):
            yield from self.flush()
        if self._graph is None and not interlaced:
            yield frame, companion
            return
        self._last_s = frame.time
        self._waiting.append((frame, companion))
        try:
            if self._graph is None:
                self._graph, self._shape = self._built(frame), _Shape.of(frame)
            self._graph.vpush(frame)
            ready = list(self._pulled(self._graph))
        except av.FFmpegError as error:
            ready = self._disabled_after(error)
        yield from ready

    def flush(self) -> Iterator[tuple[VideoFrame, T]]:
        """Yield the frames that wait for a next one; the next `push` begins a new sequence."""
        graph, self._graph = self._graph, None
        self._shape = self._last_s = None
        if graph is None:
            return
        try:
            graph.vpush(None)
            ready = list(self._pulled(graph))
        except av.FFmpegError as error:
            ready = self._disabled_after(error)
        yield from ready

    def _has_jumped(self, frame: VideoFrame) -> bool:
        if frame.time is None or self._last_s is None:
            return False
        return not 0 <= frame.time - self._last_s <= _JUMP_S

    def _built(self, frame: VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add(
            "buffer",
            video_size=f"{frame.width}x{frame.height}",
            pix_fmt=frame.format.name,
            colorspace=str(frame.colorspace),
            range=str(frame.color_range),
            time_base=str(frame.time_base or "1/1000"),
            pixel_aspect="1/1",
        )
        which = "all" if self._mode is True else "interlaced"
        graph.link_nodes(source, graph.add("bwdif", mode="send_frame", parity="auto", deint=which), graph.add("buffersink"))
        graph.configure()
        return graph

    def _pulled(self, graph: av.filter.Graph) -> Iterator[tuple[VideoFrame, T]]:
        with suppress(BlockingIOError, EOFError):  # no frame is ready; no frame remains
            while True:
                complete = graph.vpull()
                frame, companion = self._waiting.popleft()
                complete.pts = frame.pts  # the filter counts fields
                if frame.time_base is not None:
                    complete.time_base = frame.time_base
                yield complete, companion

    def _disabled_after(self, error: av.FFmpegError) -> list[tuple[VideoFrame, T]]:
        """Return waiting frames unchanged, and stop deinterlacing."""
        logger.warning("{}: deinterlacing failed: {}; its frames are used unchanged", self._name, error.strerror)
        self._mode, self._graph, self._shape = False, None, None
        ready = list(self._waiting)
        self._waiting.clear()
        return ready
