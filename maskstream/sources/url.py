"""Cameras and video behind a URL, or what an SDP file describes, through PyAV."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from errno import EIO
from fractions import Fraction
from threading import Event
from typing import Final

import av
from av import error as av_error
from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.schema import NetworkConfig, VideoConfig
from maskstream.errors import SourceError, SourceOpenError, SourceUnreadable, StreamLost
from maskstream.io.demuxing import demuxed
from maskstream.protocols import Source
from maskstream.redaction import redact
from maskstream.sources.connection import Connection, ImageComes, Peer, Remembered, Transport
from maskstream.sources.connection_errors import NEEDS_SEEKING, reason, reason_of_fetch
from maskstream.sources.http import GUESSED_RATE, HTTP_SCHEMES, HttpConnection
from maskstream.sources.limits import Allowance, LimitReached, limit_memory_of
from maskstream.sources.mjpeg import MJPEG_FORMATS
from maskstream.sources.pacing import Pacer
from maskstream.sources.read_ahead import ReadAhead
from maskstream.sources.rtmp import RTMP_SCHEMES, RtmpConnection
from maskstream.sources.rtsp import RTSP_SCHEMES, RtspConnection
from maskstream.sources.sdp import SdpConnection
from maskstream.sources.snapshot_url import SnapshotSource, UrlImageSource
from maskstream.sources.srt import SRT_SCHEMES, SrtConnection
from maskstream.sources.udp_rtp import RAW_SCHEMES, RawConnection
from maskstream.sources.video import Decoded, Origin, VideoPacket, VideoSource
from maskstream.types import Frame

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
_LONE_IMAGES: Final = 2
"""A camera whose answers end after one picture so many times in a row is asked for one picture at a time."""
_LONGEST_BEHIND_S: Final = 10.0
"""A decoder that is later than this has no time for all frames: those that wait are passed over."""


class UrlSource(VideoSource):
    """A camera, a video on a server, or what is sent to this machine.

    A video on a server has the timestamps of its file and loses no frame. It is a file where the server says how many bytes it
    has, or the container how long it lasts, or the playlist that it is complete. Live is

    - all but HTTP, and MJPEG in parts;
    - a playlist that does not say that it is complete;
    - without a length, what cameras and broadcasts send: MPEG-TS, FLV, and bare H.264, HEVC and MJPEG;
    - without a length and a duration, Matroska, WebM, MP4, Ogg and ASF.

    The last two are files where they come much faster than they last (`live_detection.py`).

    A live stream that ends is lost, and may be opened again. The last of these, and a playlist to which its server adds that it
    is complete, have an end instead: `is_over`. What breaks off or falls silent is always lost: after `network.read_timeout_s`,
    and with a playlist after the time of two of its segments more.

    Frames of a live stream over HTTP that has timestamps are handed out when they are due (`pacing.py`), as it may arrive in
    bursts. `Frame.time_s` is then the stream's own clock, and `captured_at_s` and `wall_time` say when a frame was handed out. It
    is read ahead by a thread of its own. Other live frames are handed out when they arrive; `Frame.time_s` then counts from the
    opening. A camera's frames that arrived damaged are left out, unless the configuration keeps them.

    Certificates are checked as `NetworkConfig.verify_tls` says. What a peer may send or claim is limited (`limits.py`).
    """

    def __init__(
        self,
        url: str,
        config: NetworkConfig,
        source_id: str | None = None,
        remembered: Remembered | None = None,
        video: VideoConfig | None = None,
        clock: Clock = MONOTONIC,
    ) -> None:
        """Connect and decode the first frame.

        Args:
            url: One of `SCHEMES`, with user and password where the camera wants them; or the path of an SDP file.
            config: Transport, certificates and limits.
            source_id: Its name in records; None for the URL without its password.
            remembered: What the last connection has found out; it is kept up to date.
            video: How its frames become pictures; None: as they say themselves.
            clock: Says when frames arrive and are due.

        Raises:
            SourceOpenError: There is no answer in time, or no video.
            ImageComes: It is one picture; see `open_url`.
        """
        self._config = config
        self._clock = clock
        self._closing = Event()
        self._pacer: Pacer | None = None
        self._ahead: ReadAhead[VideoPacket] | None = None
        self._packets_received = self._received()
        self._arrived_s = self._behind_s = 0.0
        self._has_ended = self._is_open = False
        self._allowance = Allowance(config)
        self._name = source_id or redact(url)
        self._remembered = remembered or Remembered()
        scheme, is_url, rest = url.partition("://")
        location = f"{scheme.lower()}://{rest}" if is_url else url
        peer = Peer(location, self._name, config, self._allowance, self._remembered)
        self._early = peer.early
        connect = _CONNECTIONS[scheme.lower()] if is_url else SdpConnection
        self._connection = connect(peer)
        limit_memory_of(config)
        try:
            container = self._open_container()
            live = self._remembered.was_live = self._connection.is_live(container)
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
        if live and self._connection.is_paced(container):
            self._pacer = Pacer()
            self._ahead = ReadAhead(self._packets_received, lambda packet: packet.size, self._disconnect, clock)
        if (live and not self._stream.average_rate) or container.format.name in GUESSED_RATE:
            self.info = replace(self.info, average_fps=None)

    @property
    def transport(self) -> Transport | None:
        """By which RTSP comes; None where it is no RTSP."""
        return self._remembered.transport

    @property
    def is_over(self) -> bool:
        """Whether a live stream has come to its end, so that there is no use in opening it again."""
        return self._has_ended and self._connection.end_is_final(self._container)

    def close(self) -> None:
        """Close the connection; a reader in another thread comes to its end, also where it waits for a frame to be due."""
        self._closing.set()
        self._allowance.is_used_up = True
        if self._ahead is not None:
            self._ahead.stop()
        super().close()

    def _release(self) -> None:
        self._decoded.close()
        if self._ahead is not None:
            self._ahead.close()
        else:
            self._disconnect()

    def _disconnect(self) -> None:
        self._container.close()
        self._connection.close()

    def _frame(self, index: int, decoded: Decoded, capture_ms: float) -> Frame | None:
        """Return a frame when it is due; None where the source was closed meanwhile."""
        if index <= 1:
            is_lone = index == 0 and self._container.format.name in MJPEG_FORMATS
            self._remembered.lone_images = self._remembered.lone_images + 1 if is_lone else 0
        frame = super()._frame(index, decoded, capture_ms)
        if self._pacer is None or frame is None:
            return frame
        shown = decoded.arrived.video_frame
        pts_s = None if shown.pts is None else float(shown.pts * Fraction(shown.time_base or 0))
        turn = self._pacer.turn(pts_s, self._arrived_s or self._clock.now_s(), self._clock.now_s())
        self._behind_s = self._clock.now_s() - turn.due_s
        if self._clock.wait(self._closing, max(0.0, -self._behind_s)):
            return None
        return replace(frame, time_s=turn.time_s, captured_at_s=self._clock.now_s(), wall_time=datetime.now(UTC))

    def _packets(self) -> Iterator[VideoPacket]:
        """Yield what is to be decoded: of a live stream from its first key frame on, for what comes before can only be grey."""
        decodable = not self._origin.live
        for packet in self._arriving():
            decodable = decodable or packet.is_keyframe
            if self._origin.live and packet.is_corrupt:
                self.damaged += 1
            elif decodable:
                yield packet

    def _arriving(self) -> Iterator[VideoPacket]:
        """Yield packets as they arrive; once they are read ahead, those that wait."""
        for packet in self._packets_received:
            yield packet
            if self._ahead is not None:
                break
        if self._ahead is None:
            return
        for packet, arrived_s in self._ahead:
            self._arrived_s = arrived_s
            yield packet
            if self._behind_s > _LONGEST_BEHIND_S and (skipped := self._ahead.skip_to_last(lambda one: one.is_keyframe)):
                logger.warning("{}: decoding is {:.0f} s late: {} frames are passed over", self._name, self._behind_s, skipped)

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
                        self._allowance.renew(self._config.read_timeout_s + self._connection.patience_s())
            self._has_ended = True
        except LimitReached as reached:
            raise self._failure(*self._reason(reached)) from None
        except av.FFmpegError as error:
            if not (self._origin.live and error.errno == EIO):  # its word for an end where no length was promised
                late = self._allowance.is_late or isinstance(error, av_error.ExitError)
                raise self._failure(*self._reason(self._allowance.late() if late else error)) from None
            self._has_ended = True

    def _demuxed(self) -> Iterator[VideoPacket]:
        """Yield all packets; PyAV takes its limit on each of them from `_allowance` where `demux` begins."""
        while self._early:
            yield self._early.pop(0)
        for packet in demuxed(self._container):
            yield packet
            if self._is_open and packet.size:
                yield from demuxed(self._container)
                return

    def _reason(self, error: av.FFmpegError | LimitReached) -> tuple[str, type[SourceOpenError]]:
        return (NEEDS_SEEKING, SourceUnreadable) if self._lacks_seeking(error) else reason(error)

    def _lacks_seeking(self, error: Exception) -> bool:
        """Return whether an error may come of an index at the end of a file; of a limit, where all came before it."""
        is_sign = isinstance(error, LimitReached | av_error.InvalidDataError | av_error.ExitError)
        return is_sign and not self._is_open and self._connection.needs_seeking()

    def _failure(self, why: str, kind: type[SourceOpenError] = SourceOpenError) -> SourceError:
        return StreamLost(f"{self._name}: lost: {why}") if self._is_open else kind(f"{self._name}: {why}")

    def _open_container(self) -> av.container.InputContainer:
        """Connect; FFmpeg's own errors, which have the password in them, stay here."""
        try:
            return self._connection.open()
        except (LimitReached, av.FFmpegError) as error:
            if self._lacks_seeking(error):
                raise SourceUnreadable(f"{self._name}: {NEEDS_SEEKING}") from None
            why, kind = reason_of_fetch(self._connection.url, error, self._allowance, self._connection.ca_file)
        raise kind(f"{self._name}: {why}")


def open_url(
    url: str,
    config: NetworkConfig,
    source_id: str | None = None,
    remembered: Remembered | None = None,
    video: VideoConfig | None = None,
    clock: Clock = MONOTONIC,
) -> Source:
    """Connect, and open a stream, or a camera that gives one picture for each request; the arguments are those of `UrlSource`.

    Such a camera is one, too, whose Motion JPEG broke off after one picture several times in a row. Where
    `NetworkConfig.snapshot_s` is 0, a picture is only that, and read once.

    Raises:
        SourceOpenError: There is no answer in time, or neither video nor picture.
    """
    image, in_parts = None, False
    if remembered is not None and remembered.lone_images >= _LONE_IMAGES and config.snapshot_s:
        remembered.lone_images, in_parts = 0, True  # once it is lost, it may be a stream again
    else:
        try:
            return UrlSource(url, config, source_id, remembered, video, clock)
        except ImageComes as found:
            image = found.image
        if not config.snapshot_s:
            return UrlImageSource(url, config, source_id, image=image)
    camera = SnapshotSource(url, config, source_id, video=video, image=image, clock=clock, in_parts=in_parts)
    if remembered is not None and not remembered.is_asked_said:
        remembered.is_asked_said = True
        how = f"it is asked for one every {config.snapshot_s:g} s (network.snapshot_s)"
        logger.info("{}: gives one picture at a time; {}", camera.info.source_id, how)
    return camera


class UrlOpener:
    """Opens a camera again and again, and remembers what each connection finds out."""

    def __init__(
        self, url: str, source_id: str, config: NetworkConfig, video: VideoConfig | None = None, clock: Clock = MONOTONIC
    ) -> None:
        """Open nothing yet; the arguments are those of `UrlSource`."""
        self._url = url
        self._source_id = source_id
        self._config = config
        self._video = video
        self._clock = clock
        self._remembered = Remembered()

    def __call__(self) -> Source:
        """Connect; see `open_url`."""
        return open_url(self._url, self._config, self._source_id, self._remembered, self._video, self._clock)
