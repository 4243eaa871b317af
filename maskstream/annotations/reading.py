"""Read a folder of images with labels of any format into labelled images."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from maskstream.annotations.cleaning import Cleaner
from maskstream.annotations.coco import parse_coco
from maskstream.annotations.image_matching import Matching, match_images
from maskstream.annotations.label_files import SUFFIXES, TITLES, LabelFile, LabelFormat, find_images, find_label_files
from maskstream.annotations.labelled_images import Annotations, LabelledImage, Problem, ProblemKind
from maskstream.annotations.naming import Names
from maskstream.annotations.raw_labels import BrokenLabel, LabelSet, Record
from maskstream.annotations.voc import parse_voc
from maskstream.annotations.vott import parse_vott
from maskstream.annotations.yolo import parse_yolo
from maskstream.config.schema import LabelMeaning
from maskstream.errors import ConfigError, SourceError
from maskstream.io.files import one_line
from maskstream.io.images import image_shape

_REFUSED_IF_STRICT: Final = (
    ProblemKind.UNREADABLE_IMAGE,
    ProblemKind.BROKEN_LABEL,
    ProblemKind.LABEL_WITHOUT_IMAGE,
    ProblemKind.OUTSIDE,
    ProblemKind.ZERO_AREA,
)
_CHOICES: Final = f"--format chooses ({', '.join(SUFFIXES)})"


@dataclass(frozen=True)
class ReadOptions:
    """Options of `read_annotations`."""

    meanings: Mapping[str, LabelMeaning]
    """Meaning of each class name: `evaluation.labels` of the configuration."""
    format: LabelFormat | None = None
    """Read only files of this format; None: detect the format from the content."""
    unlabelled: Literal["skip", "negative"] = "skip"
    """Leave out images without labels, or use them as images without a face."""
    strict: bool = False
    """Refuse problems that are otherwise listed and left out."""
    classes_matter: bool = True
    """Refuse ambiguous names; False if only the boxes are used."""


def read_annotations(folder: Path, labels: Path | None, options: ReadOptions) -> Annotations:
    """Read labelled images: Pascal VOC, VoTT, COCO or YOLO.

    An image with a broken label is left out completely, because its other faces would count as false positives. Images without
    labels that are left out are not opened.

    Args:
        folder: Folder of the images, with its subfolders.
        labels: File or folder of the labels; None: no image has labels.
        options: See `ReadOptions`.

    Raises:
        SourceOpenError: There are no images.
        ConfigError: There are no labels, or labels of several formats, or names without a meaning; or no image is left.
    """
    names = find_images(folder)
    try:
        found = LabelSet("none", ()) if labels is None else _read_labels(labels, options.format)
    except OSError as error:
        raise ConfigError(f"{one_line(str(error.filename))}: cannot be read: {error.strerror}; check its permissions") from error
    matching = match_images(found.records, names, folder, _folder_of(labels or folder))
    builder = _Builder(folder, options, matching, found)
    usable = (record for record in matching.records.values() if record.broken is None)
    counts = builder.names.count(usable, found.class_names)
    images = builder.build_all(names)
    problems = tuple(builder.problems)
    if options.strict:
        _refuse(problems, labels or folder)
    if not images:
        raise ConfigError(_why_nothing_is_left(folder, labels, names, found, problems))
    return Annotations(
        images=images,
        format=found.format,
        sha256=_hash_of(images),
        problems=problems,
        names=counts,
        coco_image_ids={record.image_id: name for name, record in matching.records.items() if record.image_id is not None},
        coco_categories=found.categories,
    )


def _folder_of(labels: Path) -> Path:
    return labels if labels.is_dir() else labels.parent


def _read_labels(labels: Path, wanted: LabelFormat | None) -> LabelSet:
    files = find_label_files(labels)
    chosen = wanted or _detect_format(labels, files)
    of_format = [file for file in files if file.format == chosen]
    if not of_format:
        raise ConfigError(_why_no_labels(labels, files, f"{TITLES[chosen]} labels"))
    if chosen == "coco":
        return parse_coco(of_format)
    if chosen == "yolo":
        found = parse_yolo(of_format, _folder_of(labels))
    else:
        found = parse_voc(of_format) if chosen == "voc" else parse_vott(of_format)
    broken = [  # files that have the suffix of the format, but not its content
        Record(file.name, (file.hint,), broken=file.fault, stray=file.parsed)
        for file in files
        if file.format is None and file.path.suffix.lower() == SUFFIXES[chosen]
    ]
    return replace(found, records=(*found.records, *broken))


def _detect_format(labels: Path, files: list[LabelFile]) -> LabelFormat:
    formats: Counter[LabelFormat] = Counter()
    has_empty_files = False
    for file in files:
        if file.format is not None and file.content != "":
            formats[file.format] += 1
        has_empty_files |= file.content == ""
    if not formats and has_empty_files:
        return "yolo"  # an empty text file is a YOLO label without faces
    if not formats:
        raise ConfigError(_why_no_labels(labels, files, "labels"))
    if len(formats) > 1:
        found = ", ".join(f"{count} {TITLES[format_]}" for format_, count in formats.most_common())
        raise ConfigError(f"{one_line(str(labels))}: labels of several formats: {found}; {_CHOICES}")
    return next(iter(formats))


def _why_no_labels(labels: Path, files: list[LabelFile], wanted: str) -> str:
    where = one_line(str(labels))
    kinds = Counter(TITLES[file.format] if file.format else f"unknown {file.path.suffix}".strip() for file in files)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "no .xml, .json or .txt file"
    example = next((f", such as {one_line(file.name)}: {file.fault}" for file in files if not file.format), "")
    return f"{where}: no {wanted}; found {found}{example}; {_CHOICES}"


class _Builder:
    """Combine images with their labels, and collect the problems."""

    def __init__(self, folder: Path, options: ReadOptions, matching: Matching, found: LabelSet) -> None:
        self.names = Names(options.meanings, classes_matter=options.classes_matter)
        self.problems = [Problem(ProblemKind.BROKEN_LABEL, one_line(where), detail) for where, detail in found.faults]
        self.problems += [Problem(ProblemKind.MENDED, one_line(where), detail) for where, detail in found.mended]
        self.problems += matching.problems
        self._folder = folder
        self._keeps_unlabelled = options.unlabelled == "negative"
        self._matching = matching

    def build_all(self, names: Sequence[str]) -> tuple[LabelledImage, ...]:
        """Return the images that are not left out, with their faces."""
        images = [self._build(name) for name in names]
        return tuple(image for image in images if image is not None)

    def _build(self, name: str) -> LabelledImage | None:
        record = self._matching.records.get(name)
        if record is None:
            if name in self._matching.doubtful:
                return None  # the ambiguous label is in the list of problems
            kept = "used as an image without faces" if self._keeps_unlabelled else "left out"
            self._add(ProblemKind.IMAGE_WITHOUT_LABEL, name, f"no label; {kept}")
            return self._labelled(name, Record(name, ())) if self._keeps_unlabelled else None
        if record.broken is not None:
            self._add(ProblemKind.BROKEN_LABEL, record.where, f"{record.broken}; image {one_line(name)} is left out")
            return None
        return self._labelled(name, record)

    def _labelled(self, name: str, record: Record) -> LabelledImage | None:
        path = self._folder / name
        try:
            shape = image_shape(str(path))
            cleaner = Cleaner(name, shape, self.names)
            faces = cleaner.clean(record)
        except SourceError as error:
            self._add(ProblemKind.UNREADABLE_IMAGE, name, f"{error}; left out")
            return None
        except BrokenLabel as fault:
            self._add(ProblemKind.BROKEN_LABEL, record.where, f"{fault}; image {one_line(name)} is left out")
            return None
        self.problems += cleaner.problems
        return None if faces is None else LabelledImage(path, name, shape.width, shape.height, faces)

    def _add(self, kind: ProblemKind, where: str, detail: str) -> None:
        self.problems.append(Problem(kind, one_line(where), detail))


def _refuse(problems: tuple[Problem, ...], labels: Path) -> None:
    refused = [problem for problem in problems if problem.kind in _REFUSED_IF_STRICT]
    if refused:
        first = refused[0]
        raise ConfigError(
            f"{one_line(str(labels))}: {len(refused)} problems, the first: {first.where}: {first.kind.text}: {first.detail}; "
            "correct them, or leave out --strict"
        )


def _why_nothing_is_left(
    folder: Path, labels: Path | None, names: list[str], found: LabelSet, problems: tuple[Problem, ...]
) -> str:
    where = one_line(str(folder))
    if labels is None:
        return f"{where}: {len(names)} images and no labels; give --labels, or --unlabelled negative for images without people"
    strangers = [problem.where for problem in problems if problem.kind is ProblemKind.LABEL_WITHOUT_IMAGE]
    if found.records and len(strangers) == len(found.records):
        return (
            f"{one_line(str(labels))}: none of {len(strangers)} labels belongs to one of the {len(names)} images in {where}; "
            f"a label has the name {strangers[0]}, an image the name {one_line(names[0])}"
        )
    kinds = Counter(problem.kind.text for problem in problems)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    examples = [problem for problem in problems if problem.kind is not ProblemKind.IMAGE_WITHOUT_LABEL]
    such_as = f", such as {examples[0].where}: {examples[0].detail}" if examples else ""
    return f"{where}: none of {len(names)} images is left: {counts}{such_as}"


def _hash_of(images: tuple[LabelledImage, ...]) -> str:
    """Return the SHA-256 of the labels, which does not depend on their format and order."""
    content = []
    for image in sorted(images, key=lambda image: image.name):
        faces = []
        for face in image.faces:
            hundredths = [round(edge * 100) for edge in face.box_xyxy.tolist()]
            faces.append([hundredths, face.label.value, face.ignore])
        content.append([image.name, image.width, image.height, sorted(faces)])
    return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()
