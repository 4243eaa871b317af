"""What a user may name as a source: the only place that tells webcams, pipes, pictures and files by their names."""

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
"""`pictures` is a folder or a pattern, which may have videos too."""

STDIN: Final = "-"
STDIN_NAME: Final = "stdin"
"""What standard input is called in records and file names."""
_NAMES_OF_STDIN: Final = (STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "pipe:", "pipe:0", "fd:", "fd:0")
_VIDEO4LINUX: Final = 81
"""The major number of all its devices."""
_NUMBERED: Final = re.compile(r"/dev/video(\d+)")
_NUMBER: Final = re.compile(r"%(0\d{1,2}|\d)?d")
_ANIMATION: Final = ".apng"
"""Begins as PNG does; its user wants all of its pictures."""
_DESCRIPTION: Final = ".sdp"
_DEVICE_FOLDERS: Final = ("/dev/video", "/dev/v4l/")


def location_kind(location: str) -> Kind:
    """Return what kind of source a location names, as `plain_location` gives it; a file is opened to look what it holds."""
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
    """Return whether a location is that of a webcam."""
    return not is_url(location) and webcam_of(location) is not None


def is_pipe(location: str) -> bool:
    """Return whether a location is a named pipe, or standard input that is no file."""
    mode = mode_of(local_path(location))
    is_file = stat.S_ISREG(mode) and sys.platform == "linux"
    return not is_url(location) and (stat.S_ISFIFO(mode) or (is_stdin(location) and not is_file))


def is_folder_or_pattern(location: str) -> bool:
    """Return whether a location stands for the files of a folder, or for those that match it."""
    if is_url(location) or is_webcam(location) or is_stdin(location):
        return False
    return stat.S_ISDIR(mode_of(location)) or is_pattern(location)


def may_come_back(location: str) -> bool:
    """Return whether a source is none of the files: it is opened by the thread that reads it, and again when it is lost."""
    return location_kind(location) in ("url", "webcam")


def webcam_of(location: str) -> int | str | None:
    """Return the number of a webcam, or the path of one that has none by now; None for what is no webcam.

    A link such as `/dev/v4l/by-id/...` leads to another number when the webcam was plugged in again: ask at each opening.
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
    """Return whether a location is standard input, under any of its names."""
    return location in _NAMES_OF_STDIN or (location.startswith("/") and os.path.normpath(location) in _NAMES_OF_STDIN)


def local_path(location: str) -> str:
    """Return the path by which a local source is opened."""
    return "/dev/stdin" if is_stdin(location) else location


def pipe_identity(location: str) -> Hashable:
    """Return what is the same for all names of a pipe that only one source can read; None for what is no pipe."""
    if not is_stdin(location) and not is_pipe(location):
        return None
    try:
        status = os.stat(local_path(location))  # noqa: PTH116 (as below)
    except OSError:  # it is closed, or the system has no such name
        return location
    return status.st_dev, status.st_ino


def source_name(location: str) -> str:
    """Return what a source is called where its user gives it no name: its location without passwords."""
    return STDIN_NAME if is_stdin(location) else redact(location)


def is_pattern(location: str) -> bool:
    """Return whether it stands for the files that match it, because nothing has that very name."""
    stands_for_others = glob.escape(location) != location or number_in(location) is not None
    return stands_for_others and not os.path.lexists(location)


def number_in(location: str) -> re.Match[str] | None:
    """Return the place of the number in the name of a file, as FFmpeg and OpenCV write it: `img_%04d.jpg`."""
    found = list(_NUMBER.finditer(Path(location).name))
    return found[0] if len(found) == 1 else None


def plain_location(given: str) -> str:
    """Return a location without white space around it, `file:` URLs as paths, and standard input as `-`.

    A file of that very name stays.

    Raises:
        SourceOpenError: It has a character that no location has, or names a file of another machine.
    """
    if "\0" in given:
        raise SourceOpenError(f"{given}: no location has a NUL byte in it; check what was given to --source")
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
        raise SourceOpenError(f"{redact(location)}: names a file of the machine {redact(url.netloc)}; {advice}")
    path = unquote(url.path)
    return path[1:] if sys.platform == "win32" and re.match(r"/[A-Za-z]:", path) else path


def mode_of(path: str) -> int:
    """Return the mode of a file; 0 where there is none, or nothing may be looked up."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116 (Path raises where nothing may be looked up)
    except (OSError, ValueError):
        return 0


def _is_video4linux(path: str) -> bool:
    try:
        status = os.stat(path)  # noqa: PTH116 (as above)
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(status.st_mode) and sys.platform == "linux" and os.major(status.st_rdev) == _VIDEO4LINUX
