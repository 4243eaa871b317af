"""Contain labels as the parsers of all formats return them, before images, names and boxes are checked."""

import math
import reprlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from maskstream.types import FloatArray, Label

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 as labelled; they are not checked."""


_REPR: Final = reprlib.Repr()  # limits the depth, which repr does not
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 40, 40


_LONGEST_NUMBER: Final = 30


class BrokenLabel(Exception):
    """A label cannot be used. The message is one line without the name of the file."""


@dataclass(frozen=True)
class Hint:
    """A reference from a label to its image."""

    name: str
    """File name of the image, or of the label file without its suffix."""
    folders: tuple[str, ...] = ()
    """Folders of the image, the outermost first."""
    is_stem: bool = False
    """`name` has no suffix."""


def hints_of(reference: str, folders: tuple[str, ...] = (), *, keeps_folders: bool = False) -> tuple[Hint, ...]:
    r"""Return the images that a path or URL may refer to: first as a path, then as a URL.

    Args:
        reference: Such as `a/my face.jpg`, `C:\a\b.jpg`, `https://host/a/my%20face.jpg?sig=1`, or Label Studio's
            `/data/upload/1/ab12cd34-my%20face.jpg` and `/data/local-files/?d=a/my%20face.jpg`.
        folders: Folders of the label file: images are often in folders of the same names.
        keeps_folders: Use the folders of the reference instead.
    """
    paths = [reference]
    try:
        parts = urlsplit(reference)
    except ValueError:  # for example an unclosed bracket
        parts = SplitResult("", "", "", "", "")
    local = next(iter(parse_qs(parts.query).get("d", [])), "")  # parse_qs decodes %20
    paths += [local or unquote(parts.path), unquote(reference)]
    found = [PurePosixPath(path.replace("\\", "/")) for path in paths]
    return tuple(dict.fromkeys(Hint(path.name, path.parts[:-1] if keeps_folders else folders) for path in found if path.name))


@dataclass(frozen=True, eq=False)
class Entry:
    """One labelled face."""

    names: tuple[str, ...]
    """Names of its class, as written; only VoTT has more than one."""
    box_xyxy: Box
    relative: bool = False
    """The box is in fractions of width and height, not in pixels."""
    ignore: bool = False
    label: Label | None = None
    """Its class if the file has our field `mask`; the names do not count then."""
    keypoints_xy: FloatArray | None = None
    """(3, 2) nose, left eye, right eye."""


@dataclass(frozen=True, eq=False)
class Record:
    """The labels of one image."""

    where: str
    """Name for messages: the label file; for COCO the image."""
    hints: tuple[Hint, ...]
    """The most reliable first."""
    stated_size: tuple[float, float] | None = None
    """Width and height in pixels."""
    entries: tuple[Entry, ...] = ()
    broken: str | None = None
    """Why the labels cannot be used; the entries are not complete then."""
    stray: bool = False
    """The broken file may be no label file: it is a problem only if it has the name of an image."""
    image_id: int | None = None
    """COCO only."""


@dataclass(frozen=True, eq=False)
class LabelSet:
    """The labels of all files of one format."""

    format: str
    records: tuple[Record, ...]
    faults: tuple[tuple[str, str], ...] = ()
    """Name and reason of each broken label that belongs to no known image."""
    categories: dict[int, str] = field(default_factory=dict)
    """COCO only: names by id."""
    class_names: tuple[str, ...] = ()
    """Names in the list of classes, whether or not they occur; COCO and YOLO only."""
    mended: tuple[tuple[str, str], ...] = ()
    """Name and remark of each fault that was corrected."""


def whole_number(value: object) -> int | None:
    """Return an integer given as a number or as text; None for any other value."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value) if len(value) <= _LONGEST_NUMBER else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def to_number(value: object, what: str) -> float:
    """Return a JSON number as a float. NaN and infinity are allowed: boxes are checked later."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BrokenLabel(f"{what} is {brief(value)}, expected a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def read_number(text: str | None, what: str) -> float:
    """Return a number from its text."""
    try:
        return float(text or "")
    except ValueError:
        raise BrokenLabel(f"{what} is {brief(text)}, expected a number") from None


def size_of(width: float, height: float) -> tuple[float, float] | None:
    """Return a stated size; None for 0, which many tools write for an unknown size."""
    return (width, height) if width > 0 and height > 0 else None


def box_around(points: list[tuple[float, float]]) -> Box:
    """Return the bounding box of a polygon; NaN if a coordinate is NaN."""
    xs, ys = zip(*points, strict=True)
    if any(map(math.isnan, (*xs, *ys))):
        return (math.nan,) * 4
    return min(xs), min(ys), max(xs), max(ys)


def brief(value: object) -> str:
    """Return a short representation of a value for a message."""
    return _REPR.repr(value)
