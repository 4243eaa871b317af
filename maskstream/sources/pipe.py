"""Read video and images from standard input and named pipes (FIFOs), once and in order."""

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
from maskstream.io.content import START_BYTES, content_of, index_is_last
from maskstream.io.demuxing import demuxed
from maskstream.io.ffmpeg_whitelists import plain_formats, whitelist
from maskstream.io.jpeg import JpegSequenceDetector
from maskstream.io.locations import is_stdin
from maskstream.sources.connection_errors import PIPE_NEEDS_SEEKING
from maskstream.sources.images import SingleImageSource
from maskstream.sources.video import Origin, VideoPacket, VideoSource

_NO_WRITER_S: Final = 1.0
"""Time without a writer after which a warning is logged."""
_NO_DATA_S: Final = 10.0
"""Time without data from a writer after which a warning is logged."""
_STDIN: Final = 0
_START: Final = 4096
_CHUNK: Final = 1 << 16
_MAX_IMAGE_BYTES: Final = 1 << 30


class Pipe:
    """The reading end of a pipe as a file for `av.open`; another thread can end the reading at any time.

    No data is lost: the writer waits until it is read.
    """

    def __init__(self, location: str, name: str) -> None:
        """Store the arguments; open nothing.

        Args:
            location: A named pipe, or standard input under any of its names.
            name: Name of the source, for messages.
        """
        self.name = name
        self.start = b""
        """The first bytes."""
        self._location = location
        self._fd: int | None = None
        self._wait_fd: int | None = None
        self._wake_fd: int | None = None
        self._lock = Lock()
        self._has_writer = False
        self._is_cancelled = False

    def open(self) -> None:
        """Open the pipe for reading without waiting for a writer.

        Raises:
            SourceOpenError: The pipe does not exist, or cannot be read.
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
            raise SourceOpenError(f"{self._location}: cannot be read: {reason}; check its permissions") from error
        self._has_writer = not stat.S_ISFIFO(os.fstat(self._fd).st_mode)

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes as soon as some have arrived; nothing at the end."""
        while self._fd is not None and self._wait():
            try:
                chunk = os.read(self._fd, size)
            except BlockingIOError:  # another program has read the data
                continue
            if len(self.start) < _START:
                self.start += chunk[:_START]
            self._has_writer = True
            return chunk
        return b""

    def cancel(self) -> None:
        """End a read in another thread at once; may be called more than once."""
        with self._lock:
            if not self._is_cancelled and self._wake_fd is not None:
                os.write(self._wake_fd, b".")
            self._is_cancelled = True

    def close(self) -> None:
        """Close the pipe when no thread reads it; may be called more than once."""
        with self._lock:
            self._is_cancelled = True
            numbers = [number for number in (self._fd, self._wait_fd, self._wake_fd) if number is not None]
            self._fd = self._wait_fd = self._wake_fd = None
        for number in numbers:
            os.close(number)

    def _wait(self) -> bool:
        """Wait for data or the end; return False if the pipe was cancelled."""
        if sys.platform == "win32" or self._fd is None or self._wait_fd is None:  # Windows can poll sockets only
            return not self._is_cancelled
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._wait_fd, select.POLLIN)
        began_s, has_warned = monotonic(), False
        while not self._is_cancelled:
            if any(number == self._fd for number, _ in poll.poll(_NO_WRITER_S * 1000)):
                return not self._is_cancelled
            if not has_warned and monotonic() - began_s >= (_NO_DATA_S if self._has_writer else _NO_WRITER_S):
                has_warned = True
                what = "no data has arrived for a while; waiting" if self._has_writer else "waiting for a writer"
                logger.warning("{}: {}", self.name, what)
        return False


def require_no_terminal(location: str, name: str) -> None:
    """Raise `SourceOpenError` if a location is standard input and that is a terminal."""
    if is_stdin(location) and os.isatty(_STDIN):
        raise SourceOpenError(f"{name}: standard input is a terminal; send a video to it: ffmpeg ... | maskstream run --source -")


class PipeSource(VideoSource):
    """A video from a pipe. No frame is lost, the source ends with the pipe, and the output has no audio."""

    def __init__(
        self,
        location: str,
        source_id: str | None = None,
        max_megapixels: float = 250,
        video: VideoConfig | None = None,
        pipe: Pipe | None = None,
    ) -> None:
        """Wait for data and decode the first frame.

        Args:
            location: A named pipe, or `-`.
            source_id: Name of the source in records; None for the location.
            max_megapixels: Larger frames are refused.
            video: Deinterlacing and pixel aspect ratio; None: as the video states.
            pipe: The pipe to read, if the caller needs to cancel it; None: it is created here.

        Raises:
            SourceOpenError: The pipe cannot be read, or its data is not a video that can be read without seeking.
        """
        name = source_id or location
        self._pipe = pipe or Pipe(location, name)
        try:
            self._pipe.open()
            with _explained(self._pipe):
                container = av.open(self._pipe, "r", metadata_errors="replace", options=whitelist("pipe", plain_formats()))
            super().__init__(container, Origin(name, live=False, max_pixels=max_megapixels * 1e6, video=video))
        except BaseException:
            self._pipe.close()
            raise

    def close(self) -> None:
        """Close the pipe and end reading at once, also in another thread."""
        self._pipe.cancel()
        super().close()

    def _packets(self) -> Iterator[VideoPacket]:
        """Yield the packets to decode; explain the error if the index of the file is at its end."""
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


class PipedImageSource(SingleImageSource):
    """One image from a pipe or from standard input."""

    def __init__(self, location: str, source_id: str | None = None, max_megapixels: float = 250) -> None:
        """Read the pipe to its end and decode the image.

        Args:
            location: A named pipe, or `-`.
            source_id: Name of the source in records; None for the location.
            max_megapixels: Larger images are refused.

        Raises:
            SourceOpenError: The pipe cannot be read, or its data is not an image that can be read.
        """
        name = source_id or location
        pipe = Pipe(location, name)
        try:
            pipe.open()
            data = _read_image(pipe)
        finally:
            pipe.close()
        try:
            super().__init__(data, name, name, max_megapixels, "pictures.max_megapixels")
        except SourceError as error:
            raise SourceOpenError(f"{name}: {error}") from error


def _read_image(pipe: Pipe) -> bytes:
    """Return all data of a pipe, if it is one image."""
    detector, data = JpegSequenceDetector(), bytearray()
    while chunk := pipe.read(_CHUNK):
        data += chunk
        is_other = len(data) >= START_BYTES and content_of(bytes(data[:START_BYTES])) != "image"
        if is_other or detector.has_second(data) or len(data) > _MAX_IMAGE_BYTES:
            raise SourceOpenError(f"{pipe.name}: the data is not one image; choose an --output that ends in .mp4")
    if not data:
        raise _ended_empty(pipe)
    return bytes(data)


def _ended_empty(pipe: Pipe) -> SourceOpenError:
    return SourceOpenError(f"{pipe.name}: ended before any data arrived; check the program that writes to it")


@contextmanager
def _explained(pipe: Pipe) -> Iterator[None]:
    """Turn an error of FFmpeg into one that names the pipe and the reason."""
    try:
        yield
    except av.FFmpegError as error:
        if not pipe.start:
            raise _ended_empty(pipe) from error
        unread = f"not a video that FFmpeg can read: {error.strerror}; send it with ffmpeg -f mpegts"
        why = PIPE_NEEDS_SEEKING if index_is_last(pipe.start) else unread
        raise SourceOpenError(f"{pipe.name}: {why}") from error
