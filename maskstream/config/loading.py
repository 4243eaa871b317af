"""The configuration: what may be set, and how files and single settings are laid over each other.

The defaults stand in one place, `configs/default.yaml`. Every other file or setting names only what it changes.
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
from maskstream.io.resources import resource
from maskstream.redaction import HIDDEN, redact_text

DEFAULT_CONFIG = resource("configs/default.yaml")

_SECRET: Final = re.compile(r"(secret['\"]?\s*:\s*).*", re.DOTALL)

SectionT = TypeVar("SectionT", bound=Section)


def plain_name(name: str) -> str:
    """Return the name of a class as `evaluation.labels` is asked for it: case, spaces, hyphens and dots make no difference."""
    return re.sub(r"[\s.-]", "_", name.strip().casefold())


@dataclass(frozen=True)
class Layer:
    """Some settings and where they come from, for messages."""

    origin: str
    values: Mapping[str, Any]

    @classmethod
    def of_key(cls, origin: str, dotted_key: str, value: object) -> "Layer":
        """Return a layer that sets one key, such as `detector.min_score`."""
        nested = value
        for part in reversed(dotted_key.split(".")):
            nested = {part: nested}
        return cls(origin, nested if isinstance(nested, dict) else {})

    @classmethod
    def of_assignment(cls, assignment: str) -> "Layer":
        """Return the layer of `key.path=value` as given to `--set`; the value is read as YAML."""
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
        """Return the settings of a YAML file."""
        values = read_yaml(path, text_keys())
        if values is not None and not isinstance(values, dict):
            raise ConfigError(f"{path}: holds {_shown(values):.50}, expected keys such as in configs/default.yaml")
        return cls(str(path), values or {})


@cache
def text_keys() -> frozenset[str]:
    """Return the keys of settings that are texts: names, addresses, files. They are read as they were typed."""
    found: dict[str, list[bool]] = defaultdict(list)
    sections: list[type[BaseModel]] = [Config]
    while sections:
        for key, field in sections.pop().model_fields.items():
            kinds = _kinds(field.annotation)
            found[key].append(str in kinds and kinds <= {str, NoneType})
            sections += [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return frozenset(key for key, are_text in found.items() if all(are_text))


def _kinds(annotation: Any) -> set[Any]:
    """Return a type, or those of a union, and what lists hold."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return {kind for each in get_args(annotation) for kind in _kinds(each)}
    return {list, *_kinds(get_args(annotation)[0])} if get_origin(annotation) is list else {annotation}


def read_yaml(path: Path, as_typed: Collection[str] = ()) -> Any:
    """Return what a YAML file holds.

    Args:
        path: The file.
        as_typed: Keys whose values are text as it was typed, see `parse_yaml`.

    Raises:
        ConfigError: It cannot be read, is no YAML, or gives a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"{path}: cannot be read: {reason}; give a YAML file such as configs/default.yaml") from error
    try:
        return parse_yaml(text, as_typed)
    except GivenTwice as error:
        raise ConfigError(f"{path}: {error}") from error
    except NOT_YAML as error:
        raise ConfigError(f"{path}: not valid YAML: {why_not_yaml(error):.300}") from error


def load_config(path: Path | None = None, layers: Iterable[Layer] = ()) -> Config:
    """Return the defaults with a file and further layers laid over them; see `load_sections`."""
    return load_sections(Config, DEFAULT_CONFIG, path, layers)


def load_sections(kind: type[SectionT], defaults: Path, path: Path | None, layers: Iterable[Layer]) -> SectionT:
    """Return settings of any kind: a file of defaults with a file and further layers laid over it.

    Args:
        kind: What the settings are.
        defaults: A YAML file that names every key.
        path: A YAML file that names what it changes.
        layers: Laid over it in order.

    Raises:
        ConfigError: A file cannot be read, or a key or value is wrong; names file, key, value and what is allowed.
    """
    files = [defaults] if path is None else [defaults, path]
    return _validated(kind, {}, [*map(Layer.of_file, files), *layers])


def refine(config: Config, *layers: Layer) -> Config:
    """Return a configuration with more layers laid over it, in order.

    Raises:
        ConfigError: A key or value of a layer is wrong.
    """
    return _validated(Config, config.model_dump(), list(layers))


def _validated(kind: type[SectionT], merged: dict[str, Any], stack: list[Layer]) -> SectionT:
    for layer in stack:
        merged = _merge(merged, layer.values)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, kind, stack)) from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both_nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both_nested else value
    return merged


def _explain(error: ValidationError, kind: type[BaseModel], stack: list[Layer]) -> str:
    kinds = ("extra_forbidden", "missing")  # a misspelt key is also one that is missing
    first = min(error.errors(), key=lambda each: kinds.index(each["type"]) if each["type"] in kinds else len(kinds))
    path = [part for part in first["loc"] if part != "[key]"]
    origin = next((layer.origin for layer in reversed(stack) if _sets(layer.values, path)), stack[0].origin)
    key = ".".join(map(str, path))
    if first["type"] == "extra_forbidden":
        allowed = _keys_beside(kind, path)
        similar = get_close_matches(str(path[-1]), allowed, 1)
        return f"{origin}: unknown key {key}{f', meant is {similar[0]}' if similar else ''}; allowed here: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{origin}: {key} is missing; {'give it' if any(isinstance(part, int) for part in path) else 'restore it'}"
    value = "***" if path[-1:] == ["secret"] else _shown(first["input"])
    said = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    if first["type"] == "model_type":
        said = f"expected keys: {', '.join(_keys_beside(kind, [*path, '']))}"
    while len(path) > 1 and isinstance(path[-1], int):  # a list is named as a whole
        path.pop()
    return f"{origin}: {'.'.join(map(str, path))}: {value:.80} is not allowed; {said}"


def _shown(value: object) -> str:
    """Return a value as messages give it, without passwords."""
    return _without_secrets(repr(value))


def _without_secrets(text: str) -> str:
    return _SECRET.sub(rf"\1{HIDDEN}", redact_text(text))


def _sets(values: object, path: Sequence[int | str]) -> bool:
    """Return whether a layer decides about a key: by itself, or as a part of a list."""
    for part in path:
        if not isinstance(values, Mapping):
            return True
        if part not in values:
            return False
        values = values[part]
    return True


def _keys_beside(section: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    for part in path[:-1]:
        if isinstance(part, str):
            annotation = section.model_fields[part].annotation
            kinds = [
                kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, BaseModel)
            ]
            section = next(iter(kinds), section)
    return list(section.model_fields)
