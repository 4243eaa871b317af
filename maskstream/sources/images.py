"""Read still images: one file, a folder, or the files that match a pattern."""

import glob
import os
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final

from loguru import logger

from maskstream.config.schema import ImagesConfig
from maskstream.errors import SourceError, SourceOpenError, SourceRefused
from maskstream.io.files import one_line
from maskstream.io.folders import Found, find_files
from maskstream.io.image_formats import IMAGE_SUFFIXES
from maskstream.io.images import COUNTED, image_shape, read_image
from maskstream.io.locations import is_pattern, number_in
from maskstream.sources.read_guard import ReadGuard
from maskstream.types import BgrImage, Frame, SourceInfo

_MAX_NAMED: Final = 3
_SUFFIX_ADVICE: Final = f"images end in {', '.join(IMAGE_SUFFIXES[:6])} or similar"


class ImageSource:
    """Images in natural order: `image_2` before `image_10`.

    An image that cannot be read is skipped, and logged at the end.
    """

    def __init__(
        self, location: str, config: ImagesConfig, source_id: str | None = None, files: Sequence[str] | None = None
    ) -> None:
        """Find the images and decode the first one that can be read.

        Args:
            location: An image file, a folder, or a pattern such as `photos/**/*.jpg` or `img_%04d.jpg`. A file with exactly that
                name is preferred.
            config: Whether subfolders are searched, and the maximum size of an image.
            source_id: Name of the source in records; None for the location.
            files: The images, if the folder or pattern was searched already; None to search it.

        Raises:
            SourceOpenError: There are no images, or none of them can be read.
        """
        self._name = source_id or location
        self._max_megapixels = config.max_megapixels
        self._files = _find_images(location, config) if files is None else list(files)
        self._unreadable: list[tuple[str, SourceError]] = []
        self._frames = self._decode()
        self._first = next(self._frames, None)
        if self._first is None:
            raise SourceOpenError(self._why_none(location))
        self._guard = ReadGuard(self._log_unreadable)
        path = location
        if not os.path.isdir(location) and is_pattern(location):  # noqa: PTH112 (Path raises if the folder may not be read)
            before_wildcard = takewhile(lambda part: glob.escape(part) == part and not number_in(part), Path(location).parts)
            path = str(Path(*before_wildcard))
        self.info = SourceInfo(
            source_id=self._name,
            width=self._first.width,
            height=self._first.height,
            live=False,
            frame_count=len(self._files),
            path=path,
            images=tuple(self._files),
        )

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images that can be read; may be called once."""
        while (frame := self._guard.read(self._next)) is not None:
            yield frame

    def close(self) -> None:
        """End reading, also in another thread."""
        self._guard.close()

    def _next(self) -> Frame | None:
        first, self._first = self._first, None
        frame = first or next(self._frames, None)
        if frame is None:
            self._log_unreadable()
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
                logger.warning("{}: {}", one_line(file), first_only_warning(further))
            capture_ms = (perf_counter() - started) * 1000
            yield Frame(bgr, index, self._name, time_s=0.0, captured_at_s=monotonic(), capture_ms=capture_ms, file=file)

    def _log_unreadable(self) -> None:
        unreadable, self._unreadable = self._unreadable, []
        if unreadable:
            logger.error("{}: {} of {} images cannot be read:", one_line(self._name), len(unreadable), len(self._files))
        for file, error in unreadable:
            logger.error("{}: {}", one_line(file), error)

    def _why_none(self, location: str) -> str:
        if len(self._unreadable) == 1:
            return f"{one_line(self._files[0])}: {self._unreadable[0][1]}"
        named = [f"{one_line(Path(file).name)} ({error})" for file, error in self._unreadable[:_MAX_NAMED]]
        more = len(self._files) - len(named)
        return (
            f"{one_line(location)}: none of its {len(self._files)} images can be read: {', '.join(named)}"
            f"{f' and {more} more' if more else ''}"
        )


class SingleImageSource:
    """One image that was received from a server or through a pipe."""

    def __init__(self, data: bytes, name: str, file: str, max_megapixels: float, setting: str) -> None:
        """Decode the image.

        Args:
            data: Content of an image file.
            name: Name of the source.
            file: Its name in records, without passwords.
            max_megapixels: Maximum size.
            setting: The setting that allows a larger size, for messages.

        Raises:
            SourceError: It cannot be read, or is too large. The text does not contain the name.
        """
        started = perf_counter()
        bgr, further = read_within(data, max_megapixels, setting)
        if further:
            logger.warning("{}: {}", one_line(name), first_only_warning(further))
        capture_ms = (perf_counter() - started) * 1000
        self._frame: Frame | None = Frame(
            bgr, index=0, source_id=name, time_s=0.0, captured_at_s=monotonic(), capture_ms=capture_ms, file=file
        )
        self.info = SourceInfo(name, bgr.shape[1], bgr.shape[0], live=False, frame_count=1, images=(file,))

    def __iter__(self) -> Iterator[Frame]:
        """Yield the image; may be called once."""
        frame, self._frame = self._frame, None
        if frame is not None:
            yield frame

    def close(self) -> None:
        """Release the image."""
        self._frame = None


def read_within(image: str | bytes, max_megapixels: float, setting: str) -> tuple[BgrImage, int]:
    """Decode an image unless its header states a size above the limit: a small file may decode to gigabytes.

    Args:
        image: Path of a file, or its content.
        max_megapixels: Maximum size.
        setting: The setting that allows a larger size, for messages.

    Returns:
        (H, W, 3) uint8, BGR; and the number of further images or pages in the file, which are not read.

    Raises:
        SourceError: It cannot be read, or is too large.
    """
    shape = image_shape(image)
    if shape.width * shape.height > max_megapixels * 1e6:
        too_large = f"it has {shape.width}x{shape.height} pixels, more than {max_megapixels:g} megapixels"
        raise SourceRefused(f"{too_large}; scale it down, or raise {setting}")
    return read_image(image), shape.further


def first_only_warning(further: int) -> str:
    """Return the warning for a file with further images after the first one."""
    several = f"{further + 1}" if further < COUNTED else f"{further} or more"
    return (
        f"the file has {several} images or pages, and only the first is classified; save the others as separate files, "
        "or an animation as a video or GIF"
    )


def _find_images(location: str, config: ImagesConfig) -> list[str]:
    """Return the paths of the images.

    Raises:
        SourceOpenError: There are none.
    """
    if os.path.isdir(location):  # noqa: PTH112 (as above)
        return _in_folder(location, config)
    if is_pattern(location):
        return _matching(location)
    if not os.path.lexists(location):
        raise SourceOpenError(f"{one_line(location)}: no such file; check the path")
    return [location]


def _in_folder(folder: str, config: ImagesConfig) -> list[str]:
    found = _found(folder, recursive=config.recursive)
    found.log_refused()
    if found.images:
        return found.images
    if found.folders and _found(folder, recursive=True).images:
        raise SourceOpenError(f"{one_line(folder)}: its images are all in subfolders; add --recursive")
    raise SourceOpenError(f"{one_line(folder)}: no image in this folder; {_SUFFIX_ADVICE}")


def _found(location: str, *, recursive: bool) -> Found:
    found = find_files(location, recursive=recursive)
    assert found is not None  # it is a folder or a pattern
    return found


def _matching(pattern: str) -> list[str]:
    found = _found(pattern, recursive=False)
    if found.images:
        return found.images
    count = len(found.videos) + len(found.others)
    which = f"none of the {count} files that match is an image" if count else "no file matches"
    raise SourceOpenError(f"{one_line(pattern)}: {which}; {_SUFFIX_ADVICE}")
