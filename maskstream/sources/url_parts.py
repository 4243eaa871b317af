"""URL schemes that network sources read, and functions that return the parts of a URL."""

from typing import Final
from urllib.parse import urlsplit

RTSP_SCHEMES: Final = ("rtsp", "rtsps")
HTTP_SCHEMES: Final = ("http", "https")
RTMP_SCHEMES: Final = ("rtmp", "rtmps")
SRT_SCHEMES: Final = ("srt",)
UDP_RTP_SCHEMES: Final = ("udp", "rtp", "tcp")
SCHEMES: Final = (*RTSP_SCHEMES, *HTTP_SCHEMES, *RTMP_SCHEMES, *SRT_SCHEMES, *UDP_RTP_SCHEMES)
"""All schemes that are read."""
TLS_SCHEMES: Final = ("https", "rtsps", "rtmps")
DEFAULT_PORTS: Final = {"rtsp": 554, "rtsps": 322, "https": 443, "rtmps": 443}


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case."""
    return url.partition("://")[0].lower()


def host_of(url: str) -> str | None:
    """Return the host of a URL; None if it has none, or is not valid."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def port_of(url: str) -> int | None:
    """Return the port in a URL; None if it has none, or is not valid."""
    try:
        return urlsplit(url).port
    except ValueError:
        return None
