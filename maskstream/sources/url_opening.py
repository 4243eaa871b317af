"""Open a URL as a stream, a snapshot camera or one image, and again after it was lost."""

from typing import Final

from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.schema import NetworkConfig, VideoConfig
from maskstream.protocols import Source
from maskstream.sources.connection import ConnectionHistory, SingleImageReceived
from maskstream.sources.snapshot_url import SnapshotSource, UrlImageSource
from maskstream.sources.url import UrlSource

_MAX_SINGLE_IMAGE_ANSWERS: Final = 2
"""After this number of answers in a row with one image, a camera is requested for one image at a time."""


def open_url(
    url: str,
    config: NetworkConfig,
    source_id: str | None = None,
    history: ConnectionHistory | None = None,
    video: VideoConfig | None = None,
    clock: Clock = MONOTONIC,
) -> Source:
    """Connect and open a stream, or a camera that sends one image per request; the arguments are those of `UrlSource`.

    A camera whose Motion JPEG ended after one image several times in a row is also opened as the latter. If
    `NetworkConfig.snapshot_s` is 0, an image is read once.

    Raises:
        SourceOpenError: The server does not answer in time, or sends neither video nor an image.
    """
    image, multipart = None, False
    if history is not None and history.single_image_answers >= _MAX_SINGLE_IMAGE_ANSWERS and config.snapshot_s:
        history.single_image_answers, multipart = 0, True  # when it is lost, try it as a stream again
    else:
        try:
            return UrlSource(url, config, source_id, history, video, clock)
        except SingleImageReceived as received:
            image = received.image
        if not config.snapshot_s:
            return UrlImageSource(url, config, source_id, image=image)
    camera = SnapshotSource(url, config, source_id, video=video, image=image, clock=clock, multipart=multipart)
    if history is not None and not history.snapshots_logged:
        history.snapshots_logged = True
        how = f"requesting one every {config.snapshot_s:g} s (network.snapshot_s)"
        logger.info("{}: sends one image per request; {}", camera.info.source_id, how)
    return camera


class UrlOpener:
    """Open a camera repeatedly, and remember what each connection finds out."""

    def __init__(
        self, url: str, source_id: str, config: NetworkConfig, video: VideoConfig | None = None, clock: Clock = MONOTONIC
    ) -> None:
        """Store the arguments, which are those of `UrlSource`; open nothing."""
        self._url = url
        self._source_id = source_id
        self._config = config
        self._video = video
        self._clock = clock
        self._history = ConnectionHistory()

    def __call__(self) -> Source:
        """Connect; see `open_url`."""
        return open_url(self._url, self._config, self._source_id, self._history, self._video, self._clock)
