"""Detect the kind of a source by its location: a webcam, a pipe, a URL, images or a file."""

import glob
import os
import re
import stat
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from maskstream.errors import SourceOpenError
from maskstream.io.content import content_of_file
from maskstream.io.image_formats import IMAGE_SUFFIXES
from maskstream.redaction import redact

Kind = Literal["url", "webcam", "pipe", "images", "file"]
"""`images` is also a folder or pattern, which may contain videos."""

STDIN: Final = "-"
STDIN_NAME: Final = "stdin"
"""The name of standard input in records and file names."""
_NAMES_OF_STDIN: Final = (STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "pipe:", "pipe:0", "fd:", "fd:0")
_VIDEO4LINUX: Final = 81
"""The major number of Video4Linux devices."""
_NUMBERED: Final = re.compile(r"/dev/video(\d+)")
_NUMBER: Final = re.compile(r"%(0\d{1,2}|\d)?d")
_ANIMATION: Final = ".apng"
"""An animated PNG. It begins like a PNG; all of its frames are read."""
_DESCRIPTION: Final = ".sdp"
_DEVICE_FOLDERS: Final = ("/dev/video", "/dev/v4l/")


def location_kind(location: str) -> Kind:
    """Return the kind of a location, as `plain_location` returns it. A file is opened to detect its content."""
    if is_url(location):
        return "url"
    if is_webcam(location):
        return "webcam"
    if is_pipe(location):
        return "pipe"
    if is_folder_or_pattern(location):
        return "images"
    content = content_of_file(local_path(location))
    suffix = Path(location).suffix.lower()
    if content == "sdp" or (suffix == _DESCRIPTION and stat.S_ISREG(mode_of(location))):
        return "url"
    is_image = content == "picture" or (content != "video" and suffix in IMAGE_SUFFIXES)
    return "images" if is_image and suffix != _ANIMATION else "file"


def is_url(location: str) -> bool:
    """Return whether a location is a URL."""
    return location.find("://") > 1  # one letter is a drive of Windows


def is_webcam(location: str) -> bool:
    """Return whether a location is a webcam."""
    return not is_url(location) and webcam_of(location) is not None


def is_pipe(location: str) -> bool:
    """Return whether a location is a named pipe, or standard input that is not a file."""
    mode = mode_of(local_path(location))
    is_file = stat.S_ISREG(mode) and sys.platform == "linux"
    return not is_url(location) and (stat.S_ISFIFO(mode) or (is_stdin(location) and not is_file))


def is_folder_or_pattern(location: str) -> bool:
    """Return whether a location is a folder, or a pattern of files."""
    if is_url(location) or is_webcam(location) or is_stdin(location):
        return False
    return stat.S_ISDIR(mode_of(location)) or is_pattern(location)


def may_come_back(location: str) -> bool:
    """Return whether a source is reconnected when it is lost: a URL or a webcam. The thread that reads it also opens it."""
    return location_kind(location) in ("url", "webcam")


def webcam_of(location: str) -> int | str | None:
    """Return the number of a webcam, or the path of one without a number at present; None for other locations.

    A link such as `/dev/v4l/by-id/...` may have another number after the webcam is plugged in again: call this at each opening.
    """
    if location.isdecimal():
        return int(location)
    if not location.startswith("/") and not _is_video4linux(location):
        return None
    numbered = _NUMBERED.fullmatch(os.path.realpath(location))
    if numbered:
        return int(numbered[1])
    return location if _is_video4linux(location) or location.startswith(_DEVICE_FOLDERS) else None


def is_stdin(location: str) -> bool:
    """Return whether a location is standard input, by any of its names."""
    return location in _NAMES_OF_STDIN or (location.startswith("/") and os.path.normpath(location) in _NAMES_OF_STDIN)


def local_path(location: str) -> str:
    """Return the path that opens a local source."""
    return "/dev/stdin" if is_stdin(location) else location


def pipe_identity(location: str) -> Hashable:
    """Return an identity that is equal for all names of a pipe; None for other locations. Only one source can read a pipe."""
    if not is_stdin(location) and not is_pipe(location):
        return None
    try:
        status = os.stat(local_path(location))  # noqa: PTH116 (as below)
    except OSError:  # it is closed, or the system has no such name
        return location
    return status.st_dev, status.st_ino


def source_name(location: str) -> str:
    """Return the default name of a source: its location without passwords."""
    return STDIN_NAME if is_stdin(location) else redact(location)


def is_pattern(location: str) -> bool:
    """Return whether a location is a pattern of files: it has a wildcard or number, and no file has exactly this name."""
    has_placeholder = glob.escape(location) != location or number_in(location) is not None
    return has_placeholder and not os.path.lexists(location)


def number_in(location: str) -> re.Match[str] | None:
    """Return the match of the number in a file name, in the notation of FFmpeg and OpenCV: `img_%04d.jpg`."""
    found = list(_NUMBER.finditer(Path(location).name))
    return found[0] if len(found) == 1 else None


def plain_location(given: str) -> str:
    """Return a location without white space around it, with `file:` URLs as paths, and standard input as `-`.

    The name of an existing file is not changed.

    Raises:
        SourceOpenError: The location contains a NUL byte, or names a file of another machine.
    """
    if "\0" in given:
        raise SourceOpenError(f"{given}: a location must not contain a NUL byte; check --source")
    location = given.strip()
    if is_stdin(location):
        return STDIN
    if os.path.lexists(given):
        return given
    if location[:5].lower() != "file:" or os.path.lexists(location):
        return location
    if not location[5:].startswith("//"):
        return location[5:] if os.path.lexists(location[5:]) else unquote(location[5:])
    url = urlsplit(location.replace("#", "%23").replace("?", "%3F"))
    if url.netloc not in ("", "localhost"):
        advice = "give file:///PATH, or the path alone"
        raise SourceOpenError(f"{redact(location)}: names a file on the machine {redact(url.netloc)}; {advice}")
    path = unquote(url.path)
    return path[1:] if sys.platform == "win32" and re.match(r"/[A-Za-z]:", path) else path


def mode_of(path: str) -> int:
    """Return the mode of a file; 0 where it does not exist, or without permission."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116 (Path raises without permission)
    except (OSError, ValueError):
        return 0


def _is_video4linux(path: str) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116 (as above)
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(status.st_mode) and sys.platform == "linux" and os.major(status.st_rdev) == _VIDEO4LINUX
