"""Parse Pascal VOC labels: an XML file for each image.

Boxes are not shifted: the VOC devkit counts pixels from 1, but labelling tools count from 0.
"""

from typing import Final
from xml.etree.ElementTree import Element

from maskstream.annotations.label_files import LabelFile
from maskstream.annotations.raw_labels import BrokenLabel, Entry, LabelSet, Record, brief, hints_of, read_number, size_of

_EDGES: Final = ("xmin", "ymin", "xmax", "ymax")


def parse_voc(files: list[LabelFile]) -> LabelSet:
    """Return the labels of the files, one image each."""
    return LabelSet("voc", tuple(map(_to_record, files)))


def _to_record(file: LabelFile) -> Record:
    root: Element = file.content
    hints = (file.hint, *hints_of((root.findtext("filename") or "").strip(), file.hint.folders))
    size, stated_size = root.find("size"), None
    try:
        if size is not None:
            width, height = (read_number(size.findtext(side) or "0", f"size/{side}") for side in ("width", "height"))
            stated_size = size_of(width, height)
        entries = tuple(map(_to_entry, root.iter("object")))
    except BrokenLabel as fault:
        return Record(file.name, hints, broken=str(fault))
    return Record(file.name, hints, stated_size, entries)


def _to_entry(labelled: Element) -> Entry:
    name = (labelled.findtext("name") or "").strip()
    if not name:
        raise BrokenLabel("an object has no name")
    box = labelled.find("bndbox")
    if box is None:
        raise BrokenLabel(f"object {brief(name)} has no bndbox")
    x1, y1, x2, y2 = (read_number(box.findtext(edge), f"{edge} of {brief(name)}") for edge in _EDGES)
    difficult = read_number(labelled.findtext("difficult") or "0", f"difficult of {brief(name)}")
    return Entry((name,), (x1, y1, x2, y2), ignore=difficult != 0)
