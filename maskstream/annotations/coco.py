"""Parse COCO labels: one JSON file for all images, with keypoints, and with our own field `mask` for the class of a face."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from maskstream.annotations.label_files import LabelFile
from maskstream.annotations.raw_labels import (
    BrokenLabel,
    Entry,
    LabelSet,
    Record,
    brief,
    hints_of,
    size_of,
    to_number,
    whole_number,
)
from maskstream.errors import ConfigError
from maskstream.io.files import one_line
from maskstream.types import FACE_KEYPOINTS, FloatArray, Label

_OUR_LABELS: Final = {"mask": Label.MASK, "no_mask": Label.NO_MASK, "incorrect": Label.INCORRECT, None: Label.UNKNOWN}
_LARGEST_COORDINATE: Final = 1e6


def parse_coco(files: list[LabelFile]) -> LabelSet:
    """Return the labels of the file. A listed image without annotations has no faces.

    Raises:
        ConfigError: There are several files, a list is missing, or an id occurs twice.
    """
    if len(files) > 1:
        some = ", ".join(one_line(file.name) for file in files[:3])
        raise ConfigError(f"{len(files)} COCO files among the labels ({some}): give one of them instead of their folder")
    (file,) = files
    try:
        categories = _by_id(file.content.get("categories") or [], "categories")
        images = _by_id(file.content["images"], "images", partly=True)
        annotations = _require_list(file.content["annotations"], "annotations")
    except BrokenLabel as error:
        raise ConfigError(f"{one_line(file.name)}: not a COCO file: {error}; export it again") from error
    parser = _Parser(file.name, categories)
    by_image = parser.sort_by_image(annotations, images)
    records = [parser.to_record(id_, image, by_image[id_]) for id_, image in images.items()]
    records += [parser.to_record(None, image, []) for image in file.content["images"] if _id(image, "id") is None]
    names = {id_: category["name"] for id_, category in categories.items() if isinstance(category.get("name"), str)}
    return LabelSet("coco", tuple(records), tuple(parser.faults), names, tuple(names.values()), _count_mended(file))


def _require_list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise BrokenLabel(f"{what} is {brief(value)}, expected a list")
    return value


def _by_id(value: object, what: str, *, partly: bool = False) -> dict[int, dict[str, Any]]:
    """Return entries by id; leave out entries without an id if `partly`, refuse them otherwise."""
    found: dict[int, dict[str, Any]] = {}
    for entry in _require_list(value, what):
        id_ = _id(entry, "id")
        if id_ is None:
            if partly:
                continue
            raise BrokenLabel(f"an entry of {what} has no integer as id")
        if id_ in found:
            raise BrokenLabel(f"{what} has the id {id_} twice")
        found[id_] = entry
    return found


def _id(entry: object, key: str) -> int | None:
    """Return an id as an integer: some tools write `"1"` or `1.0` in one place and `1` in another."""
    value = entry.get(key) if isinstance(entry, dict) else None
    return None if isinstance(value, bool) else whole_number(value)


def _count_mended(file: LabelFile) -> tuple[tuple[str, str], ...]:
    """Return a remark on ids that are integers written as text or with a decimal point."""
    keys = (("images", "id"), ("categories", "id"), ("annotations", "image_id"), ("annotations", "category_id"))
    corrected: list[object] = []
    for part, key in keys:
        entries = file.content.get(part) or []
        corrected += [entry[key] for entry in entries if _id(entry, key) is not None and not isinstance(entry[key], int)]
    if not corrected:
        return ()
    return ((file.name, f"{len(corrected)} ids are not written as integers, such as {brief(corrected[0])}; corrected"),)


class _Parser:
    """Parse images and annotations with the categories of the file."""

    def __init__(self, file: str, categories: dict[int, dict[str, Any]]) -> None:
        self._file = file
        self._categories = categories
        self.faults: list[tuple[str, str]] = []
        self._points = {id_: _face_points(category.get("keypoints")) for id_, category in categories.items()}

    def sort_by_image(self, annotations: list[Any], images: dict[int, dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
        """Return the annotations of each image; an annotation of an unknown image is a fault."""
        sorted_: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in annotations:
            image_id = _id(annotation, "image_id")
            if image_id is None or image_id not in images:
                self.faults.append((self._file, f"{_named(annotation)} has an image_id that is not in images"))
            else:
                sorted_[image_id].append(annotation)
        return sorted_

    def to_record(self, image_id: int | None, image: object, annotations: list[dict[str, Any]]) -> Record:
        """Return the labels of one image."""
        fields = image if isinstance(image, dict) else {}
        name = fields.get("file_name")
        hints = hints_of(name, keeps_folders=True) if isinstance(name, str) else ()
        if not isinstance(name, str) or not hints:
            return Record(self._file, (), broken=f"image {image_id} has the file_name {brief(name)}")
        try:
            if image_id is None:
                raise BrokenLabel(f"id is {brief(fields.get('id'))}, expected an integer")
            width, height = (to_number(fields.get(side) or 0, side) for side in ("width", "height"))
            entries = tuple(self._entries(annotations))
        except BrokenLabel as fault:
            return Record(name, hints, broken=str(fault), image_id=image_id)
        return Record(name, hints, size_of(width, height), entries, image_id=image_id)

    def _entries(self, annotations: list[dict[str, Any]]) -> Iterator[Entry]:
        for annotation in annotations:
            try:
                names, label = self._class_of(annotation)
                box = annotation.get("bbox")
                if not isinstance(box, list) or len(box) != 4:
                    raise BrokenLabel(f"bbox is {brief(box)}, expected x, y, width, height")
                x, y, width, height = (to_number(number, "bbox") for number in box)
                ignore = any(to_number(annotation.get(key) or 0, key) != 0 for key in ("iscrowd", "ignore"))
                keypoints_xy = self._keypoints(annotation)
            except BrokenLabel as fault:
                raise BrokenLabel(f"{_named(annotation)}: {fault}") from None
            yield Entry(names, (x, y, x + width, y + height), ignore=ignore, label=label, keypoints_xy=keypoints_xy)

    def _class_of(self, annotation: dict[str, Any]) -> tuple[tuple[str, ...], Label | None]:
        if "mask" in annotation:
            ours = annotation["mask"]
            if ours is not None and (not isinstance(ours, str) or ours not in _OUR_LABELS):
                raise BrokenLabel(f"mask is {brief(ours)}, expected mask, no_mask, incorrect or null")
            return (() if ours is None else (ours,)), _OUR_LABELS[ours]
        category_id = _id(annotation, "category_id")
        name = None if category_id is None else self._categories.get(category_id, {}).get("name")
        if not isinstance(name, str) or not name.strip():
            raise BrokenLabel(f"category_id is {brief(annotation.get('category_id'))}, which is not a category with a name")
        return (name.strip(),), None

    def _keypoints(self, annotation: dict[str, Any]) -> FloatArray | None:
        category_id = _id(annotation, "category_id")
        wanted = None if category_id is None else self._points.get(category_id)
        if wanted is None or not annotation.get("keypoints"):
            return None
        numbers = [to_number(value, "a keypoint") for value in _require_list(annotation["keypoints"], "keypoints")]
        if len(numbers) % 3 or len(numbers) < 3 * max(wanted) + 3:
            raise BrokenLabel(f"keypoints has {len(numbers)} numbers, expected three for each keypoint of the category")
        rows = np.array(numbers).reshape(-1, 3)[list(wanted)]
        keypoints_xy, visibility = rows[:, :2], rows[:, 2]
        if not (visibility > 0).all():
            return None
        if not (np.abs(keypoints_xy) < _LARGEST_COORDINATE).all():
            raise BrokenLabel("a keypoint is not finite")
        return keypoints_xy.astype(np.float32)


def _named(annotation: object) -> str:
    id_ = _id(annotation, "id")
    return "an annotation" if id_ is None else f"annotation {id_}"


def _face_points(names: object) -> tuple[int, ...] | None:
    """Return the indices of nose, left and right eye in a category's keypoints; None unless it has all three."""
    if not isinstance(names, list):
        return None
    found = [name.strip().casefold().replace(" ", "_").replace("-", "_") if isinstance(name, str) else "" for name in names]
    return tuple(map(found.index, FACE_KEYPOINTS)) if set(FACE_KEYPOINTS) <= set(found) else None
