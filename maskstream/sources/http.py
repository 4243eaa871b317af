"""What lies behind http:// and https:// URLs, read for FFmpeg within limits."""

from collections.abc import Callable, Mapping
from errno import EACCES, EIO
from functools import partial
from math import inf
from os import SEEK_CUR, SEEK_END, SEEK_SET
from pathlib import PurePosixPath
from time import sleep
from typing import Final
from urllib.parse import urlsplit

import av

from maskstream.content import START_BYTES, PicturesInTurn, content_of
from maskstream.pictures import PICTURE_SUFFIXES
from maskstream.sources import hls
from maskstream.sources.limits import Allowance, LimitReached
from maskstream.sources.mjpeg import Mjpeg, is_mjpeg
from maskstream.sources.pages import A_PAGE
from maskstream.whitelists import whitelist

MOST_REDIRECTS: Final = 8
_BOX_HEAD: Final = 8
"""Bytes of size and kind in front of each box (ISO/IEC 14496-12)."""
_PIECE: Final = 32768
_FORGOTTEN: Final = 4 * _PIECE
"""Of a stream that goes only forward, FFmpeg keeps the last half of that."""
_NEXT_PICTURE_S: Final = 1.0
_READ_THROUGH: Final = 8 * _PIECE
"""A gap so small is read sooner than asked for anew."""
_LONGEST_PLAYLIST: Final = 4_000_000
"""Bytes; in memory its pieces take ten times as much. A day in pieces of 2 s takes 2 MB."""
_FOR_FILES: Final = {b"v=0": "an SDP file", b"ffconcat version": "a list of files"}
"""What would lead to this machine or to others, by how it begins."""
_MOST_LISTS: Final = 6
"""Playlists of playlists, of which there is no use in more than one, and redirects of each."""
_LONGEST_FILE: Final = 10**12
"""Bytes; what claims to be longer has no end: some servers give a length to a camera's stream."""
_LEAST_PAUSE_S: Final = 0.3
_PAUSE: Final = 0.1
"""Of its longest segment: after that time a playlist that could not be had is asked for again."""
_DASH: Final = b"<MPD"
_SCHEMES: Final = ("http://", "https://", "crypto+http://", "crypto+https://")
"""And pieces of a playlist that are encrypted, as FFmpeg calls them."""


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
            url: One of `_SCHEMES`.
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
        return av.open(self.name, format="data", options=options, timeout=(self._allowance, self._allowance))  # type: ignore[arg-type]  # read by float()

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

    def picture(self) -> bytes | None:
        """Return all that comes, where it is one picture; None where another follows it, and all is read later all the same.

        Behind a whole JPEG of unknown length nobody waits long for another one: some cameras leave the connection open. What has
        a length, and a name of a picture, is one, with what some photos have behind their end.

        Raises:
            av.FFmpegError: The connection broke.
            LimitReached: It is too large, or the time is up.
        """
        in_turn, data = PicturesInTurn(), bytearray(self._rest)
        is_photo = self.has_length and PurePosixPath(urlsplit(self.name).path).suffix.lower() in PICTURE_SUFFIXES
        while is_photo or not in_turn.seen_in(data):
            is_whole = in_turn.is_whole and not self.has_length
            if is_whole:
                self._allowance.shorten(_NEXT_PICTURE_S)
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
        boxes = self._start or b""
        while boxes[4:8] not in (b"mdat", b"moov", b""):
            size = int.from_bytes(boxes[:4], "big")
            boxes = boxes[size:] if size >= _BOX_HEAD else b""
        return boxes[4:8] == b"mdat" and self._seekable is False

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


class HttpOpener:
    """Opens what FFmpeg asks for: first the URL itself, then what it leads to, such as the pieces of a playlist.

    What else cannot be had counts as empty: FFmpeg goes on with the next piece. Of a playlist of variants FFmpeg is given the
    best one alone: by itself it would read the beginning of each.
    """

    def __init__(
        self,
        options: Mapping[str, str],
        allowance: Allowance,
        say: Callable[[str, av.FFmpegError], None],
        most_pixels: float = inf,
        *,
        arrived_at: Callable[[str], str | None] = lambda _: None,
        keeps_torn: bool = False,
    ) -> None:
        """Open nothing yet.

        Args:
            options: Of FFmpeg's HTTP and TLS, for all connections.
            allowance: Of the source.
            say: Told of a URL behind the first one that cannot be had, and why.
            most_pixels: Variants with larger pictures are not chosen.
            arrived_at: Returns where the redirects of a URL lead to: addresses in a playlist are relative to that.
            keeps_torn: Whether pictures of Motion JPEG count of which a part did not arrive.
        """
        self.playlist: hls.Playlist | None = None
        """What the URL itself leads to, where that is a playlist; of segments, and as it was at first."""
        self.playlist_has_ended = False
        """Whether it, as it is by now, says that nothing will be added."""
        self._most_pixels = most_pixels
        self._keeps_torn = keeps_torn
        self._arrived_at = arrived_at
        self._options = options
        self._allowance = allowance
        self._say = say
        self._first: HttpFile | None = None
        self._wanted: HttpFile | Mjpeg | None = None
        self.picture: bytes | None = None
        """All of it, where the URL leads to one picture."""

    def open_first(self, url: str) -> tuple[str, str | None]:
        """Connect to the URL itself, or to the variant to which it leads; FFmpeg asks for that next unless it is a `picture`.

        Returns:
            The URL that FFmpeg is to open, and its format where FFmpeg would want to know the media type; else None.

        Raises:
            av.FFmpegError: It cannot be had.
            LimitReached: It is late, leads nowhere, is a web page, or a list that is read from files alone.
        """
        for _ in range(_MOST_LISTS):
            first = self._first = self._wanted = self._opened(url, self._options, is_first=True)
            _refuse_lists_of_files(first.start)
            content = content_of(first.start)
            if content == "page":
                raise LimitReached(A_PAGE)
            if content == "picture":
                self.picture = first.picture()
            if content != "hls":
                may_be_mjpeg = self.picture is None and content in (None, "multipart", "picture")
                return url, self._format_of_pictures(first) if may_be_mjpeg else None
            target = self._arrived_at(url) if first.is_redirected else None
            if target is not None and target != url:
                first.close()
                url = target
                continue
            self.playlist = hls.read_playlist(first.text(), url)
            if not self.playlist.variants:
                return url, "hls"
            first.close()
            url = self._chosen(self.playlist)
        raise LimitReached("no video in it: its playlists lead to other playlists alone; check the path")

    def _format_of_pictures(self, first: HttpFile) -> str | None:
        """Let FFmpeg have pictures that come one after the other alone, and return the format of that; None for all else."""
        if not is_mjpeg(first, has_length=first.has_length):
            return None
        self._wanted = pictures = Mjpeg(first, self._allowance.most_bytes, keeps_torn=self._keeps_torn)
        return pictures.format

    def _chosen(self, playlist: hls.Playlist) -> str:
        best = hls.best_variant(playlist.variants, self._most_pixels)
        if best is None:
            raise LimitReached("no video in it: all variants of its playlist are sound; check the path")
        return best.url

    @property
    def has_opened(self) -> bool:
        """Whether there is a `first`."""
        return self._first is not None

    @property
    def first(self) -> HttpFile:
        """What `open_first` has opened."""
        if self._first is None:
            raise ValueError("nothing was opened")
        return self._first

    def __call__(self, url: str, _flags: int, options: Mapping[str, str]) -> "HttpFile | Mjpeg | _Piece":
        """Open a URL for FFmpeg: the first one, or what that leads to.

        Raises:
            LimitReached: They were too many.
        """
        first, self._wanted = self._wanted, None
        if first is not None:
            return first
        is_playlist = self.playlist is not None and not self.playlist.has_ended and url == self.first.name
        connect = self._open_playlist if is_playlist else self._open_piece
        return _Piece(partial(connect, url, {**options, **self._options}), partial(self._failed, url))

    def _open_playlist(self, url: str, options: Mapping[str, str]) -> HttpFile | None:
        """Open a live playlist again, and again where it cannot be had just now: FFmpeg would take that for the end.

        A server that is busy may refuse it, or be about to write it.
        """
        pause_s = max(_LEAST_PAUSE_S, (self.playlist.longest_s if self.playlist else 0.0) * _PAUSE)
        while not self._allowance.is_used_up:
            try:
                file = self._opened(url, options, is_first=False)
                if file.start.startswith(hls.PLAYLIST):
                    return file
                file.close()
            except av.FFmpegError:
                if self._allowance.is_late:
                    raise
            sleep(min(pause_s, float(self._allowance)))
            if self._allowance.is_late:
                raise self._allowance.late()
        return None

    def _open_piece(self, url: str, options: Mapping[str, str]) -> HttpFile | None:
        if self._allowance.is_used_up:
            return None
        return self._opened(url, options, is_first=False)

    def _opened(self, url: str, options: Mapping[str, str], *, is_first: bool) -> HttpFile:
        if not url.startswith(_SCHEMES):
            raise av.error.PermissionError(EACCES, "it is no http:// or https:// URL", url)
        return HttpFile(url, options, self._allowance, is_first=is_first, playlist_ended=self._playlist_ended)

    def _playlist_ended(self) -> None:
        self.playlist_has_ended = True

    def _failed(self, url: str, error: av.FFmpegError) -> None:
        if self._allowance.is_late:
            raise self._allowance.late() from None
        self._say(url, error)

    def close(self) -> None:
        """Close the first URL; FFmpeg closes what else it has opened."""
        if self._first is not None:
            self._first.close()


class _Piece:
    """A file that ends where it cannot be read, and says so: an exception of PyAV would end the whole stream."""

    def __init__(self, connect: Callable[[], HttpFile | None], failed: Callable[[av.FFmpegError], None]) -> None:
        self._failed = failed
        try:
            self._file = connect()
        except av.FFmpegError as error:
            self._file = None
            failed(error)

    def read(self, size: int) -> bytes:
        if self._file is None:
            return b""
        try:
            return self._file.read(size)
        except av.FFmpegError as error:
            self._failed(error)
            self.close()
            return b""

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _refuse_lists_of_files(start: bytes) -> None:
    if _DASH in start:
        raise LimitReached("it is a DASH manifest, which is not read; give its HLS playlist (.m3u8), or the stream itself")
    what = next((what for begins, what in _FOR_FILES.items() if start.startswith(begins)), None)
    if what is not None:
        raise LimitReached(f"it is {what}, which is not read from a server; save it, and give its path as the source")
