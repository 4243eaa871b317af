"""Read cameras and video behind a URL, or the stream that an SDP file describes, through PyAV."""

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
from maskstream.errors import SourceError, SourceUnreadable, StreamLost
from maskstream.io.demuxing import demuxed
from maskstream.io.gpu_video import decoder
from maskstream.redaction import redact
from maskstream.sources.connection import Connection, ConnectionHistory, Peer, Transport
from maskstream.sources.connection_errors import NEEDS_SEEKING, reason, reason_of_fetch
from maskstream.sources.http import GUESSED_RATE, HttpConnection
from maskstream.sources.limits import Allowance, LimitReached, limit_memory_of
from maskstream.sources.mjpeg import MJPEG_FORMATS
from maskstream.sources.pacing import Pacer
from maskstream.sources.read_ahead import ReadAhead
from maskstream.sources.rtmp import RtmpConnection
from maskstream.sources.rtsp import RtspConnection
from maskstream.sources.srt import SrtConnection
from maskstream.sources.udp_rtp import SdpConnection, UdpRtpConnection
from maskstream.sources.url_parts import HTTP_SCHEMES, RTMP_SCHEMES, RTSP_SCHEMES, SRT_SCHEMES, UDP_RTP_SCHEMES
from maskstream.sources.video import Decoded, Origin, VideoPacket, VideoSource
from maskstream.types import Frame

_CONNECTIONS: Final[dict[str, Callable[[Peer], Connection]]] = {
    **dict.fromkeys(RTSP_SCHEMES, RtspConnection),
    **dict.fromkeys(HTTP_SCHEMES, HttpConnection),
    **dict.fromkeys(RTMP_SCHEMES, RtmpConnection),
    **dict.fromkeys(SRT_SCHEMES, SrtConnection),
    **dict.fromkeys(UDP_RTP_SCHEMES, UdpRtpConnection),
}
_MAX_BEHIND_S: Final = 10.0
"""If the decoder is later than this, waiting frames are skipped."""


class UrlSource(VideoSource):
    """A camera, a video on a server, or video that is sent to this machine.

    A video on a server has the timestamps of its file and loses no frame. It counts as a file if the server states its length in
    bytes, the container states its duration, or the playlist states that it is complete. These are live:

    - everything but HTTP, and MJPEG in parts;
    - a playlist that does not state that it is complete;
    - without a length, formats of cameras and broadcasts: MPEG-TS, FLV, and H.264, HEVC and MJPEG without a container;
    - without a length and a duration, Matroska, WebM, MP4, Ogg and ASF.

    The last two count as files if they arrive much faster than they last (`live_detection.py`).

    A live stream that ends is lost, and may be opened again. Two kinds have a real end instead, `is_over`: the last of the list,
    and a playlist when its server adds that it is complete. A stream that breaks off or is silent for `network.read_timeout_s` is
    always lost; a playlist may be silent for the time of two of its segments longer.

    A live stream over HTTP with timestamps may arrive in bursts. Its frames are yielded when they are due (`pacing.py`), and a
    separate thread reads ahead. `Frame.time_s` is then the clock of the stream, and `captured_at_s` and `wall_time` are the time
    at which a frame was yielded. Other live frames are yielded when they arrive, and `Frame.time_s` counts from the opening.
    Damaged frames of a camera are skipped unless `network.keep_damaged` is set.

    `NetworkConfig.verify_tls` controls the check of certificates. What a server may send or claim is limited (`limits.py`).
    """

    def __init__(
        self,
        url: str,
        config: NetworkConfig,
        source_id: str | None = None,
        history: ConnectionHistory | None = None,
        video: VideoConfig | None = None,
        clock: Clock = MONOTONIC,
    ) -> None:
        """Connect and decode the first frame.

        Args:
            url: URL of a scheme in `SCHEMES`, with user and password if the camera needs them; or the path of an SDP file.
            config: Transport, certificates and limits.
            source_id: Name of the source in records; None for the URL without its password.
            history: What earlier connections have found out; it is updated.
            video: Deinterlacing, pixel aspect ratio and decoder; None: as the video states, by the CPU.
            clock: Times the arrival and pacing of frames.

        Raises:
            SourceOpenError: The server does not answer in time, or sends no video.
            SingleImageReceived: The server sends one image; see `open_url`.
        """
        self._config = config
        self._clock = clock
        self._closing = Event()
        self._pacer: Pacer | None = None
        self._ahead: ReadAhead[VideoPacket] | None = None
        self._packets_received = self._receive_packets()
        self._arrived_s = self._behind_s = 0.0
        self._has_ended = self._is_open = False
        self._allowance = Allowance(config)
        self._name = source_id or redact(url)
        self._history = history or ConnectionHistory()
        scheme, is_url, rest = url.partition("://")
        location = f"{scheme.lower()}://{rest}" if is_url else url
        hwaccel = decoder(video.decode_on) if video and scheme.lower() in RTSP_SCHEMES else None
        peer = Peer(location, self._name, config, self._allowance, self._history, hwaccel=hwaccel)
        self._early = peer.early
        connect = _CONNECTIONS[scheme.lower()] if is_url else SdpConnection
        self._connection = connect(peer)
        limit_memory_of(config)
        try:
            container = self._open_container()
            live = self._history.was_live = self._connection.is_live(container)
            origin = Origin(
                self._name,
                live,
                keep_damaged=config.keep_damaged or not live,
                max_pixels=config.max_megapixels * 1e6,
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
        """The transport of RTSP; None for other schemes."""
        return self._history.transport

    @property
    def is_over(self) -> bool:
        """Whether a live stream has reached its real end, and will not continue."""
        return self._has_ended and self._connection.end_is_final(self._container)

    def close(self) -> None:
        """Close the connection and end reading, also in another thread that waits for a frame to be due."""
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
        """Return a frame when it is due; None if the source was closed meanwhile."""
        if index <= 1:
            is_single = index == 0 and self._container.format.name in MJPEG_FORMATS
            self._history.single_image_answers = self._history.single_image_answers + 1 if is_single else 0
        frame = super()._frame(index, decoded, capture_ms)
        if self._pacer is None or frame is None:
            return frame
        video_frame = decoded.arrived.video_frame
        pts_s = None if video_frame.pts is None else float(video_frame.pts * Fraction(video_frame.time_base or 0))
        schedule = self._pacer.schedule(pts_s, self._arrived_s or self._clock.now_s(), self._clock.now_s())
        self._behind_s = self._clock.now_s() - schedule.due_s
        if self._clock.wait(self._closing, max(0.0, -self._behind_s)):
            return None
        return replace(frame, time_s=schedule.time_s, captured_at_s=self._clock.now_s(), wall_time=datetime.now(UTC))

    def _packets(self) -> Iterator[VideoPacket]:
        """Yield the packets to decode; of a live stream from its first key frame on, as earlier ones decode to grey."""
        decodable = not self._origin.live
        for packet in self._arriving():
            decodable = decodable or packet.is_keyframe
            if self._origin.live and packet.is_corrupt:
                self.damaged += 1
            elif decodable:
                yield packet

    def _arriving(self) -> Iterator[VideoPacket]:
        """Yield packets as they arrive, and from the start of reading ahead on, the waiting ones."""
        for packet in self._packets_received:
            yield packet
            if self._ahead is not None:
                break
        if self._ahead is None:
            return
        for packet, arrived_s in self._ahead:
            self._arrived_s = arrived_s
            yield packet
            if self._behind_s > _MAX_BEHIND_S and (skipped := self._ahead.skip_to_last(lambda one: one.is_keyframe)):
                logger.warning("{}: decoding is {:.0f} s late: {} frames are skipped", self._name, self._behind_s, skipped)

    def _receive_packets(self) -> Iterator[VideoPacket]:
        """Yield the packets of the video while they arrive in time.

        Audio packets are read and skipped here. If FFmpeg skipped them, it would wait without limit for video that has stopped.
        """
        self._allowance.renew(self._config.open_timeout_s)
        try:
            for packet in self._demuxed():
                if self._allowance.is_late:  # after the time limit FFmpeg first returns what it has buffered
                    raise self._allowance.late()
                if packet.stream is self._stream:
                    yield packet
                    if self._is_open:
                        self._allowance.renew(self._config.read_timeout_s + self._connection.extra_wait_s())
            self._has_ended = True
        except LimitReached as reached:
            raise self._failure(reached) from None
        except av.FFmpegError as error:
            if not (self._origin.live and error.errno == EIO):  # without a stated length EIO means the end
                late = self._allowance.is_late or isinstance(error, av_error.ExitError)
                raise self._failure(self._allowance.late() if late else error) from None
            self._has_ended = True

    def _demuxed(self) -> Iterator[VideoPacket]:
        """Yield all packets; PyAV takes the time limit of each from `_allowance` when `demux` begins."""
        while self._early:
            yield self._early.pop(0)
        for packet in demuxed(self._container):
            yield packet
            if self._is_open and packet.size:
                yield from demuxed(self._container)
                return

    def _lacks_seeking(self, error: Exception) -> bool:
        """Return whether an index at the end of a file may be the cause of an error or of a reached limit."""
        is_sign = isinstance(error, LimitReached | av_error.InvalidDataError | av_error.ExitError)
        return is_sign and not self._is_open and self._connection.needs_seeking()

    def _failure(self, error: av.FFmpegError | LimitReached) -> SourceError:
        why, kind = (NEEDS_SEEKING, SourceUnreadable) if self._lacks_seeking(error) else reason(error)
        return StreamLost(f"{self._name}: lost: {why}") if self._is_open else kind(f"{self._name}: {why}")

    def _open_container(self) -> av.container.InputContainer:
        """Connect. FFmpeg's own errors contain the password; they are not chained."""
        try:
            return self._connection.open()
        except (LimitReached, av.FFmpegError) as error:
            if self._lacks_seeking(error):
                raise SourceUnreadable(f"{self._name}: {NEEDS_SEEKING}") from None
            why, kind = reason_of_fetch(self._connection.url, error, self._allowance, self._connection.ca_file)
        raise kind(f"{self._name}: {why}")
