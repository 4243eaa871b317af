"""SDP files: they describe what is sent to this machine over RTP."""

from io import BytesIO
from pathlib import Path
from typing import Any, Final

import av

from maskstream.sources.connection import LiveConnection, Peer
from maskstream.sources.limits import LimitReached
from maskstream.sources.raw import ENOUGH, RECEIVING
from maskstream.whitelists import whitelist

_BEGINS: Final = (b"v=0\n", b"v=0\r", b"\xef\xbb\xbfv=0")
_LONGEST: Final = 100_000
"""Bytes; real ones have some hundreds."""


def is_sdp(path: str) -> bool:
    """Return whether a path is that of an SDP file, by its name or its first line; nothing else than a file is opened."""
    place = Path(path)
    try:
        if not place.is_file():
            return False
        if place.suffix.lower() == ".sdp":
            return True
        with place.open("rb") as file:
            return file.read(5).startswith(_BEGINS)
    except (OSError, ValueError):
        return False


class SdpConnection(LiveConnection):
    """A stream that a local SDP file describes. FFmpeg may open the ports of RTP that it names, and no file."""

    def __init__(self, peer: Peer) -> None:
        """Open nothing yet."""
        self._peer = peer
        self.url = peer.url
        """The path of the file."""
        self.ca_file: str | None = None
        """Nothing has a certificate here."""

    def open(self) -> av.container.InputContainer:
        """Listen, and find out what comes.

        Raises:
            av.FFmpegError: FFmpeg's own.
            LimitReached: The file cannot be read, or is none.
        """
        limit: Any = (self._peer.allowance, self._peer.allowance)  # read by float()
        container = av.open(
            BytesIO(self._text()),
            "r",
            format="sdp",
            metadata_errors="replace",
            options={**RECEIVING, **ENOUGH, "allowed_media_types": "video", **whitelist("sdp")},
            timeout=limit,
        )
        self._peer.remembered.transport = "udp"
        return container

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return False: a camera sends each frame when it was taken. To let it wait would only make it older."""
        return False

    def _text(self) -> bytes:
        try:
            with Path(self.url).open("rb") as file:
                text = file.read(_LONGEST + 1).removeprefix(_BEGINS[-1][:3]).lstrip()
        except OSError as error:
            raise LimitReached(f"cannot be read: {error.strerror}; check the path", is_final=False) from None
        if not text.startswith(b"v=0") or b"m=video" not in text or len(text) > _LONGEST:
            raise LimitReached("it describes no video; an SDP file begins with v=0 and has a line m=video")
        return text
