"""Parse YOLO labels: a text file for each image, a line for each face: class, centre x, centre y, width, height."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from maskstream.annotations.label_files import LabelFile
from maskstream.annotations.raw_labels import Box, BrokenLabel, Entry, LabelSet, Record, box_around, read_number
from maskstream.config.loading import read_yaml
from maskstream.errors import ConfigError
from maskstream.io.files import one_line

_LISTS: Final = ("classes.txt", "obj.names")
_SETTINGS: Final = ("data.yaml", "dataset.yaml")
_LEVELS_ABOVE: Final = 2
_BOX_NUMBERS, _POLYGON_NUMBERS = 4, 6
_LARGEST_FRACTION: Final = 2.0  # larger numbers are pixels


def parse_yolo(files: list[LabelFile], folder: Path) -> LabelSet:
    """Return the labels of the files, one image each.

    Args:
        files: Files that `find_label_files` has found.
        folder: Folder of the labels, where the search for the class names begins.

    Raises:
        ConfigError: No file has the class names.
    """
    names: dict[int, str] | None = None
    if any(file.content.strip() for file in files):
        names = _find_names(folder, files)
    names = names or {}
    return LabelSet("yolo", tuple(_to_record(file, names) for file in files), class_names=tuple(names.values()))


def _to_record(file: LabelFile, names: dict[int, str]) -> Record:
    entries = []
    for number, line in enumerate(file.content.splitlines(), 1):
        if not line.strip():
            continue
        class_text, *columns = line.split()
        try:
            class_ = read_number(class_text, "the class")
            if class_ not in names:
                raise BrokenLabel(f"class {class_text} has no name; {len(names)} classes have one")
            box = _to_box([read_number(column, "a coordinate") for column in columns])
            entries.append(Entry((names[int(class_)],), box, relative=True))
        except BrokenLabel as fault:
            return Record(file.name, (file.hint,), broken=f"line {number}: {fault}")
    return Record(file.name, (file.hint,), entries=tuple(entries))


def _to_box(numbers: list[float]) -> Box:
    if len(numbers) == _BOX_NUMBERS + 1:  # a confidence
        numbers = numbers[:_BOX_NUMBERS]
    far = next((number for number in numbers if abs(number) > _LARGEST_FRACTION), None)
    if far is not None:
        raise BrokenLabel(f"{far:g} is not a fraction of the image; YOLO coordinates are between 0 and 1")
    if len(numbers) == _BOX_NUMBERS:
        x, y, width, height = numbers
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(numbers) >= _POLYGON_NUMBERS and len(numbers) % 2 == 0:
        return box_around(list(zip(numbers[::2], numbers[1::2], strict=True)))
    raise BrokenLabel(f"{len(numbers) + 1} columns, expected class, centre x, centre y, width, height, or class and a polygon")


def _find_names(folder: Path, files: list[LabelFile]) -> dict[int, str]:
    top = Path(os.path.normpath(Path.cwd() / folder))
    below = Path(os.path.commonpath([file.path.parent for file in files]) if files else "")
    # The common folder of all label files, the folders above it, and some above the labels.
    places = [top.joinpath(*below.parts[:depth]) for depth in range(len(below.parts), 0, -1)]
    for place in (*places, top, *list(top.parents)[:_LEVELS_ABOVE]):
        for names in _names_in(place):
            if names:
                return names
    raise ConfigError(
        f"{one_line(str(folder))}: YOLO labels without class names; put {', '.join(_LISTS)} or {_SETTINGS[0]} "
        f"with the names into this folder, or one or two levels above it"
    )


def _names_in(folder: Path) -> Iterator[dict[int, str]]:
    for name in _LISTS:
        if (folder / name).is_file():
            yield _listed(folder / name)
    for name in _SETTINGS:
        if (folder / name).is_file():
            yield _of_settings(folder / name)
    for path in sorted({*folder.glob("*.yaml"), *folder.glob("*.yml")}):
        try:
            yield _of_settings(path)
        except ConfigError:  # other YAML files may have any content
            continue


def _listed(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"{one_line(str(path))}: cannot be read: {reason}; expected a class name in each line") from error
    return {index: line.strip() for index, line in enumerate(lines) if line.strip()}


def _of_settings(path: Path) -> dict[int, str]:
    """Return `names` of a YAML file, which are a list or a mapping by number; empty without them."""
    values = read_yaml(path, as_typed=("names",))
    names = values.get("names") if isinstance(values, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    pairs = names.items() if isinstance(names, dict) else ()
    return {int(key): str(name) for key, name in pairs if str(key).isdecimal() and isinstance(name, str | int | float)}
