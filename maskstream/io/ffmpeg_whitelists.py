"""Restrict what FFmpeg may open for each kind of source, because a playlist may name any file and address."""

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
"""The protocols that FFmpeg may use, by kind of source. Each connection names its row.

A row contains the protocol of the URL itself. `list` is a playlist in a local file, whose parts are opened by `local_media.py`.
`pipe` is the output of another program. `none` is not a protocol of FFmpeg.
"""

PROGRAMS: Final = frozenset({"hls", "dash", "webm_dash_manifest", "concat", "sdp", "imf", "vobsub"})
"""Formats of FFmpeg that are lists of other files or addresses."""
_DRAWN_TEXT: Final = frozenset({"tty", "bin", "xbin", "adf", "idf"})
"""Formats of FFmpeg that draw the characters of any text file as video."""
PLAYLISTS: Final = "hls,dash"
"""The formats of `PROGRAMS` that are read. Each part is opened by `local_media.py`. Most builds of FFmpeg have no DASH."""

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
"""The formats that a peer may send without a request: those that open nothing else."""


@cache
def plain_formats() -> str:
    """Return the formats of FFmpeg with the video in the file itself, without those that draw text, as a list for FFmpeg."""
    formats = (_input_format(name) for name in sorted(av.formats_available - PROGRAMS - _DRAWN_TEXT))
    return ",".join(
        known.name for known in formats if known is not None and av.format.Flags.no_file not in av.format.Flags(known.flags)
    )


def _input_format(name: str) -> av.ContainerFormat | None:
    try:
        return av.ContainerFormat(name, "r")
    except ValueError:  # a format that can only be written
        return None


def whitelist(kind: str, formats: str | None = None) -> dict[str, str]:
    """Return the options of FFmpeg that restrict a source to its row of `PROTOCOLS`, and to some formats.

    Args:
        kind: A key of `PROTOCOLS`.
        formats: Names separated by commas; None for all formats.
    """
    protocols = {"protocol_whitelist": PROTOCOLS[kind]}
    return protocols if formats is None else protocols | {"format_whitelist": formats}
