"""Connect by SRT, through PyAV's FFmpeg if it supports SRT, or through the ffmpeg program."""

import ctypes
import re
from functools import cache
from typing import Final

import av
from av import _core

from maskstream.io.ffmpeg_whitelists import STREAMED_FORMATS, whitelist
from maskstream.sources.connection import SHORT_FPS_PROBE, LiveConnection, Peer
from maskstream.sources.ffmpeg_relay import FfmpegRelay, ffmpeg_with
from maskstream.sources.limits import LimitReached, pyav_timeout
from maskstream.sources.url_parts import port_of

_US: Final = 1_000_000
_TIMEOUT_OPTIONS: Final = ("timeout", "listen_timeout")
"""Options of the URL that limit waiting, in microseconds."""
_TIMEOUT_OPTION: Final = re.compile(rf"(?:{'|'.join(_TIMEOUT_OPTIONS)})=")
_REASONS: Final = (
    ("Incorrect passphrase|Password required|BADSECRET", "the passphrase is missing or wrong; give it as ?passphrase=", True),
    ("SRTO_PASSPHRASE", "the passphrase is not valid; it needs 10 to 79 characters", True),
    ("Failed to resolve hostname", "the host is not known; check the spelling and the network", False),
    ("Address already in use", "another program listens at this port; stop it, or use another port", False),
    (
        "Cannot assign requested",
        "this machine does not have the address; for mode=listener give 0.0.0.0 or one of its own addresses",
        True,
    ),
    ("Invalid argument", "an option in the URL is not valid; check mode, latency and the other options after the ?", True),
    ("Connection timed out", "no sender has connected in time; check that it calls this machine at this port", False),
    ("REJECT|rejected", "the connection was refused; check streamid and mode", False),
    ("Invalid data found", "the sender sends no video; check streamid and what is sent", True),
    (
        "Input/output error",
        "the server does not answer, or refused; check host, port, mode, streamid, and firewalls for UDP",
        False,
    ),
)
"""Output of the ffmpeg program, the message for it, and whether the next attempt would fail in the same way."""


class SrtConnection(LiveConnection):
    """A stream by SRT: srt://HOST:PORT, with options of FFmpeg after it, as ?mode=listener&passphrase=...&streamid=..."""

    def __init__(self, peer: Peer) -> None:
        """Store the peer; open nothing."""
        super().__init__(peer)
        self._relay: FfmpegRelay | None = None

    def open(self) -> av.container.InputContainer:
        """Connect or listen, and probe the stream.

        Raises:
            av.FFmpegError: From FFmpeg; its text contains the passphrase.
            LimitReached: The URL has no port, the ffmpeg program is missing, or it reports why no data arrives.
        """
        allowance = self._peer.allowance
        url = self._url_with_timeouts()
        if "srt" in _pyav_protocols():
            return av.open(
                url,
                metadata_errors="replace",
                options={**SHORT_FPS_PROBE, **whitelist("srt", STREAMED_FORMATS)},
                timeout=pyav_timeout(allowance),
            )
        program = ffmpeg_with("srt")
        if program is None:
            raise LimitReached("srt:// needs the program ffmpeg with SRT; install it, for example with apt-get install ffmpeg")
        self._relay = FfmpegRelay(program, url, whitelist("srt", STREAMED_FORMATS), allowance, _reason)
        return av.open(
            self._relay,
            "r",
            format="nut",
            metadata_errors="replace",
            options={**SHORT_FPS_PROBE, **whitelist("pipe")},
            timeout=pyav_timeout(allowance),
        )

    def close(self) -> None:
        """End the ffmpeg program."""
        if self._relay is not None:
            self._relay.close()

    def _url_with_timeouts(self) -> str:
        """Return the URL with limits on all waiting, in place of its own ones."""
        if not port_of(self.url) or not self.url.isprintable():
            raise LimitReached("the URL is not valid; give srt://HOST:PORT, and options after a ?")
        address, _, query = self.url.partition("?")
        kept = [option for option in query.split("&") if option and not _TIMEOUT_OPTION.match(option)]
        config = self._peer.config
        longest_us = round(max(config.open_timeout_s, config.read_timeout_s) * _US)
        return f"{address}?{'&'.join(kept + [f'{name}={longest_us}' for name in _TIMEOUT_OPTIONS])}"


def _reason(output: str) -> LimitReached:
    """Return the error for the output of the ffmpeg program, which contains the passphrase."""
    for pattern, message, is_final in _REASONS:
        if re.search(pattern, output):
            return LimitReached(message, is_final=is_final)
    return LimitReached("the program ffmpeg ended; check host, port and options", is_final=False)


@cache
def _pyav_protocols() -> frozenset[str]:
    """Return the protocols that PyAV's FFmpeg reads; none on platforms where they cannot be queried."""
    next_protocol = getattr(ctypes.CDLL(_core.__file__), "avio_enum_protocols", None)
    if next_protocol is None:
        return frozenset()
    next_protocol.restype, next_protocol.argtypes = ctypes.c_char_p, (ctypes.POINTER(ctypes.c_void_p), ctypes.c_int)
    position, protocols = ctypes.c_void_p(), set()
    while name := next_protocol(ctypes.byref(position), 0):
        protocols.add(name.decode())
    return frozenset(protocols)
