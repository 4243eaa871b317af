"""What the parsers of all formats yield, before images, names and boxes are looked at."""

import math
import reprlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from maskstream.types import FloatArray, Label

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 as they are labelled: they may be anything but text."""


_REPR: Final = reprlib.Repr()  # goes to a limited depth, unlike repr
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 40, 40


_LONGEST_NUMBER: Final = 30


class BrokenLabel(Exception):
    """Something in a label file cannot be understood: says what in one line, without the file."""


@dataclass(frozen=True)
class Hint:
    """One way in which a label says which image it belongs to."""

    name: str
    """File name of the image, or of the label file without its suffix."""
    folders: tuple[str, ...] = ()
    """Folders it is said to lie in, the outermost first."""
    is_stem: bool = False


def hints_of(reference: str, folders: tuple[str, ...] = (), *, keeps_folders: bool = False) -> tuple[Hint, ...]:
    r"""Return the pictures that a path or URL may mean: it as it is written, then what it is as a URL.

    Args:
        reference: Such as `a/my face.jpg`, `C:\a\b.jpg`, `https://host/a/my%20face.jpg?sig=1`, or Label Studio's
            `/data/upload/1/ab12cd34-my%20face.jpg` and `/data/local-files/?d=a/my%20face.jpg`.
        folders: Where the label lies, for the picture lies alike.
        keeps_folders: The folders of the reference itself count instead.
    """
    paths = [reference]
    try:
        parts = urlsplit(reference)
    except ValueError:  # such as a bracket that is not closed
        parts = SplitResult("", "", "", "", "")
    local = next(iter(parse_qs(parts.query).get("d", [])), "")  # parse_qs undoes the escapes
    paths += [local or unquote(parts.path), unquote(reference)]
    found = [PurePosixPath(path.replace("\\", "/")) for path in paths]
    return tuple(dict.fromkeys(Hint(path.name, path.parts[:-1] if keeps_folders else folders) for path in found if path.name))


@dataclass(frozen=True, eq=False)
class Entry:
    """One labelled face."""

    names: tuple[str, ...]
    """Of its class, as written; formats other than VoTT have one."""
    box_xyxy: Box
    relative: bool = False
    """The box is in shares of width and height instead of pixels."""
    ignore: bool = False
    label: Label | None = None
    """Its class where the file says it in our own terms, whatever the names mean."""
    keypoints_xy: FloatArray | None = None
    """(3, 2) nose, left eye, right eye."""


@dataclass(frozen=True, eq=False)
class Record:
    """What a label file says of one image."""

    where: str
    """For messages: the label file, for COCO the image."""
    hints: tuple[Hint, ...]
    """The most reliable first."""
    stated_size: tuple[float, float] | None = None
    """Width and height in pixels."""
    entries: tuple[Entry, ...] = ()
    broken: str | None = None
    """Why it cannot be used; its entries are not to be looked at."""
    stray: bool = False
    """A broken file that is perhaps no label at all: of interest only if it is named as an image is."""
    image_id: int | None = None
    """COCO only."""


@dataclass(frozen=True, eq=False)
class LabelSet:
    """What all label files of one format say."""

    format: str
    records: tuple[Record, ...]
    faults: tuple[tuple[str, str], ...] = ()
    """Where and why, of what is broken and belongs to no image that could be told."""
    categories: dict[int, str] = field(default_factory=dict)
    """COCO only: names by id."""
    class_names: tuple[str, ...] = ()
    """Names that the labels list as theirs, whether or not they occur; COCO and YOLO only."""
    mended: tuple[tuple[str, str], ...] = ()
    """Where and what, of what was not as it should be and is clear all the same."""


def whole_number(value: object) -> int | None:
    """Return the whole number that a value is, as a number or as text; None where it is none."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value) if len(value) <= _LONGEST_NUMBER else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def to_number(value: object, what: str) -> float:
    """Return a JSON number; NaN and infinity pass, the box is looked at later."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BrokenLabel(f"{what} is {brief(value)}, expected a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def read_number(text: str | None, what: str) -> float:
    """Return the number that a text is."""
    try:
        return float(text or "")
    except ValueError:
        raise BrokenLabel(f"{what} is {brief(text)}, expected a number") from None


def size_of(width: float, height: float) -> tuple[float, float] | None:
    """Return a stated size; many tools write 0 where they do not know it."""
    return (width, height) if width > 0 and height > 0 else None


def box_around(points: list[tuple[float, float]]) -> Box:
    """Return the bounding box of a polygon; what is not a number stays none."""
    xs, ys = zip(*points, strict=True)
    if any(map(math.isnan, (*xs, *ys))):
        return (math.nan,) * 4
    return min(xs), min(ys), max(xs), max(ys)


def brief(value: object) -> str:
    """Return a value fit for a message."""
    return _REPR.repr(value)
