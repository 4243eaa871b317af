"""Outputs agree with the JSON Schemas in docs/schemas, field by field."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from maskstream import load_config
from maskstream.config.loading import Layer
from maskstream.events.detector import EventDetector
from maskstream.events.messages import interrupted_message, lost_message, message_of
from maskstream.events.sink import EventSink, JsonlEvents
from maskstream.sinks import JsonlSink, StatusSink
from maskstream.sinks.summary import SummarySink
from maskstream.stream.states import SourceState, SourceStatus
from maskstream.types import FrameResult, Label, Output
from tests.conftest import ROOT
from tests.evaluation.sets import two_sets
from tests.fleet.results import merged_archive
from tests.schemas import SCHEMAS, check_lines, validator
from tests.tracking.made import frame_at, person

BEGAN = datetime(2026, 11, 22, 12, 0, 1, tzinfo=UTC)
STAGES_MS = {"detect": 3.0, "align": 0.5, "classify": 1.0}
FREE_KEYS = ("keypoints", "events", "weights", "names", "problems", "by_class", "by_name", "ci95")
FREE_KEYS += ("one_to_one", "paper", "precision_recall", "sizes", "groups", "sets", "at_iou")
"""Objects whose keys are names, such as those of keypoints and labels."""


def outputs(*, live: bool) -> Iterator[Output]:
    """Two minutes of a source with a person of each label; one of them changes the label."""
    for index in range(125):
        frame = replace(frame_at(index, fps=1.0), wall_time=BEGAN + timedelta(seconds=index) if live else None)
        labels = (Label.MASK, Label.NO_MASK if index < 90 else Label.MASK, Label.UNKNOWN, Label.NO_MASK)
        faces = tuple(person(number, label, 100.0 * number, zone="door") for number, label in enumerate(labels, 1))
        yield Output(frame, FrameResult.of(frame, faces, (), STAGES_MS), True, lambda each, _result: each.bgr)


@pytest.fixture(scope="module", params=[False, True], ids=["file", "camera"])
def records(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What all sinks write about a source, checked."""
    folder = tmp_path_factory.mktemp("records")
    config = load_config(layers=[Layer("test", {"events": {"update_s": 20.0}})])
    status = StatusSink(str(folder / "status.jsonl"))
    state = SourceStatus("door", status.state_changed)
    state.change(SourceState.ONLINE, "frames arrive")
    sinks = [
        JsonlSink(str(folder / "records.jsonl")),
        EventSink(EventDetector(config, lambda _output, _face: b"a JPEG"), JsonlEvents(str(folder / "events.jsonl"))),
        SummarySink(str(folder / "summary.json"), EventDetector(config)),
    ]
    for output in outputs(live=request.param):
        for sink in sinks:
            sink.write(output)
    for sink in (*sinks, status):
        sink.close()
    of_events = check_lines(None, folder / "events.jsonl")
    return {
        "record": check_lines("record", folder / "records.jsonl")[:1],
        "event": [record for record in of_events if record["type"] == "event"],
        "counts": [record for record in of_events if record["type"] == "counts"],
        "status": check_lines("status", folder / "status.jsonl"),
        "summary": [json.loads((folder / "summary.json").read_text())],
        "lost": [json.loads(lost_message("door", 3).body)],
        "metrics": [small_metrics()],
        "metrics_sets": [two_sets().to_json()],
        "archive": [merged_archive(folder)],
    }


def small_metrics() -> dict[str, Any]:
    """What `tests/evaluation/test_metrics_json.py` compares with real metrics, with one entry of each part."""
    metrics = json.loads((ROOT / "tests" / "fixtures" / "metrics.json").read_text())
    validator("metrics").validate(metrics)
    for part in ("one_to_one", "paper", "sizes", "groups", "by_class", "precision_recall"):
        metrics[part] = dict([*metrics[part].items()][:1])
    metrics |= {part: metrics[part][:1] for part in ("scores", "operating_points")}
    metrics["calibration"]["bins"] = metrics["calibration"]["bins"][:1]
    return metrics


@pytest.mark.parametrize("name", sorted(path.stem for path in SCHEMAS.glob("*.json")))
def test_each_field_is_required_and_no_other_is_allowed(records: dict[str, list[dict[str, Any]]], name: str) -> None:
    schema, examples = validator(name), records[name]
    assert examples
    for example in examples[-3:]:
        schema.validate(example)
        wrong = [*broken(example)]
        assert len(wrong) > 2
        allowed = [where for where, record in wrong if schema.is_valid(record)]
        assert allowed == (["('system',) with another field"] if name.startswith("metrics") else [])  # from a file of predictions


def broken(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a record once without each of its fields, and once with another field in each of its objects."""
    for path in fixed_objects(record, ()):
        more = copy.deepcopy(record)
        at(more, path)["another"] = 1
        yield f"{path} with another field", more
        for key in at(record, path):
            less = copy.deepcopy(record)
            del at(less, path)[key]
            yield f"{path} without {key}", less


def at(record: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        record = record[part]
    return record


def fixed_objects(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of all objects with fixed keys."""
    if isinstance(value, list):
        for index, each in enumerate(value[:1]):
            yield from fixed_objects(each, (*path, index))
    elif isinstance(value, dict):
        if not {*path[-1:]} & {*FREE_KEYS} and "confusion" not in path:
            yield path
        for key, each in value.items():
            yield from fixed_objects(each, (*path, key))


def test_events_have_all_phases_and_crops(records: dict[str, list[dict[str, Any]]]) -> None:
    """The fixture covers what it is for."""
    events = records["event"]
    assert {event["phase"] for event in events} == {"start", "update", "end"}
    assert {event["cause"] for event in events} == {None, "mask", "stopped"}
    assert any(event["best"]["crop_jpeg"] for event in events)
    assert len(records["counts"]) == 3


def test_the_end_of_an_interrupted_event_is_an_event() -> None:
    detector = EventDetector(load_config())
    found = [each for output in outputs(live=True) for each in detector.detect(output)]
    record = json.loads(interrupted_message(message_of(found[0])).body)
    validator("event").validate(record)
    assert record["cause"] == "interrupted"


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("record", "frame", -1), ("record", "time_s", "0"), ("status", "state", "lost"), ("event", "phase", "begin")],
)
def test_a_wrong_value_is_noticed(records: dict[str, list[dict[str, Any]]], name: str, key: str, value: object) -> None:
    assert not validator(name).is_valid({**records[name][0], key: value})
