"""Render the settings of a schema for people and editors: YAML with comments, Markdown tables, JSON Schema."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from pydantic import BaseModel, TypeAdapter

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_WIDTH: Final = 120
_KINDS: Final = {"string": "text", "boolean": "true or false", "integer": "integer", "number": "number", "null": "null"}


def json_schema(kind: Any, title: str) -> dict[str, Any]:
    """Return the JSON Schema of a section, or of a record that is a `TypedDict`. Unknown keys are not allowed."""
    return {"$schema": DRAFT, "title": title, **_plain(TypeAdapter(kind).json_schema())}


def _plain(schema: Any) -> Any:
    """Return a JSON Schema without the titles that pydantic makes of names, and with `additionalProperties: false`."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):  # the keys of these are names
            plain[key] = {name: _plain(each) for name, each in value.items()}
        elif key != "title":
            plain[key] = _plain(value)
    return {**plain, "additionalProperties": False} if "properties" in plain else plain


def default_yaml(kind: type[BaseModel], head: str) -> str:
    """Return all settings with their defaults as YAML; the comments are the descriptions and ranges of the schema."""
    schema, defaults = json_schema(kind, ""), kind().model_dump()
    lines = [*head.splitlines()]
    for key, field in schema["properties"].items():
        section = _section(schema, field)
        if section is None:
            lines += ["", *_comment(field, schema, ""), *_entry(key, defaults[key], "")]
            continue
        lines += ["", *(f"# {line}" for line in textwrap.wrap(section["description"], _WIDTH)), f"{key}:"]
        for name, inner in section["properties"].items():
            lines += [*_comment(inner, schema, "  "), *_entry(name, defaults[key][name], "  ")]
    return "\n".join(lines) + "\n"


def _comment(field: Mapping[str, Any], schema: Mapping[str, Any], indent: str) -> Iterator[str]:
    text = f"{field['description']} ({allowed(field, schema)})"
    for line in textwrap.wrap(text, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False):
        yield f"{indent}# {line}"


def _entry(key: str, value: object, indent: str) -> Iterator[str]:
    if not isinstance(value, dict) or not value:
        yield f"{indent}{key}: {yaml_value(value)}"
        return
    yield f"{indent}{key}:"
    for name, inner in value.items():
        yield f"{indent}  {yaml_value(name)}: {yaml_value(inner)}"


def yaml_value(value: object) -> str:
    """Return a value in one line of YAML."""
    text = yaml.safe_dump(_short(value), default_flow_style=True, width=1000, allow_unicode=True)
    return str(text).removesuffix("\n").removesuffix("\n...")


def _short(value: object) -> object:
    """Return a value with integers in place of floats without fraction."""
    if isinstance(value, list):
        return [_short(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def settings_markdown(kind: type[BaseModel], per_camera: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of one Markdown table per section.

    Args:
        kind: The schema.
        per_camera: The keys by section that a camera in a list may set; a section without keys is one setting.
    """
    schema, defaults = json_schema(kind, ""), kind().model_dump()
    single = {key: field for key, field in schema["properties"].items() if _section(schema, field) is None}
    yield from ("### Without a section", "", *_TABLE_HEAD)
    for key, field in single.items():
        yield _row(key, field, defaults[key], schema, is_per_camera=key in per_camera)
    for key, field in schema["properties"].items():
        section = _section(schema, field)
        if section is None:
            continue
        yield from ("", f"### {key}", "", section["description"], "", *_TABLE_HEAD)
        for name, inner in section["properties"].items():
            is_per_camera = name in per_camera.get(key, ())
            yield _row(f"{key}.{name}", inner, defaults[key][name], schema, is_per_camera=is_per_camera)


_TABLE_HEAD: Final = ("| setting | values | default | description |", "|---|---|---|---|")


def _row(key: str, field: Mapping[str, Any], default: object, schema: Mapping[str, Any], *, is_per_camera: bool) -> str:
    shown = f"{len(default)} names" if isinstance(default, dict) and len(default) > 3 else f"`{yaml_value(default)}`"
    cells = (f"`{key}`{' *' if is_per_camera else ''}", allowed(field, schema), shown, field["description"])
    return f"| {' | '.join(cell.replace('|', '&#124;').replace('*', '&#42;').replace('<', '&lt;') for cell in cells)} |"


def allowed(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return the type and range of a field of a JSON Schema in words, such as `number, 0 to 1`."""
    if "$ref" in field:
        section = _resolved(schema, field["$ref"])
        return f"mapping with {', '.join(section['properties'])}"
    if "anyOf" in field:
        parts = [allowed(each, schema) for each in field["anyOf"]]
        return ("; or " if any("," in part for part in parts) else " or ").join(parts)
    if "enum" in field or "const" in field:
        return ", ".join(map(yaml_value, field.get("enum", [field.get("const")])))
    if field["type"] == "array":
        return f"list of {_length(field)}{allowed(field['items'], schema)}"
    if field["type"] == "object":
        return f"mapping of {_keys(field)} to {allowed(field['additionalProperties'], schema)}"
    return f"{_KINDS[field['type']]}{_range(field)}"


def _length(field: Mapping[str, Any]) -> str:
    least, most = field.get("minItems"), field.get("maxItems")
    if least is not None and least == most:
        return f"{least}: "
    return f"{least} or more: " if least is not None else ""


def _keys(field: Mapping[str, Any]) -> str:
    names = field.get("propertyNames", {})
    return ", ".join(names["enum"]) if "enum" in names else "text"


def _range(field: Mapping[str, Any]) -> str:
    above, least = field.get("exclusiveMinimum"), field.get("minimum")
    most, step = field.get("maximum"), field.get("multipleOf")
    text = ""
    if above is not None:
        text = f" above {yaml_value(above)}" + (f", up to {yaml_value(most)}" if most is not None else "")
    elif least is not None and most is not None:
        text = f", {yaml_value(least)} to {yaml_value(most)}"
    elif least is not None:
        text = f", {yaml_value(least)} or more"
    return text + (f", in steps of {step}" if step is not None else "")


def _section(schema: Mapping[str, Any], field: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the section that a field of the top level contains, or None for a single setting."""
    return _resolved(schema, field["$ref"]) if "$ref" in field else None


def _resolved(schema: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
    return found
