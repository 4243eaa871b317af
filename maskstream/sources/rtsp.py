"""Connections to RTSP cameras."""

from errno import EPROTONOSUPPORT
from itertools import islice
from math import inf
from time import monotonic, sleep
from typing import Final

import av
from av import error as av_error
from loguru import logger

from maskstream.io.ffmpeg_whitelists import whitelist
from maskstream.sources import tls
from maskstream.sources.connection import ENOUGH_FOR_FPS, LiveConnection, Transport
from maskstream.sources.http_file import MOST_REDIRECTS
from maskstream.sources.limits import Allowance, LimitReached, pyav_timeout
from maskstream.sources.rtsp_redirect import redirected_to

RTSP_SCHEMES: Final = ("rtsp", "rtsps")
_US: Final = 1_000_000
_PAUSES_S: Final = (0.3, 0.9)
_MAY_BE_TRANSPORT: Final = (
    *(av_error.HTTPBadRequestError, av_error.HTTPOtherClientError),
    *(av_error.HTTPServerError, av_error.InvalidDataError),
)
"""What servers answer to a transport that they do not have, where they do not say so with status 461."""
_SHARE_OF_FIRST: Final = 0.5
"""Of the time to open: so long the first transport may be silent before the other one is tried."""
_ENOUGH_S: Final = 1.0  # of video; by itself FFmpeg watches 5 s where the camera does not describe its pictures
_LONGEST_LOOK_S: Final = 2.0
"""That FFmpeg looks at what arrives. Pictures are known from the first key frame on, whether it has understood or not."""


class _NothingArrives(Exception):
    """A camera agreed to send, and does not."""


class _Patience:
    """The seconds that FFmpeg may wait. PyAV asks when it connects, when it looks at what arrives, and when it reads."""

    def __init__(self, allowance: Allowance, share: float) -> None:
        self._allowance = allowance
        self._share = share
        self._asked = 0
        self._look_ends_s = self._ends_s = inf
        self.has_ended = False
        """Whether something arrived: from then on the allowance alone counts."""

    def __float__(self) -> float:
        left_s = float(self._allowance)
        self._asked += 1
        if self.has_ended or self._asked == 1:
            return left_s
        if self._asked == 2:
            self._ends_s = monotonic() + left_s * self._share
            look_s = min(left_s * self._share, _LONGEST_LOOK_S)
            self._look_ends_s = monotonic() + look_s
            return look_s
        return max(0.001, self._ends_s - monotonic())

    @property
    def is_all(self) -> bool:
        """Whether it is all the time that is left to open."""
        return self._share == 1.0

    @property
    def was_understood_in_time(self) -> bool:
        """Whether FFmpeg ended its look by itself."""
        return monotonic() < self._look_ends_s


class RtspConnection(LiveConnection):
    """A camera over RTSP, by TCP or UDP."""

    def open(self) -> av.container.InputContainer:
        """Connect; follow redirects, and find the transport where that is to be found.

        Raises:
            av.FFmpegError: FFmpeg's own, which have the password in them.
            LimitReached: It is late, or led on too often.
        """
        if self.url.startswith("rtsps") and self.ca_file is None:
            self._warn_of_certificate()
        return self._follow()

    def is_paced(self, container: av.container.InputContainer) -> bool:
        """Return False: a camera sends each frame when it was taken. To let it wait would only make it older."""
        return False

    def _follow(self) -> av.container.InputContainer:
        """Connect, and follow redirects to other RTSP servers."""
        for _ in range(MOST_REDIRECTS + 1):
            try:
                return self._open_by_some_transport()
            except av_error.ArgumentError:  # as `rtsp` is not among the protocols that FFmpeg may go on with
                target = redirected_to(self.url, self._peer.allowance, self.ca_file)
                if target is None:
                    raise
                self.url, self.ca_file = target, tls.trusted_by(target, self._peer.name, self._peer.config)
        raise LimitReached(f"it was redirected more than {MOST_REDIRECTS} times; check the camera")

    def _open_by_some_transport(self) -> av.container.InputContainer:
        """Connect by the transport that is set; for `auto` as last time, else by TCP, and then by the other one."""
        wanted, remembered = self._peer.config.transport, self._peer.remembered
        if wanted != "auto":
            return self._open_by(wanted)
        first: Transport = remembered.transport or "tcp"
        other: Transport = "udp" if first == "tcp" else "tcp"
        share = 1.0 if remembered.is_patient else _SHARE_OF_FIRST
        remembered.is_patient = False
        try:
            return self._open_by(first, share)
        except _NothingArrives:
            refused, why = None, f"over {first.upper()} nothing arrives"
        except av.FFmpegError as error:
            about_transport = error.errno == EPROTONOSUPPORT or isinstance(error, _MAY_BE_TRANSPORT)
            if self._peer.allowance.is_late or not about_transport:
                raise
            refused, why = error, f"it refuses {first.upper()}"
        try:
            container = self._open_after_refusal(other)
        except (av.FFmpegError, LimitReached) as error:
            is_late = isinstance(error, LimitReached) or self._peer.allowance.is_late
            if refused is not None and not is_late:
                raise refused from None
            remembered.is_patient = refused is None  # the first one may have needed more time
            further = f"over {other.upper()} nothing arrives" if is_late else f"it refuses {other.upper()}"
            raise LimitReached(f"{why}, and {further}; check the camera, and firewalls on the way", is_final=False) from None
        logger.info("{}: {}, therefore it is read over {}", self._peer.name, why, other.upper())
        return container

    def _open_after_refusal(self, transport: Transport) -> av.container.InputContainer:
        """Connect; a camera may be busy for a moment with the end of the connection that it has refused."""
        for pause_s in _PAUSES_S:
            try:
                return self._open_by(transport)
            except av_error.HTTPServerError:
                sleep(min(pause_s, float(self._peer.allowance)))
        return self._open_by(transport)

    def _open_by(self, transport: Transport, share: float = 1.0) -> av.container.InputContainer:
        """Connect, and wait for what comes.

        Args:
            transport: How it is to be sent.
            share: Of the time that is left once the camera has agreed to send: so long something may take to arrive.

        Raises:
            av.FFmpegError: It refuses.
            LimitReached: The time is up.
            _NothingArrives: The share of it is.
        """
        longest_s = max(
            self._peer.config.open_timeout_s, self._peer.config.read_timeout_s
        )  # FFmpeg has one limit for all, PyAV keeps the two
        patience = _Patience(self._peer.allowance, share)
        container = av.open(
            self.url,
            metadata_errors="replace",
            options={
                "rtsp_transport": transport,
                "allowed_media_types": "video",
                **ENOUGH_FOR_FPS,
                "analyzeduration": str(round(_ENOUGH_S * _US)),
                "timeout": str(round(longest_s * _US)),
                **whitelist("rtsp"),
                **tls.options(self.ca_file),
            },
            timeout=pyav_timeout(patience),
        )
        try:
            self._require_arrival(container, patience)
        except BaseException:
            container.close()
            raise
        patience.has_ended = True
        self._peer.remembered.transport = transport
        return container

    def _require_arrival(self, container: av.container.InputContainer, patience: "_Patience") -> None:
        """Find out whether anything arrives, where that was not understood in time, which is no error to FFmpeg."""
        if patience.was_understood_in_time:
            return
        try:
            self._peer.early.extend(islice(container.demux(), 1))
        except (av_error.ExitError, TimeoutError):
            raise (self._peer.allowance.late() if patience.is_all else _NothingArrives()) from None

    def _warn_of_certificate(self) -> None:
        if not self._peer.remembered.has_warned and self._peer.config.verify_tls == "auto":
            self._peer.remembered.has_warned = True
            logger.warning(
                "{}: its certificate is not checked; to check it set network.verify_tls to true, and network.ca_file to the "
                "certificate of the camera",
                self._peer.name,
            )
