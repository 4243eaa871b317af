"""Find the images and videos in a folder or of a pattern, and log the files that are left out."""

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.io.content import content_of_file
from maskstream.io.file_names import natural_order
from maskstream.io.files import one_line
from maskstream.io.image_formats import IMAGE_SUFFIXES
from maskstream.io.locations import is_pattern, mode_of, number_in

VIDEO_SUFFIXES: Final = (
    *(".mp4", ".mkv", ".mov", ".avi", ".webm", ".ts", ".m4v", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".mod", ".tod"),
    *(".mts", ".m2ts", ".m2t", ".trp", ".3gp", ".3g2", ".flv", ".f4v", ".wmv", ".asf", ".ogv", ".ogm", ".mxf", ".gif", ".dav"),
    *(".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".mpo", ".nut", ".ivf", ".y4m", ".divx", ".qt"),
    *(".rm", ".rmvb", ".dv", ".mk3d", ".amv", ".obu", ".apng"),
)
"""Suffixes of videos in a folder. A file that is given itself is read with any suffix."""
_OF_SYSTEMS: Final = ("thumbs.db", "desktop.ini", "ehthumbs.db", "$recycle.bin", "system volume information", "@eadir")
"""Names that Windows and network drives put into folders, in lower case."""
_NAMED_AT_MOST: Final = 3
_SUFFIXES_AT_MOST: Final = 6


@dataclass
class Found:
    """The files of a folder or pattern. Lists are in natural order."""

    location: str
    images: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Files of other kinds."""
    hidden: list[str] = field(default_factory=list)
    """Files and folders that are hidden, or belong to the system."""
    folders: list[str] = field(default_factory=list)
    """Subfolders that were not read."""
    repeated: list[str] = field(default_factory=list)
    """Links to folders that are read under another name."""
    no_files: list[str] = field(default_factory=list)
    """Pipes, sockets, devices and broken links."""
    refused: list[OSError] = field(default_factory=list)
    """Errors of folders that may not be read."""

    def log_left_out(self) -> None:
        """Log in one line how many files are left out and why, with the first names."""
        kinds = Counter(Path(name).suffix.lower() or "without a suffix" for name in self.others)
        common = [f"{count} {suffix}" for suffix, count in kinds.most_common(_SUFFIXES_AT_MOST)]
        more = [f"{len(kinds) - len(common)} other suffixes"] if len(kinds) > len(common) else []
        parts = (
            (self.others, "of other kinds", f"{', '.join([*common, *more])}: {_some(self.others)}"),
            (self.folders, "folders, which --recursive also reads", _some(self.folders)),
            (self.repeated, "links to folders that are already read", _some(self.repeated)),
            (self.no_files, "pipes, devices and broken links", _some(self.no_files)),
            (self.hidden, "hidden or of the system", ""),
        )
        said = [f"{what}: {len(names)}{f' ({which})' if which else ''}" for names, what, which in parts if names]
        if said:
            logger.info("{}: left out: {}", one_line(self.location), "; ".join(said))

    def log_refused(self) -> None:
        """Log the folders that could not be read."""
        for error in self.refused:
            logger.warning("{}: left out: {}", one_line(str(error.filename)), error.strerror)


def find_files(location: str, *, recursive: bool) -> Found | None:
    """Return the files of a folder or pattern; None where the location is neither.

    Links to folders are followed. Each folder is read once.

    Args:
        location: A folder, or a pattern such as `cams/**/*.mp4`.
        recursive: Whether subfolders of a folder are read.
    """
    found = Found(location)
    if os.path.isdir(location):  # noqa: PTH112 (Path raises without permission)
        for path, mode in _walk(location, recursive=recursive, found=found):
            _sort_in(found, path, mode)
    elif is_pattern(location):
        wanted = Path(location).suffix.lower()
        videos = {wanted} if glob.escape(wanted) == wanted and wanted else ()
        for path in _matching(location):
            _sort_in(found, path, mode_of(path), videos)
    else:
        return None
    if number_in(location) is None:
        for name in ("images", "videos", "others", "folders"):
            setattr(found, name, natural_order(getattr(found, name)))
    return found


def _walk(folder: str, *, recursive: bool, found: Found) -> Iterator[tuple[str, int]]:
    """Yield files with their modes. Linked folders are read last, so that a folder keeps the name of its own place."""
    waiting, linked = [folder], list[str]()
    seen: set[tuple[int, int]] = set()
    while waiting or linked:
        parent = waiting.pop() if waiting else linked.pop(0)
        try:
            status = os.stat(parent)  # noqa: PTH116 (as above)
            if (status.st_dev, status.st_ino) in seen:
                found.repeated.append(parent)
                continue
            seen.add((status.st_dev, status.st_ino))
            names = sorted(entry.name for entry in os.scandir(parent))
        except OSError as error:
            found.refused.append(error)
            continue
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 (a path stays as it is spelled)
            mode = mode_of(path)
            if not stat.S_ISDIR(mode):
                yield path, mode
            elif _is_hidden(name):
                found.hidden.append(path)
            elif not recursive:
                found.folders.append(path)
            else:
                folders = linked if os.path.islink(path) else waiting  # noqa: PTH114 (as above)
                folders.append(path)


def _matching(pattern: str) -> Iterable[str]:
    """Return the files that match, each once, also where links lead to its folder."""
    if number_in(pattern):
        return _numbered(pattern)
    longest_first = sorted(_glob(pattern), key=len, reverse=True)
    by_place = {(os.path.realpath(Path(path).parent), Path(path).name): path for path in longest_first}
    return [path for path in by_place.values() if not stat.S_ISDIR(mode_of(path))]


def _glob(pattern: str) -> list[str]:
    """Return the matches. With `**` and circular links `glob.glob` alone does not end in practice."""
    before, stars, behind = f"/{pattern}/".partition("/**/")
    if not stars:
        return glob.glob(pattern)  # noqa: PTH207 (any pattern)
    roots = _glob(before[1:]) if before[1:] else ["/" if pattern.startswith("/") else ""]
    folders = [folder for root in roots for folder in _folders(root)]
    return [path for folder in folders for path in _glob(os.path.join(glob.escape(folder), behind[:-1] or "*"))]  # noqa: PTH118


def _folders(root: str) -> Iterator[str]:
    """Yield a folder and its subfolders, also linked ones, each once."""
    waiting, seen = [root], set[tuple[int, int]]()
    while waiting:
        folder = waiting.pop(0)
        with suppress(OSError):
            status = os.stat(folder or os.curdir)  # noqa: PTH116 (as above)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = [entry for entry in os.scandir(folder or os.curdir) if entry.is_dir() and not _is_hidden(entry.name)]
            yield folder
            entries.sort(key=lambda entry: (entry.is_symlink(), entry.name))
            waiting += [os.path.join(folder, entry.name) for entry in entries]  # noqa: PTH118 (as above)


def _numbered(pattern: str) -> list[str]:
    """Return the files that match a pattern such as `img_%04d.jpg`, in the order of their numbers."""
    folder, name = os.path.split(pattern)
    place = number_in(name)
    assert place is not None
    before, after, width = name[: place.start()], name[place.end() :], int(place[1] or 0)
    shape = re.compile(rf"{re.escape(before)}( *\d+){re.escape(after)}", re.ASCII)
    by_number: dict[int, str] = {}
    with suppress(OSError):
        for each in filter(None, map(shape.fullmatch, sorted(os.listdir(folder or ".")))):  # noqa: PTH208 (names alone)
            number = int(each[1])
            if each[1] in (f"{number:0{width}}", f"{number:{width}}"):  # FFmpeg pads with 0, C with spaces by default
                by_number[number] = os.path.join(folder, each[0])  # noqa: PTH118 (as the user spells it)
    return [by_number[number] for number in sorted(by_number)]


def _sort_in(found: Found, path: str, mode: int, videos: Collection[str] = ()) -> None:
    """Add a file to the list of its kind. `videos` are further suffixes of videos."""
    files = _list_for(found, path, mode, videos)
    if _is_hidden(os.path.basename(path)):  # noqa: PTH119 (as above)
        found.hidden.append(path)
    elif not stat.S_ISREG(mode) and (mode or files is found.others):
        found.no_files.append(path)
    else:  # a broken link is reported with the files that cannot be read
        files.append(path)


def _list_for(found: Found, path: str, mode: int, videos: Collection[str]) -> list[str]:
    suffix = Path(path).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return found.images
    if suffix in VIDEO_SUFFIXES or suffix in videos:
        return found.videos
    content = content_of_file(path) if not suffix and stat.S_ISREG(mode) else None
    if content == "picture":
        return found.images
    return found.videos if content == "video" else found.others


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def _some(names: list[str]) -> str:
    shown = [one_line(os.path.basename(name)) for name in names[:_NAMED_AT_MOST]]  # noqa: PTH119 (as above)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
