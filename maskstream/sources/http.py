"""Connections to cameras and videos over HTTP."""

from functools import partial
from time import monotonic
from typing import Final

import av
from loguru import logger

from maskstream.io.ffmpeg_whitelists import PLAYLISTS, plain_formats, whitelist
from maskstream.redaction import redact
from maskstream.sources import hls, tls
from maskstream.sources.connection import ENOUGH_FOR_FPS, ImageComes, Peer, has_timestamps
from maskstream.sources.connection_errors import reason_at_opening
from maskstream.sources.http_file import MOST_REDIRECTS
from maskstream.sources.http_opener import HttpOpener
from maskstream.sources.limits import pyav_timeout
from maskstream.sources.live_detection import comes_as_a_file
from maskstream.sources.mjpeg import MJPEG_FORMATS
from maskstream.sources.redirects import arrived_at

HTTP_SCHEMES: Final = ("http", "https")
GUESSED_RATE: Final = frozenset({"jpeg_pipe", "mjpeg", *MJPEG_FORMATS})
"""JPEG after JPEG; FFmpeg assumes 25 fps."""
_MP4: Final = "mov,mp4,m4a,3gp,3g2,mj2"
_CAMERA_FORMATS: Final = frozenset({"flv", "h264", "hevc", "mpegts", *GUESSED_RATE})
"""Of what has no length: cameras and broadcasts, which come back where their connection ends."""
_PROGRAMME_FORMATS: Final = frozenset({"asf", "matroska,webm", _MP4, "ogg"})
"""Of what has neither a length nor a duration: what is made while it is sent, and has an end."""
_IN_STORE_S: Final = 3.0
"""Of video, which a camera may send at once before it fails."""
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
        arrived = partial(arrived_at, allowance=peer.allowance, ca_file=self.ca_file, most=MOST_REDIRECTS)
        self._http = HttpOpener(
            tls.options(self.ca_file),
            peer.allowance,
            self._say_missing,
            most_pixels,
            arrived_at=arrived,
            keeps_torn=peer.config.keep_damaged,
        )
        self._missing_was_said = False
        self._asked_at_s = 0.0
        self._is_live = True

    def open(self) -> av.container.InputContainer:
        """Connect, and find out what comes.

        Raises:
            av.FFmpegError: FFmpeg's own, which have the password in them.
            LimitReached: It is late, or too much.
            ImageComes: It is a picture.
        """
        allowance = self._peer.allowance
        self._asked_at_s = monotonic()
        self.url, format_name = self._http.open_first(self.url)
        if self._http.image is not None:
            raise ImageComes(self._peer.name, self._http.image)
        options = ENOUGH_FOR_FPS if self._is_live_playlist else {}
        container = av.open(
            self.url,
            format=format_name,
            metadata_errors="replace",
            io_open=self._http,
            options=_OPTIONS | options | whitelist("http", f"{PLAYLISTS},{plain_formats()}"),
            timeout=pyav_timeout(allowance),
        )
        try:
            self._is_live = self._is_made_while_sent(container)
        except BaseException:
            container.close()
            raise
        return container

    @property
    def _is_live_playlist(self) -> bool:
        return self._http.playlist is not None and not self._http.playlist.has_ended

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return whether it is made while it is sent."""
        return self._is_live

    def _is_made_while_sent(self, container: av.container.InputContainer) -> bool:
        """Return that; where nothing else tells, by how fast it comes.

        A playlist is, unless it says that it is complete; MJPEG in parts always; other formats where neither the server says how
        many bytes they have nor the container how long it lasts, and where they are made to be sent while they are made.
        """
        format_name = container.format.name
        if self._http.playlist is not None:
            return self._is_live_playlist
        if format_name in MJPEG_FORMATS:
            return True
        if self._http.first.has_length or (container.duration and not _is_fragmented(container)):
            return False
        if format_name not in _CAMERA_FORMATS | _PROGRAMME_FORMATS:
            return False
        peer, in_store_s = self._peer, 0.0 if format_name in _PROGRAMME_FORMATS else _IN_STORE_S
        return peer.remembered.was_live or not comes_as_a_file(
            container, peer.early, peer.allowance, self._asked_at_s, in_store_s
        )

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return whether its timestamps say when its frames were taken: it may arrive in bursts."""
        return has_timestamps(container) and container.format.name not in GUESSED_RATE

    def patience_s(self) -> float:
        """Return how much longer than usual its next packet may take: one waits for whole segments of a playlist."""
        return self._http.playlist.patience_s if self._http.playlist is not None else 0.0

    def end_is_final(self, container: av.container.InputContainer) -> bool:
        """Return whether a live stream that has ended will not come back."""
        if self._http.playlist is not None:
            return self._http.playlist_has_ended
        return container.format.name not in _CAMERA_FORMATS

    def needs_seeking(self) -> bool:
        """Return whether it is a file that cannot be read from beginning to end, and the server gives it in no other way."""
        return self._http.has_opened and self._http.first.needs_seeking

    def close(self) -> None:
        """End the connection to the URL itself; FFmpeg closes what else it has opened."""
        self._http.close()

    def _say_missing(self, url: str, error: av.FFmpegError) -> None:
        if not self._missing_was_said:
            self._missing_was_said = True
            why, _ = reason_at_opening(url, error, self.ca_file)
            logger.warning("{}: a part of it is left out: {}: {}", self._peer.name, redact(url), why)


def _is_fragmented(container: av.container.InputContainer) -> bool:
    """Return whether it is an MP4 without a table of its frames: what it says of its duration holds for what has come so far."""
    return container.format.name == _MP4 and all(stream.frames == 0 for stream in container.streams.video)
