"""Parse VoTT labels: a JSON file for each image, or an exported project of VoTT 2 or VoTT 1."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from maskstream.annotations.label_files import LabelFile
from maskstream.annotations.raw_labels import (
    Box,
    BrokenLabel,
    Entry,
    Hint,
    LabelSet,
    Record,
    box_around,
    brief,
    hints_of,
    size_of,
    to_number,
)
from maskstream.io.image_formats import IMAGE_SUFFIXES

_NOT_VISITED = 0  # AssetState of VoTT: the image has not been opened yet


def parse_vott(files: list[LabelFile]) -> LabelSet:
    """Return the labels of the files; images that were not opened in VoTT have no labels."""
    return LabelSet("vott", tuple(record for file in files for record in _to_records(file)))


def _to_records(file: LabelFile) -> Iterator[Record]:
    content = file.content
    if "frames" in content and "asset" not in content and "assets" not in content:
        yield from _of_version_1(file, content["frames"])
    elif "assets" not in content:
        yield from _of_asset(file, content, (file.hint,))
    elif isinstance(content["assets"], dict):
        for asset in content["assets"].values():
            yield from _of_asset(file, asset, ())
    else:
        yield Record(file.name, (file.hint,), broken=f"assets is {brief(content['assets'])}, expected an object")


def _of_asset(file: LabelFile, content: object, further: tuple[Hint, ...]) -> Iterator[Record]:
    hints, where = further, file.name
    try:
        asset = _object(_object(content, "an asset").get("asset"), "asset")
        hints = (*_hints(asset, file.hint.folders), *further)
        where = where if further or not hints else hints[0].name
        entries = tuple(map(_to_entry, _list(content, "regions")))
        size = _stated_size(asset)
    except BrokenLabel as fault:
        yield Record(where, hints, broken=str(fault))
        return
    if entries or asset.get("state") != _NOT_VISITED:
        yield Record(where, hints, size, entries)


def _hints(asset: dict[str, Any], folders: tuple[str, ...]) -> Iterator[Hint]:
    name, path = asset.get("name"), asset.get("path")
    for reference in (name, path):
        if isinstance(reference, str):
            yield from hints_of(reference, folders)


def _stated_size(asset: dict[str, Any]) -> tuple[float, float] | None:
    size = asset.get("size")
    if size is None:
        return None
    size = _object(size, "size")
    return size_of(*(to_number(size.get(side) or 0, f"size.{side}") for side in ("width", "height")))


def _to_entry(region: object) -> Entry:
    fields = _object(region, "a region")
    return Entry(_tags(fields), _box(fields))


def _tags(region: dict[str, Any]) -> tuple[str, ...]:
    tags = _list(region, "tags") if region.get("tags") is not None else []
    if not all(isinstance(tag, str) and tag.strip() for tag in tags):
        raise BrokenLabel(f"tags is {brief(tags)}, expected names")
    return tuple(tag.strip() for tag in tags)


def _box(region: dict[str, Any]) -> Box:
    if region.get("boundingBox") is None:
        points = [_object(point, "a point") for point in _list(region, "points")]
        if not points:
            raise BrokenLabel("a region has neither boundingBox nor points")
        return box_around([(to_number(point.get("x"), "x"), to_number(point.get("y"), "y")) for point in points])
    box = _object(region["boundingBox"], "boundingBox")
    left, top, width, height = (to_number(box.get(key), key) for key in ("left", "top", "width", "height"))
    return left, top, left + width, top + height


def _of_version_1(file: LabelFile, frames: object) -> Iterator[Record]:
    """Yield the images of a VoTT 1 project. Its boxes are in pixels of a canvas; each region has the size of the canvas."""
    by_name = frames if isinstance(frames, dict) else {"": frames}
    for name, regions in by_name.items():
        image = PurePosixPath(name.replace("\\", "/")).name
        try:
            if PurePosixPath(image).suffix.lower() not in IMAGE_SUFFIXES:
                raise BrokenLabel(f"frame {brief(name)} has no name of an image file; export it with VoTT 1.7 or 2")
            entries = tuple(map(_entry_of_version_1, _list({"regions": regions}, "regions")))
        except BrokenLabel as fault:
            yield Record(image or file.name, (Hint(image),) if image else (), broken=str(fault))
        else:
            yield Record(image, (Hint(image, file.hint.folders),), entries=entries)


def _entry_of_version_1(region: object) -> Entry:
    fields = _object(region, "a region")
    x1, y1, x2, y2, width, height = (to_number(fields.get(key), key) for key in ("x1", "y1", "x2", "y2", "width", "height"))
    if size_of(width, height) is None:
        raise BrokenLabel(f"a region has a canvas of {width:g} x {height:g} pixels")
    return Entry(_tags(fields), (x1 / width, y1 / height, x2 / width, y2 / height), relative=True)


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BrokenLabel(f"{what} is {brief(value)}, expected an object")
    return value


def _list(fields: object, key: str) -> list[Any]:
    value = fields.get(key) if isinstance(fields, dict) else None
    if not isinstance(value, list):
        raise BrokenLabel(f"{key} is {brief(value)}, expected a list")
    return value
