"""Connect to video that is sent without a request: over UDP, RTP (also described by an SDP file), or a plain TCP connection."""

import re
from codecs import BOM_UTF8
from io import BytesIO
from pathlib import Path
from typing import Final

import av

from maskstream.io.ffmpeg_whitelists import STREAMED_FORMATS, whitelist
from maskstream.sources.connection import SHORT_FPS_PROBE, LiveConnection, Peer
from maskstream.sources.limits import LimitReached, pyav_timeout
from maskstream.sources.url_parts import port_of, scheme_of

_UDP_BUFFERS: Final = {"fifo_size": "131072", "overrun_nonfatal": "1", "buffer_size": "4194304"}
"""Key frames arrive in bursts. Packets of 188 bytes that may wait; do not end at an overrun; bytes in the kernel."""
_NO_HOST: Final = re.compile(r"(?<=\w)://(?=:\d)")
_MAX_SDP_BYTES: Final = 100_000
"""Real files have some hundreds."""


class UdpRtpConnection(LiveConnection):
    """Video that is sent to udp://HOST:PORT or rtp://HOST:PORT, or that tcp://HOST:PORT sends.

    For UDP and RTP, HOST is an address of this machine or a multicast group. FFmpeg options may follow: ?localaddr=192.0.2.1.
    """

    def __init__(self, peer: Peer) -> None:
        """Store the peer; open nothing."""
        super().__init__(peer)
        self.url = _NO_HOST.sub("://0.0.0.0", peer.url.replace("://@", "://", 1))  # FFmpeg's RTP needs a host

    def open(self) -> av.container.InputContainer:
        """Connect or listen, and probe the stream.

        Raises:
            av.FFmpegError: From FFmpeg.
            LimitReached: The URL has no port.
        """
        scheme = scheme_of(self.url)
        if not port_of(self.url):
            raise LimitReached(f"the port is missing; give {scheme}://HOST:PORT")
        formats = f"rtp,sdp,{STREAMED_FORMATS}" if scheme == "rtp" else STREAMED_FORMATS
        buffers = {} if scheme == "tcp" else _UDP_BUFFERS
        container = av.open(
            self.url,
            metadata_errors="replace",
            options={**buffers, **SHORT_FPS_PROBE, **whitelist(scheme, formats)},
            timeout=pyav_timeout(self._peer.allowance),
        )
        if scheme != "tcp":
            self._peer.history.transport = "udp"
        return container


class SdpConnection(LiveConnection):
    """A stream that a local SDP file describes. FFmpeg may open the RTP ports in it, but no file."""

    def open(self) -> av.container.InputContainer:
        """Listen, and probe the stream.

        Raises:
            av.FFmpegError: From FFmpeg.
            LimitReached: The file cannot be read, or is not an SDP file.
        """
        container = av.open(
            BytesIO(self._sdp_text()),
            "r",
            format="sdp",
            metadata_errors="replace",
            options={**_UDP_BUFFERS, **SHORT_FPS_PROBE, "allowed_media_types": "video", **whitelist("sdp")},
            timeout=pyav_timeout(self._peer.allowance),
        )
        self._peer.history.transport = "udp"
        return container

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return False: a camera sends each frame when it is captured, so waiting would only add delay."""
        return False

    def _sdp_text(self) -> bytes:
        try:
            with Path(self.url).open("rb") as file:
                text = file.read(_MAX_SDP_BYTES + 1).removeprefix(BOM_UTF8).lstrip()
        except OSError as error:
            raise LimitReached(f"cannot be read: {error.strerror}; check the path", is_final=False) from None
        if not text.startswith(b"v=0") or b"m=video" not in text or len(text) > _MAX_SDP_BYTES:
            raise LimitReached("it describes no video; an SDP file begins with v=0 and has a line m=video")
        return text
