"""Explain why a connection to a camera failed, and what the user can do."""

import os
import socket
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, EIO, ENODEV, ENOMEM, EPROTONOSUPPORT
from typing import Final

import av
from av import error as av_error

from maskstream.errors import SourceOpenError, SourceRefused
from maskstream.redaction import redact
from maskstream.sources.limits import Allowance, LimitReached
from maskstream.sources.redirects import MAX_REDIRECTS
from maskstream.sources.tls import certificate_fault
from maskstream.sources.url_parts import RTMP_SCHEMES, RTSP_SCHEMES, TLS_SCHEMES, host_of, scheme_of

PROXY_VARIABLE: Final = "http_proxy"
"""The environment variable that FFmpeg reads, for http://, https:// and rtsps://."""
NEEDS_SEEKING: Final = (
    "cannot be read without seeking: the index of the file is at its end, and the server does not support range requests; "
    "move the index to the front with ffmpeg -i FILE -c copy -movflags +faststart OUTPUT, download the file, "
    "or enable range requests on the server"
)
PIPE_NEEDS_SEEKING: Final = (
    "cannot be read without seeking: the index of this MP4 is at its end; write it with ffmpeg -movflags +faststart, "
    "send MPEG-TS or Matroska, or give the path of the file"
)
_FINAL: Final[dict[type[Exception], str]] = {
    av_error.HTTPUnauthorizedError: "user or password is missing or wrong (401); "
    "give them as user:password@host, and write @ in them as %40",
    av_error.HTTPForbiddenError: "this user has no permission to view it (403); check the user's rights in the camera",
    av_error.HTTPNotFoundError: "the path does not exist (404); check the path after the host",
    av_error.InvalidDataError: "the server sends no video; check the path after the host",
    av_error.ArgumentError: "the URL is not valid; check host and port, and write / and # in a password as %2F and %23",
}
"""Errors that the next attempt would meet again."""
_TEMPORARY: Final[dict[type[Exception], str]] = {
    av_error.HTTPServerError: "the server failed (5xx); restart the camera, or try again later",
    ConnectionRefusedError: "the connection was refused; check host and port, and that the camera is on",
    av_error.EOFError: "the stream ended before the first frame; check the camera, and the path after the host",
    ConnectionResetError: "the connection was reset; check the camera and the network",
}
_TEMPORARY_BY_ERRNO: Final = {
    EACCES: "it refers to an address that is not allowed; check the path after the host",
    EPROTONOSUPPORT: "the camera does not support this transport; set network.transport to auto",
    EIO: "the connection broke off; check the camera, its address and the network",
    EADDRINUSE: "another program receives at this port; stop it, or send the stream to another port",
    EADDRNOTAVAIL: "this machine does not have that address; give one of its own addresses, or 0.0.0.0",
    ENODEV: "no network interface of this machine can receive from that multicast group; "
    "give the address of an interface as ?localaddr=ADDRESS",
    ENOMEM: "its frames claim more memory than allowed; raise network.max_frame_mb or network.max_megapixels",
}
_UNKNOWN_HOST: Final = "the host is not known; check the spelling and the network, and write / and # in a password as %2F and %23"
_NEVER_ANSWERED: Final = (
    f"the connection broke off before the first frame, or was redirected more than {MAX_REDIRECTS} times; "
    "check the camera, its address and the network"
)
_PROXY_ADVICE: Final = f"correct {PROXY_VARIABLE}, or add the camera's host to no_proxy"
_NO_RTSP_VIDEO: Final = (  # FFmpeg reports the same error for both
    "the server sends no video, or frames that are larger than network.max_frame_mb and network.max_megapixels allow; "
    "check the path after the host"
)
_NO_RTMP_STREAM: Final = (
    "the server refuses the stream, or does not have it; check application and stream after the host, user and password"
)
_NO_UDP_VIDEO: Final = "the received data cannot be read as video without a description; check the sender and the options"
_NO_RTP_DESCRIPTION: Final = (
    "the received data is not MPEG-TS; other kinds of RTP need the sender's SDP file: give its path as the source"
)
_RTSP_ERRORS: Final[dict[type[Exception], str]] = {av_error.InvalidDataError: _NO_RTSP_VIDEO}
_RTMP_ERRORS: Final[dict[type[Exception], str]] = {
    PermissionError: _NO_RTMP_STREAM,
    av_error.UnknownError: _NO_RTMP_STREAM,
}
_UDP_ERRORS: Final[dict[type[Exception], str]] = {
    av_error.InvalidDataError: _NO_UDP_VIDEO,
    av_error.ArgumentError: _NO_UDP_VIDEO,
}
_FINAL_BY_SCHEME: Final = {
    **dict.fromkeys(RTSP_SCHEMES, _RTSP_ERRORS),
    **dict.fromkeys(RTMP_SCHEMES, _RTMP_ERRORS),
    "udp": _UDP_ERRORS,
    "tcp": _UDP_ERRORS,
    "rtp": dict.fromkeys(_UDP_ERRORS, _NO_RTP_DESCRIPTION),
}
"""Errors that mean something else with these schemes, and that the next attempt would meet again."""


def reason(error: av.FFmpegError | LimitReached) -> tuple[str, type[SourceOpenError]]:
    """Return why a connection failed, and the exception to raise for it when a source is opened."""
    if isinstance(error, LimitReached):
        return str(error), SourceRefused if error.is_final else SourceOpenError
    for kind, text in _FINAL.items():
        if isinstance(error, kind):
            return text, SourceRefused
    for kind, text in _TEMPORARY.items():
        if isinstance(error, kind):
            return text, SourceOpenError
    return _TEMPORARY_BY_ERRNO.get(error.errno or 0, f"{error.strerror}; check host, port and path"), SourceOpenError


def reason_of_fetch(
    url: str, error: av.FFmpegError | LimitReached, allowance: Allowance, ca_file: str | None
) -> tuple[str, type[SourceOpenError]]:
    """Return why a URL cannot be read, also after a limit or the time limit was reached; see `reason_at_opening`."""
    if isinstance(error, LimitReached):
        return reason(error)
    if not allowance.is_late:
        return reason_at_opening(url, error, ca_file)
    proxy = proxy_of(url)
    through = "" if proxy is None else f", through the proxy {_proxy_name(proxy)}; {_PROXY_ADVICE}"
    return f"{allowance.late()}{through}", SourceOpenError


def reason_at_opening(url: str, error: av.FFmpegError, ca_file: str | None) -> tuple[str, type[SourceOpenError]]:
    """Return why a URL cannot be opened. If FFmpeg gives no cause, check host and certificate.

    Args:
        url: The URL that was opened.
        error: The error of FFmpeg.
        ca_file: File with trusted certificate authorities; None: the certificate was not checked.
    """
    proxy = proxy_of(url)
    if proxy is not None and not isinstance(error, av_error.HTTPUnauthorizedError | av_error.HTTPNotFoundError):
        return _proxy_reason(proxy, error)
    for kind, text in _FINAL_BY_SCHEME.get(scheme_of(url), {}).items():
        if isinstance(error, kind):
            return text, SourceRefused
    if error.errno != EIO:
        return reason(error)
    if not _has_address(url):
        return _UNKNOWN_HOST, SourceOpenError
    fault = certificate_fault(url, ca_file) if ca_file and scheme_of(url) in TLS_SCHEMES else None
    return (_NEVER_ANSWERED, SourceOpenError) if fault is None else (fault, SourceRefused)


def proxy_of(url: str) -> str | None:
    """Return the proxy that FFmpeg uses for a URL, from the environment; None if it uses none."""
    proxy = os.environ.get(PROXY_VARIABLE, "")
    if scheme_of(url) not in ("http", *TLS_SCHEMES) or not proxy.startswith("http://"):
        return None
    host = host_of(url) or ""
    for pattern in os.environ.get("no_proxy", "").replace(",", " ").split():  # compared by FFmpeg's rules
        suffix = pattern.lstrip("*").lstrip(".")
        if pattern == "*" or host == suffix or host.endswith(f".{suffix}"):
            return None
    return proxy


def _proxy_name(proxy: str) -> str:
    return f"{redact(proxy)} (environment variable {PROXY_VARIABLE})"


def _proxy_reason(proxy: str, error: av.FFmpegError) -> tuple[str, type[SourceOpenError]]:
    kind: type[SourceOpenError] = SourceOpenError
    if isinstance(error, ConnectionRefusedError):
        what = "refused the connection"
    elif error.errno == EIO and not _has_address(proxy):
        what = "has a host that is not known"
    elif isinstance(error, av_error.HTTPClientError):
        what = "does not allow the connection (4xx)"
    elif isinstance(error, av_error.HTTPServerError):
        what = "failed, or did not reach the camera (5xx)"
    else:
        text, kind = reason(error)
        what = f"gave no usable answer: {text.partition(';')[0]}"
    return f"the proxy {_proxy_name(proxy)} {what}; {_PROXY_ADVICE}", kind


def _has_address(url: str) -> bool:
    """Return whether the host of a URL is known: FFmpeg reports an unknown host as a general error."""
    try:
        return bool(socket.getaddrinfo(host_of(url), None))
    except (ValueError, socket.gaierror):
        return False
