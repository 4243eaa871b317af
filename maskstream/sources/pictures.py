"""Still pictures: one, a folder of them, or what a pattern matches."""

import glob
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final

from loguru import logger

from maskstream.errors import SourceError, SourceOpenError, SourceRefused
from maskstream.files import one_line
from maskstream.pictures import COUNTED, PICTURE_SUFFIXES, natural_order, picture_shape, read_picture
from maskstream.settings import PicturesConfig
from maskstream.sources.guard import ReadGuard
from maskstream.types import BgrImage, Frame, SourceInfo

_NAMED_AT_MOST: Final = 3
_NUMBER: Final = re.compile(r"%(0\d{1,2}|\d)?d")
_WHICH_ARE_TAKEN: Final = f"pictures end in {', '.join(PICTURE_SUFFIXES[:6])} or the like"


class PictureSource:
    """Pictures in natural order: `picture_2` before `picture_10`.

    One that cannot be read is left out, and said at the end.
    """

    def __init__(self, location: str, config: PicturesConfig, source_id: str | None = None) -> None:
        """Find the pictures and decode the first one that can be read.

        Args:
            location: A picture file, a folder, or a pattern such as `photos/**/*.jpg` or `img_%04d.jpg`; a file of that
                very name comes first.
            config: Whether a folder's own folders are looked into, and how large a picture may be.
            source_id: Its name in records; None for the location.

        Raises:
            SourceOpenError: There are no pictures, or none of them can be read.
        """
        self._name = source_id or location
        self._max_megapixels = config.max_megapixels
        path, self._files = _find_pictures(location, config)
        self._unreadable: list[tuple[str, SourceError]] = []
        self._frames = self._decode()
        self._first = next(self._frames, None)
        if self._first is None:
            raise SourceOpenError(self._why_none(location))
        self._guard = ReadGuard(self._say_unreadable)
        self.info = SourceInfo(
            *(self._name, self._first.width, self._first.height),
            live=False,
            frame_count=len(self._files),
            path=path,
            pictures=tuple(self._files),
        )

    def __iter__(self) -> Iterator[Frame]:
        """Yield the pictures that can be read; may be called once."""
        while (frame := self._guard.read(self._next)) is not None:
            yield frame

    def close(self) -> None:
        """End the reading; a reader in another thread comes to its end."""
        self._guard.close()

    def _next(self) -> Frame | None:
        first, self._first = self._first, None
        frame = first or next(self._frames, None)
        if frame is None:
            self._say_unreadable()
        return frame

    def _decode(self) -> Iterator[Frame]:
        for index, file in enumerate(self._files):
            started = perf_counter()
            try:
                bgr, further = read_within(file, self._max_megapixels, "pictures.max_megapixels")
            except SourceError as error:
                self._unreadable.append((file, error))
                continue
            if further:
                logger.warning("{}: {}", one_line(file), only_the_first(further))
            capture_ms = (perf_counter() - started) * 1000
            yield Frame(bgr, index, self._name, 0.0, captured_at_s=monotonic(), capture_ms=capture_ms, file=file)

    def _say_unreadable(self) -> None:
        unreadable, self._unreadable = self._unreadable, []
        if unreadable:
            count = f"{len(unreadable)} of {len(self._files)} pictures"
            logger.error("{}: {} could not be read:", one_line(self._name), count)
        for file, error in unreadable:
            logger.error("{}: {}", one_line(file), error)

    def _why_none(self, location: str) -> str:
        if len(self._unreadable) == 1:
            return f"{one_line(self._files[0])}: {self._unreadable[0][1]}"
        named = [f"{one_line(Path(file).name)} ({error})" for file, error in self._unreadable[:_NAMED_AT_MOST]]
        more = len(self._files) - len(named)
        return (
            f"{one_line(location)}: none of its {len(self._files)} pictures can be read: {', '.join(named)}"
            f"{f' and {more} more' if more else ''}"
        )


def read_within(picture: str | bytes, max_megapixels: float, setting: str) -> tuple[BgrImage, int]:
    """Decode a picture, unless its header says that it is too large: a small file may hold one that fills the memory.

    Args:
        picture: Path of a file, or what a file would hold.
        max_megapixels: Most that it may have.
        setting: The setting that allows more.

    Returns:
        (H, W, 3) uint8, blue first; and how many pictures or pages follow it, which are not read.

    Raises:
        SourceError: It cannot be read, or is too large.
    """
    shape = picture_shape(picture)
    if shape.width * shape.height > max_megapixels * 1e6:
        too_large = f"it has {shape.width}x{shape.height} pixels, more than {max_megapixels:g} megapixels"
        raise SourceRefused(f"{too_large}; scale it down, or raise {setting}")
    return read_picture(picture), shape.further


def only_the_first(further: int) -> str:
    """Return what is said of a picture behind which others follow in the same file."""
    several = f"{further + 1}" if further < COUNTED else f"{further} or more"
    return (
        f"{several} pictures or pages are in it, only the first is judged; save the others as files of their own, "
        "or an animation as a video or GIF"
    )


def is_pattern(location: str) -> bool:
    """Return whether it stands for the files that match it, because nothing has that very name."""
    stands_for_others = glob.escape(location) != location or _number_in(location) is not None
    return stands_for_others and not os.path.lexists(location)


def _number_in(location: str) -> re.Match[str] | None:
    """Return the place of the number in the name of a file, as FFmpeg and OpenCV write it: `img_%04d.jpg`."""
    found = list(_NUMBER.finditer(Path(location).name))
    return found[0] if len(found) == 1 else None


def _find_pictures(location: str, config: PicturesConfig) -> tuple[str, list[str]]:
    """Return the file, the folder, or the part of a pattern before its first wildcard, and the pictures there.

    Raises:
        SourceOpenError: There are none.
    """
    if os.path.isdir(location):  # noqa: PTH112 (Path raises where nothing may be looked up)
        return location, _in_folder(location, config)
    if is_pattern(location) and _number_in(location):
        return str(Path(location).parent), _numbered(location)
    if is_pattern(location):
        fixed = takewhile(lambda part: glob.escape(part) == part, Path(location).parts)
        return str(Path(*fixed)), _matching(location)
    if not os.path.lexists(location):
        raise SourceOpenError(f"{one_line(location)}: no such file; check the path")
    return location, [location]


def _in_folder(folder: str, config: PicturesConfig) -> list[str]:
    pictures = natural_order(_walk(folder, recursive=config.recursive))
    if pictures:
        return pictures
    if any(_walk(folder, recursive=True)):
        raise SourceOpenError(f"{one_line(folder)}: its pictures are all in folders of it; add --recursive")
    raise SourceOpenError(f"{one_line(folder)}: no picture in this folder; {_WHICH_ARE_TAKEN}")


def _walk(folder: str, *, recursive: bool) -> Iterator[str]:
    for parent, folders, files in os.walk(folder, onerror=_say_left_out):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        yield from (os.path.join(parent, name) for name in files if _is_picture(name) and not name.startswith("."))  # noqa: PTH118


def _say_left_out(error: OSError) -> None:
    logger.warning("{}: left out: {}", one_line(str(error.filename)), error.strerror)


def _matching(pattern: str) -> list[str]:
    files = [match for match in glob.glob(pattern, recursive=True) if not Path(match).is_dir()]  # noqa: PTH207 (any pattern)
    return _pictures_among(natural_order(set(files)), pattern)


def _numbered(pattern: str) -> list[str]:
    """Return the pictures whose number is written as a pattern such as `img_%04d.jpg` says, in the order of the numbers."""
    folder, name = os.path.split(pattern)
    place = _number_in(name)
    assert place is not None
    before, after, width = name[: place.start()], name[place.end() :], int(place[1] or 0)
    shape = re.compile(rf"{re.escape(before)}( *\d+){re.escape(after)}", re.ASCII)
    by_number: dict[int, str] = {}
    with suppress(OSError):
        for each in filter(None, map(shape.fullmatch, sorted(os.listdir(folder or ".")))):  # noqa: PTH208 (names alone)
            number = int(each[1])
            if each[1] in (
                f"{number:0{width}}",
                f"{number:{width}}",
            ):  # FFmpeg fills with 0, C with spaces where no 0 is asked for
                by_number[number] = os.path.join(folder, each[0])  # noqa: PTH118 (as the user spells it)
    return _pictures_among([by_number[number] for number in sorted(by_number)], pattern)


def _pictures_among(files: list[str], pattern: str) -> list[str]:
    pictures = list(filter(_is_picture, files))
    if pictures:
        return pictures
    found = f"none of the {len(files)} files that match is a picture" if files else "nothing matches"
    raise SourceOpenError(f"{one_line(pattern)}: {found}; {_WHICH_ARE_TAKEN}")


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in PICTURE_SUFFIXES
