"""Check what a client sends for a camera, and show addresses without passwords."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from maskstream.config.cameras import is_list
from maskstream.errors import ConfigError
from maskstream.io.locations import is_pattern, is_stdin, is_url, plain_location, webcam_of
from maskstream.redaction import HIDDEN, redact

_MAX_NAME: Final = 64
_MAX_URL: Final = 2000
_REFERENCE: Final = re.compile(r"\$\{([^}]*)\}?")
_ONLY_REFERENCES: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)((?:\$\{\w+\}|:)+@)(.*)", re.DOTALL)
_PARAMETER: Final = re.compile(r"([?&;][^=?&;#]+=)(\$\{\w+\})(?=[&;#]|\Z)")
_FREE_PREFIX: Final = "CAMERA_"
"""Variables with this prefix are for cameras; others may be secrets of other parts of the program."""


def require_name(name: str, kind: str = "camera") -> None:
    """Refuse a name that is not fit for file names, topics and log lines.

    Raises:
        ConfigError: The name is empty, too long, or contains something else than printable text.
    """
    shown = f"{name!r:.80}"
    if not 0 < len(name) <= _MAX_NAME:
        raise ConfigError(f"{shown}: the name of a {kind} must have 1 to {_MAX_NAME} characters; choose another")
    if not name.isprintable() or name != name.strip():
        raise ConfigError(f"{shown}: the name of a {kind} must be printable text without spaces around it; choose another")
    if name.startswith(".") or set(name) & set("/\\"):
        raise ConfigError(f"{shown}: the name of a {kind} must not begin with a dot or contain a slash; choose another")


def shown_url(url: str) -> str:
    """Return the url of a list without passwords. References to environment variables such as `${NAME}` are kept."""
    found = _ONLY_REFERENCES.fullmatch(url)
    if found is None:
        shown = redact(url)
    else:
        scheme, user, rest = found.groups()
        shown = redact(scheme + rest).replace(scheme, scheme + user, 1)
    for parameter, reference in _PARAMETER.findall(url):
        shown = shown.replace(f"{parameter}{HIDDEN}", f"{parameter}{reference}", 1)
    return shown


def require_url(url: str, listed_urls: Sequence[str], folders: Iterable[Path]) -> None:
    """Refuse a url that a client may not give to a camera.

    A client may not read files anywhere on this machine, nor send any secret of this program to a server of its choice.

    Args:
        url: The url, as it would be written to the list.
        listed_urls: The urls of all lists. The environment variables in them may be used.
        folders: The folders of files that may be read.

    Raises:
        ConfigError: The url is not allowed.
        SourceOpenError: The scheme is not supported.
    """
    from maskstream.sources import source_kind

    location = url.strip()
    shown = f"{shown_url(location):.120}"
    if not location or len(location) > _MAX_URL or not location.isprintable():
        raise ConfigError(f"url: expected printable text of 1 to {_MAX_URL} characters")
    if HIDDEN in location:
        raise ConfigError(
            f"url: {shown} contains {HIDDEN} instead of the password; give it completely, or leave the url unchanged"
        )
    _require_references(location, listed_urls)
    location = plain_location(location)
    if is_url(location):
        _require_host(location, shown)
        source_kind(location)
    elif webcam_of(location) is None:
        _require_file(location, folders)


def _require_references(url: str, listed_urls: Sequence[str]) -> None:
    known = {name for listed in listed_urls for name in _REFERENCE.findall(listed)}
    for name in _REFERENCE.findall(url):
        if name not in known and not name.startswith(_FREE_PREFIX):
            advice = f"use one of a listed camera, or one that begins with {_FREE_PREFIX}"
            raise ConfigError(f"url: the environment variable {name!r:.80} may not be used here; {advice}")


def _require_host(url: str, shown: str) -> None:
    try:
        parts = urlsplit(_REFERENCE.sub("x", url))
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError:
        has_host = False
    if not has_host and not url.lower().startswith(("udp://", "rtp://")):  # udp://:5000 listens
        raise ConfigError(f"url: {shown} names no host; give one such as rtsp://192.0.2.10:554/stream1")


def _require_file(location: str, folders: Iterable[Path]) -> None:
    if is_stdin(location) or is_list(location):
        raise ConfigError(f"url: {location:.120} cannot be a camera; give a URL, a webcam or a file")
    path = Path(location).parent if is_pattern(location) else Path(location)
    place = Path(os.path.realpath(path))
    if not any(place.is_relative_to(os.path.realpath(folder)) for folder in folders):
        advice = "give a URL such as rtsp://HOST/PATH, or a file in a folder of a listed camera"
        raise ConfigError(f"url: {location:.120} is neither a URL nor in the folder of a list; {advice}")
    if not place.exists():
        raise ConfigError(f"url: {location:.120}: no such file; check the path")
