"""Connections to cameras and videos over HTTP."""

from typing import Final

import av
from av import error as av_error
from loguru import logger

from maskstream.redaction import redact
from maskstream.sources import hls, tls
from maskstream.sources.connection import NeedsSeeking, Peer, PictureComes, has_timestamps
from maskstream.sources.failures import reason_at_opening
from maskstream.sources.http import HttpOpener
from maskstream.sources.mjpeg import MJPEG_FORMATS
from maskstream.whitelists import PLAYLISTS, plain_formats, whitelist

HTTP_SCHEMES: Final = ("http", "https")
_CAMERA_FORMATS: Final = frozenset({"flv", "h264", "hevc", "mjpeg", "mpegts", *MJPEG_FORMATS})
"""Of what has no length: cameras and broadcasts, which come back where their connection ends."""
_PROGRAMME_FORMATS: Final = frozenset({"asf", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "ogg"})
"""Of what has neither a length nor a duration: what is made while it is sent, and has an end."""
_FOR_EVER: Final = str(2**31 - 1)
_OPTIONS: Final = {
    "http_persistent": "0",  # else HLS bypasses io_open, as with http_multiple
    "http_multiple": "0",
    "live_start_index": str(hls.LIVE_START),
    "allowed_extensions": "ALL",  # whatever a segment is called, it comes over HTTP alone
    "allowed_segment_extensions": "ALL",
    "extension_picky": "0",
    "max_reload": _FOR_EVER,  # how long is waited is for our own limit to say
    "m3u8_hold_counters": _FOR_EVER,
}


class HttpConnection:
    """A camera, or a video on a server, over HTTP."""

    def __init__(self, peer: Peer) -> None:
        """Open nothing yet.

        Raises:
            SourceRefused: `network.ca_file` cannot be used.
        """
        self._peer = peer
        self.url = peer.url
        """What was asked for."""
        self.ca_file = tls.trusted_by(peer.url, peer.name, peer.config)
        """Whom its certificate must come from; None: it is not checked."""
        most_pixels = peer.config.max_megapixels * 1e6
        self._http = HttpOpener(tls.options(self.ca_file), peer.allowance, self._say_missing, most_pixels)
        self._missing_was_said = False

    def open(self) -> av.container.InputContainer:
        """Connect, and find out what comes.

        Raises:
            av.FFmpegError: FFmpeg's own, which have the password in them.
            LimitReached: It is late, or too much.
            NeedsSeeking: It is a file that cannot be read in one go.
            PictureComes: It is a picture.
        """
        self.url, format_name = self._http.open_first(self.url)
        if self._http.picture is not None:
            raise PictureComes(self._peer.name, self._http.picture)
        try:
            return self._opened(format_name)
        except av_error.InvalidDataError:
            if self._cannot_seek():
                raise NeedsSeeking from None
            raise

    def _opened(self, format_name: str | None) -> av.container.InputContainer:
        allowance = self._peer.allowance
        return av.open(
            self.url,
            format=format_name,
            metadata_errors="replace",
            io_open=self._http,
            options={**_OPTIONS, **whitelist("http", f"{PLAYLISTS},{plain_formats()}")},
            timeout=(allowance, allowance),  # type: ignore[arg-type]  # read by float()
        )

    def _cannot_seek(self) -> bool:
        """Return whether it is an MP4, which may have its index at the end, without a way to get there."""
        return self._http.first.start[4:8] == b"ftyp" and not self._http.first.seekable()

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return whether it is made while it is sent.

        A playlist is, unless it says that it is complete; MJPEG in parts always; other formats where neither the server says how
        many bytes they have nor the container how long it lasts, and where they are made to be sent while they are made.
        """
        format_name = container.format.name
        if self._http.playlist is not None:
            return not self._http.playlist.has_ended
        if format_name in MJPEG_FORMATS:
            return True
        if self._http.first.has_length or container.duration:
            return False
        return format_name in _CAMERA_FORMATS | _PROGRAMME_FORMATS

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return whether its timestamps say when its frames were taken: it may arrive in bursts."""
        return has_timestamps(container) and container.format.name not in MJPEG_FORMATS

    def patience_s(self) -> float:
        """Return how much longer than usual its next packet may take: one waits for whole segments of a playlist."""
        return self._http.playlist.patience_s if self._http.playlist is not None else 0.0

    def end_is_final(self, container: av.container.InputContainer) -> bool:
        """Return whether a live stream that has ended will not come back."""
        if self._http.playlist is not None:
            return self._http.playlist_has_ended
        return container.format.name not in _CAMERA_FORMATS

    def close(self) -> None:
        """End the connection to the URL itself; FFmpeg closes what else it has opened."""
        self._http.close()

    def _say_missing(self, url: str, error: av.FFmpegError) -> None:
        if not self._missing_was_said:
            self._missing_was_said = True
            why, _ = reason_at_opening(url, error, self.ca_file)
            logger.warning("{}: a part of it is left out: {}: {}", self._peer.name, redact(url), why)
