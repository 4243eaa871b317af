"""Open for FFmpeg an http:// or https:// URL and the segments of its playlist."""

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
from maskstream.sources.mjpeg import MjpegReader, is_mjpeg
from maskstream.sources.web_page_check import WEB_PAGE_RECEIVED

_LOCAL_ONLY: Final = "which is not read from a server; save it, and give its path as the source"
_REFUSED: Final[Mapping[Content | None, str]] = {
    "page": WEB_PAGE_RECEIVED,
    "sdp": f"the server sends an SDP file, {_LOCAL_ONLY}",
    "ffconcat": f"the server sends a list of files, {_LOCAL_ONLY}",
}
"""SDP files and lists of files could refer to this machine or to others."""
_DASH: Final = b"<MPD"
_MAX_PLAYLISTS: Final = 6
"""Playlists of playlists, of which one is useful, and a redirect of each."""
_MIN_PAUSE_S: Final = 0.3
_PAUSE_FRACTION: Final = 0.1
"""Fraction of its longest segment after which a playlist that was not available is requested again."""
_ALLOWED_PREFIXES: Final = ("http://", "https://", "crypto+http://", "crypto+https://")
"""FFmpeg's names of encrypted segments begin with crypto+."""


class HttpOpener:
    """Open what FFmpeg requests: first the URL itself, then the segments of its playlist.

    A segment that is not available counts as empty, and FFmpeg continues with the next one. From a master playlist FFmpeg gets
    the best variant only: by itself it would read the beginning of each.
    """

    def __init__(
        self,
        options: Mapping[str, str],
        allowance: Allowance,
        report: Callable[[str, av.FFmpegError], None],
        max_pixels: float = inf,
        *,
        resolve_redirects: Callable[[str], str | None] = lambda _: None,
        keep_incomplete: bool = False,
    ) -> None:
        """Store the arguments; open nothing.

        Args:
            options: FFmpeg's HTTP and TLS options for all connections.
            allowance: Limits of the source.
            report: Called with the URL of a segment that is not available, and the error.
            max_pixels: Variants with larger frames are not chosen.
            resolve_redirects: Returns the URL after redirects: addresses in a playlist are relative to it.
            keep_incomplete: Whether to keep images of Motion JPEG whose end did not arrive.
        """
        self.playlist: hls.Playlist | None = None
        """The playlist of segments as it was at first, if the URL has one."""
        self.playlist_has_ended = False
        """Whether nothing will be added to the playlist, according to its latest version."""
        self._max_pixels = max_pixels
        self._keep_incomplete = keep_incomplete
        self._resolve_redirects = resolve_redirects
        self._options = options
        self._allowance = allowance
        self._report = report
        self._first: HttpFile | None = None
        self._next: HttpFile | MjpegReader | None = None
        self.image: bytes | None = None
        """The complete answer, if it is one image."""

    def open_first(self, url: str) -> tuple[str, str | None]:
        """Connect to the URL, or to the variant that is chosen from its playlist.

        FFmpeg opens it next, unless it is an `image`.

        Returns:
            The URL for FFmpeg to open, and its format if FFmpeg would need the media type; else None.

        Raises:
            av.FFmpegError: It is not available.
            LimitReached: The time limit has passed, or the server sends a web page, a list that is read from local files only, or
                playlists without video.
        """
        for _ in range(_MAX_PLAYLISTS):
            first = self._first = self._next = self._open(url, self._options, is_first=True)
            content = _supported_content(first.start)
            if content == "picture":
                self.image = first.single_image()
            if content != "hls":
                may_be_mjpeg = self.image is None and content in (None, "multipart", "picture")
                return url, self._mjpeg_format(first) if may_be_mjpeg else None
            target = self._resolve_redirects(url) if first.is_redirected else None
            if target is not None and target != url:
                first.close()
                url = target
                continue
            self.playlist = hls.read_playlist(first.text(), url)
            if not self.playlist.variants:
                return url, "hls"
            first.close()
            best = hls.best_variant(self.playlist.variants, self._max_pixels)
            if best is None:
                raise LimitReached("no video: all variants of its playlist are audio; check the path")
            url = best.url
        raise LimitReached("no video: its playlists lead to other playlists only; check the path")

    def _mjpeg_format(self, first: HttpFile) -> str | None:
        """Let FFmpeg read the images of Motion JPEG, and return their format; None for other content."""
        if not is_mjpeg(first, has_length=first.has_length):
            return None
        self._next = reader = MjpegReader(first, self._allowance.max_bytes, keep_incomplete=self._keep_incomplete)
        return reader.format

    @property
    def has_opened(self) -> bool:
        """Whether `first` is set."""
        return self._first is not None

    @property
    def first(self) -> HttpFile:
        """The file that `open_first` has opened."""
        if self._first is None:
            raise ValueError("nothing was opened")
        return self._first

    def __call__(self, url: str, _flags: int, options: Mapping[str, str]) -> "HttpFile | MjpegReader | _Segment":
        """Open a URL for FFmpeg: the first one, or a segment or playlist.

        Raises:
            LimitReached: Too many were opened.
        """
        first, self._next = self._next, None
        if first is not None:
            return first
        is_playlist = self.playlist is not None and not self.playlist.has_ended and url == self.first.name
        connect = self._open_live_playlist if is_playlist else self._open_segment
        return _Segment(partial(connect, url, {**options, **self._options}), partial(self._failed, url))

    def _open_live_playlist(self, url: str, options: Mapping[str, str]) -> HttpFile | None:
        """Open a live playlist again, and retry if it is not available: FFmpeg would take that as the end.

        A busy server may refuse it, or be writing it.
        """
        pause_s = max(_MIN_PAUSE_S, (self.playlist.longest_s if self.playlist else 0.0) * _PAUSE_FRACTION)
        while not self._allowance.is_used_up:
            try:
                file = self._open(url, options, is_first=False)
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

    def _open_segment(self, url: str, options: Mapping[str, str]) -> HttpFile | None:
        if self._allowance.is_used_up:
            return None
        return self._open(url, options, is_first=False)

    def _open(self, url: str, options: Mapping[str, str], *, is_first: bool) -> HttpFile:
        if not url.startswith(_ALLOWED_PREFIXES):
            raise av.error.PermissionError(EACCES, "not an http:// or https:// URL", url)
        return HttpFile(url, options, self._allowance, is_first=is_first, playlist_ended=self._set_playlist_ended)

    def _set_playlist_ended(self) -> None:
        self.playlist_has_ended = True

    def _failed(self, url: str, error: av.FFmpegError) -> None:
        if self._allowance.is_late:
            raise self._allowance.late() from None
        self._report(url, error)

    def close(self) -> None:
        """Close the first file; FFmpeg closes the others."""
        if self._first is not None:
            self._first.close()


def _supported_content(start: bytes) -> Content | None:
    """Return what a server sends, by its first bytes.

    Raises:
        LimitReached: It is not supported.
    """
    if _DASH in start:
        raise LimitReached(
            "the server sends a DASH manifest, which is not supported; "
            "give the URL of its HLS playlist (.m3u8), or of the stream itself"
        )
    content = content_of(start)
    if content in _REFUSED:
        raise LimitReached(_REFUSED[content])
    return content


class _Segment:
    """A file that ends and reports the error if it cannot be read: an exception of PyAV would end the complete stream."""

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
