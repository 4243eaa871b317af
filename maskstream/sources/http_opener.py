"""Opens for FFmpeg what an http:// or https:// URL leads to."""

from collections.abc import Callable, Mapping
from errno import EACCES
from functools import partial
from math import inf
from time import sleep
from typing import Final

import av

from maskstream.io.content import Content, content_of
from maskstream.sources import hls
from maskstream.sources.http_file import HttpFile
from maskstream.sources.limits import Allowance, LimitReached
from maskstream.sources.mjpeg import Mjpeg, is_mjpeg
from maskstream.sources.web_page_check import A_PAGE

_FROM_FILES_ALONE: Final = "which is not read from a server; save it, and give its path as the source"
_REFUSED: Final[Mapping[Content | None, str]] = {
    "page": A_PAGE,
    "sdp": f"it is an SDP file, {_FROM_FILES_ALONE}",
    "ffconcat": f"it is a list of files, {_FROM_FILES_ALONE}",
}
"""Why; the last two would lead to this machine or to others."""
_DASH: Final = b"<MPD"
_MOST_LISTS: Final = 6
"""Playlists of playlists, of which there is no use in more than one, and redirects of each."""
_LEAST_PAUSE_S: Final = 0.3
_PAUSE: Final = 0.1
"""Of its longest segment: after that time a playlist that could not be had is asked for again."""
_SCHEMES: Final = ("http://", "https://", "crypto+http://", "crypto+https://")
"""And pieces of a playlist that are encrypted, as FFmpeg calls them."""


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
        self.image: bytes | None = None
        """All of it, where the URL leads to one picture."""

    def open_first(self, url: str) -> tuple[str, str | None]:
        """Connect to the URL itself, or to the variant to which it leads; FFmpeg asks for that next unless it is a `image`.

        Returns:
            The URL that FFmpeg is to open, and its format where FFmpeg would want to know the media type; else None.

        Raises:
            av.FFmpegError: It cannot be had.
            LimitReached: It is late, leads nowhere, is a web page, or a list that is read from files alone.
        """
        for _ in range(_MOST_LISTS):
            first = self._first = self._wanted = self._opened(url, self._options, is_first=True)
            content = content_of(first.start)
            if _DASH in first.start:
                raise LimitReached(
                    "it is a DASH manifest, which is not read; give its HLS playlist (.m3u8), or the stream itself"
                )
            if content in _REFUSED:
                raise LimitReached(_REFUSED[content])
            if content == "picture":
                self.image = first.image()
            if content != "hls":
                may_be_mjpeg = self.image is None and content in (None, "multipart", "picture")
                return url, self._format_of_images(first) if may_be_mjpeg else None
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

    def _format_of_images(self, first: HttpFile) -> str | None:
        """Let FFmpeg have pictures that come one after the other alone, and return the format of that; None for all else."""
        if not is_mjpeg(first, has_length=first.has_length):
            return None
        self._wanted = images = Mjpeg(first, self._allowance.most_bytes, keeps_torn=self._keeps_torn)
        return images.format

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
