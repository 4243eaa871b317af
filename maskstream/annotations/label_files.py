"""Find image and label files in a folder, and detect the format of a label file by its content."""

import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, NoReturn

from maskstream.annotations.raw_labels import Hint
from maskstream.errors import ConfigError, SourceOpenError
from maskstream.io.file_names import natural_order
from maskstream.io.files import one_line
from maskstream.io.image_formats import IMAGE_SUFFIXES

LabelFormat = Literal["voc", "vott", "coco", "yolo"]
SUFFIXES: Final[dict[LabelFormat, str]] = {"voc": ".xml", "vott": ".json", "coco": ".json", "yolo": ".txt"}
TITLES: Final[dict[LabelFormat, str]] = {"voc": "Pascal VOC", "vott": "VoTT", "coco": "COCO", "yolo": "YOLO"}
_YOLO_LINE: Final = re.compile(r"\s*\d+(?:\.0*)?(?:\s+[-+]?(?:\d+\.?\d*|\.\d+|nan|inf)(?:e[-+]?\d+)?){4,}\s*", re.IGNORECASE)
_BEFORE_TEXT: Final = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"  # byte order marks, and the zero bytes of UTF-16


@dataclass(frozen=True, eq=False)
class LabelFile:
    """A file that may contain labels."""

    name: str
    """Path relative to the folder of labels, with forward slashes."""
    format: LabelFormat | None
    """None if the format is not known."""
    content: Any = None
    """Input of the format's parser: XML element, JSON, or text."""
    fault: str = ""
    """Why the format is not known."""
    parsed: bool = False
    """The file is complete, but not a label file."""

    @property
    def path(self) -> PurePosixPath:
        """The name as a path."""
        return PurePosixPath(self.name)

    @property
    def hint(self) -> Hint:
        """The image with the same name."""
        return Hint(self.path.stem, self.path.parts[:-1], is_stem=True)


def find_images(folder: Path) -> list[str]:
    """Return the relative paths of all images in a folder and below it, with forward slashes, in natural order.

    Raises:
        SourceOpenError: The folder does not exist, cannot be read, or has no images.
    """
    where = one_line(str(folder))
    try:
        images = [name for name in _files_below(folder) if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
    except FileNotFoundError as error:
        raise SourceOpenError(f"{where}: no such folder; give the folder of the images") from error
    except NotADirectoryError as error:
        raise SourceOpenError(f"{where}: not a folder; give the folder of the images") from error
    except OSError as error:
        raise SourceOpenError(f"{where}: {_cannot_be_read(folder, error)}") from error
    if not images:
        kinds = ", ".join(IMAGE_SUFFIXES[:6])
        raise SourceOpenError(f"{where}: no image in this folder or below it; image files end in {kinds} or similar")
    return natural_order(images)


def find_label_files(labels: Path) -> list[LabelFile]:
    """Read all files that may contain labels, in natural order.

    Raises:
        ConfigError: The file or folder does not exist or cannot be read.
    """
    try:
        if not labels.is_dir():
            labels.stat()
            return [_load(labels, labels.name)]
        names = [name for name in _files_below(labels) if PurePosixPath(name).suffix.lower() in SUFFIXES.values()]
    except FileNotFoundError as error:
        raise ConfigError(f"{one_line(str(labels))}: no such file or folder; give the labels of the images") from error
    except OSError as error:
        raise ConfigError(f"{one_line(str(labels))}: {_cannot_be_read(labels, error)}") from error
    return [_load(labels / name, name) for name in natural_order(names)]


def _files_below(folder: Path) -> Iterator[str]:
    def refuse(error: OSError) -> NoReturn:
        raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in files if not name.startswith("."))


def _cannot_be_read(asked: Path, error: OSError) -> str:
    below = "" if error.filename in (None, str(asked)) else f"{one_line(str(error.filename))} "
    return f"{below}cannot be read: {error.strerror}; check the path and its permissions"


def _load(path: Path, name: str) -> LabelFile:
    try:
        if not path.is_file():  # reading a pipe may never end
            return LabelFile(name, None, fault="not a file")
        content = path.read_bytes()
    except OSError as error:
        return LabelFile(name, None, fault=f"cannot be read: {error.strerror}")
    start = content[:64].lstrip(_BEFORE_TEXT)[:1]
    if start == b"<":
        return _load_xml(name, content)
    if start and start in b"{[":
        return _load_json(name, content)
    return _load_text(name, content)


class _NoDeclarations(ET.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise ValueError("it declares a DOCTYPE, which labels do not need; remove it")


def _load_xml(name: str, content: bytes) -> LabelFile:
    try:
        parser = ET.XMLParser(target=_NoDeclarations())  # noqa: S314 (a DOCTYPE, and with it every entity, is refused)
        parser.feed(content)
        root = parser.close()
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: unknown encoding
        return LabelFile(name, None, fault=f"not valid XML: {error}")
    if root.tag != "annotation":
        return LabelFile(name, None, fault=f"its XML is <{one_line(root.tag)}>, expected <annotation>", parsed=True)
    return LabelFile(name, "voc", root)


def _load_json(name: str, content: bytes) -> LabelFile:
    try:
        value = json.loads(content)
    except RecursionError:
        return LabelFile(name, None, fault="not valid JSON: nested too deeply")
    except ValueError as error:
        return LabelFile(name, None, fault=f"not valid JSON: {' '.join(str(error).split())}")
    keys = value.keys() if isinstance(value, dict) else set()
    if {"images", "annotations"} <= keys:
        return LabelFile(name, "coco", value)
    if keys & {"asset", "assets", "regions"} or {"frames", "inputTags"} <= keys:
        return LabelFile(name, "vott", value)
    return LabelFile(name, None, fault="its JSON is neither VoTT (asset, regions) nor COCO (images, annotations)", parsed=True)


def _load_text(name: str, content: bytes) -> LabelFile:
    suffix = PurePosixPath(name).suffix.lower()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return LabelFile(name, None, fault="not text", parsed=suffix == ".txt")
    if suffix == ".txt" and not text.strip():
        return LabelFile(name, "yolo", "")
    if any(_YOLO_LINE.fullmatch(line) for line in text.splitlines()):  # some lines of a damaged file are still valid
        return LabelFile(name, "yolo", text)
    expected = "lines of numbers (class, centre x, centre y, width, height)"
    fault = "the file is empty" if not text.strip() else f"neither XML nor JSON nor {expected}"
    return LabelFile(name, None, fault=fault, parsed=suffix == ".txt")
