"""What FFmpeg may open for each kind of source: a playlist or a script is a program that somebody else may have written."""

from functools import cache
from typing import Final

import av

PROTOCOLS: Final[dict[str, str]] = {
    "file": "file",
    "list": "none",
    "http": "http,https,httpproxy,crypto,tcp,tls",
    "rtsp": "rtp,srtp,udp,tcp,tls,httpproxy",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp,httpproxy",
    "srt": "srt",
    "udp": "udp",
    "rtp": "rtp,udp",
    "sdp": "rtp,srtp,udp",
    "tcp": "tcp",
    "pipe": "none",
}
"""By kind of source, the protocols of FFmpeg that what was opened may lead to; each connection names its row.

A protocol that a source's own URL needs is in its row. `list` is a playlist in a local file, whose pieces are opened by
`local_media.py`; `pipe` what another program hands over. `none` is no protocol of FFmpeg.
"""

PROGRAMS: Final = frozenset({"hls", "dash", "webm_dash_manifest", "concat", "sdp", "imf", "vobsub"})
"""Formats of FFmpeg that are lists of other files or addresses."""
_DRAWN_TEXT: Final = frozenset({"tty", "bin", "xbin", "adf", "idf"})
"""Formats of FFmpeg that draw the letters of any text file as video."""
PLAYLISTS: Final = "hls,dash"
"""Those of `PROGRAMS` that are read, each piece through a function of ours; FFmpeg mostly lacks the second."""

_SENT: Final = (
    "mpegts",
    "h264",
    "hevc",
    "mjpeg",
    "mpjpeg",
    "m4v",
    "mpegvideo",
    "mpeg",
    "obu",
    "ivf",
    "nut",
    "ogg",
    "flv",
    "live_flv",
)
STREAMED_FORMATS: Final = ",".join((*_SENT, "matroska", "webm", "mov", "mp4", "asf", "avi", "dv", "gif", "yuv4mpegpipe"))
"""What a peer may send without a request: formats that need nothing but themselves."""


@cache
def plain_formats() -> str:
    """Return the formats of FFmpeg whose video is in the file itself, as FFmpeg lists them, without drawings of text."""
    formats = (_input_format(name) for name in sorted(av.formats_available - PROGRAMS - _DRAWN_TEXT))
    return ",".join(
        known.name for known in formats if known is not None and av.format.Flags.no_file not in av.format.Flags(known.flags)
    )


def _input_format(name: str) -> av.ContainerFormat | None:
    try:
        return av.ContainerFormat(name, "r")
    except ValueError:  # it can only be written
        return None


def whitelist(kind: str, formats: str | None = None) -> dict[str, str]:
    """Return FFmpeg's options that keep a source of a kind to its row of `PROTOCOLS`, and to some formats.

    Args:
        kind: A key of `PROTOCOLS`.
        formats: Names with commas between; None for all.
    """
    protocols = {"protocol_whitelist": PROTOCOLS[kind]}
    return protocols if formats is None else protocols | {"format_whitelist": formats}
