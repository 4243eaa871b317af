"""Load the configuration: merge YAML files and single settings over the defaults of the schema, and check the result.

A file or a setting contains only the keys that it changes.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from maskstream.config.schema import Config, Section
from maskstream.config.yaml_text import NOT_YAML, GivenTwice, parse_yaml, why_not_yaml
from maskstream.errors import ConfigError
from maskstream.redaction import HIDDEN, redact_text

_FIRST: Final = {"extra_forbidden": 0, "missing": 1}
"""The order in which errors are reported. A misspelt key is also a missing one."""
_SECRET: Final = re.compile(r"(secret['\"]?\s*:\s*).*", re.DOTALL)

SectionT = TypeVar("SectionT", bound=Section)


def plain_name(name: str) -> str:
    """Return a class name as a key of `evaluation.labels`: lower case, with `_` for white space, hyphens and dots."""
    return re.sub(r"[\s.-]", "_", name.strip().casefold())


@dataclass(frozen=True)
class Layer:
    """Settings, and their origin for messages."""

    origin: str
    values: Mapping[str, Any]

    @classmethod
    def of_key(cls, origin: str, dotted_key: str, value: object) -> "Layer":
        """Return a layer with one key, such as `detector.min_score`."""
        nested = value
        for part in reversed(dotted_key.split(".")):
            nested = {part: nested}
        return cls(origin, nested if isinstance(nested, dict) else {})

    @classmethod
    def of_assignment(cls, assignment: str) -> "Layer":
        """Return the layer of `key.path=value`, the argument of `--set`. The value is YAML."""
        key, equals, text = assignment.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"--set {_without_secrets(assignment)}: expected key.path=value, such as detector.min_score=0.7")
        try:
            return cls.of_key(f"--set {key}", key, parse_yaml(text, text_keys(), key.rpartition(".")[2]))
        except GivenTwice as error:
            raise ConfigError(f"--set {_without_secrets(assignment)}: {error}") from error
        except NOT_YAML as error:
            raise ConfigError(f"--set {key}: the value is not YAML; quote it") from error

    @classmethod
    def of_file(cls, path: Path) -> "Layer":
        """Return the layer of a YAML file."""
        values = read_yaml(path, text_keys())
        if values is not None and not isinstance(values, dict):
            raise ConfigError(f"{path}: contains {_shown(values):.50}; expected keys, as in configs/default.yaml")
        return cls(str(path), values or {})


@cache
def text_keys() -> frozenset[str]:
    """Return the keys whose values are text, such as names, addresses and files. YAML does not convert these values."""
    found: dict[str, list[bool]] = defaultdict(list)
    sections: list[type[BaseModel]] = [Config]
    while sections:
        for key, field in sections.pop().model_fields.items():
            kinds = _kinds(field.annotation)
            found[key].append(str in kinds and kinds <= {str, NoneType})
            sections += [kind for kind in kinds if _is_section(kind)]
    return frozenset(key for key, are_text in found.items() if all(are_text))


def _kinds(annotation: Any) -> set[Any]:
    """Return the types of an annotation: the members of a union, the items of a list."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return {kind for each in get_args(annotation) for kind in _kinds(each)}
    return {list, *_kinds(get_args(annotation)[0])} if get_origin(annotation) is list else {annotation}


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def read_yaml(path: Path, as_typed: Collection[str] = ()) -> Any:
    """Return the content of a YAML file.

    Args:
        path: The file.
        as_typed: Keys whose values stay text, see `parse_yaml`.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or contains a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"{path}: cannot be read: {reason}; give a YAML file such as configs/default.yaml") from error
    return read_yaml_text(text, str(path), as_typed)


def read_yaml_text(text: str, origin: str, as_typed: Collection[str] = ()) -> Any:
    """Return the content of the text of a YAML file; see `read_yaml`.

    Args:
        text: The content of the file.
        origin: The file, for messages.
        as_typed: Keys whose values stay text, see `parse_yaml`.

    Raises:
        ConfigError: The text is not YAML, or contains a key twice.
    """
    try:
        return parse_yaml(text, as_typed)
    except GivenTwice as error:
        raise ConfigError(f"{origin}: {error}") from error
    except NOT_YAML as error:
        raise ConfigError(f"{origin}: not valid YAML: {why_not_yaml(error):.300}") from error


def load_config(path: Path | None = None, layers: Iterable[Layer] = ()) -> Config:
    """Return the configuration of a run; see `load_settings`."""
    return load_settings(Config, path, layers)


def load_settings(kind: type[SectionT], path: Path | None, layers: Iterable[Layer]) -> SectionT:
    """Return the defaults of a schema with a YAML file and further layers merged over them, in order.

    Args:
        kind: The schema.
        path: A YAML file with the keys that it changes.
        layers: Merged over the file, in order.

    Raises:
        ConfigError: The file cannot be read, or a key or value is wrong. The message contains origin, key, value and the
            allowed values.
    """
    files = [] if path is None else [Layer.of_file(path)]
    return refine(kind(), *files, *layers)


def refine(settings: SectionT, *layers: Layer) -> SectionT:
    """Return settings with more layers merged over them, in order.

    Raises:
        ConfigError: A key or value of a layer is wrong.
    """
    merged = settings.model_dump()
    for layer in layers:
        merged = _merge(merged, layer.values)
    try:
        return type(settings).model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, type(settings), layers)) from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both_nested else value
    return merged


def _explain(error: ValidationError, kind: type[BaseModel], layers: Sequence[Layer]) -> str:
    """Return one line about the first wrong key or value: origin, key, value and the allowed values."""
    first = min(error.errors(), key=lambda each: _FIRST.get(each["type"], len(_FIRST)))
    path = [part for part in first["loc"] if part != "[key]"]
    origin = next((layer.origin for layer in reversed(layers) if _sets(layer.values, path)), layers[0].origin)
    key = ".".join(map(str, path))
    if first["type"] == "extra_forbidden":
        known = _keys_beside(kind, path)
        similar = get_close_matches(str(path[-1]), known, 1)
        question = f"did you mean {similar[0]}? " if similar else ""
        return f"{origin}: unknown key {key}; {question}allowed here: {', '.join(known)}"
    if first["type"] == "missing":
        return f"{origin}: {key} is missing; add it"
    value = HIDDEN if any(str(part).endswith("secret") for part in path[-1:]) else _shown(first["input"])
    reason = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    if first["type"] == "model_type":
        reason = f"expected keys: {', '.join(_keys_beside(kind, [*path, '']))}"
    while len(path) > 1 and isinstance(path[-1], int):  # the message names the list, not the item
        path.pop()
    return f"{origin}: {'.'.join(map(str, path))}: {value:.80} is not allowed; {reason}"


def _shown(value: object) -> str:
    """Return the representation of a value without passwords."""
    return _without_secrets(repr(value))


def _without_secrets(text: str) -> str:
    return _SECRET.sub(rf"\1{HIDDEN}", redact_text(text))


def _sets(values: object, path: Sequence[int | str]) -> bool:
    """Return whether a layer sets a key, or the list or value that contains it."""
    for part in path:
        if not isinstance(values, Mapping):
            return True
        if part not in values:
            return False
        values = values[part]
    return True


def _keys_beside(section: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    for part in path[:-1]:
        if isinstance(part, str) and part in section.model_fields:  # other parts are keys that the user has chosen
            annotation = section.model_fields[part].annotation
            if get_origin(annotation) is dict:
                annotation = get_args(annotation)[1]
            section = next((kind for kind in _kinds(annotation) if _is_section(kind)), section)
    return list(section.model_fields)
