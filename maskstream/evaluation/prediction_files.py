"""Anyone's predictions: our own file, records of `run_stream.py --jsonl`, COCO results."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from maskstream.annotations.raw import whole_number
from maskstream.annotations.types import Annotations, LabelledImage
from maskstream.config.label_meanings import ambiguous_names, question
from maskstream.config.loading import plain_name
from maskstream.config.schema import LabelMeaning
from maskstream.errors import ConfigError
from maskstream.evaluation.metrics_json import SystemInfo
from maskstream.evaluation.predictions import FILE_KIND, box_xyxy, from_record, plain_number, probability
from maskstream.evaluation.types import BoxKind, ImagePredictions, Prediction
from maskstream.io.files import one_line
from maskstream.types import Label

PredictionKind = Literal["maskstream", "jsonl", "coco"]
_EXPECTED: Final = "expected our predictions.json, records of run_stream.py --jsonl, or COCO results"
_MOST_NAMED: Final = 10
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, eq=False)
class ForeignPredictions:
    """What a file of predictions holds."""

    by_image: Mapping[str, ImagePredictions]
    """Of images that are labelled, by their names."""
    kind: PredictionKind
    predicted_box: BoxKind | None
    """What their boxes are; None where the file does not say, as COCO results do not."""
    min_score: float
    """The threshold that their maker used; 0 where the file does not say: then all of them count."""
    score_floor: float
    strangers: tuple[str, ...]
    """Images in the file that are not among the labelled ones."""
    system: SystemInfo | None = None
    """The system that made them; None if the file does not name it."""


def read_predictions(
    path: Path, annotations: Annotations, meanings: Mapping[str, LabelMeaning], categories: Mapping[int, str]
) -> ForeignPredictions:
    """Read a file of predictions, of whichever kind.

    Args:
        path: The file.
        annotations: The labelled images, which the predictions are matched to by name or COCO id.
        meanings: What names of categories mean.
        categories: COCO results: names by `category_id`; those of the labels' file need not be given.

    Raises:
        ConfigError: It cannot be read, is no such file, or speaks of none of the images.
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
        return _coco(where, content, names, meanings, {**annotations.coco_categories, **categories})
    if _as_dict(content).get("kind") == FILE_KIND:
        return _ours(where, content, names)
    first = _parse(text.partition("\n")[0])
    if "faces" in _as_dict(first):
        return _jsonl(where, text, names)
    raise ConfigError(f"{where}: no predictions that can be read; {_EXPECTED}")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class _Names:
    """Finds the labelled image that a file of predictions means."""

    def __init__(self, annotations: Annotations) -> None:
        self._by_name = {picture.name: picture for picture in annotations.images}
        self._by_id: dict[int | None, str] = {
            image: name for image, name in annotations.coco_image_ids.items() if name in self._by_name
        }
        endings: dict[str, set[str]] = {}
        for name in self._by_name:
            for ending in {*_endings(name), PurePosixPath(name).stem}:
                endings.setdefault(ending, set()).add(name)
        self._by_ending = {ending: found.pop() for ending, found in endings.items() if len(found) == 1}

    def find(self, given: object) -> LabelledImage | None:
        """Return the image with this COCO id, this name, or alone with this ending of a path."""
        by_id = self._by_id.get(whole_number(given), "")
        if isinstance(given, int) and by_id:
            return self._by_name[by_id]
        text = str(given).replace("\\", "/")
        endings = [*_endings(text), PurePosixPath(text).stem]
        candidates = (text, *(self._by_ending.get(ending, "") for ending in endings), by_id)  # a file may be called 1
        return next((self._by_name[name] for name in candidates if name in self._by_name), None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)


def _endings(name: str) -> list[str]:
    """Return the path without its first folders, the longest first: `a/b.jpg`, `b.jpg`."""
    parts = PurePosixPath(name).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _ours(where: str, content: Mapping[str, Any], names: _Names) -> ForeignPredictions:
    try:
        records = [(f"{where}: picture {number}", record) for number, record in enumerate(content["pictures"], 1)]
        min_score, floor = probability(content["min_score"]), probability(content["score_floor"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: damaged: {error!r}; make it anew") from error
    by_image, strangers = _collect(records, names)
    _require_some(where, by_image, strangers, names)
    box: BoxKind | None = content["box"] if content.get("box") in ("face", "head") else None
    return ForeignPredictions(
        by_image=by_image,
        kind="maskstream",
        predicted_box=box,
        min_score=min_score,
        score_floor=floor,
        strangers=strangers,
        system=_system_info(_as_dict(content.get("system"))),
    )


def _system_info(system: Mapping[str, Any]) -> SystemInfo | None:
    """Return the `system` of a predictions file; None unless it is complete."""
    try:
        name, description, device = system["name"], system["description"], system["device"]
        return SystemInfo(name=name, description=description, weights=dict(system["weights"]), device=device)
    except (KeyError, TypeError, ValueError):
        return None


def _jsonl(where: str, text: str, names: _Names) -> ForeignPredictions:
    lines = [(f"{where}: line {number}", _parse(line)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if any(_as_dict(record).get("file", "") is None for _, record in lines):
        raise ConfigError(f"{where}: records of video, whose frames have no labels; analyse pictures, with a file in each record")
    by_image, strangers = _collect(lines, names)
    _require_some(where, by_image, strangers, names)
    return ForeignPredictions(by_image, "jsonl", "face", 0.0, 0.0, strangers)


def _collect(records: list[tuple[str, Any]], names: _Names) -> tuple[dict[str, ImagePredictions], tuple[str, ...]]:
    by_image: dict[str, ImagePredictions] = {}
    strangers: list[str] = []
    for place, record in records:
        try:
            found = from_record(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{place}: no record of a picture: {error!r:.120}; make it anew") from error
        picture = names.find(found.name)
        if picture is None:
            strangers.append(found.name)
        elif picture.name in by_image:
            raise ConfigError(f"{place}: {one_line(picture.name)} for the second time; give each picture once")
        else:
            by_image[picture.name] = _of(picture, found.faces)
    return by_image, tuple(strangers)


def _of(picture: LabelledImage, faces: tuple[Prediction, ...]) -> ImagePredictions:
    return ImagePredictions(picture.name, picture.width, picture.height, tuple(sorted(faces, key=lambda face: -face.score)))


def _coco(
    where: str, results: list[Any], names: _Names, meanings: Mapping[str, LabelMeaning], categories: Mapping[int, str]
) -> ForeignPredictions:
    labels = _category_labels(where, results, meanings, categories)
    faces: dict[str, list[Prediction]] = {}
    strangers: Counter[str] = Counter()
    images: dict[str, LabelledImage] = {}
    for number, result in enumerate(results, 1):
        try:
            x, y, width, height = map(plain_number, result["bbox"])
            box, score = box_xyxy([x, y, x + width, y + height]), probability(result["score"])
            label, picture = labels[_category(result)], names.find(result["image_id"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{where}: result {number}: {error!r:.120}; expected image_id, category_id, bbox and score"
            ) from error
        if picture is None:
            strangers[str(result["image_id"])] += 1
        elif label is not None:
            images[picture.name] = picture
            faces.setdefault(picture.name, []).append(Prediction(box, score, label, None))
    by_image = {name: _of(images[name], tuple(found)) for name, found in faces.items()}
    if results:
        _require_some(where, by_image, tuple(strangers), names)
    return ForeignPredictions(by_image, "coco", None, 0.0, 0.0, tuple(strangers))


def _category(result: Mapping[str, Any]) -> int | str:
    number = whole_number(result["category_id"])
    return str(result["category_id"]) if number is None else number


def _category_labels(
    where: str, results: list[Any], meanings: Mapping[str, LabelMeaning], categories: Mapping[int, str]
) -> dict[int | str, Label | None]:
    """Return the label of each category that occurs; None for what is to be ignored."""
    found = Counter(_category(result) for result in results if "category_id" in _as_dict(result))
    plain = {plain_name(name): meaning for name, meaning in meanings.items()}
    written = {
        category: plain_name(categories.get(category, str(category)) if isinstance(category, int) else category)
        for category in found
    }
    unknown = [f"{written[category]:.40} ({count})" for category, count in found.items() if written[category] not in plain]
    if unknown:
        some = ", ".join(unknown[:_MOST_NAMED]) + (" and more" if len(unknown) > _MOST_NAMED else "")
        raise ConfigError(f"{where}: categories of unknown meaning: {some}; say what they are with --categories 1=mask,2=no_mask")
    names = {*written.values(), *map(plain_name, categories.values())}
    if ambiguous := [name for name in ambiguous_names(sorted(names), meanings) if name in written.values()]:
        raise ConfigError(f"{where}: {question(ambiguous, sorted(names), meanings)}")
    meant = {category: plain[name] for category, name in written.items()}
    return {
        category: None if meaning == "ignore" else Label.UNKNOWN if meaning == "ask" else Label(meaning)
        for category, meaning in meant.items()
    }


def _require_some(where: str, by_image: Mapping[str, object], strangers: tuple[str, ...], names: _Names) -> None:
    if not by_image:
        example = f", such as {one_line(strangers[0]):.{_LONGEST_NAME}}" if strangers else ""
        ours = one_line(next(iter(names)))
        raise ConfigError(
            f"{where}: none of its pictures{example}, is labelled here; names must be those of the pictures, such as {ours}"
        )
