"""Read the file of `--sets`: a YAML list of sets of labelled images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from maskstream.annotations import LabelFormat
from maskstream.config.loading import Layer, read_yaml, refine
from maskstream.config.values import Section
from maskstream.errors import ConfigError
from maskstream.evaluation.predictions import BoxKind
from maskstream.io.file_names import plain_name
from maskstream.io.files import one_line

_EXAMPLE: Final = "see configs/evaluation_sets.example.yaml"
_TEXT_KEYS: Final = ("name", "images", "labels", "format", "box", "unlabelled", "group_by")


class _Entry(Section):
    """A set of images, as in the file."""

    name: str = Field(default="", description="Name of the set, and of its folder in --out.")
    images: str = Field(default="", description="Folder of the images.")
    labels: str | None = Field(default=None, description="File or folder of the labels.")
    format: LabelFormat | None = Field(default=None, description="Format of the labels.")
    box: BoxKind = Field(default="face", description="What the labelled boxes surround.")
    unlabelled: Literal["skip", "negative"] = Field(default="skip", description="Images without a label file.")
    iou: float | None = Field(default=None, description="Reference IoU of the set, in place of evaluation.iou.")
    group_by: str | None = Field(default=None, description="As --group-by.")


@dataclass(frozen=True)
class ImageSet:
    """A set of labelled images of `--sets`."""

    name: str
    """Unique in the file, and a valid name of a folder."""
    origin: str
    """File and number, for messages."""
    images: Path
    labels: Path | None
    format: LabelFormat | None
    box: BoxKind
    unlabelled: Literal["skip", "negative"]
    iou: float | None
    """Reference IoU; None: `evaluation.iou`."""
    group_by: str | None


def read_sets(path: Path) -> tuple[ImageSet, ...]:
    """Return the sets of a file, in order. Relative paths are relative to the folder of the file.

    Raises:
        ConfigError: The file cannot be read, or a key or value is wrong, or two sets have the same name.
    """
    where = one_line(str(path))
    entries = read_yaml(path, _TEXT_KEYS)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{where}: not a list of sets; {_EXAMPLE}")
    sets = tuple(_read_set(entry, f"{where}: set {number}", path.parent) for number, entry in enumerate(entries, 1))
    _require_distinct(sets, where)
    return sets


def _read_set(entry: Any, origin: str, folder: Path) -> ImageSet:
    if not isinstance(entry, dict):
        raise ConfigError(f"{origin}: expected name, images and labels; {_EXAMPLE}")
    found = refine(_Entry(), Layer(origin, entry))
    name = found.name.strip()
    if not name:
        raise ConfigError(f"{origin}: name is missing; add it")
    if name != plain_name(name):
        raise ConfigError(
            f"{origin}: name: {name!r} is not a name of a folder; use letters, digits, _ and -, such as {plain_name(name)}"
        )
    origin = f"{origin} ({name})"
    if not found.images:
        raise ConfigError(f"{origin}: images is missing; give the folder of images")
    if found.labels is None and found.unlabelled == "skip":
        raise ConfigError(f"{origin}: labels is missing; give the labels, or unlabelled: negative for images without people")
    return ImageSet(
        name=name,
        origin=origin,
        images=folder / Path(found.images).expanduser(),
        labels=None if found.labels is None else folder / Path(found.labels).expanduser(),
        format=found.format,
        box=found.box,
        unlabelled=found.unlabelled,
        iou=found.iou,
        group_by=found.group_by,
    )


def _require_distinct(sets: Sequence[ImageSet], where: str) -> None:
    seen: set[str] = set()
    for each in sets:
        if each.name.casefold() in seen:
            raise ConfigError(f"{where}: name: {each.name} is given twice; give each set a name of its own")
        seen.add(each.name.casefold())
