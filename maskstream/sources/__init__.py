"""The sources. A new one is a file and a line in the dict."""

from collections.abc import Callable

import cv2 as _cv2  # noqa: F401  before av: the other order can freeze windows on Linux

from maskstream.errors import SourceOpenError
from maskstream.locations import local_path, location_kind, webcam_of
from maskstream.protocols import Source
from maskstream.redaction import redact
from maskstream.settings import Config
from maskstream.sources.deferred import DeferredSource
from maskstream.sources.file import FileSource
from maskstream.sources.pictures import PictureSource
from maskstream.sources.pipe import PipeSource
from maskstream.sources.reconnecting import ReconnectingSource, ReconnectPolicy
from maskstream.sources.url import SCHEMES, UrlOpener, UrlSource
from maskstream.sources.webcam import WebcamSource

SOURCES: dict[str, Callable[[str, str, Config], Source]] = {
    "file": lambda path, source_id, config: FileSource(local_path(path), source_id, config.pictures.max_megapixels, config.video),
    "pictures": lambda path, source_id, config: PictureSource(path, config.pictures, source_id),
    "pipe": lambda path, source_id, config: PipeSource(path, source_id, config.pictures.max_megapixels, config.video),
    "url": lambda url, source_id, config: UrlSource(url, config.network, source_id, video=config.video),
    "webcam": lambda place, source_id, config: WebcamSource(_webcam(place), config.webcam, source_id, video=config.video),
}
"""Opens what a user named: location, the source's name, configuration."""


def source_kind(location: str) -> str:
    """Return the key in `SOURCES` of what a user gave to `--source`.

    Raises:
        SourceOpenError: Nothing here reads such a URL.
    """
    kind = location_kind(location)
    scheme = location.partition("://")[0]
    if kind == "url" and scheme.lower() not in SCHEMES:
        schemes = ", ".join(f"{known}://" for known in SCHEMES)
        raise SourceOpenError(f"{redact(location)}: {scheme}:// is not read; give one of {schemes}, or a file")
    return kind


def _webcam(location: str) -> int | str:
    """Return the number or the path of a webcam as it is now."""
    device = webcam_of(location)
    return location if device is None else device


__all__ = [
    "SOURCES",
    "DeferredSource",
    "FileSource",
    "PictureSource",
    "PipeSource",
    "ReconnectPolicy",
    "ReconnectingSource",
    "UrlOpener",
    "UrlSource",
    "WebcamSource",
    "source_kind",
]
