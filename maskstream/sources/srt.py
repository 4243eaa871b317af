"""Connections by SRT, through FFmpeg itself or through the program ffmpeg: PyAV's FFmpeg mostly lacks it."""

import ctypes
import re
from functools import cache
from typing import Final

import av
from av import _core

from maskstream.io.ffmpeg_whitelists import STREAMED_FORMATS, whitelist
from maskstream.sources.connection import ENOUGH_FOR_FPS, LiveConnection, Peer
from maskstream.sources.ffmpeg_relay import Relay, program_with
from maskstream.sources.limits import LimitReached, pyav_timeout
from maskstream.sources.tls import port_of

SRT_SCHEMES: Final = ("srt",)
_US: Final = 1_000_000
_LIMITS: Final = ("timeout", "listen_timeout")
"""Options of the URL that end waiting, in microseconds."""
_LIMITED: Final = re.compile(rf"(?:{'|'.join(_LIMITS)})=")
_ANSWERS: Final = (
    ("Incorrect passphrase|Password required|BADSECRET", "the passphrase is missing or wrong; give it as ?passphrase=", True),
    ("SRTO_PASSPHRASE", "its passphrase is not valid; it needs 10 to 79 characters", True),
    ("Failed to resolve hostname", "its host is not known; check the spelling and the network", False),
    ("Address already in use", "another program listens at this port; stop it, or take another port", False),
    ("Cannot assign requested", "this machine does not have the address; for mode=listener give 0.0.0.0 or an own address", True),
    ("Invalid argument", "an option in the URL is not valid; check mode, latency and what else is behind the ?", True),
    ("Connection timed out", "nobody has connected in time; check that the sender calls this machine at this port", False),
    ("REJECT|rejected", "the connection was refused; check streamid and mode", False),
    ("Invalid data found", "what comes from there is no video; check streamid and what is sent", True),
    (
        "Input/output error",
        "nobody answers there, or it was refused; check host, port, mode, streamid, and firewalls for UDP",
        False,
    ),
)
"""What the program ffmpeg writes, what is said of it, and whether it will be the same next time."""


class SrtConnection(LiveConnection):
    """A stream by SRT: srt://HOST:PORT, with options of FFmpeg behind it, as ?mode=listener&passphrase=...&streamid=..."""

    def __init__(self, peer: Peer) -> None:
        """Open nothing yet."""
        super().__init__(peer)
        self._relay: Relay | None = None

    def open(self) -> av.container.InputContainer:
        """Connect or listen, and find out what comes.

        Raises:
            av.FFmpegError: FFmpeg's own, which have the passphrase in them.
            LimitReached: The URL has no port, there is no program, or it says why nothing comes.
        """
        allowance = self._peer.allowance
        url = self._limited_url()
        if "srt" in _protocols():
            return av.open(
                url,
                metadata_errors="replace",
                options={**ENOUGH_FOR_FPS, **whitelist("srt", STREAMED_FORMATS)},
                timeout=pyav_timeout(allowance),
            )
        program = program_with("srt")
        if program is None:
            raise LimitReached("srt:// needs the program ffmpeg with SRT; install ffmpeg, as apt-get install ffmpeg does")
        self._relay = Relay(program, url, whitelist("srt", STREAMED_FORMATS), allowance, _why)
        return av.open(
            self._relay,
            "r",
            format="nut",
            metadata_errors="replace",
            options={**ENOUGH_FOR_FPS, **whitelist("pipe")},
            timeout=pyav_timeout(allowance),
        )

    def close(self) -> None:
        """End the program."""
        if self._relay is not None:
            self._relay.close()

    def _limited_url(self) -> str:
        """Return the URL with limits on all waiting, so that nothing is waited for without end."""
        if not port_of(self.url) or not self.url.isprintable():
            raise LimitReached("the URL is not valid; give srt://HOST:PORT, and options behind a ?")
        address, _, query = self.url.partition("?")
        kept = [option for option in query.split("&") if option and not _LIMITED.match(option)]
        config = self._peer.config
        longest_us = round(max(config.open_timeout_s, config.read_timeout_s) * _US)
        return f"{address}?{'&'.join(kept + [f'{name}={longest_us}' for name in _LIMITS])}"


def _why(text: str) -> LimitReached:
    """Return what is to be said where the program ended, by what it wrote, which has the passphrase in it."""
    for pattern, said, is_final in _ANSWERS:
        if re.search(pattern, text):
            return LimitReached(said, is_final=is_final)
    return LimitReached("the program ffmpeg ended; check host, port and options", is_final=False)


@cache
def _protocols() -> frozenset[str]:
    """Return the protocols that PyAV's FFmpeg reads; none where a platform does not let us ask."""
    ask = getattr(ctypes.CDLL(_core.__file__), "avio_enum_protocols", None)
    if ask is None:
        return frozenset()
    ask.restype, ask.argtypes = ctypes.c_char_p, (ctypes.POINTER(ctypes.c_void_p), ctypes.c_int)
    place = ctypes.c_void_p()
    return frozenset(name.decode() for name in iter(lambda: ask(ctypes.byref(place), 0), None))
