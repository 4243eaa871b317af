"""Connect to RTMP servers, which receive video from encoders and drones."""

import re
from typing import Final

import av

from maskstream.io.ffmpeg_whitelists import whitelist
from maskstream.sources.connection import SHORT_FPS_PROBE, LiveConnection
from maskstream.sources.limits import pyav_timeout
from maskstream.sources.tls import ffmpeg_options
from maskstream.sources.url_parts import scheme_of

_SHORT_PROBE: Final = {"analyzeduration": "1000000", **SHORT_FPS_PROBE}
"""In microseconds and frames. FFmpeg's default waits 5 s for audio that may follow."""
_LOGIN: Final = re.compile(r"(?<=://)[^/?#]*(?=@)")
_ESCAPED: Final = re.compile(r"%(?:2[124-9a-e]|[3-7][0-9a-f])(?<!%3f)", re.IGNORECASE)
"""Characters that FFmpeg accepts unescaped before the host: all but # / and ?."""


class RtmpConnection(LiveConnection):
    """A stream of an RTMP server: rtmp://HOST/APPLICATION/STREAM."""

    def open(self) -> av.container.InputContainer:
        """Connect and probe the stream.

        Raises:
            av.FFmpegError: From FFmpeg; its text contains the password.
        """
        return av.open(
            unescape_login(self.url),
            metadata_errors="replace",
            options={
                "rtmp_live": "live",
                **_SHORT_PROBE,
                **whitelist(scheme_of(self.url), "flv,live_flv"),
                **ffmpeg_options(self.ca_file),
            },
            timeout=pyav_timeout(self._peer.allowance),
        )


def unescape_login(url: str) -> str:
    """Return a URL with user and password unescaped, except for # / and ?: FFmpeg's RTMP does not unescape them."""
    return _LOGIN.sub(lambda login: _ESCAPED.sub(lambda escaped: chr(int(escaped[0][1:], 16)), login[0]), url, count=1)
