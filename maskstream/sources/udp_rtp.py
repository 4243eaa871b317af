"""Video that comes without a request: over UDP, RTP or a plain TCP connection."""

import re
from typing import Final

import av

from maskstream.io.ffmpeg_whitelists import STREAMED_FORMATS, whitelist
from maskstream.sources.connection import ENOUGH_FOR_FPS, LiveConnection, Peer
from maskstream.sources.limits import LimitReached, pyav_timeout
from maskstream.sources.tls import port_of, scheme_of

RAW_SCHEMES: Final = ("udp", "rtp", "tcp")
RECEIVING: Final = {"fifo_size": "131072", "overrun_nonfatal": "1", "buffer_size": "4194304"}
"""Of UDP, as key frames come in bursts: packets of 188 bytes that may wait, no end where they are more, bytes in the system."""


_NO_HOST: Final = re.compile(r"(?<=\w)://(?=:\d)")


class RawConnection(LiveConnection):
    """What is sent to udp://HOST:PORT or rtp://HOST:PORT, or what tcp://HOST:PORT sends.

    Of UDP and RTP, the host is that of this machine or a multicast group. Options of FFmpeg may follow, as ?localaddr=192.0.2.1.
    """

    def __init__(self, peer: Peer) -> None:
        """Open nothing yet."""
        super().__init__(peer)
        self.url = _NO_HOST.sub("://0.0.0.0", peer.url.replace("://@", "://", 1))
        """What was asked for, with a host: FFmpeg's RTP wants one."""

    def open(self) -> av.container.InputContainer:
        """Connect or listen, and find out what comes.

        Raises:
            av.FFmpegError: FFmpeg's own.
            LimitReached: No port is named.
        """
        scheme, allowance = scheme_of(self.url), self._peer.allowance
        if not port_of(self.url):
            raise LimitReached(f"its port is missing; give {scheme}://HOST:PORT")
        formats = STREAMED_FORMATS if scheme != "rtp" else f"rtp,sdp,{STREAMED_FORMATS}"
        container = av.open(
            self.url,
            metadata_errors="replace",
            options={**(RECEIVING if scheme != "tcp" else {}), **ENOUGH_FOR_FPS, **whitelist(scheme, formats)},
            timeout=pyav_timeout(allowance),
        )
        if scheme != "tcp":
            self._peer.remembered.transport = "udp"
        return container
