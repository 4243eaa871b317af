"""Connections to cameras and videos over HTTP."""

from typing import Final

import av
from loguru import logger

from maskstream.redaction import redact
from maskstream.sources import tls
from maskstream.sources.connection import Peer, PictureComes
from maskstream.sources.failures import reason_at_opening
from maskstream.sources.http import HttpOpener
from maskstream.whitelists import PLAYLISTS, plain_formats, whitelist

HTTP_SCHEMES: Final = ("http", "https")


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
        self._http = HttpOpener(tls.options(self.ca_file), peer.allowance, self._say_missing)
        self._missing_was_said = False

    def open(self) -> av.container.InputContainer:
        """Connect, and find out what comes.

        Raises:
            av.FFmpegError: FFmpeg's own, which have the password in them.
            LimitReached: It is late, or too much.
            PictureComes: It is a picture.
        """
        allowance = self._peer.allowance
        form = self._http.open_first(self.url)
        if self._http.picture is not None:
            raise PictureComes(self._peer.name, self._http.picture)
        return av.open(
            self.url,
            format=form,
            metadata_errors="replace",
            io_open=self._http,
            options={
                **whitelist("http", f"{PLAYLISTS},{plain_formats()}"),
                "http_persistent": "0",
                "http_multiple": "0",
            },  # else HLS bypasses io_open
            timeout=(allowance, allowance),  # type: ignore[arg-type]  # read by float()
        )

    def is_live(self, container: av.container.InputContainer) -> bool:
        """Return whether it does not say how long it is, as MJPEG."""
        return not container.duration

    def close(self) -> None:
        """End the connection to the URL itself; FFmpeg closes what else it has opened."""
        self._http.close()

    def _say_missing(self, url: str, error: av.FFmpegError) -> None:
        if not self._missing_was_said:
            self._missing_was_said = True
            why, _ = reason_at_opening(url, error, self.ca_file)
            logger.warning("{}: a part of it is left out: {}: {}", self._peer.name, redact(url), why)
