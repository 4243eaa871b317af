"""Read a file behind an http:// or https:// URL for FFmpeg, within limits."""

from collections.abc import Callable, Mapping
from errno import EIO
from os import SEEK_CUR, SEEK_END, SEEK_SET
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import av

from maskstream.io.content import START_BYTES, index_is_last
from maskstream.io.ffmpeg_whitelists import whitelist
from maskstream.io.image_formats import IMAGE_SUFFIXES
from maskstream.io.jpeg import JpegSequenceDetector
from maskstream.sources import hls
from maskstream.sources.limits import Allowance, LimitReached, pyav_timeout
from maskstream.sources.redirects import MAX_REDIRECTS

_CHUNK: Final = 32768
_BUFFERED: Final = 4 * _CHUNK
"""FFmpeg keeps the last half of this number of bytes of a stream that cannot seek."""
_NEXT_IMAGE_S: Final = 1.0
_READ_THROUGH: Final = 8 * _CHUNK
"""A gap of up to this number of bytes is read and discarded rather than requested again."""
_MAX_PLAYLIST_BYTES: Final = 4_000_000
"""Its segments take ten times as much in memory. A day in segments of 2 s takes 2 MB."""
_MAX_FILE_BYTES: Final = 10**12
"""A stated length above this has no meaning: some servers state one for a camera's stream."""


class HttpFile:
    """A file on a server, for `av.open` to read.

    FFmpeg's own HTTP connects (login, redirects, proxies, certificates). It reads the URL as raw data in chunks, so that they can
    be counted. An error is raised once; after that the file has ended (see `Allowance`).
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, str],
        allowance: Allowance,
        *,
        is_first: bool,
        playlist_ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Connect.

        Args:
            url: http:// or https://; with the prefix `crypto+` if FFmpeg decrypts the data.
            options: FFmpeg options.
            allowance: Limits and counts what arrives.
            is_first: Whether it is the URL that the user gave. Then the server is asked whether it supports range requests: a
                video file with its index at the end needs them.
            playlist_ended: Called if it is a playlist to which nothing will be added.

        Raises:
            av.FFmpegError: The server does not answer, or refuses.
        """
        allowance.connected()
        self.name = url
        self._allowance = allowance
        self._options = {**options, **whitelist("http"), "max_redirects": str(MAX_REDIRECTS)}
        self.is_redirected = False
        """Whether the server redirected to another address; set only for the first file."""
        self._container = self._open_and_detect_redirect() if is_first else self._open({})
        self._size = self._container.size
        self._rest = b""
        self._position = self._requested = 0
        self._has_ended = False
        self._start: bytes | None = None
        self._playlist_bytes = 0
        self._playlist_tail = b""
        self._playlist_ended = playlist_ended
        self._seekable = None if is_first and 1 < self._size < _MAX_FILE_BYTES else False

    def _open_and_detect_redirect(self) -> av.container.InputContainer:
        """Connect, and find out whether the server redirects: FFmpeg does not report it."""
        try:
            return self._open({"max_redirects": "0"})
        except av.FFmpegError as error:
            if error.errno != EIO or self._allowance.is_late:  # EIO means too many redirects
                raise
        container = self._open({})
        self.is_redirected = True
        return container

    def _open(self, options: Mapping[str, str]) -> av.container.InputContainer:
        options = {**self._options, **options, "raw_packet_size": str(_CHUNK)}
        return av.open(self.name, format="data", options=options, timeout=pyav_timeout(self._allowance))

    def _supports_ranges(self) -> bool:
        try:
            if "@" in urlsplit(self.name).netloc:
                return self._seeks_to_start()
            self._open({"offset": str(self._size - 1)}).close()
        except av.FFmpegError:
            return False
        return True

    def _seeks_to_start(self) -> bool:
        """Return whether a server with a login sends the beginning again on request.

        FFmpeg sends the login only after a 401 to a request for the complete file. After a range request it takes the 401 as a
        refusal.
        """
        with self._open({}) as container:
            first = bytes(next(container.demux(), b""))
            read = len(first)
            while read < _BUFFERED and (chunk := bytes(next(container.demux(), b""))):
                read += len(chunk)
            container.seek(1, unsupported_byte_offset=True)  # without ranges FFmpeg continues at its position, without an error
            again = bytes(next(container.demux(), b""))
        common = min(len(first) - 1, len(again))
        return common > 0 and first[1 : 1 + common] == again[:common]

    @property
    def start(self) -> bytes:
        """The first `START_BYTES`; fewer if the file is shorter. `read` returns them again."""
        if self._start is None:
            self._start = self.peek(START_BYTES)[:START_BYTES]
        return self._start

    def peek(self, least: int) -> bytes:
        """Return at least `least` first bytes before any was read; fewer only if the file is shorter.

        Raises:
            av.FFmpegError: The connection broke off.
            LimitReached: The time limit has passed.
        """
        while len(self._rest) < least and (more := self._receive()):
            self._rest += more
        return self._rest

    def single_image(self) -> bytes | None:
        """Return the complete answer if it is one image; None if another image follows. In that case `read` returns all.

        After a complete JPEG of unknown length, wait only a short time for another one: some cameras keep the connection open.
        A file with a length and an image suffix is one image, including data that some photos have after their end.

        Raises:
            av.FFmpegError: The connection broke off.
            LimitReached: It is too large, or the time limit has passed.
        """
        detector, data = JpegSequenceDetector(), bytearray(self._rest)
        is_photo = self.has_length and PurePosixPath(urlsplit(self.name).path).suffix.lower() in IMAGE_SUFFIXES
        while is_photo or not detector.has_second(data):
            is_complete = detector.is_first_complete and not self.has_length
            if is_complete:
                self._allowance.shorten(_NEXT_IMAGE_S)
            try:
                more = self._receive()
            except (av.FFmpegError, LimitReached):
                if not is_complete:
                    raise
                more = b""
            if not more:
                return bytes(data)
            data += more
        self._rest = bytes(data)
        return None

    @property
    def has_length(self) -> bool:
        """Whether the server states a length in bytes, as for a file."""
        return 0 < self._size < _MAX_FILE_BYTES

    def text(self) -> str:
        """Return the complete text of a playlist; `read` returns it again."""
        while more := self._receive():
            self._rest += more
        return self._rest.decode(errors="replace")

    @property
    def needs_seeking(self) -> bool:
        """Whether it is an MP4 or MOV with its index at the end, and the server does not support range requests."""
        return self._seekable is False and index_is_last(self._start or b"")

    def seekable(self) -> bool:
        """Return whether `seek` works; the first call asks the server."""
        if self._seekable is None:
            self._seekable = not self._playlist_bytes and self._supports_ranges()
        return self._seekable

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._requested

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Set the position of the next read, which sends the request."""
        self._requested = offset + {SEEK_SET: 0, SEEK_CUR: self._requested, SEEK_END: self._size}[whence]
        return self._requested

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; nothing at the end.

        Raises:
            av.FFmpegError: The connection broke off.
            LimitReached: A limit was reached.
        """
        if self._has_ended or self._allowance.is_used_up:
            return b""
        try:
            self._go_to(self._requested)
            self._rest = self._rest or self._receive()
        except (av.FFmpegError, LimitReached):
            self._has_ended = True
            raise
        chunk, self._rest = self._rest[:size], self._rest[size:]
        self._position = self._requested = self._position + len(chunk)
        return chunk

    def close(self) -> None:
        """End the connection."""
        self._container.close()

    def _go_to(self, position: int) -> None:
        while 0 < position - self._position <= _READ_THROUGH:
            self._rest = self._rest or self._receive()
            skipped = self._rest[: position - self._position]
            if not skipped:
                return
            self._rest = self._rest[len(skipped) :]
            self._position += len(skipped)
        if position != self._position:
            self._container.seek(position, unsupported_byte_offset=True)
            self._position, self._rest = position, b""

    def _receive(self) -> bytes:
        if self._allowance.is_late:
            raise self._allowance.late()
        try:
            chunk = bytes(next(self._container.demux(), b""))
        except av.FFmpegError as error:
            if error.errno != EIO or self.has_length:  # without a stated length EIO means the end
                raise
            chunk = b""
        self._allowance.received(len(chunk))
        if self._playlist_bytes or chunk.startswith(hls.PLAYLIST):
            self._check_playlist(chunk)
        return chunk

    def _check_playlist(self, chunk: bytes) -> None:
        """Look for the end line of a playlist, and limit its size."""
        self._playlist_bytes += len(chunk)
        if hls.END in self._playlist_tail + chunk:
            self._playlist_ended()
        self._playlist_tail = chunk[-len(hls.END) :]
        if self._playlist_bytes > _MAX_PLAYLIST_BYTES:
            self._allowance.is_used_up = True
            raise LimitReached(f"its playlist is longer than {_MAX_PLAYLIST_BYTES // 10**6} MB; check the path")
