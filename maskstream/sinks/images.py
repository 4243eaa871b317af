"""Annotated copies of still images."""

from collections.abc import Container, Iterable
from itertools import chain, count
from pathlib import Path
from stat import S_ISREG
from typing import Final
from urllib.parse import unquote, urlsplit

from maskstream.errors import SinkError
from maskstream.io.file_names import MOST_BYTES, plain_name, shortened
from maskstream.io.files import make_folder, one_line
from maskstream.io.images import WRITABLE_SUFFIXES, write_image
from maskstream.io.output_paths import require_folder
from maskstream.sinks.video_formats import VIDEO_SUFFIXES
from maskstream.types import Output, SourceInfo

_ADDED_SUFFIX: Final = ".jpg"
"""Behind the whole name of an image of a kind that is not written."""


class ImageSink:
    """Writes an annotated copy of each image, upright and without metadata: a single one to a file, others into a folder.

    A folder gets the names, kinds and subfolders of the source. Each copy is there as a whole or not at all.
    """

    wants_every_frame = False

    def __init__(self, output: str, info: SourceInfo) -> None:
        """Make the folder.

        Args:
            output: See `require_image_target`.
            info: The source that will be written; it consists of images.

        Raises:
            SinkError: Something cannot be written there, or it would replace an image of the source.
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
    """Leave everything as it is, or raise `SinkError` where the images of a source cannot be written.

    Args:
        output: A folder, which need not be there, or the file of a single image; its suffix says of what kind.
        info: A source that consists of images.
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
    """Return the suffix of the file that is named, in lower case; none for a folder."""
    is_folder = len(info.images) > 1 or output.endswith("/") or Path(output).is_dir()
    return "" if is_folder else Path(output).suffix.lower()


def _require_fitting_name(output: str, info: SourceInfo) -> None:
    suffix = _file_suffix(output, info)
    if suffix and suffix not in WRITABLE_SUFFIXES:
        known = ", ".join(WRITABLE_SUFFIXES)
        raise SinkError(f"{one_line(output)}: no kind of picture that is written; end it in {known}, or in / for a folder")
    if Path(output).suffix.lower() in (*VIDEO_SUFFIXES, *WRITABLE_SUFFIXES) and not suffix and not Path(output).is_dir():
        raise SinkError(f"{one_line(output)}: {len(info.images)} pictures do not go into one file; give a folder")


def image_targets(output: str, info: SourceInfo) -> dict[str, Path]:
    """Return where each image goes, no two to one place: `a.heic` beside `a.heic.jpg` becomes `a.heic_2.jpg`."""
    if _file_suffix(output, info):
        return {info.images[0]: Path(output)}
    targets = {file: Path(output, _name_in_folder(file, info)) for file in info.images}
    taken = {target for file, target in targets.items() if target.name == Path(file).name}
    for file, target in targets.items():
        if target.name != Path(file).name:
            targets[file] = _free(target, taken)
            taken.add(targets[file])
    return targets


def _free(target: Path, taken: Container[Path]) -> Path:
    names = chain([target], (target.with_name(f"{target.stem}_{number}{target.suffix}") for number in count(2)))
    return next(name for name in names if name not in taken)


def _name_in_folder(file: str, info: SourceInfo) -> Path:
    path = Path(file)
    if "://" in file:
        name = plain_name(unquote(Path(urlsplit(file).path).name))
        return Path(name if Path(name).suffix.lower() in WRITABLE_SUFFIXES else name + _ADDED_SUFFIX)
    below = path.relative_to(info.path or "") if file != info.path else Path(path.name)
    inside = Path(*(part for part in below.parts if part != ".."))  # a pattern may climb: photos/*/../*.jpg
    is_written = path.suffix.lower() in WRITABLE_SUFFIXES
    return inside if is_written else inside.with_name(shortened(path.name, MOST_BYTES - len(_ADDED_SUFFIX)) + _ADDED_SUFFIX)


def _require_other_files(targets: Iterable[Path], info: SourceInfo) -> None:
    """Links and other spellings of a name are seen through."""
    sources = {_identity(Path(file)) for file in info.images}
    for target in filter(Path.exists, targets):
        if not S_ISREG(target.stat().st_mode):
            raise SinkError(f"{one_line(str(target))}: cannot be replaced: it is no file; choose another folder")
        if _identity(target) in sources:
            raise SinkError(f"{one_line(str(target))}: the output would replace its own source; choose another folder")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what is the same for all names of a file; None for a file that is gone."""
    return (path.stat().st_dev, path.stat().st_ino) if path.exists() else None
