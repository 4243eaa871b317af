"""A file behind an http:// or https:// URL, read for FFmpeg within limits."""

from collections.abc import Callable, Mapping
from errno import EIO
from os import SEEK_CUR, SEEK_END, SEEK_SET
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import av

from maskstream.io.content import START_BYTES, ImagesInTurn, index_is_last
from maskstream.io.ffmpeg_whitelists import whitelist
from maskstream.io.images import IMAGE_SUFFIXES
from maskstream.sources import hls
from maskstream.sources.limits import Allowance, LimitReached, pyav_timeout

MOST_REDIRECTS: Final = 8
_PIECE: Final = 32768
_FORGOTTEN: Final = 4 * _PIECE
"""Of a stream that goes only forward, FFmpeg keeps the last half of that."""
_NEXT_IMAGE_S: Final = 1.0
_READ_THROUGH: Final = 8 * _PIECE
"""A gap so small is read sooner than asked for anew."""
_LONGEST_PLAYLIST: Final = 4_000_000
"""Bytes; in memory its pieces take ten times as much. A day in pieces of 2 s takes 2 MB."""
_LONGEST_FILE: Final = 10**12
"""Bytes; what claims to be longer has no end: some servers give a length to a camera's stream."""


class HttpFile:
    """A file on a server, for `av.open` to read.

    FFmpeg's own HTTP does the talking (login, redirects, proxies, certificates): it reads the URL as raw data, piece by piece, so
    that what arrives can be counted. An error is raised once, then the file has ended (see `Allowance`).
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
            url: http:// or https://; with `crypto+` in front where FFmpeg decrypts what comes.
            options: Of FFmpeg.
            allowance: Told of all that comes; has the time that is left.
            is_first: Whether it is what the user named. Then it is asked if parts of it can be had: a video file with its index
                at the end needs that.
            playlist_ended: Called where it is a playlist that says that nothing will be added to it.

        Raises:
            av.FFmpegError: There is no answer, or a refusal.
        """
        allowance.connected()
        self.name = url
        self._allowance = allowance
        self._options = {**options, **whitelist("http"), "max_redirects": str(MOST_REDIRECTS)}
        self.is_redirected = False
        """Whether another address has answered; known of the first file alone."""
        self._container = self._opened() if is_first else self._open({})
        self._size = self._container.size
        self._rest = b""
        self._position = self._wanted = 0
        self._has_ended = False
        self._start: bytes | None = None
        self._playlist_bytes = 0
        self._playlist_tail = b""
        self._playlist_ended = playlist_ended
        self._seekable = None if is_first and 1 < self._size < _LONGEST_FILE else False

    def _opened(self) -> av.container.InputContainer:
        """Connect, and find out whether the server leads to another address: FFmpeg says nothing of it."""
        try:
            return self._open({"max_redirects": "0"})
        except av.FFmpegError as error:
            if error.errno != EIO or self._allowance.is_late:  # its word for too many
                raise
        container = self._open({})
        self.is_redirected = True
        return container

    def _open(self, options: Mapping[str, str]) -> av.container.InputContainer:
        options = {**self._options, **options, "raw_packet_size": str(_PIECE)}
        return av.open(self.name, format="data", options=options, timeout=pyav_timeout(self._allowance))

    def _gives_parts(self) -> bool:
        try:
            if "@" in urlsplit(self.name).netloc:
                return self._goes_back()
            self._open({"offset": str(self._size - 1)}).close()
        except av.FFmpegError:
            return False
        return True

    def _goes_back(self) -> bool:
        """Return whether a server that wants a login gives the beginning again.

        FFmpeg sends the login only after a 401 to a request for all; to a request for a part it would take that for a refusal.
        """
        with self._open({}) as asked:
            first = bytes(next(asked.demux(), b""))
            read = len(first)
            while read < _FORGOTTEN and (piece := bytes(next(asked.demux(), b""))):
                read += len(piece)
            asked.seek(1, unsupported_byte_offset=True)  # where it cannot, FFmpeg goes on where it was, and says nothing
            again = bytes(next(asked.demux(), b""))
        common = min(len(first) - 1, len(again))
        return common > 0 and first[1 : 1 + common] == again[:common]

    @property
    def start(self) -> bytes:
        """The first bytes, which are read later all the same; few of them, or none where it is empty."""
        if self._start is None:
            self._start = self.peek(START_BYTES)[:START_BYTES]
        return self._start

    def peek(self, least: int) -> bytes:
        """Return the first bytes before any was read, so many or more; fewer only where it ends before.

        Raises:
            av.FFmpegError: The connection broke.
            LimitReached: The time is up.
        """
        while len(self._rest) < least and (more := self._more()):
            self._rest += more
        return self._rest

    def image(self) -> bytes | None:
        """Return all that comes, where it is one picture; None where another follows it, and all is read later all the same.

        Behind a whole JPEG of unknown length nobody waits long for another one: some cameras leave the connection open. What has
        a length, and a name of a picture, is one, with what some photos have behind their end.

        Raises:
            av.FFmpegError: The connection broke.
            LimitReached: It is too large, or the time is up.
        """
        in_turn, data = ImagesInTurn(), bytearray(self._rest)
        is_photo = self.has_length and PurePosixPath(urlsplit(self.name).path).suffix.lower() in IMAGE_SUFFIXES
        while is_photo or not in_turn.seen_in(data):
            is_whole = in_turn.is_whole and not self.has_length
            if is_whole:
                self._allowance.shorten(_NEXT_IMAGE_S)
            try:
                more = self._more()
            except (av.FFmpegError, LimitReached):
                if not is_whole:
                    raise
                more = b""
            if not more:
                return bytes(data)
            data += more
        self._rest = bytes(data)
        return None

    @property
    def has_length(self) -> bool:
        """Whether the server says how long it is, in bytes, as it does of a file."""
        return 0 < self._size < _LONGEST_FILE

    def text(self) -> str:
        """Return all of a playlist, which is read later all the same."""
        while more := self._more():
            self._rest += more
        return self._rest.decode(errors="replace")

    @property
    def needs_seeking(self) -> bool:
        """Whether it is an MP4 or MOV whose pictures lie in front of their index, and only its beginning can be had."""
        return self._seekable is False and index_is_last(self._start or b"")

    def seekable(self) -> bool:
        """Return whether `seek` is of use; asks the server at the first call."""
        if self._seekable is None:
            self._seekable = not self._playlist_bytes and self._gives_parts()
        return self._seekable

    def tell(self) -> int:
        """Return the place that is read next."""
        return self._wanted

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to another place; asked for when it is read."""
        self._wanted = offset + {SEEK_SET: 0, SEEK_CUR: self._wanted, SEEK_END: self._size}[whence]
        return self._wanted

    def read(self, size: int) -> bytes:
        """Return up to so many bytes, none at the end.

        Raises:
            av.FFmpegError: The connection broke.
            LimitReached: More came than may come before a picture, or the time is up.
        """
        if self._has_ended or self._allowance.is_used_up:
            return b""
        try:
            self._go_on_at(self._wanted)
            self._rest = self._rest or self._more()
        except (av.FFmpegError, LimitReached):
            self._has_ended = True
            raise
        piece, self._rest = self._rest[:size], self._rest[size:]
        self._position = self._wanted = self._position + len(piece)
        return piece

    def close(self) -> None:
        """End the connection."""
        self._container.close()

    def _go_on_at(self, place: int) -> None:
        while 0 < place - self._position <= _READ_THROUGH:
            self._rest = self._rest or self._more()
            skipped = self._rest[: place - self._position]
            if not skipped:
                return
            self._rest = self._rest[len(skipped) :]
            self._position += len(skipped)
        if place != self._position:
            self._container.seek(place, unsupported_byte_offset=True)
            self._position, self._rest = place, b""

    def _more(self) -> bytes:
        if self._allowance.is_late:
            raise self._allowance.late()
        try:
            piece = bytes(next(self._container.demux(), b""))
        except av.FFmpegError as error:
            if error.errno != EIO or self.has_length:  # its word for an end where no length was promised
                raise
            piece = b""
        self._allowance.received(len(piece))
        if self._playlist_bytes or piece.startswith(hls.PLAYLIST):
            self._take_note(piece)
        return piece

    def _take_note(self, piece: bytes) -> None:
        """Look at a piece of a playlist."""
        self._playlist_bytes += len(piece)
        if hls.END in self._playlist_tail + piece:
            self._playlist_ended()
        self._playlist_tail = piece[-len(hls.END) :]
        if self._playlist_bytes > _LONGEST_PLAYLIST:
            self._allowance.is_used_up = True
            raise LimitReached(f"its playlist is longer than {_LONGEST_PLAYLIST // 10**6} MB; check the path")
