"""Read frames from files, images, pipes, URLs and webcams. A new source is a module and a line in `SOURCES`."""

from collections.abc import Callable
from typing import Final

import cv2 as _cv2  # noqa: F401  before av: the other order can freeze windows on Linux

from maskstream.config.schema import Config
from maskstream.errors import SourceOpenError
from maskstream.io.locations import local_path, location_kind, webcam_of
from maskstream.protocols import Source
from maskstream.redaction import redact
from maskstream.sources.deferred_opening import DeferredSource
from maskstream.sources.file import FileSource
from maskstream.sources.images import ImageSource
from maskstream.sources.pipe import PipedImageSource, PipeSource
from maskstream.sources.reconnecting import ReconnectingSource, ReconnectPolicy
from maskstream.sources.snapshot_url import SnapshotSource, UrlImageSource
from maskstream.sources.url import UrlSource
from maskstream.sources.url_opening import UrlOpener, open_url
from maskstream.sources.url_parts import SCHEMES
from maskstream.sources.web_page_check import require_no_web_page
from maskstream.sources.webcam import WebcamSource

SOURCES: dict[str, Callable[[str, str, Config], Source]] = {
    "file": lambda path, source_id, config: FileSource(local_path(path), source_id, config.pictures.max_megapixels, config.video),
    "images": lambda path, source_id, config: ImageSource(local_path(path), config.pictures, source_id),
    "pipe": lambda path, source_id, config: PipeSource(path, source_id, config.pictures.max_megapixels, config.video),
    "url": lambda url, source_id, config: open_url(url, config.network, source_id, video=config.video),
    "webcam": lambda place, source_id, config: WebcamSource(_webcam(place), config.webcam, source_id, video=config.video),
}
"""Functions that open a source of each kind; arguments: location, name of the source, configuration."""

_GATEWAY: Final = "convert it to rtsp:// with go2rtc or MediaMTX"
_ADVICE: Final = {
    "onvif": "give the rtsp:// URL that the camera shows in its settings or ONVIF Device Manager finds",
    **dict.fromkeys(("webrtc", "whep", "whip", "rtmpt", "rtmpe", "rtmpts", "rist", "ndi"), _GATEWAY),
    **dict.fromkeys(("mms", "mmsh", "mmst"), "try http:// or rtsp:// instead"),
    **dict.fromkeys(("rtspu", "rtspt"), "give rtsp://, and set network.transport"),
    **dict.fromkeys(("ftp", "ftps", "sftp", "smb", "nfs", "s3", "gs"), "copy or mount the file, and give its path"),
    "file": "give the path without file://",
}
"""What users of other schemes can do."""


def source_kind(location: str) -> str:
    """Return the key in `SOURCES` for a value of `--source`.

    The first bytes of a file decide whether it is an image or a video. If they do not tell, its suffix decides.

    Raises:
        SourceOpenError: The scheme of the URL is not supported, or it is a page of a video site.
    """
    kind = location_kind(location)
    if kind != "url" or "://" not in location:
        return kind
    scheme = location.partition("://")[0].lower()
    if scheme not in SCHEMES:
        advice = _ADVICE.get(scheme) or f"give one of {', '.join(f'{known}://' for known in SCHEMES)}, or a file"
        raise SourceOpenError(f"{redact(location)}: {scheme}:// is not supported; {advice}")
    require_no_web_page(location)
    return kind


def _webcam(location: str) -> int | str:
    """Return the current number of a webcam, or its path."""
    device = webcam_of(location)
    return location if device is None else device


__all__ = [
    "SOURCES",
    "DeferredSource",
    "FileSource",
    "ImageSource",
    "PipeSource",
    "PipedImageSource",
    "ReconnectPolicy",
    "ReconnectingSource",
    "SnapshotSource",
    "UrlImageSource",
    "UrlOpener",
    "UrlSource",
    "WebcamSource",
    "source_kind",
]
