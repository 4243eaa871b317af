"""Cameras and video behind a URL: RTSP and HTTP(S), through PyAV."""

from typing import Final
from urllib.parse import urlsplit

import av
from av import error as av_error

from maskstream.config import NetworkConfig
from maskstream.errors import SourceOpenError, StreamLost, redact
from maskstream.sources.video import Origin, VideoSource

SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
_RTSP: Final = ("rtsp", "rtsps")
_US: Final = 1_000_000
_REASONS: Final[dict[type[Exception], str]] = {
    av_error.HTTPUnauthorizedError: "user or password is missing or wrong (401); write them as rtsp://user:password@host/...",
    av_error.HTTPForbiddenError: "this user may not see it (403); check the user's rights in the camera",
    av_error.HTTPNotFoundError: "nothing is there (404); check the path behind the host",
    ConnectionRefusedError: "the connection was refused; check host and port, and that the camera is on",
    av_error.ExitError: "no answer within {timeout_s:g} s; check host and port, and that the camera is on",
    TimeoutError: "no answer within {timeout_s:g} s; check host and port, and that the camera is on",
    av_error.InvalidDataError: "what comes from there is no video",
}


class UrlSource(VideoSource):
    """A camera, or a video on a server.

    What has no end is live: all of RTSP, and of HTTP what does not say how long it is, as MJPEG. A video on a server has the
    timestamps of its file and loses no frame.
    """

    def __init__(self, url: str, config: NetworkConfig, source_id: str | None = None) -> None:
        """Connect and decode the first frame.

        Args:
            url: rtsp://, rtsps://, http:// or https://, with user and password where the camera wants them.
            config: Transport and time limits.
            source_id: Its name in records; None for the URL without its password.

        Raises:
            SourceOpenError: There is no answer in time, or no video.
        """
        self._config = config
        name = source_id or redact(url)
        container = _open_container(url, name, config)
        super().__init__(container, Origin(name, live=_is_live(url, container)))

    def _broke_off(self, error: av.FFmpegError) -> None:
        raise StreamLost(f"{self._origin.source_id}: lost: {_reason(error, self._config.read_timeout_s)}") from error


def _is_live(url: str, container: av.container.InputContainer) -> bool:
    return urlsplit(url).scheme in _RTSP or not container.duration


def _open_container(url: str, name: str, config: NetworkConfig) -> av.container.InputContainer:
    options = {"rtsp_transport": config.transport, "timeout": str(round(config.open_timeout_s * _US))}
    try:
        return av.open(
            url,
            metadata_errors="replace",
            options=options if urlsplit(url).scheme in _RTSP else {},
            timeout=(config.open_timeout_s, config.read_timeout_s),
        )
    except av.FFmpegError as error:
        raise SourceOpenError(f"{name}: {_reason(error, config.open_timeout_s)}") from error


def _reason(error: av.FFmpegError, timeout_s: float) -> str:
    known = (reason for kind, reason in _REASONS.items() if isinstance(error, kind))
    return next(known, f"{error.strerror}; check host, port and path").format(timeout_s=timeout_s)
