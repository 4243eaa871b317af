"""Connections to RTMP servers, which encoders and drones send to."""

import re
from typing import Final

import av

from maskstream.io.ffmpeg_whitelists import whitelist
from maskstream.sources import tls
from maskstream.sources.connection import ENOUGH_FOR_FPS, LiveConnection
from maskstream.sources.limits import pyav_timeout

RTMP_SCHEMES: Final = ("rtmp", "rtmps")
_ENOUGH: Final = {"analyzeduration": "1000000", **ENOUGH_FOR_FPS}
"""What FFmpeg looks at before it lets go, in microseconds and frames: it would wait 5 s for sound that may follow."""
_LOGIN: Final = re.compile(r"(?<=://)[^/?#]*(?=@)")
_ESCAPED: Final = re.compile(r"%(?:2[124-9a-e]|[3-7][0-9a-f])(?<!%3f)", re.IGNORECASE)
"""Signs that FFmpeg takes as they are in front of the host: all but # / and ?."""


class RtmpConnection(LiveConnection):
    """A stream of an RTMP server: rtmp://HOST/APPLICATION/STREAM."""

    def open(self) -> av.container.InputContainer:
        """Connect, and find out what comes.

        Raises:
            av.FFmpegError: FFmpeg's own, which have the password in them.
        """
        allowance = self._peer.allowance
        return av.open(
            login_as_it_is(self.url),
            metadata_errors="replace",
            options={
                "rtmp_live": "live",
                **_ENOUGH,
                **whitelist(tls.scheme_of(self.url), "flv,live_flv"),
                **tls.options(self.ca_file),
            },
            timeout=pyav_timeout(allowance),
        )


def login_as_it_is(url: str) -> str:
    """Return a URL whose user and password are not escaped, as FFmpeg's RTMP does not undo that; but # / and ? stay escaped."""
    return _LOGIN.sub(lambda login: _ESCAPED.sub(lambda sign: chr(int(sign[0][1:], 16)), login[0]), url, count=1)
