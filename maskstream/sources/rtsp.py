"""Connections to RTSP cameras."""

from errno import EPROTONOSUPPORT
from time import sleep
from typing import Final

import av
from av import error as av_error
from loguru import logger

from maskstream.sources import tls
from maskstream.sources.connection import ENOUGH_FOR_FPS, LiveConnection, Peer, Transport
from maskstream.sources.http import MOST_REDIRECTS
from maskstream.sources.limits import LimitReached
from maskstream.sources.rtsp_redirect import redirected_to
from maskstream.whitelists import whitelist

RTSP_SCHEMES: Final = ("rtsp", "rtsps")
_US: Final = 1_000_000
_PAUSES_S: Final = (0.3, 0.9)
_MAY_BE_TRANSPORT: Final = (
    *(av_error.HTTPBadRequestError, av_error.HTTPOtherClientError),
    *(av_error.HTTPServerError, av_error.InvalidDataError),
)
"""What servers answer to a transport that they do not have, where they do not say so with status 461."""


class RtspConnection(LiveConnection):
    """A camera over RTSP, by TCP or UDP."""

    def __init__(self, peer: Peer) -> None:
        """Open nothing yet.

        Raises:
            SourceRefused: `network.ca_file` cannot be used.
        """
        self._peer = peer
        self.url = peer.url
        """Where it leads to by now."""
        self.ca_file = tls.trusted_by(peer.url, peer.name, peer.config)
        """Whom its certificate must come from; None: it is not checked."""

    def open(self) -> av.container.InputContainer:
        """Connect; follow redirects, and find the transport where that is to be found.

        Raises:
            av.FFmpegError: FFmpeg's own, which have the password in them.
            LimitReached: It is late, or led on too often.
        """
        if self.url.startswith("rtsps") and self.ca_file is None:
            self._warn_of_certificate()
        return self._follow()

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return False: a camera sends each frame when it was taken. To let it wait would only make it older."""
        return False

    def _follow(self) -> av.container.InputContainer:
        """Connect, and follow redirects to other RTSP servers."""
        for _ in range(MOST_REDIRECTS + 1):
            try:
                return self._open_by_some_transport()
            except av_error.ArgumentError:  # as `rtsp` is not among the protocols that FFmpeg may go on with
                target = redirected_to(self.url, self._peer.allowance, self.ca_file)
                if target is None:
                    raise
                self.url, self.ca_file = target, tls.trusted_by(target, self._peer.name, self._peer.config)
        raise LimitReached(f"it was redirected more than {MOST_REDIRECTS} times; check the camera")

    def _open_by_some_transport(self) -> av.container.InputContainer:
        """Connect by the transport that is set; for `auto` as last time, else by TCP, and then by the other one."""
        wanted = self._peer.config.transport
        if wanted != "auto":
            return self._open_by(wanted)
        first: Transport = self._peer.remembered.transport or "tcp"
        other: Transport = "udp" if first == "tcp" else "tcp"
        try:
            return self._open_by(first)
        except av.FFmpegError as error:
            about_transport = error.errno == EPROTONOSUPPORT or isinstance(error, _MAY_BE_TRANSPORT)
            if self._peer.allowance.is_late or not about_transport:
                raise
            refused = error
        try:
            container = self._open_after_refusal(other)
        except (av.FFmpegError, LimitReached):
            if self._peer.allowance.is_late:
                raise LimitReached(
                    f"it refuses {first.upper()}, and over {other.upper()} nothing arrives; check firewalls on the way",
                    is_final=False,
                ) from None
            raise refused from None
        logger.info("{}: it refuses {}, therefore it is read over {}", self._peer.name, first.upper(), other.upper())
        return container

    def _open_after_refusal(self, transport: Transport) -> av.container.InputContainer:
        """Connect; a camera may be busy for a moment with the end of the connection that it has refused."""
        for pause_s in _PAUSES_S:
            try:
                return self._open_by(transport)
            except av_error.HTTPServerError:
                sleep(min(pause_s, float(self._peer.allowance)))
        return self._open_by(transport)

    def _open_by(self, transport: Transport) -> av.container.InputContainer:
        longest_s = max(
            self._peer.config.open_timeout_s, self._peer.config.read_timeout_s
        )  # FFmpeg has one limit for all, PyAV keeps the two
        container = av.open(
            self.url,
            metadata_errors="replace",
            options={
                "rtsp_transport": transport,
                "allowed_media_types": "video",
                "fpsprobesize": ENOUGH_FOR_FPS,
                "timeout": str(round(longest_s * _US)),
                **whitelist("rtsp"),
                **tls.options(self.ca_file),
            },
            timeout=(self._peer.allowance, self._peer.allowance),  # type: ignore[arg-type]  # read by float()
        )
        if self._peer.allowance.is_late:  # and nothing was understood, which is no error to FFmpeg
            container.close()
            raise self._peer.allowance.late()
        self._peer.remembered.transport = transport
        return container

    def _warn_of_certificate(self) -> None:
        if not self._peer.remembered.has_warned and self._peer.config.verify_tls == "auto":
            self._peer.remembered.has_warned = True
            logger.warning(
                "{}: its certificate is not checked; to check it set network.verify_tls to true, and network.ca_file to the "
                "certificate of the camera",
                self._peer.name,
            )
