"""Cameras and video behind a URL: RTSP and HTTP(S), through PyAV."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from errno import EIO, EPROTONOSUPPORT
from time import sleep
from typing import Final, Literal

import av
from av import error as av_error
from loguru import logger

from maskstream.demuxing import demuxed
from maskstream.errors import SourceError, SourceOpenError, SourceRefused, StreamLost
from maskstream.redaction import redact
from maskstream.settings import NetworkConfig, VideoConfig
from maskstream.sources import tls
from maskstream.sources.failures import proxy_in_between, reason, reason_at_opening
from maskstream.sources.http import MOST_REDIRECTS, PROTOCOLS, HttpOpener
from maskstream.sources.limits import Allowance, LimitReached, limit_memory_of
from maskstream.sources.rtsp_redirect import redirected_to
from maskstream.sources.video import Origin, VideoPacket, VideoSource

SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
Transport = Literal["tcp", "udp"]
_RTSP: Final = ("rtsp", "rtsps")
_RTSP_PROTOCOLS: Final = "rtp,srtp,udp,tcp,tls,httpproxy"
_US: Final = 1_000_000
_PAUSES_S: Final = (0.3, 0.9)
_ENOUGH_FOR_FPS: Final = 5  # frames; by itself FFmpeg watches 20 before it lets go, which are 4 s of a camera with 5 fps
_MAY_BE_TRANSPORT: Final = (
    *(av_error.HTTPBadRequestError, av_error.HTTPOtherClientError),
    *(av_error.HTTPServerError, av_error.InvalidDataError),
)
"""What servers answer to a transport that they do not have, where they do not say so with status 461."""


@dataclass
class Remembered:
    """What is known of a camera from one connection to the next."""

    transport: Transport | None = None
    """By which RTSP came, where that was tried."""
    has_warned: bool = False
    """Whether it was said that its certificate is not checked."""


class UrlSource(VideoSource):
    """A camera, or a video on a server.

    What has no end is live: all of RTSP, and of HTTP what does not say how long it is, as MJPEG. A video on a server has the
    timestamps of its file and loses no frame. A camera's frames that arrived damaged are left out, unless the configuration
    keeps them. Where the server ends a live stream it is over; where it falls silent it is lost.

    Certificates are checked as `NetworkConfig.verify_tls` says. What a peer may send or claim is limited (`limits.py`).
    """

    def __init__(
        self,
        url: str,
        config: NetworkConfig,
        source_id: str | None = None,
        remembered: Remembered | None = None,
        video: VideoConfig | None = None,
    ) -> None:
        """Connect and decode the first frame.

        Args:
            url: rtsp://, rtsps://, http:// or https://, with user and password where the camera wants them.
            config: Transport, certificates and limits.
            source_id: Its name in records; None for the URL without its password.
            remembered: What the last connection has found out; it is kept up to date.
            video: How its frames become pictures; None: as they say themselves.

        Raises:
            SourceOpenError: There is no answer in time, or no video.
        """
        self._config = config
        self._allowance = Allowance(config)
        self._name = source_id or redact(url)
        self._remembered = remembered or Remembered()
        scheme, _, rest = url.partition("://")
        self._url = f"{scheme.lower()}://{rest}"
        self._ca_file = tls.trusted_by(self._url, self._name, config)
        self._http = HttpOpener(tls.options(self._ca_file), self._allowance, self._say_missing)
        self._missing_was_said = False
        limit_memory_of(config)
        try:
            container = self._open_container()
            live = container.format.name == "rtsp" or not container.duration
            origin = Origin(
                self._name,
                live,
                keeps_damaged=config.keep_damaged or not live,
                most_pixels=config.max_megapixels * 1e6,
                pixels_setting="network.max_megapixels",
                video=video,
            )
            super().__init__(container, origin)
        except BaseException:
            self._http.close()
            raise
        if container.format.name == "mpjpeg":  # FFmpeg assumes 25 fps
            self.info = replace(self.info, average_fps=None)

    @property
    def transport(self) -> Transport | None:
        """By which RTSP comes; None where it is no RTSP."""
        return self._remembered.transport

    def _release(self) -> None:
        super()._release()
        self._http.close()

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
        self._allowance.renew(self._config.open_timeout_s)
        try:
            for packet in self._demuxed():
                if self._allowance.is_late:  # when its time is up, FFmpeg first hands out what it still has
                    raise self._allowance.late()
                if packet.stream is self._stream:
                    yield packet
                    if self._is_open:
                        self._allowance.renew(self._config.read_timeout_s)
        except LimitReached as reached:
            raise self._failure(str(reached), SourceRefused if reached.is_final else SourceOpenError) from None
        except av.FFmpegError as error:
            if not (self._origin.live and error.errno == EIO):  # its word for an end where no length was promised
                late = self._allowance.is_late or isinstance(error, av_error.ExitError)
                raise (self._failure(str(self._allowance.late())) if late else self._failure(*reason(error))) from None

    def _demuxed(self) -> Iterator[VideoPacket]:
        """Yield all packets; PyAV takes its limit on each of them from `_allowance` where `demux` begins."""
        for packet in demuxed(self._container):
            yield packet
            if self._is_open:
                break
        yield from demuxed(self._container)

    def _failure(self, why: str, kind: type[SourceOpenError] = SourceOpenError) -> SourceError:
        return StreamLost(f"{self._name}: lost: {why}") if self._is_open else kind(f"{self._name}: {why}")

    def _open_container(self) -> av.container.InputContainer:
        """Connect; FFmpeg's own errors, which have the password in them, stay here."""
        try:
            if not self._url.startswith(_RTSP):
                return self._open_http()
            if self._url.startswith("rtsps") and self._ca_file is None:
                self._warn_of_certificate()
            return self._follow_rtsp()
        except LimitReached as reached:
            why, kind = str(reached), SourceRefused if reached.is_final else SourceOpenError
        except av.FFmpegError as error:
            if self._allowance.is_late:
                why, kind = f"{self._allowance.late()}{proxy_in_between(self._url)}", SourceOpenError
            else:
                why, kind = reason_at_opening(self._url, error, self._ca_file)
        raise kind(f"{self._name}: {why}")

    def _open_http(self) -> av.container.InputContainer:
        return av.open(
            self._url,
            format=self._http.open_first(self._url),
            metadata_errors="replace",
            io_open=self._http,
            options={"protocol_whitelist": PROTOCOLS, "http_persistent": "0", "http_multiple": "0"},  # else HLS bypasses io_open
            timeout=(self._allowance, self._allowance),  # type: ignore[arg-type]  # read by float()
        )

    def _follow_rtsp(self) -> av.container.InputContainer:
        """Connect, and follow redirects to other RTSP servers."""
        for _ in range(MOST_REDIRECTS + 1):
            try:
                return self._open_rtsp()
            except av_error.ArgumentError:  # as `rtsp` is not among the protocols that FFmpeg may go on with
                target = redirected_to(self._url, self._allowance, self._ca_file)
                if target is None:
                    raise
                self._url, self._ca_file = target, tls.trusted_by(target, self._name, self._config)
        raise LimitReached(f"it was redirected more than {MOST_REDIRECTS} times; check the camera")

    def _open_rtsp(self) -> av.container.InputContainer:
        """Connect by the transport that is set; for `auto` as last time, else by TCP, and then by the other one."""
        wanted = self._config.transport
        if wanted != "auto":
            return self._open_rtsp_by(wanted)
        first: Transport = self._remembered.transport or "tcp"
        other: Transport = "udp" if first == "tcp" else "tcp"
        try:
            return self._open_rtsp_by(first)
        except av.FFmpegError as error:
            about_transport = error.errno == EPROTONOSUPPORT or isinstance(error, _MAY_BE_TRANSPORT)
            if self._allowance.is_late or not about_transport:
                raise
            refused = error
        try:
            container = self._open_rtsp_after_refusal(other)
        except (av.FFmpegError, LimitReached):
            if self._allowance.is_late:
                raise LimitReached(
                    f"it refuses {first.upper()}, and over {other.upper()} nothing arrives; check firewalls on the way",
                    is_final=False,
                ) from None
            raise refused from None
        logger.info("{}: it refuses {}, therefore it is read over {}", self._name, first.upper(), other.upper())
        return container

    def _open_rtsp_after_refusal(self, transport: Transport) -> av.container.InputContainer:
        """Connect; a camera may be busy for a moment with the end of the connection that it has refused."""
        for pause_s in _PAUSES_S:
            try:
                return self._open_rtsp_by(transport)
            except av_error.HTTPServerError:
                sleep(min(pause_s, float(self._allowance)))
        return self._open_rtsp_by(transport)

    def _open_rtsp_by(self, transport: Transport) -> av.container.InputContainer:
        longest_s = max(
            self._config.open_timeout_s, self._config.read_timeout_s
        )  # FFmpeg has one limit for all, PyAV keeps the two
        container = av.open(
            self._url,
            metadata_errors="replace",
            options={
                "rtsp_transport": transport,
                "allowed_media_types": "video",
                "fpsprobesize": str(_ENOUGH_FOR_FPS),
                "timeout": str(round(longest_s * _US)),
                "protocol_whitelist": _RTSP_PROTOCOLS,
                **tls.options(self._ca_file),
            },
            timeout=(self._allowance, self._allowance),  # type: ignore[arg-type]  # read by float()
        )
        if self._allowance.is_late:  # and nothing was understood, which is no error to FFmpeg
            container.close()
            raise self._allowance.late()
        self._remembered.transport = transport
        return container

    def _warn_of_certificate(self) -> None:
        if not self._remembered.has_warned and self._config.verify_tls == "auto":
            self._remembered.has_warned = True
            logger.warning(
                "{}: its certificate is not checked; to check it set network.verify_tls to true, and network.ca_file to the "
                "certificate of the camera",
                self._name,
            )

    def _say_missing(self, url: str, error: av.FFmpegError) -> None:
        if not self._missing_was_said:
            self._missing_was_said = True
            why, _ = reason_at_opening(url, error, self._ca_file)
            logger.warning("{}: a part of it is left out: {}: {}", self._name, redact(url), why)


class UrlOpener:
    """Opens a camera again and again, and remembers what each connection finds out."""

    def __init__(self, url: str, source_id: str, config: NetworkConfig, video: VideoConfig | None = None) -> None:
        """Open nothing yet; the arguments are those of `UrlSource`."""
        self._url = url
        self._source_id = source_id
        self._config = config
        self._video = video
        self._remembered = Remembered()

    def __call__(self) -> UrlSource:
        """Connect.

        Raises:
            SourceOpenError: There is no answer in time, or no video.
        """
        return UrlSource(self._url, self._config, self._source_id, self._remembered, self._video)
