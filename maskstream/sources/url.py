"""Cameras and video behind a URL, or what an SDP file describes, through PyAV."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from errno import EIO
from typing import Final

import av
from av import error as av_error
from loguru import logger

from maskstream.demuxing import demuxed
from maskstream.errors import SourceError, SourceOpenError, SourceRefused, StreamLost
from maskstream.protocols import Source
from maskstream.redaction import redact
from maskstream.settings import NetworkConfig, VideoConfig
from maskstream.sources.connection import Connection, Peer, PictureComes, Remembered, Transport
from maskstream.sources.failures import reason, reason_of_fetch
from maskstream.sources.limits import Allowance, LimitReached, limit_memory_of
from maskstream.sources.raw import RAW_SCHEMES, RawConnection
from maskstream.sources.rtmp import RTMP_SCHEMES, RtmpConnection
from maskstream.sources.rtsp import RTSP_SCHEMES, RtspConnection
from maskstream.sources.sdp import SdpConnection
from maskstream.sources.snapshots import SnapshotSource, UrlPictureSource
from maskstream.sources.srt import SRT_SCHEMES, SrtConnection
from maskstream.sources.video import Origin, VideoPacket, VideoSource
from maskstream.sources.web import HTTP_SCHEMES, HttpConnection

_CONNECTIONS: Final[dict[str, Callable[[Peer], Connection]]] = {
    **dict.fromkeys(RTSP_SCHEMES, RtspConnection),
    **dict.fromkeys(HTTP_SCHEMES, HttpConnection),
    **dict.fromkeys(RTMP_SCHEMES, RtmpConnection),
    **dict.fromkeys(SRT_SCHEMES, SrtConnection),
    **dict.fromkeys(RAW_SCHEMES, RawConnection),
}
"""By scheme."""
SCHEMES: Final = tuple(_CONNECTIONS)
"""Of the URLs that are read."""


class UrlSource(VideoSource):
    """A camera, a video on a server, or what is sent to this machine.

    What has no end is live: all but HTTP, and of HTTP what does not say how long it is, as MJPEG. A video on a server has the
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
            url: One of `SCHEMES`, with user and password where the camera wants them; or the path of an SDP file.
            config: Transport, certificates and limits.
            source_id: Its name in records; None for the URL without its password.
            remembered: What the last connection has found out; it is kept up to date.
            video: How its frames become pictures; None: as they say themselves.

        Raises:
            SourceOpenError: There is no answer in time, or no video.
            PictureComes: It is one picture; see `open_url`.
        """
        self._config = config
        self._allowance = Allowance(config)
        self._name = source_id or redact(url)
        self._remembered = remembered or Remembered()
        scheme, is_url, rest = url.partition("://")
        location = f"{scheme.lower()}://{rest}" if is_url else url
        peer = Peer(location, self._name, config, self._allowance, self._remembered)
        self._connection = (_CONNECTIONS[scheme.lower()] if is_url else SdpConnection)(peer)
        limit_memory_of(config)
        try:
            container = self._open_container()
            live = self._connection.is_live(container)
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
            self._connection.close()
            raise
        if container.format.name in ("mpjpeg", "mjpeg"):  # FFmpeg assumes 25 fps
            self.info = replace(self.info, average_fps=None)

    @property
    def transport(self) -> Transport | None:
        """By which RTSP comes; None where it is no RTSP."""
        return self._remembered.transport

    def _release(self) -> None:
        super()._release()
        self._connection.close()

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
            return self._connection.open()
        except (LimitReached, av.FFmpegError) as error:
            why, kind = reason_of_fetch(self._connection.url, error, self._allowance, self._connection.ca_file)
        raise kind(f"{self._name}: {why}")


def open_url(
    url: str,
    config: NetworkConfig,
    source_id: str | None = None,
    remembered: Remembered | None = None,
    video: VideoConfig | None = None,
) -> Source:
    """Connect, and open a stream, or a camera that gives one picture for each request; the arguments are those of `UrlSource`.

    Where `NetworkConfig.snapshot_s` is 0, a picture is only that, and read once.

    Raises:
        SourceOpenError: There is no answer in time, or neither video nor picture.
    """
    try:
        return UrlSource(url, config, source_id, remembered, video)
    except PictureComes as found:
        picture = found.picture
    if not config.snapshot_s:
        return UrlPictureSource(url, config, source_id, picture=picture)
    camera = SnapshotSource(url, config, source_id, video=video, picture=picture)
    if remembered is not None and not remembered.is_asked_said:
        remembered.is_asked_said = True
        how = f"it is asked for one every {config.snapshot_s:g} s (network.snapshot_s)"
        logger.info("{}: gives one picture at a time; {}", camera.info.source_id, how)
    return camera


class UrlOpener:
    """Opens a camera again and again, and remembers what each connection finds out."""

    def __init__(self, url: str, source_id: str, config: NetworkConfig, video: VideoConfig | None = None) -> None:
        """Open nothing yet; the arguments are those of `UrlSource`."""
        self._url = url
        self._source_id = source_id
        self._config = config
        self._video = video
        self._remembered = Remembered()

    def __call__(self) -> Source:
        """Connect; see `open_url`."""
        return open_url(self._url, self._config, self._source_id, self._remembered, self._video)
