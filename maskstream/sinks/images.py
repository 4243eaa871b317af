"""Annotated copies of still images."""

from collections.abc import Container, Iterable
from itertools import count
from pathlib import Path
from stat import S_ISREG
from typing import Final
from urllib.parse import unquote, urlsplit

from maskstream.errors import SinkError
from maskstream.io.file_names import MOST_BYTES, plain_name, shortened
from maskstream.io.files import make_folder, one_line
from maskstream.io.image_formats import WRITABLE_SUFFIXES
from maskstream.io.images import write_image
from maskstream.io.output_paths import require_folder
from maskstream.sinks.video_formats import VIDEO_SUFFIXES
from maskstream.types import Output, SourceInfo

_ADDED_SUFFIX: Final = ".jpg"
"""Added to the name of an image in a format that is not written."""


class ImageSink:
    """Writes an annotated copy of each image, upright and without metadata: one image to a file, several into a folder.

    A folder gets the names, formats and subfolders of the source. Each copy is written completely or not at all.
    """

    wants_every_frame = False

    def __init__(self, output: str, info: SourceInfo) -> None:
        """Create the folder.

        Args:
            output: See `require_image_target`.
            info: A source of images.

        Raises:
            SinkError: A copy cannot be written, or would replace an image of the source.
        """
        require_image_target(output, info)
        self._targets = image_targets(output, info)
        if not _file_suffix(output, info):
            make_folder(output)

    def write(self, output: Output) -> None:
        """Write one image."""
        target = self._targets[output.frame.file or ""]
        make_folder(str(target.parent))
        write_image(target, output.annotated_bgr)

    def source_ended(self, source_id: str) -> None:
        """Nothing to finish."""

    def close(self) -> None:
        """Nothing to finish."""


def require_image_target(output: str, info: SourceInfo) -> None:
    """Raise `SinkError` where the copies of images cannot be written; changes nothing.

    Args:
        output: A folder, which may not exist yet, or the file of a single image; its suffix selects the format.
        info: A source of images.
    """
    try:
        _require_fitting_name(output, info)
        targets = image_targets(output, info).values()
        for folder in {target.parent for target in targets}:
            require_folder(str(folder))
        _require_other_files(targets, info)
    except OSError as error:
        raise SinkError(f"{one_line(output)}: cannot be written: {error.strerror}; choose another place") from error


def _file_suffix(output: str, info: SourceInfo) -> str:
    """Return the suffix of the output file in lower case; empty where the output is a folder."""
    is_folder = len(info.images) > 1 or output.endswith("/") or Path(output).is_dir()
    return "" if is_folder else Path(output).suffix.lower()


def _require_fitting_name(output: str, info: SourceInfo) -> None:
    suffix = _file_suffix(output, info)
    if suffix and suffix not in WRITABLE_SUFFIXES:
        known = ", ".join(WRITABLE_SUFFIXES)
        raise SinkError(f"{one_line(output)}: images are not written in this format; let it end in {known}, or in / for a folder")
    looks_like_file = Path(output).suffix.lower() in (*VIDEO_SUFFIXES, *WRITABLE_SUFFIXES)
    if looks_like_file and not suffix and not Path(output).is_dir():
        raise SinkError(f"{one_line(output)}: {len(info.images)} images cannot be written to one file; give a folder")


def image_targets(output: str, info: SourceInfo) -> dict[str, Path]:
    """Return a path for the copy of each image, each path once: `a.heic` beside `a.heic.jpg` becomes `a.heic_2.jpg`."""
    if _file_suffix(output, info):
        return {info.images[0]: Path(output)}
    targets = {file: Path(output, _name_in_folder(file, info)) for file in info.images}
    renamed = {file: target for file, target in targets.items() if target.name != Path(file).name}
    taken = {target for file, target in targets.items() if file not in renamed}
    for file, target in renamed.items():
        targets[file] = _unused(target, taken)
        taken.add(targets[file])
    return targets


def _unused(target: Path, taken: Container[Path]) -> Path:
    """Return a path, with `_2`, `_3` ... before its suffix where it is taken."""
    unused = target
    for number in count(2):
        if unused not in taken:
            break
        unused = target.with_name(f"{target.stem}_{number}{target.suffix}")
    return unused


def _name_in_folder(file: str, info: SourceInfo) -> Path:
    path = Path(file)
    if "://" in file:
        name = plain_name(unquote(Path(urlsplit(file).path).name))
        return Path(name if Path(name).suffix.lower() in WRITABLE_SUFFIXES else name + _ADDED_SUFFIX)
    below = path.relative_to(info.path or "") if file != info.path else Path(path.name)
    inside = Path(*(part for part in below.parts if part != ".."))  # a pattern may contain it: photos/*/../*.jpg
    if path.suffix.lower() in WRITABLE_SUFFIXES:
        return inside
    return inside.with_name(shortened(path.name, MOST_BYTES - len(_ADDED_SUFFIX)) + _ADDED_SUFFIX)


def _require_other_files(targets: Iterable[Path], info: SourceInfo) -> None:
    """Refuse to replace an image of the source, also through a link or another spelling of its name."""
    sources = {_identity(Path(file)) for file in info.images}
    for target in filter(Path.exists, targets):
        if not S_ISREG(target.stat().st_mode):
            raise SinkError(f"{one_line(str(target))}: cannot be replaced: it is not a file; choose another folder")
        if _identity(target) in sources:
            raise SinkError(f"{one_line(str(target))}: the output would replace its own source; choose another folder")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, which are the same for all of its names; None where it does not exist."""
    return (path.stat().st_dev, path.stat().st_ino) if path.exists() else None
