"""Read images from a URL: one image, or one per request from a snapshot camera."""

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
from maskstream.sources.connection_errors import reason_of_fetch
from maskstream.sources.frame_conversion import with_square_pixels
from maskstream.sources.http_file import HttpFile
from maskstream.sources.images import SingleImageSource, read_within
from maskstream.sources.limits import Allowance, LimitReached
from maskstream.sources.mjpeg import first_image
from maskstream.sources.read_guard import ReadGuard
from maskstream.sources.tls import ca_file_for, ffmpeg_options
from maskstream.types import Frame, SourceInfo

_FRESH_S: Final = 1.0
"""A first image that waited longer, because models were loading, is requested again."""
_UNEXPECTED: Final[dict[Content | None, str]] = {
    "page": "a web page; give the address of the image itself",
    "video": "a video; choose an --output that ends in .mp4",
    "multipart": "a stream of images; choose an --output that ends in .mp4",
    "hls": "a stream; choose an --output that ends in .mp4",
}


class _Fetcher:
    """Request the image behind a URL repeatedly, with the settings and limits of `NetworkConfig`."""

    def __init__(self, url: str, name: str, config: NetworkConfig, *, multipart: bool = False) -> None:
        self._multipart = multipart
        scheme, _, rest = url.partition("://")
        self._url = f"{scheme.lower()}://{rest}"
        self._config = config
        self._ca_file = ca_file_for(self._url, name, config)

    def fetch(self, limit_s: float) -> bytes:
        """Return the content of an image file.

        Raises:
            SourceOpenError: It did not arrive in time, or is not an image. The text does not contain the name of the source.
        """
        allowance = Allowance(self._config)
        allowance.renew(limit_s)
        try:
            with closing(HttpFile(self._url, ffmpeg_options(self._ca_file), allowance, is_first=True)) as file:
                content = content_of(file.start)
                if self._multipart:
                    image = first_image(file, allowance.max_bytes)
                else:
                    image = file.single_image() if content == "image" else None
        except (av.FFmpegError, LimitReached) as error:  # FFmpeg's own text contains the password
            why, kind = reason_of_fetch(self._url, error, allowance, self._ca_file)
        else:
            if image is not None:
                return image
            unexpected = "multipart" if content == "image" else content
            what = _UNEXPECTED.get(unexpected, "no image; check the path after the host")
            why, kind = f"the server sends {what}", SourceOpenError
        raise kind(why)


def _opening_error(name: str, error: SourceError) -> SourceOpenError:
    """Add the name of the source. A damaged image does not count as a refusal: the next one may be complete."""
    return (SourceRefused if isinstance(error, SourceRefused) else SourceOpenError)(f"{name}: {error}")


class UrlImageSource(SingleImageSource):
    """One image on a server; it is requested once."""

    def __init__(self, url: str, config: NetworkConfig, source_id: str | None = None, image: bytes | None = None) -> None:
        """Fetch and decode the image.

        Args:
            url: http:// or https://, with user and password if the server needs them.
            config: Certificates and limits.
            source_id: Name of the source in records; None for the URL without its password.
            image: The content, if it was received already; None: it is fetched.

        Raises:
            SourceOpenError: The server does not answer in time, or sends no image that can be read.
        """
        name = source_id or redact(url)
        try:
            data = _Fetcher(url, name, config).fetch(config.open_timeout_s) if image is None else image
            super().__init__(data, name, redact(url), config.max_megapixels, "network.max_megapixels")
        except SourceError as error:
            raise _opening_error(name, error) from error


class SnapshotSource:
    """A camera that sends one image per request.

    It is requested every `NetworkConfig.snapshot_s` seconds, on a schedule that does not drift. If an answer takes longer, the
    missed times are skipped. An image that does not arrive, or is damaged, is counted. The camera is lost if no image arrives for
    `read_timeout_s`, or if it refuses (wrong password, 404). Two identical images are two frames.
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
        multipart: bool = False,
    ) -> None:
        """Decode the first image.

        Args:
            url: http:// or https://, with user and password if the camera needs them.
            config: Interval of the requests, certificates and limits.
            source_id: Name of the source in records; None for the URL without its password.
            video: Contains `pixel_aspect` if the camera needs it.
            image: The first image, if it was received already; None: it is fetched.
            clock: Times the requests and the frames' `captured_at_s`.
            multipart: Whether each answer is Motion JPEG; its first image is used.

        Raises:
            SourceOpenError: The camera does not answer in time, or sends no image that can be read.
            ValueError: `snapshot_s` is 0.
        """
        if not config.snapshot_s:
            raise ValueError("network.snapshot_s is 0: UrlImageSource reads such an image once")
        self._name = source_id or redact(url)
        self._config = config
        self._clock = clock
        self._pixel_aspect = video.pixel_aspect if video else None
        self._fetcher = _Fetcher(url, self._name, config, multipart=multipart)
        self.damaged = 0
        """Images that did not arrive, or could not be read."""
        self._failing_since_s: float | None = None
        self._index = 0
        self._request_number = 0
        """Number of the last request in the schedule, including skipped ones."""
        self._closed = Event()
        self._guard = ReadGuard(lambda: None)
        self._opened_at_s = self._began_s = clock.now_s()
        started = perf_counter()
        try:
            data = self._fetcher.fetch(config.open_timeout_s) if image is None else image
            first = self._frame(data, started)
        except SourceError as error:
            raise _opening_error(self._name, error) from error
        self._first: Frame | None = first
        self.info = SourceInfo(self._name, first.width, first.height, live=True, average_fps=1 / config.snapshot_s)

    def __iter__(self) -> Iterator[Frame]:
        """Yield a frame for each request; may be called once.

        Raises:
            StreamLost: The camera refuses, or sends no more images.
        """
        while (frame := self._guard.read(self._next)) is not None:
            yield frame

    def close(self) -> None:
        """End the requests, also in another thread."""
        self._closed.set()
        self._guard.close()

    def _next(self) -> Frame | None:
        first, self._first = self._first, None
        if first is not None:
            now_s = self._clock.now_s()
            if now_s - first.captured_at_s <= min(_FRESH_S, self._config.snapshot_s):
                self._index += 1
                return first
            self._began_s, self._request_number = now_s, 0
            if frame := self._request():
                return frame
        while True:
            since_s, every_s = self._clock.now_s() - self._began_s, self._config.snapshot_s
            self._request_number = max(self._request_number + 1, ceil(since_s / every_s))  # skips those whose time has passed
            if self._clock.wait(self._closed, max(0.0, self._request_number * every_s - since_s)):
                return None
            if frame := self._request():
                return frame

    def _request(self) -> Frame | None:
        """Return a frame; None if the request failed, which is counted.

        Raises:
            StreamLost: The camera refuses, or has failed for `read_timeout_s`.
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
            logger.debug("{}: an image is skipped: {}", self._name, error)
            return None
        self._failing_since_s = None
        self._index += 1
        return frame

    def _frame(self, data: bytes, started: float) -> Frame:
        bgr, _ = read_within(data, self._config.max_megapixels, "network.max_megapixels")
        bgr = with_square_pixels(bgr, self._pixel_aspect)
        captured_at_s = self._clock.now_s()
        return Frame(
            bgr=bgr,
            index=self._index,
            source_id=self._name,
            time_s=captured_at_s - self._opened_at_s,
            duration_s=self._config.snapshot_s,
            captured_at_s=captured_at_s,
            capture_ms=(perf_counter() - started) * 1000,
            wall_time=datetime.now(UTC),
        )
