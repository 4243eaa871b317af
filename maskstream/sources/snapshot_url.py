"""Pictures behind a URL: one, or those of a camera that gives one for each request."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from math import ceil
from threading import Event
from time import perf_counter
from typing import Final

import av
from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.schema import NetworkConfig, VideoConfig
from maskstream.errors import SourceError, SourceOpenError, SourceRefused, StreamLost
from maskstream.io.content import Content, content_of
from maskstream.redaction import redact
from maskstream.sources import tls
from maskstream.sources.connection_errors import reason_of_fetch
from maskstream.sources.frame_conversion import made_square
from maskstream.sources.http_file import HttpFile
from maskstream.sources.images import OneImage, read_within
from maskstream.sources.limits import Allowance, LimitReached
from maskstream.sources.mjpeg import first_image
from maskstream.sources.read_guard import ReadGuard
from maskstream.types import Frame, SourceInfo

_FRESH_S: Final = 1.0
"""A first picture that was not read for so long, because models were loaded, is taken anew."""
_INSTEAD: Final[dict[Content | None, str]] = {
    "page": "a web page; give the address of the picture itself",
    "video": "a video; let the output end in .mp4",
    "multipart": "a stream of pictures; let the output end in .mp4",
    "hls": "a stream; let the output end in .mp4",
}


class _Fetcher:
    """Asks for what is behind a URL, again and again, each time as `NetworkConfig` says and within its limits."""

    def __init__(self, url: str, name: str, config: NetworkConfig, *, in_parts: bool = False) -> None:
        self._in_parts = in_parts
        scheme, _, rest = url.partition("://")
        self._url = f"{scheme.lower()}://{rest}"
        self._config = config
        self._ca_file = tls.trusted_by(self._url, name, config)

    def fetch(self, limit_s: float) -> bytes:
        """Return a picture as it was sent.

        Raises:
            SourceOpenError: It did not come in time, or is none. Says why, but not of which source: the caller has the name.
        """
        allowance = Allowance(self._config)
        allowance.renew(limit_s)
        try:
            with closing(HttpFile(self._url, tls.options(self._ca_file), allowance, is_first=True)) as file:
                content = content_of(file.start)
                if self._in_parts:
                    image = first_image(file, allowance.most_bytes)
                else:
                    image = file.image() if content == "picture" else None
        except (av.FFmpegError, LimitReached) as error:  # the former's own text has the password in it
            why, kind = reason_of_fetch(self._url, error, allowance, self._ca_file)
        else:
            if image is not None:
                return image
            instead = _INSTEAD.get("multipart" if content == "picture" else content, "no picture; check the path behind the host")
            why, kind = f"what comes from there is {instead}", SourceOpenError
        raise kind(why)


def _at_opening(name: str, error: SourceError) -> SourceOpenError:
    """Return an error with the name of its source; a damaged picture is no refusal, for the next one may be whole."""
    return (SourceRefused if isinstance(error, SourceRefused) else SourceOpenError)(f"{name}: {error}")


class UrlImageSource(OneImage):
    """One picture on a server; it is asked for once."""

    def __init__(self, url: str, config: NetworkConfig, source_id: str | None = None, image: bytes | None = None) -> None:
        """Fetch and decode it.

        Args:
            url: http:// or https://, with user and password where the server wants them.
            config: Certificates and limits.
            source_id: Its name in records; None for the URL without its password.
            image: What was sent already; None: it is fetched.

        Raises:
            SourceOpenError: There is no answer in time, or no picture that can be read.
        """
        name = source_id or redact(url)
        try:
            sent = _Fetcher(url, name, config).fetch(config.open_timeout_s) if image is None else image
            super().__init__(sent, name, redact(url), config.max_megapixels, "network.max_megapixels")
        except SourceError as error:
            raise _at_opening(name, error) from error


class SnapshotSource:
    """A camera that gives one picture for each request.

    It is asked every `NetworkConfig.snapshot_s` seconds, by a schedule that does not drift; where an answer takes longer, the
    moments that it missed are left out. A picture that does not come, or comes damaged, is counted; where none comes for
    `read_timeout_s`, or the camera refuses (a wrong password, 404), it is lost. The same picture twice is two frames.
    """

    def __init__(
        self,
        url: str,
        config: NetworkConfig,
        source_id: str | None = None,
        video: VideoConfig | None = None,
        image: bytes | None = None,
        clock: Clock = MONOTONIC,
        *,
        in_parts: bool = False,
    ) -> None:
        """Decode the first picture.

        Args:
            url: http:// or https://, with user and password where the camera wants them.
            config: How often it is asked, certificates and limits.
            source_id: Its name in records; None for the URL without its password.
            video: Says a `pixel_aspect` where the camera needs that.
            image: The first one, where it was sent already; None: it is fetched.
            clock: Times the requests; that of the frames' `captured_at_s`.
            in_parts: Whether each answer is Motion JPEG; of its pictures the first one counts.

        Raises:
            SourceOpenError: There is no answer in time, or no picture that can be read.
            ValueError: `snapshot_s` is 0.
        """
        if not config.snapshot_s:
            raise ValueError("network.snapshot_s is 0: such a picture is read once, by UrlPictureSource")
        self._name = source_id or redact(url)
        self._config = config
        self._clock = clock
        self._pixel_aspect = video.pixel_aspect if video else None
        self._fetcher = _Fetcher(url, self._name, config, in_parts=in_parts)
        self.damaged = 0
        """Pictures that did not come, or could not be read."""
        self._failing_since_s: float | None = None
        self._index = 0
        self._number = 0
        """Of the last request, by the schedule: those that were left out count."""
        self._closed = Event()
        self._guard = ReadGuard(lambda: None)
        self._opened_at_s = self._began_s = clock.now_s()
        started = perf_counter()
        try:
            sent = self._fetcher.fetch(config.open_timeout_s) if image is None else image
            self._first: Frame | None = self._frame(sent, started)
        except SourceError as error:
            raise _at_opening(self._name, error) from error
        self.info = SourceInfo(*(self._name, self._first.width, self._first.height), live=True, average_fps=1 / config.snapshot_s)

    def __iter__(self) -> Iterator[Frame]:
        """Yield a frame for each request; may be called once.

        Raises:
            StreamLost: The camera refuses, or gives no more pictures.
        """
        while (frame := self._guard.read(self._next)) is not None:
            yield frame

    def close(self) -> None:
        """Ask no more; a reader in another thread comes to its end."""
        self._closed.set()
        self._guard.close()

    def _next(self) -> Frame | None:
        first, self._first = self._first, None
        if first is not None:
            now_s = self._clock.now_s()
            if now_s - first.captured_at_s <= min(_FRESH_S, self._config.snapshot_s):
                return self._counted(first)
            self._began_s, self._number = now_s, 0
            if frame := self._ask():
                return frame
        while not self._clock.wait(self._closed, self._due_in_s()):
            if frame := self._ask():
                return frame
        return None

    def _due_in_s(self) -> float:
        """Return the time until the next request is due: the one after the last, or where that is over, the next one."""
        since_s, every_s = self._clock.now_s() - self._began_s, self._config.snapshot_s
        self._number = max(self._number + 1, ceil(since_s / every_s))
        return max(0.0, self._number * every_s - since_s)

    def _ask(self) -> Frame | None:
        """Return a frame; None where it failed, which is counted.

        Raises:
            StreamLost: It is no use to ask again.
        """
        started, asked_at_s = perf_counter(), self._clock.now_s()
        try:
            frame = self._frame(self._fetcher.fetch(self._config.read_timeout_s), started)
        except SourceError as error:
            self.damaged += 1
            self._failing_since_s = asked_at_s if self._failing_since_s is None else self._failing_since_s
            silent_s = self._clock.now_s() - self._failing_since_s
            if isinstance(error, SourceRefused) or silent_s >= self._config.read_timeout_s:
                raise StreamLost(f"{self._name}: lost: {error}") from error
            logger.debug("{}: a picture is left out: {}", self._name, error)
            return None
        self._failing_since_s = None
        return self._counted(frame)

    def _counted(self, frame: Frame) -> Frame:
        self._index += 1
        return frame

    def _frame(self, sent: bytes, started: float) -> Frame:
        bgr, _ = read_within(sent, self._config.max_megapixels, "network.max_megapixels")
        bgr = made_square(bgr, self._pixel_aspect)
        captured_at_s = self._clock.now_s()
        return Frame(
            *(bgr, self._index, self._name, captured_at_s - self._opened_at_s, self._config.snapshot_s, captured_at_s),
            capture_ms=(perf_counter() - started) * 1000,
            wall_time=datetime.now(UTC),
        )
