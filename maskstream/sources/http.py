"""Connect to cameras and videos over HTTP."""

from functools import partial
from time import monotonic
from typing import Final

import av
from loguru import logger

from maskstream.io.ffmpeg_whitelists import PLAYLISTS, plain_formats, whitelist
from maskstream.redaction import redact
from maskstream.sources import hls
from maskstream.sources.connection import SHORT_FPS_PROBE, Peer, SingleImageReceived, has_timestamps
from maskstream.sources.connection_errors import reason_at_opening
from maskstream.sources.http_opener import HttpOpener
from maskstream.sources.limits import pyav_timeout
from maskstream.sources.live_detection import arrives_as_recording
from maskstream.sources.mjpeg import MJPEG_FORMATS
from maskstream.sources.redirects import http_target
from maskstream.sources.tls import ca_file_for, ffmpeg_options

GUESSED_RATE: Final = frozenset({"jpeg_pipe", "mjpeg", *MJPEG_FORMATS})
"""JPEGs in sequence, for which FFmpeg assumes 25 fps."""
_MP4: Final = "mov,mp4,m4a,3gp,3g2,mj2"
_CAMERA_FORMATS: Final = frozenset({"flv", "h264", "hevc", "mpegts", *GUESSED_RATE})
"""Without a length these are cameras and broadcasts, which may continue after a lost connection."""
_RECORDED_WHILE_SENT: Final = frozenset({"asf", "matroska,webm", _MP4, "ogg"})
"""Without a length and a duration these are produced while they are sent, and have an end."""
_CAMERA_BUFFER_S: Final = 3.0
"""Video that a camera may send at once before it fails."""
_UNLIMITED: Final = str(2**31 - 1)
_OPTIONS: Final = {
    "http_persistent": "0",  # otherwise HLS bypasses io_open, as with http_multiple
    "http_multiple": "0",
    "live_start_index": str(hls.LIVE_START),
    "allowed_extensions": "ALL",  # any suffix of a segment: all come over HTTP only
    "allowed_segment_extensions": "ALL",
    "extension_picky": "0",
    "max_reload": _UNLIMITED,  # the allowance limits the time
    "m3u8_hold_counters": _UNLIMITED,
}


class HttpConnection:
    """A camera, or a video on a server, over HTTP."""

    def __init__(self, peer: Peer) -> None:
        """Store the peer; open nothing.

        Raises:
            SourceRefused: `network.ca_file` cannot be used.
        """
        self._peer = peer
        self.url = peer.url
        self.ca_file = ca_file_for(peer.url, peer.name, peer.config)
        self._http = HttpOpener(
            ffmpeg_options(self.ca_file),
            peer.allowance,
            self._report_missing,
            peer.config.max_megapixels * 1e6,
            resolve_redirects=partial(http_target, allowance=peer.allowance, ca_file=self.ca_file),
            keep_incomplete=peer.config.keep_damaged,
        )
        self._missing_was_logged = False
        self._asked_at_s = 0.0
        self._is_live = True

    def open(self) -> av.container.InputContainer:
        """Connect and probe the stream.

        Raises:
            av.FFmpegError: From FFmpeg; its text contains the password.
            LimitReached: A limit was reached.
            SingleImageReceived: The server sends one image.
        """
        self._asked_at_s = monotonic()
        self.url, format_name = self._http.open_first(self.url)
        if self._http.image is not None:
            raise SingleImageReceived(self._peer.name, self._http.image)
        probe = SHORT_FPS_PROBE if self._is_live_playlist else {}
        container = av.open(
            self.url,
            format=format_name,
            metadata_errors="replace",
            io_open=self._http,
            options=_OPTIONS | probe | whitelist("http", f"{PLAYLISTS},{plain_formats()}"),
            timeout=pyav_timeout(self._peer.allowance),
        )
        try:
            self._is_live = self._detect_live(container)
        except BaseException:
            container.close()
            raise
        return container

    @property
    def _is_live_playlist(self) -> bool:
        return self._http.playlist is not None and not self._http.playlist.has_ended

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return whether the video is produced while it is sent."""
        return self._is_live

    def _detect_live(self, container: av.container.InputContainer) -> bool:
        """Return whether the video is live.

        A playlist is live unless it states that it is complete. MJPEG in parts is always live. Other formats are live if they
        are made for streaming, the server states no length, the container states no duration, and they do not arrive as fast as
        a recording.
        """
        format_name = container.format.name
        if self._http.playlist is not None:
            return self._is_live_playlist
        if format_name in MJPEG_FORMATS:
            return True
        if self._http.first.has_length or (container.duration and not _is_fragmented(container)):
            return False
        if format_name not in _CAMERA_FORMATS | _RECORDED_WHILE_SENT:
            return False
        if self._peer.history.was_live:
            return True
        buffered_s = 0.0 if format_name in _RECORDED_WHILE_SENT else _CAMERA_BUFFER_S
        return not arrives_as_recording(container, self._peer.early, self._peer.allowance, self._asked_at_s, buffered_s)

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return whether the format has timestamps: such a stream may arrive in bursts."""
        return has_timestamps(container) and container.format.name not in GUESSED_RATE

    def extra_wait_s(self) -> float:
        """Return how much longer than usual the next packet may take: the time of two segments of a playlist."""
        return self._http.playlist.extra_wait_s if self._http.playlist is not None else 0.0

    def end_is_final(self, container: av.container.InputContainer) -> bool:
        """Return whether the end of a live stream is its real end."""
        if self._http.playlist is not None:
            return self._http.playlist_has_ended
        return container.format.name not in _CAMERA_FORMATS

    def needs_seeking(self) -> bool:
        """Return whether the file can only be read with seeking, and its server does not support that."""
        return self._http.has_opened and self._http.first.needs_seeking

    def close(self) -> None:
        """End the connection to the URL itself; FFmpeg closes the others."""
        self._http.close()

    def _report_missing(self, url: str, error: av.FFmpegError) -> None:
        if not self._missing_was_logged:
            self._missing_was_logged = True
            why, _ = reason_at_opening(url, error, self.ca_file)
            logger.warning("{}: a segment is skipped: {}: {}", self._peer.name, redact(url), why)


def _is_fragmented(container: av.container.InputContainer) -> bool:
    """Return whether it is an MP4 without a table of frames: its stated duration covers only what has arrived."""
    return container.format.name == _MP4 and all(stream.frames == 0 for stream in container.streams.video)
