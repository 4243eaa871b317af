"""Why a camera cannot be reached, in words that say what to do."""

import os
import socket
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, EIO, ENODEV, ENOMEM, EPROTONOSUPPORT
from typing import Final

import av
from av import error as av_error

from maskstream.errors import SourceOpenError, SourceRefused
from maskstream.redaction import redact
from maskstream.sources.http_file import MOST_REDIRECTS
from maskstream.sources.limits import Allowance, LimitReached
from maskstream.sources.tls import certificate_fault, host_of, scheme_of

PROXY_VARIABLE: Final = "http_proxy"
"""The one that FFmpeg looks at, for http://, https:// and rtsps://."""
NEEDS_SEEKING: Final = (
    "cannot be read without seeking: its index is at its end, and the server does not give parts of a file; "
    "put the index first with ffmpeg -i FILE -c copy -movflags +faststart OUTPUT, download it, or let the server answer ranges"
)
PIPE_NEEDS_SEEKING: Final = (
    "cannot be read without seeking: the index of this MP4 is at its end; write it with ffmpeg -movflags +faststart, "
    "or send MPEG-TS or Matroska, or give the file itself"
)
_REFUSALS: Final[dict[type[Exception], str]] = {
    av_error.HTTPUnauthorizedError: "user or password is missing or wrong (401); give them as user:password@host, an @ as %40",
    av_error.HTTPForbiddenError: "this user may not see it (403); check the user's rights in the camera",
    av_error.HTTPNotFoundError: "nothing is there (404); check the path behind the host",
    av_error.InvalidDataError: "what comes from there is no video; check the path behind the host",
    av_error.ArgumentError: "the URL is not valid; check host and port, and write / and # in a password as %2F and %23",
}
"""What will be no better next time."""
_REASONS: Final[dict[type[Exception], str]] = {
    av_error.HTTPServerError: "the server itself failed (5xx); restart the camera, or try again later",
    ConnectionRefusedError: "the connection was refused; check host and port, and that the camera is on",
    av_error.EOFError: "it ended before a picture came; check the camera, and the path behind the host",
    ConnectionResetError: "the connection was reset; check the camera and the network",
}
_REASONS_BY_ERRNO: Final = {
    EACCES: "it leads to what may not be read; check the path behind the host",
    EPROTONOSUPPORT: "the camera does not send this way; set network.transport to auto",
    EIO: "the connection broke off; check the camera, its address and the network",
    EADDRINUSE: "another program receives at this port; stop it, or have it sent to another port",
    EADDRNOTAVAIL: "this machine does not have that address; give one of its own, or 0.0.0.0",
    ENODEV: "no network of this machine can receive from that multicast group; name an address of one as ?localaddr=ADDRESS",
    ENOMEM: "its pictures claim more memory than they may; raise network.max_frame_mb or network.max_megapixels",
}
_UNKNOWN_HOST: Final = "its host is not known; check the spelling and the network, and write / and # in a password as %2F and %23"
_NEVER_ANSWERED: Final = (
    f"the connection broke off before a picture, or was redirected more than {MOST_REDIRECTS} times; "
    "check the camera, its address and the network"
)
_PROXY_ADVICE: Final = f"correct {PROXY_VARIABLE}, or name the camera's host in no_proxy"
_NO_RTSP_VIDEO: Final = (  # FFmpeg says the same of both
    "what comes from there is no video, or claims to be larger than network.max_frame_mb and max_megapixels allow; "
    "check the path behind the host"
)
_NO_STREAM: Final = (
    "the server refuses it, or has no such stream; check application and stream behind the host, user and password"
)
_NO_SENT_VIDEO: Final = "what comes there is no video that can be read without a file about it; check the sender and the options"
_NO_DESCRIPTION: Final = (
    "what comes there is no MPEG-TS; RTP of other kinds needs the sender's SDP file: give its path as the source"
)
_OF_RTMP: Final[dict[type[Exception], str]] = {PermissionError: _NO_STREAM, av_error.UnknownError: _NO_STREAM}
_OF_RAW: Final[dict[type[Exception], str]] = {av_error.InvalidDataError: _NO_SENT_VIDEO, av_error.ArgumentError: _NO_SENT_VIDEO}
_BY_SCHEME: Final = {
    "rtmp": _OF_RTMP,
    "rtmps": _OF_RTMP,
    "udp": _OF_RAW,
    "tcp": _OF_RAW,
    "rtp": dict.fromkeys(_OF_RAW, _NO_DESCRIPTION),
}
"""What will be no better next time, where the same error of FFmpeg means something else."""
_TLS: Final = ("https", "rtsps", "rtmps")
_RTSP: Final = ("rtsp", "rtsps")


def reason(error: av.FFmpegError | LimitReached) -> tuple[str, type[SourceOpenError]]:
    """Return what is wrong with a connection, and what that is while a source is opened."""
    if isinstance(error, LimitReached):
        return str(error), SourceRefused if error.is_final else SourceOpenError
    for kind, text in _REFUSALS.items():
        if isinstance(error, kind):
            return text, SourceRefused
    by_kind = (text for kind, text in _REASONS.items() if isinstance(error, kind))
    by_errno = _REASONS_BY_ERRNO.get(error.errno or 0, f"{error.strerror}; check host, port and path")
    return next(by_kind, by_errno), SourceOpenError


def reason_of_fetch(
    url: str, error: av.FFmpegError | LimitReached, allowance: Allowance, ca_file: str | None
) -> tuple[str, type[SourceOpenError]]:
    """Return why what a URL leads to cannot be had, also where a limit was reached or the time is up; see `reason_at_opening`."""
    if isinstance(error, LimitReached):
        return reason(error)
    if allowance.is_late:
        return f"{allowance.late()}{proxy_in_between(url)}", SourceOpenError
    return reason_at_opening(url, error, ca_file)


def reason_at_opening(url: str, error: av.FFmpegError, ca_file: str | None) -> tuple[str, type[SourceOpenError]]:
    """Return why a URL cannot be opened: where FFmpeg says no more than that something went wrong, look what it was.

    Args:
        url: What was opened.
        error: What FFmpeg said.
        ca_file: Whom certificates are trusted by where they were checked; None: they were not.
    """
    proxy = proxy_of(url)
    if proxy is not None and not isinstance(error, av_error.HTTPUnauthorizedError | av_error.HTTPNotFoundError):
        return _proxy_reason(proxy, error)
    for kind, text in _BY_SCHEME.get(scheme_of(url), {}).items():
        if isinstance(error, kind):
            return text, SourceRefused
    if isinstance(error, av_error.InvalidDataError) and scheme_of(url) in _RTSP:
        return _NO_RTSP_VIDEO, SourceRefused
    if error.errno != EIO:
        return reason(error)
    if not _has_address(url):
        return _UNKNOWN_HOST, SourceOpenError
    fault = certificate_fault(url, ca_file) if ca_file and scheme_of(url) in _TLS else None
    return (_NEVER_ANSWERED, SourceOpenError) if fault is None else (fault, SourceRefused)


def proxy_in_between(url: str) -> str:
    """Return what is to be said of a proxy where nothing came at all; empty where there is none."""
    proxy = proxy_of(url)
    return "" if proxy is None else f", asked through the proxy {_named(proxy)}; {_PROXY_ADVICE}"


def proxy_of(url: str) -> str | None:
    """Return the proxy that FFmpeg goes through to a URL, as the environment names it; None for none."""
    proxy = os.environ.get(PROXY_VARIABLE, "")
    if scheme_of(url) not in ("http", *_TLS) or not proxy.startswith("http://"):
        return None
    exempt = os.environ.get("no_proxy", "").replace(",", " ").split()
    return None if any(_matches(pattern, host_of(url) or "") for pattern in exempt) else proxy


def _matches(pattern: str, host: str) -> bool:
    """Return whether a pattern of `no_proxy` means a host, as FFmpeg understands it."""
    if pattern == "*":
        return True
    suffix = pattern.lstrip("*").lstrip(".")
    return host == suffix or host.endswith(f".{suffix}")


def _named(proxy: str) -> str:
    return f"{redact(proxy)}, which the environment variable {PROXY_VARIABLE} names"


def _proxy_reason(proxy: str, error: av.FFmpegError) -> tuple[str, type[SourceOpenError]]:
    kind: type[SourceOpenError] = SourceOpenError
    if isinstance(error, ConnectionRefusedError):
        what = "refused the connection"
    elif error.errno == EIO and not _has_address(proxy):
        what = "has a host that is not known"
    elif isinstance(error, av_error.HTTPClientError):
        what = "did not let the connection through (4xx)"
    elif isinstance(error, av_error.HTTPServerError):
        what = "failed, or did not reach the camera (5xx)"
    else:
        text, kind = reason(error)
        what = f"gave no answer of use: {text.partition(';')[0]}"
    return f"the proxy {_named(proxy)}, {what}; {_PROXY_ADVICE}", kind


def _has_address(url: str) -> bool:
    """Return whether the host of a URL is known; of one that is not FFmpeg says no more than that something went wrong."""
    try:
        return bool(socket.getaddrinfo(host_of(url), None))
    except (ValueError, socket.gaierror):
        return False
