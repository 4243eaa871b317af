"""Connect to RTSP cameras, and find the transport that works."""

from errno import EPROTONOSUPPORT
from itertools import islice
from math import inf
from time import monotonic, sleep
from typing import Final

import av
from av import error as av_error
from loguru import logger

from maskstream.io.ffmpeg_whitelists import whitelist
from maskstream.sources.connection import SHORT_FPS_PROBE, LiveConnection, Transport
from maskstream.sources.limits import Allowance, LimitReached, pyav_timeout
from maskstream.sources.redirects import MAX_REDIRECTS, rtsp_target
from maskstream.sources.tls import ca_file_for, ffmpeg_options

_US: Final = 1_000_000
_PAUSES_S: Final = (0.3, 0.9)
_MAY_REFUSE_TRANSPORT: Final = (
    *(av_error.HTTPBadRequestError, av_error.HTTPOtherClientError),
    *(av_error.HTTPServerError, av_error.InvalidDataError),
)
"""Answers of servers that do not support a transport and do not send status 461."""
_FIRST_FRACTION: Final = 0.5
"""Fraction of the time to open that the first transport may be silent before the other one is tried."""
_PROBED_S: Final = 1.0
"""Video that FFmpeg probes. Its default is 5 s if the camera does not describe its frames."""
_MAX_PROBE_S: Final = 2.0
"""Time that FFmpeg may probe. From the first key frame on the frames are known, even if the probe is not complete."""


class _NothingArrives(Exception):
    """A camera agreed to send over a transport, and no data arrives."""


class _StagedTimeout:
    """The seconds that FFmpeg may wait: PyAV reads them when it connects, when it probes the stream, and when it reads."""

    def __init__(self, allowance: Allowance, fraction: float) -> None:
        self._allowance = allowance
        self._fraction = fraction
        self._reads = 0
        self._ends_s = inf
        self.probe_ends_s = inf
        """When FFmpeg ends its probe, if it does not do so earlier by itself."""
        self.has_ended = False
        """Whether data has arrived: from then on the allowance alone counts."""

    def __float__(self) -> float:
        remaining_s = float(self._allowance)
        self._reads += 1
        if self.has_ended or self._reads == 1:
            return remaining_s
        if self._reads == 2:
            self._ends_s = monotonic() + remaining_s * self._fraction
            probe_s = min(remaining_s * self._fraction, _MAX_PROBE_S)
            self.probe_ends_s = monotonic() + probe_s
            return probe_s
        return max(0.001, self._ends_s - monotonic())


class RtspConnection(LiveConnection):
    """A camera over RTSP, by TCP or UDP."""

    def open(self) -> av.container.InputContainer:
        """Connect, follow redirects to other RTSP servers, and with `network.transport: auto` find the transport.

        Raises:
            av.FFmpegError: From FFmpeg; its text contains the password.
            LimitReached: The time limit has passed, or there were too many redirects.
        """
        if self.url.startswith("rtsps") and self.ca_file is None:
            self._warn_of_certificate()
        for _ in range(MAX_REDIRECTS + 1):
            try:
                return self._open_by_some_transport()
            except av_error.ArgumentError:  # FFmpeg's answer to a redirect: `rtsp` is not in its whitelist of protocols
                target = rtsp_target(self.url, self._peer.allowance, self.ca_file)
                if target is None:
                    raise
                self.url, self.ca_file = target, ca_file_for(target, self._peer.name, self._peer.config)
        raise LimitReached(f"redirected more than {MAX_REDIRECTS} times; check the camera")

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return False: a camera sends each frame when it is captured, so waiting would only add delay."""
        return False

    def _open_by_some_transport(self) -> av.container.InputContainer:
        """Connect by the configured transport. With `auto` try the last one that worked, or TCP, and then the other one."""
        configured, history = self._peer.config.transport, self._peer.history
        if configured != "auto":
            return self._open_by(configured)
        first: Transport = history.transport or "tcp"
        fraction = 1.0 if history.first_transport_gets_all_time else _FIRST_FRACTION
        history.first_transport_gets_all_time = False
        refusal: av.FFmpegError | None = None
        try:
            return self._open_by(first, fraction)
        except _NothingArrives:
            pass
        except av.FFmpegError as error:
            about_transport = error.errno == EPROTONOSUPPORT or isinstance(error, _MAY_REFUSE_TRANSPORT)
            if self._peer.allowance.is_late or not about_transport:
                raise
            refusal = error
        return self._open_by_other(first, refusal)

    def _open_by_other(self, first: Transport, refusal: av.FFmpegError | None) -> av.container.InputContainer:
        """Connect by the other transport.

        Args:
            first: The transport that failed.
            refusal: The answer of the camera to it; None: no data arrived.
        """
        other: Transport = "udp" if first == "tcp" else "tcp"
        why = f"the camera refuses {first.upper()}" if refusal else f"no data arrives over {first.upper()}"
        try:
            container = self._open_after_refusal(other)
        except (av.FFmpegError, LimitReached) as error:
            is_late = isinstance(error, LimitReached) or self._peer.allowance.is_late
            if refusal is not None and not is_late:
                raise refusal from None
            self._peer.history.first_transport_gets_all_time = refusal is None  # it may have needed more time
            further = f"no data arrives over {other.upper()}" if is_late else f"the camera refuses {other.upper()}"
            raise LimitReached(f"{why}, and {further}; check the camera, and firewalls on the way", is_final=False) from None
        logger.info("{}: {}; reading over {}", self._peer.name, why, other.upper())
        return container

    def _open_after_refusal(self, transport: Transport) -> av.container.InputContainer:
        """Connect, and try again after a server error: the camera may still be closing the connection that it refused."""
        for pause_s in _PAUSES_S:
            try:
                return self._open_by(transport)
            except av_error.HTTPServerError:
                sleep(min(pause_s, float(self._peer.allowance)))
        return self._open_by(transport)

    def _open_by(self, transport: Transport, fraction: float = 1.0) -> av.container.InputContainer:
        """Connect, and wait for the first data.

        Args:
            transport: The transport to request.
            fraction: Fraction of the remaining time that data may take to arrive once the camera has agreed to send.

        Raises:
            av.FFmpegError: The camera refuses.
            LimitReached: The time limit has passed.
            _NothingArrives: The fraction of it has passed.
        """
        config = self._peer.config
        longest_s = max(config.open_timeout_s, config.read_timeout_s)  # FFmpeg has one limit for both, PyAV keeps each
        timeout = _StagedTimeout(self._peer.allowance, fraction)
        container = av.open(
            self.url,
            metadata_errors="replace",
            options={
                "rtsp_transport": transport,
                "allowed_media_types": "video",
                **SHORT_FPS_PROBE,
                "analyzeduration": str(round(_PROBED_S * _US)),
                "timeout": str(round(longest_s * _US)),
                **whitelist("rtsp"),
                **ffmpeg_options(self.ca_file),
            },
            timeout=pyav_timeout(timeout),
            hwaccel=self._peer.hwaccel,
        )
        try:
            if monotonic() >= timeout.probe_ends_s:  # FFmpeg reports no error if a probe ends without data
                self._peer.early.extend(islice(container.demux(), 1))
        except (av_error.ExitError, TimeoutError):
            container.close()
            raise (self._peer.allowance.late() if fraction == 1.0 else _NothingArrives()) from None
        except BaseException:
            container.close()
            raise
        timeout.has_ended = True
        self._peer.history.transport = transport
        return container

    def _warn_of_certificate(self) -> None:
        if not self._peer.history.certificate_logged and self._peer.config.verify_tls == "auto":
            self._peer.history.certificate_logged = True
            logger.warning(
                "{}: its certificate is not checked; to check it set network.verify_tls to true, and network.ca_file to the "
                "certificate of the camera",
                self._peer.name,
            )
