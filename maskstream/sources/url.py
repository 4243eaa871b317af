"""Cameras and video behind a URL: RTSP and HTTP(S), through PyAV."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from errno import EIO, EPROTONOSUPPORT
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

import av
from av import error as av_error

from maskstream.errors import SourceError, SourceOpenError, SourceRefused, StreamLost, redact
from maskstream.settings import NetworkConfig, VideoConfig
from maskstream.sources.video import Origin, VideoPacket, VideoSource

SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
_RTSP: Final = ("rtsp", "rtsps")
_US: Final = 1_000_000
_ENOUGH_FOR_FPS: Final = 5  # frames; by itself FFmpeg watches 20 before it lets go, which are 4 s of a camera with 5 fps
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
    ConnectionResetError: "the connection was reset; check the camera and the network",
}
_REASONS_BY_ERRNO: Final = {
    EPROTONOSUPPORT: "the camera does not send this way; set network.transport to the other one of tcp and udp",
    EIO: "the connection broke off; check the camera, its address and the network",
}
_UNKNOWN_HOST: Final = "its host is not known; check the spelling and the network, and write / and # in a password as %2F and %23"


class UrlSource(VideoSource):
    """A camera, or a video on a server.

    What has no end is live: all of RTSP, and of HTTP what does not say how long it is, as MJPEG. A video on a server has the
    timestamps of its file and loses no frame. A camera's frames that arrived damaged are left out, unless the configuration
    keeps them. Where the server ends a live stream it is over; where it falls silent it is lost.

    Encrypted connections are not verified: the certificates of cameras are their own.
    """

    def __init__(self, url: str, config: NetworkConfig, source_id: str | None = None, video: VideoConfig | None = None) -> None:
        """Connect and decode the first frame.

        Args:
            url: rtsp://, rtsps://, http:// or https://, with user and password where the camera wants them.
            config: Transport and time limits.
            source_id: Its name in records; None for the URL without its password.
            video: How its frames become pictures; None: as they say themselves.

        Raises:
            SourceOpenError: There is no answer in time, or no video.
        """
        self._config = config
        name = source_id or redact(url)
        container = _open_container(url, name, config)
        live = container.format.name == "rtsp" or not container.duration
        super().__init__(container, Origin(name, live, keeps_damaged=config.keep_damaged or not live, video=video))
        if container.format.name == "mpjpeg":  # FFmpeg assumes 25 fps
            self.info = replace(self.info, average_fps=None)

    def _packets(self) -> Iterator[VideoPacket]:
        """Yield what is to be decoded: of a live stream from its first key frame on, for what comes before can only be grey."""
        decodable = not self._origin.live
        for packet in self._received():
            decodable = decodable or packet.is_keyframe
            if self._origin.live and packet.is_corrupt:
                self.damaged += 1
            elif decodable:
                yield packet

    def _received(self) -> Iterator[VideoPacket]:
        """Yield the packets of the picture while they come in time.

        Sound is read and left out here: inside FFmpeg it would let a picture that has stopped wait for ever.
        """
        limit_s = self._config.open_timeout_s
        deadline_s = monotonic() + limit_s
        try:
            for packet in self._container.demux():
                if monotonic() > deadline_s:  # when its time is up, FFmpeg first hands out what it still has
                    raise self._failure(_too_late(limit_s))
                if packet.stream is self._stream:
                    yield packet
                    if self._is_open:
                        limit_s = self._config.read_timeout_s
                        deadline_s = monotonic() + limit_s
        except av.FFmpegError as error:
            if not (self._origin.live and error.errno == EIO):  # its word for an end where no length was promised
                late = monotonic() > deadline_s or isinstance(error, av_error.ExitError)
                raise (self._failure(_too_late(limit_s)) if late else self._failure(*_reason(error))) from None

    def _failure(self, reason: str, kind: type[SourceOpenError] = SourceOpenError) -> SourceError:
        name = self._origin.source_id
        return StreamLost(f"{name}: lost: {reason}") if self._is_open else kind(f"{name}: {reason}")


def _open_container(url: str, name: str, config: NetworkConfig) -> av.container.InputContainer:
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    started_s = monotonic()
    try:
        return av.open(
            f"{scheme}://{rest}",
            metadata_errors="replace",
            options={"tls_verify": "0"} | (_rtsp_options(config) if scheme in _RTSP else {}),
            timeout=(config.open_timeout_s, config.read_timeout_s),
        )
    except av.FFmpegError as error:
        if monotonic() - started_s > config.open_timeout_s:
            reason, kind = _too_late(config.open_timeout_s), SourceOpenError
        elif error.errno == EIO and not _has_address(url):
            reason, kind = _UNKNOWN_HOST, SourceOpenError
        else:
            reason, kind = _reason(error)
        raise kind(f"{name}: {reason}") from None  # FFmpeg's own error has the password in it


def _rtsp_options(config: NetworkConfig) -> dict[str, str]:
    longest_s = max(config.open_timeout_s, config.read_timeout_s)  # FFmpeg has one limit for all, PyAV keeps the two
    return {
        "rtsp_transport": config.transport,
        "allowed_media_types": "video",
        "fpsprobesize": str(_ENOUGH_FOR_FPS),
        "timeout": str(round(longest_s * _US)),
    }


def _too_late(limit_s: float) -> str:
    return f"no picture within {limit_s:g} s; check host and port, and that the camera is on"


def _reason(error: av.FFmpegError) -> tuple[str, type[SourceOpenError]]:
    """Return what is wrong, and what that is while a source is opened."""
    for kind, reason in _REFUSALS.items():
        if isinstance(error, kind):
            return reason, SourceRefused
    by_kind = (reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    by_errno = _REASONS_BY_ERRNO.get(error.errno or 0, f"{error.strerror}; check host, port and path")
    return next(by_kind, by_errno), SourceOpenError


def _has_address(url: str) -> bool:
    """Return whether the host of a URL is known; of one that is not FFmpeg says no more than that something went wrong."""
    try:
        return bool(socket.getaddrinfo(urlsplit(url).hostname, None))
    except (ValueError, socket.gaierror):
        return False
