"""The generated files fit the code, and the schemas for editors agree with the checks of the program."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from maskstream.config.schema import Config, Section
from maskstream.training.recipe import ClassifierRecipe, DetectorRecipe
from tests.conftest import ROOT
from tools.make_docs import COMMAND, generated

FILES = generated()


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((ROOT / "configs" / name).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_files_are_not_stale(path: Path) -> None:
    assert path.exists(), f"{path.name} does not exist; run {COMMAND}"
    assert path.read_text() == FILES[path], f"{path.name} is stale; run {COMMAND}"


@pytest.mark.parametrize(
    ("name", "kind"), [("default", Config), ("train_detector", DetectorRecipe), ("train_classifier", ClassifierRecipe)]
)
def test_defaults_are_valid_and_the_generated_file_contains_all_of_them(name: str, kind: type[Section]) -> None:
    """Pydantic does not check defaults."""
    defaults = kind().model_dump()
    assert kind.model_validate(defaults) == kind()
    assert yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()) == defaults


@pytest.mark.parametrize("name", ["default", "coco", "accurate"])
def test_the_schema_for_editors_accepts_the_shipped_files(name: str) -> None:
    validator("maskstream.schema.json").validate(yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()))


def test_the_schema_for_editors_accepts_the_shipped_list_of_cameras() -> None:
    validator("cameras.schema.json").validate(yaml.safe_load((ROOT / "configs" / "cameras.yaml").read_text()))


def test_the_schema_for_editors_accepts_the_shipped_site() -> None:
    validator("site.schema.json").validate(yaml.safe_load((ROOT / "configs" / "site.yaml").read_text()))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("maskstream.schema.json", {"detector": {"min_scor": 0.5}}),
        ("maskstream.schema.json", {"detector": {"min_score": 1.5}}),
        ("maskstream.schema.json", {"detector": {"short_side": 12}}),
        ("maskstream.schema.json", {"detector": {"short_side": "large"}}),
        ("maskstream.schema.json", {"video": {"preset": "slowest"}}),
        ("maskstream.schema.json", {"events": {"webhooks": [{"secret": "b"}]}}),
        ("cameras.schema.json", [{"name": "gate"}]),
        ("cameras.schema.json", [{"name": "gate", "url": 0, "device": "cpu"}]),
        ("cameras.schema.json", [{"name": "gate", "url": 0, "detector": {"name": "coco_resnet50"}}]),
        ("site.schema.json", {"cameras": []}),
        ("site.schema.json", {"cameras": ["a.yaml"], "lease": 3}),
        ("site.schema.json", {"cameras": ["a.yaml"], "nodes": {"east": {"capacity_fps": 0}}}),
        ("site.schema.json", {"cameras": [{"name": "gate", "url": "a", "nodes": "east"}]}),
        ("site.schema.json", {"cameras": ["a.yaml"], "settings": {"detector": {"min_scor": 1}}}),
    ],
)
def test_the_schemas_for_editors_refuse_what_the_program_refuses(name: str, values: Any) -> None:
    assert not validator(name).is_valid(values)


@pytest.mark.parametrize("name", ["default", "coco", "accurate", "cameras", "site"])
def test_a_shipped_file_names_its_schema_for_editors(name: str) -> None:
    first = (ROOT / "configs" / f"{name}.yaml").read_text().partition("\n")[0]
    assert (ROOT / "configs" / first.removeprefix("# yaml-language-server: $schema=")).is_file()


def test_every_setting_and_option_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "options.md").read_text()
    sections = {key: field.annotation for key, field in Config.model_fields.items()}
    keys = [f"{key}.{name}" for key, kind in sections.items() for name in getattr(kind, "model_fields", {})]
    assert len(keys) > 60
    assert [key for key in [*keys, "device", "zones"] if f"| `{key}`" not in text] == []
    assert [option for option in ("--source", "--jsonl", "--min-score", "--quiet") if f"`{option}" not in text] == []
