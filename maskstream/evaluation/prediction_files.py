"""Read files of predictions: our predictions.json, records of `--jsonl`, COCO results."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from maskstream.annotations.labelled_images import Annotations, LabelledImage
from maskstream.annotations.raw_labels import whole_number
from maskstream.config.label_meanings import ambiguous_names, question
from maskstream.config.loading import plain_name
from maskstream.config.schema import LabelMeaning
from maskstream.errors import ConfigError
from maskstream.evaluation.metrics_json import SystemInfo
from maskstream.evaluation.predictions import (
    FILE_KIND,
    BoxKind,
    ImagePredictions,
    Prediction,
    box_xyxy,
    from_record,
    plain_number,
    probability,
)
from maskstream.io.files import one_line
from maskstream.types import Label

PredictionKind = Literal["maskstream", "jsonl", "coco"]
_EXPECTED: Final = "expected predictions.json of an evaluation, records of --jsonl, or COCO results"
_MOST_NAMED: Final = 10
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """The content of a file of predictions."""

    by_image: Mapping[str, ImagePredictions]
    """Predictions by the name of the labelled image."""
    kind: PredictionKind
    predicted_box: BoxKind | None
    """What the boxes contain; None if the file does not state it, as COCO results."""
    min_score: float
    """Operating threshold of the file; 0 if it does not state one: then all predictions count."""
    score_floor: float
    strangers: tuple[str, ...]
    """Names of images in the file that have no labels."""
    system: SystemInfo | None = None
    """The system that made them; None if the file does not name it."""


def read_predictions(
    path: Path, annotations: Annotations, meanings: Mapping[str, LabelMeaning], categories: Mapping[int, str]
) -> PredictionFile:
    """Read a file of predictions and detect its kind.

    Args:
        path: The file.
        annotations: The labelled images; predictions are matched with them by name or COCO id.
        meanings: Meaning of each category name (`evaluation.labels`).
        categories: For COCO results: names by `category_id`, in addition to those of the label file.

    Raises:
        ConfigError: The file cannot be read, has another format, or has predictions for none of the images.
    """
    where = one_line(str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"{where}: cannot be read: {reason}; {_EXPECTED}") from error
    names = _Names(annotations)
    content = _parse(text)
    if isinstance(content, list) and (not content or "image_id" in _as_dict(content[0])):
        labels = _category_labels(where, content, meanings, {**annotations.coco_categories, **categories})
        return _coco(where, content, names, labels)
    if _as_dict(content).get("kind") == FILE_KIND:
        return _ours(where, content, names)
    first = _parse(text.partition("\n")[0])
    if "faces" in _as_dict(first):
        return _jsonl(where, text, names)
    raise ConfigError(f"{where}: not a file of predictions; {_EXPECTED}")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class _Names:
    """Find labelled images by the names or ids in a file of predictions."""

    def __init__(self, annotations: Annotations) -> None:
        self._by_name = {image.name: image for image in annotations.images}
        self._by_id: dict[int | None, str] = {
            id_: name for id_, name in annotations.coco_image_ids.items() if name in self._by_name
        }
        endings: dict[str, set[str]] = {}
        for name in self._by_name:
            for ending in {*_endings(name), PurePosixPath(name).stem}:
                endings.setdefault(ending, set()).add(name)
        self._by_ending = {ending: found.pop() for ending, found in endings.items() if len(found) == 1}

    def find(self, given: object) -> LabelledImage | None:
        """Return the image with this COCO id or this name, or the only image whose path ends with this name."""
        by_id = self._by_id.get(whole_number(given), "")
        if isinstance(given, int) and by_id:
            return self._by_name[by_id]
        text = str(given).replace("\\", "/")
        endings = [*_endings(text), PurePosixPath(text).stem]
        candidates = (text, *(self._by_ending.get(ending, "") for ending in endings), by_id)  # a file name may be a number
        return next((self._by_name[name] for name in candidates if name in self._by_name), None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)


def _endings(name: str) -> list[str]:
    """Return all ends of a path, the longest first: `a/b.jpg`, `b.jpg`."""
    parts = PurePosixPath(name).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _ours(where: str, content: Mapping[str, Any], names: _Names) -> PredictionFile:
    try:
        records = [(f"{where}: image {number}", record) for number, record in enumerate(content["pictures"], 1)]
        min_score, floor = probability(content["min_score"]), probability(content["score_floor"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: damaged: {error!r}; run the evaluation again") from error
    by_image, strangers = _collect(records, names)
    _require_some(where, by_image, strangers, names)
    box: BoxKind | None = content["box"] if content.get("box") in ("face", "head") else None
    system: SystemInfo | None = None
    with suppress(KeyError, TypeError, ValueError):  # the file does not name its system completely
        keys = {**_as_dict(content.get("system"))}
        name, description, device, weights = (keys.pop(key) for key in ("name", "description", "device", "weights"))
        system = SystemInfo(name=name, description=description, weights=dict(weights), device=device, other=keys)
    return PredictionFile(
        by_image=by_image,
        kind="maskstream",
        predicted_box=box,
        min_score=min_score,
        score_floor=floor,
        strangers=strangers,
        system=system,
    )


def _jsonl(where: str, text: str, names: _Names) -> PredictionFile:
    lines = [(f"{where}: line {number}", _parse(line)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if any(_as_dict(record).get("file", "") is None for _, record in lines):
        raise ConfigError(f"{where}: these are records of a video, whose frames have no labels; give records of image files")
    by_image, strangers = _collect(lines, names)
    _require_some(where, by_image, strangers, names)
    return PredictionFile(by_image, "jsonl", "face", 0.0, 0.0, strangers)


def _collect(records: list[tuple[str, Any]], names: _Names) -> tuple[dict[str, ImagePredictions], tuple[str, ...]]:
    by_image: dict[str, ImagePredictions] = {}
    strangers: list[str] = []
    for place, record in records:
        try:
            found = from_record(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{place}: not a record of an image: {error!r:.120}; write the file again") from error
        image = names.find(found.name)
        if image is None:
            strangers.append(found.name)
        elif image.name in by_image:
            raise ConfigError(f"{place}: {one_line(image.name)} occurs twice; give one record for each image")
        else:
            by_image[image.name] = _of(image, found.faces)
    return by_image, tuple(strangers)


def _of(image: LabelledImage, faces: tuple[Prediction, ...]) -> ImagePredictions:
    return ImagePredictions(image.name, image.width, image.height, tuple(sorted(faces, key=lambda face: -face.score)))


def _coco(where: str, results: list[Any], names: _Names, labels: Mapping[int | str, Label | None]) -> PredictionFile:
    faces: dict[str, list[Prediction]] = {}
    strangers: Counter[str] = Counter()
    images: dict[str, LabelledImage] = {}
    for number, result in enumerate(results, 1):
        try:
            x, y, width, height = map(plain_number, result["bbox"])
            box, score = box_xyxy([x, y, x + width, y + height]), probability(result["score"])
            label, image = labels[_category(result)], names.find(result["image_id"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{where}: result {number}: {error!r:.120}; expected image_id, category_id, bbox and score"
            ) from error
        if image is None:
            strangers[str(result["image_id"])] += 1
        elif label is not None:
            images[image.name] = image
            faces.setdefault(image.name, []).append(Prediction(box, score, label, None))
    by_image = {name: _of(images[name], tuple(found)) for name, found in faces.items()}
    if results:
        _require_some(where, by_image, tuple(strangers), names)
    return PredictionFile(by_image, "coco", None, 0.0, 0.0, tuple(strangers))


def _category(result: Mapping[str, Any]) -> int | str:
    number = whole_number(result["category_id"])
    return str(result["category_id"]) if number is None else number


def _category_labels(
    where: str, results: list[Any], meanings: Mapping[str, LabelMeaning], categories: Mapping[int, str]
) -> dict[int | str, Label | None]:
    """Return the label of each category that occurs; None for a category that means `ignore`."""
    count = Counter(_category(result) for result in results if "category_id" in _as_dict(result))
    names = {}
    for category in count:
        name = category if isinstance(category, str) else categories.get(category, str(category))
        names[category] = plain_name(name)
    known = {plain_name(name): meaning for name, meaning in meanings.items()}
    unknown = [f"{name:.40} ({count[category]})" for category, name in names.items() if name not in known]
    all_names = sorted({*names.values(), *(plain_name(name) for name in categories.values())})
    _require_meanings(where, unknown, [*names.values()], all_names, meanings)
    of_meaning = {**{label.value: label for label in Label}, "ask": Label.UNKNOWN, "ignore": None}
    return {category: of_meaning[known[name]] for category, name in names.items()}


def _require_meanings(
    where: str, unknown: list[str], used: list[str], all_names: list[str], meanings: Mapping[str, LabelMeaning]
) -> None:
    """Refuse categories of unknown meaning, and used names that are ambiguous beside the others."""
    if unknown:
        some = ", ".join(unknown[:_MOST_NAMED]) + (" and more" if len(unknown) > _MOST_NAMED else "")
        raise ConfigError(f"{where}: categories of unknown meaning: {some}; give their names with --categories 1=mask,2=no_mask")
    ambiguous = [name for name in ambiguous_names(all_names, meanings) if name in used]
    if ambiguous:
        raise ConfigError(f"{where}: {question(ambiguous, all_names, meanings)}")


def _require_some(where: str, by_image: Mapping[str, object], strangers: tuple[str, ...], names: _Names) -> None:
    if not by_image:
        example = f", such as {one_line(strangers[0]):.{_LONGEST_NAME}}" if strangers else ""
        ours = one_line(next(iter(names)))
        raise ConfigError(
            f"{where}: none of its images{example}, has labels; the names must match those of --images, such as {ours}"
        )
