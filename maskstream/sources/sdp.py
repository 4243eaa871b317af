"""SDP files: they describe what is sent to this machine over RTP."""

from codecs import BOM_UTF8
from io import BytesIO
from pathlib import Path
from typing import Final

import av

from maskstream.io.ffmpeg_whitelists import whitelist
from maskstream.sources.connection import ENOUGH_FOR_FPS, LiveConnection
from maskstream.sources.limits import LimitReached, pyav_timeout
from maskstream.sources.udp_rtp import RECEIVING

_LONGEST: Final = 100_000
"""Bytes; real ones have some hundreds."""


class SdpConnection(LiveConnection):
    """A stream that a local SDP file describes. FFmpeg may open the ports of RTP that it names, and no file."""

    def open(self) -> av.container.InputContainer:
        """Listen, and find out what comes.

        Raises:
            av.FFmpegError: FFmpeg's own.
            LimitReached: The file cannot be read, or is none.
        """
        container = av.open(
            BytesIO(self._text()),
            "r",
            format="sdp",
            metadata_errors="replace",
            options={**RECEIVING, **ENOUGH_FOR_FPS, "allowed_media_types": "video", **whitelist("sdp")},
            timeout=pyav_timeout(self._peer.allowance),
        )
        self._peer.remembered.transport = "udp"
        return container

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return False: a camera sends each frame when it was taken. To let it wait would only make it older."""
        return False

    def _text(self) -> bytes:
        try:
            with Path(self.url).open("rb") as file:
                text = file.read(_LONGEST + 1).removeprefix(BOM_UTF8).lstrip()
        except OSError as error:
            raise LimitReached(f"cannot be read: {error.strerror}; check the path", is_final=False) from None
        if not text.startswith(b"v=0") or b"m=video" not in text or len(text) > _LONGEST:
            raise LimitReached("it describes no video; an SDP file begins with v=0 and has a line m=video")
        return text
