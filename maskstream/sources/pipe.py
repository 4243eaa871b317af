"""Video and pictures through standard input and named pipes (FIFOs), read once, in order."""

import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Final

import av
from loguru import logger

from maskstream.config.schema import VideoConfig
from maskstream.errors import SourceError, SourceOpenError
from maskstream.io.content import START_BYTES, ImagesInTurn, content_of, index_is_last
from maskstream.io.demuxing import demuxed
from maskstream.io.ffmpeg_whitelists import plain_formats, whitelist
from maskstream.io.locations import is_stdin
from maskstream.sources.connection_errors import PIPE_NEEDS_SEEKING
from maskstream.sources.images import OneImage
from maskstream.sources.video import Origin, VideoPacket, VideoSource

_SAY_AFTER_S: Final = 1.0
"""How long a writer may be missing before that is said."""
_SILENT_S: Final = 10.0
"""The same of one that writes nothing."""
_STDIN: Final = 0
_START: Final = 4096
_PIECE: Final = 1 << 16
_LARGEST_IMAGE: Final = 1 << 30
"""Bytes; who sends more sends something else."""


class Pipe:
    """The reading end of a pipe, as a file for `av.open`, which another thread can end at any time.

    Nothing is lost: a pipe lets its writer wait.
    """

    def __init__(self, location: str, name: str) -> None:
        """Open nothing yet.

        Args:
            location: A named pipe, or standard input under any of its names.
            name: Of the source, for messages.
        """
        self.name = name
        self.start = b""
        """Its first bytes."""
        self._location = location
        self._fd: int | None = None
        self._wait_fd: int | None = None
        self._wake_fd: int | None = None
        self._lock = Lock()
        self._has_writer = False
        self._is_cancelled = False

    def open(self) -> None:
        """Open it for reading, which does not wait for a writer.

        Raises:
            SourceOpenError: There is no such pipe, or nothing can come through it.
        """
        self._wait_fd, self._wake_fd = os.pipe()
        if is_stdin(self._location):
            require_no_terminal(self._location, self.name)
            self._fd, self._has_writer = os.dup(_STDIN), True
            return
        try:
            self._fd = os.open(self._location, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError as error:
            raise SourceOpenError(f"{self._location}: no such pipe; make it with mkfifo") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SourceOpenError(f"{self._location}: cannot be read: {reason}; check who may read it") from error
        self._has_writer = not stat.S_ISFIFO(os.fstat(self._fd).st_mode)

    def read(self, size: int) -> bytes:
        """Return what has come, at most so many bytes, as soon as something has; nothing at the end."""
        while self._fd is not None and self._wait():
            try:
                piece = os.read(self._fd, size)
            except BlockingIOError:  # another program took it
                continue
            if len(self.start) < _START:
                self.start += piece[:_START]
            self._has_writer = True
            return piece
        return b""

    def cancel(self) -> None:
        """Let whoever reads come to an end at once; from any thread, more than once too."""
        with self._lock:
            if not self._is_cancelled and self._wake_fd is not None:
                os.write(self._wake_fd, b".")
            self._is_cancelled = True

    def close(self) -> None:
        """Close it; called once nobody reads, more than once too."""
        with self._lock:
            self._is_cancelled = True
            numbers = [number for number in (self._fd, self._wait_fd, self._wake_fd) if number is not None]
            self._fd = self._wait_fd = self._wake_fd = None
        for number in numbers:
            os.close(number)

    def _wait(self) -> bool:
        """Wait until something can be read, or the end; return False where it was cancelled."""
        if sys.platform == "win32" or self._fd is None or self._wait_fd is None:  # where only sockets can be waited for
            return not self._is_cancelled
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._wait_fd, select.POLLIN)
        began_s, said = monotonic(), False
        while not self._is_cancelled:
            if any(number == self._fd for number, _ in poll.poll(_SAY_AFTER_S * 1000)):
                return not self._is_cancelled
            if not said and monotonic() - began_s >= (_SILENT_S if self._has_writer else _SAY_AFTER_S):
                said = True
                what = "nothing has come for a while; waiting" if self._has_writer else "waiting for a writer"
                logger.warning("{}: {}", self.name, what)
        return False


def require_no_terminal(location: str, name: str) -> None:
    """Raise `SourceOpenError` where a location is standard input and that is a terminal."""
    if is_stdin(location) and os.isatty(_STDIN):
        raise SourceOpenError(f"{name}: standard input is a terminal; send a video to it: ffmpeg ... | maskstream run --source -")


class PipeSource(VideoSource):
    """A video that comes through a pipe. No frame is lost, its end is an end, and its sound is not carried over."""

    def __init__(
        self,
        location: str,
        source_id: str | None = None,
        max_megapixels: float = 250,
        video: VideoConfig | None = None,
        pipe: Pipe | None = None,
    ) -> None:
        """Wait for what comes, and decode its first frame.

        Args:
            location: A named pipe, or `-`.
            source_id: Its name in records; None for the location.
            max_megapixels: Larger frames are refused.
            video: How its frames become pictures; None: as they say themselves.
            pipe: What is read, for whoever wants to cancel that; None: made here.

        Raises:
            SourceOpenError: Nothing can come through it, or what came is no video that can be read in order.
        """
        name = source_id or location
        self._pipe = pipe or Pipe(location, name)
        try:
            self._pipe.open()
            with _said(self._pipe):
                container = av.open(self._pipe, "r", metadata_errors="replace", options=whitelist("pipe", plain_formats()))
            super().__init__(container, Origin(name, live=False, most_pixels=max_megapixels * 1e6, video=video))
        except BaseException:
            self._pipe.close()
            raise

    def close(self) -> None:
        """Close the pipe; a reader in another thread comes to its end at once."""
        self._pipe.cancel()
        super().close()

    def _packets(self) -> Iterator[VideoPacket]:
        """Yield what is to be decoded; say of a file that it cannot be read in order where that is why no picture came."""
        if not index_is_last(self._pipe.start):
            yield from super()._packets()
            return
        try:
            yield from demuxed(self._container, self._stream)
        except av.FFmpegError as error:
            raise SourceOpenError(f"{self._pipe.name}: {PIPE_NEEDS_SEEKING}") from error

    def _release(self) -> None:
        super()._release()
        self._pipe.close()


class PipedImageSource(OneImage):
    """One picture that comes through a pipe, or that standard input is."""

    def __init__(self, location: str, source_id: str | None = None, max_megapixels: float = 250) -> None:
        """Read and decode all that comes.

        Args:
            location: A named pipe, or `-`.
            source_id: Its name in records; None for the location.
            max_megapixels: Larger ones are refused.

        Raises:
            SourceOpenError: Nothing can come through it, or what came is no picture that can be read.
        """
        name = source_id or location
        pipe = Pipe(location, name)
        try:
            pipe.open()
            sent = _image_from(pipe)
        finally:
            pipe.close()
        try:
            super().__init__(sent, name, name, max_megapixels, "pictures.max_megapixels")
        except SourceError as error:
            raise SourceOpenError(f"{name}: {error}") from error


def _image_from(pipe: Pipe) -> bytes:
    """Return all that comes, where that is one picture."""
    in_turn, data = ImagesInTurn(), bytearray()
    while piece := pipe.read(_PIECE):
        data += piece
        is_other = len(data) >= START_BYTES and content_of(bytes(data[:START_BYTES])) != "picture"
        if is_other or in_turn.seen_in(data) or len(data) > _LARGEST_IMAGE:
            raise SourceOpenError(f"{pipe.name}: what comes is not one picture; let the output end in .mp4")
    if not data:
        raise SourceOpenError(f"{pipe.name}: ended before anything came; check the program that writes to it")
    return bytes(data)


@contextmanager
def _said(pipe: Pipe) -> Iterator[None]:
    """Say why nothing can be read, with the name of the pipe."""
    try:
        yield
    except av.FFmpegError as error:
        if not pipe.start:
            raise SourceOpenError(f"{pipe.name}: ended before anything came; check the program that writes to it") from error
        unread = f"not a video that FFmpeg can read: {error.strerror}; send it with ffmpeg -f mpegts"
        why = PIPE_NEEDS_SEEKING if index_is_last(pipe.start) else unread
        raise SourceOpenError(f"{pipe.name}: {why}") from error
