"""metrics.json keeps its keys, their order and its numbers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from maskstream.config.loading import Layer, load_config, refine
from maskstream.evaluation.request import EvaluationRequest
from maskstream.evaluation.run import measure
from tests.conftest import ROOT
from tests.evaluation.made import full_metrics
from tests.evaluation.small_set import GROUP_BY, write_small_set

GOLDEN = ROOT / "tests" / "fixtures" / "metrics.json"


def leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return all values of a JSON document with their paths, in its order."""
    if isinstance(value, dict) and value:
        return [leaf for name, each in value.items() for leaf in leaves(each, f"{path}.{name}")]
    if isinstance(value, list) and value:
        return [leaf for index, each in enumerate(value) for leaf in leaves(each, f"{path}[{index}]")]
    return [(path, value)]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    images, labels, predictions = write_small_set(tmp_path)
    monkeypatch.chdir(tmp_path)
    request = EvaluationRequest(
        images=images.relative_to(tmp_path),
        labels=labels.relative_to(tmp_path),
        out=tmp_path / "out",
        predictions=predictions.relative_to(tmp_path),
        group_by=re.compile(GROUP_BY),
        min_score=0.4,
    )
    config = refine(load_config(), Layer("test", {"evaluation": {"bootstrap": 8}}))
    return measure(request, config).metrics.to_json()


def test_the_file_has_its_keys_in_their_order_and_its_numbers(measured: dict[str, Any]) -> None:
    golden = leaves(json.loads(GOLDEN.read_text()))
    found = leaves(json.loads(json.dumps(measured | {"maskstream": "", "created_utc": ""}, allow_nan=False)))
    assert [path for path, _ in found] == [path for path, _ in golden]
    for (path, value), (_, expected) in zip(found, golden, strict=True):
        assert type(value) is type(expected), path
        assert value == (pytest.approx(expected, abs=2e-6) if isinstance(expected, float) else expected), path


def test_the_keys_of_a_run_come_first() -> None:
    keys = list(full_metrics().to_json())
    assert keys[:6] == ["maskstream", "created_utc", "system", "settings", "data", "classes"]
    assert keys[-3:] == ["mistakes", "unusable", "speed"]
