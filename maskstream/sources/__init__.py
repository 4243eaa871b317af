"""The sources. A new one is a file and a line in the dict."""

from collections.abc import Callable

from maskstream.errors import SourceOpenError, redact
from maskstream.protocols import Source
from maskstream.sources.file import FileSource

SOURCES: dict[str, Callable[[str], Source]] = {"file": FileSource}


def source_kind(location: str) -> str:
    """Return the key in `SOURCES` of what a user gave to `--source`.

    Raises:
        SourceOpenError: Nothing here reads such a source.
    """
    if "://" in location or location.isdecimal():
        raise SourceOpenError(f"{redact(location)}: webcams and URLs are not read yet; give a video file")
    return "file"


__all__ = ["SOURCES", "FileSource", "source_kind"]
