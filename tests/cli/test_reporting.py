"""Events go to their receivers by the settings of each source, also after these change."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from maskstream import load_config
from maskstream.cli.reporting import Reporting, state_folder
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, SinkError
from maskstream.protocols import Sink
from maskstream.types import Label
from tests.tracking.made import frame_at, output_with, person

BARE, MASKED = person(1, Label.NO_MASK), person(1, Label.MASK)


def settings(**sections: object) -> Config:
    return load_config(layers=[Layer("test", sections)])


def common(**sections: object) -> SourceSettings:
    return SourceSettings(settings(**sections))


def show(sinks: list[Sink], since_s: float, until_s: float, *faces: object, source_id: str = "door") -> None:
    for step in range(round(since_s * 10), round(until_s * 10)):
        output = output_with(frame_at(step, time_s=step / 10, source_id=source_id), faces)  # type: ignore[arg-type]
        for sink in sinks:
            sink.write(output)


def records(path: Path) -> list[dict[str, Any]]:
    return [record for line in path.read_text().splitlines() if (record := json.loads(line))["type"] == "event"]


def test_a_file_and_a_summary_are_told_the_same(tmp_path: Path) -> None:
    reporting, text = Reporting(common()), io.StringIO()
    paths = str(tmp_path / "events.jsonl"), str(tmp_path / "summary.json")
    sinks = list(reporting.sinks(*paths, Console(file=text)))
    show(sinks, 0, 3, BARE)
    for sink in sinks:
        sink.close()
    assert [(record["phase"], record["cause"]) for record in records(tmp_path / "events.jsonl")] == [
        ("start", None),
        ("end", "stopped"),
    ]
    (door,) = json.loads((tmp_path / "summary.json").read_text())["sources"]
    assert door["events"]["no_mask"]["count"] == 1
    assert "door" in text.getvalue()


def test_no_sink_is_opened_without_a_request(tmp_path: Path) -> None:
    assert list(Reporting(common()).sinks(None, None, None)) == []


def test_each_source_has_rules_of_its_own_and_they_may_change(tmp_path: Path) -> None:
    masks = settings(events={"labels": ["mask"]})
    sources = SourceSettings(load_config(), {"lab": masks})
    sinks = list(Reporting(sources).sinks(str(tmp_path / "events.jsonl"), None, None))
    for source_id in ("door", "lab"):
        show(sinks, 0, 2, BARE, source_id=source_id)
    sources.set("door", masks)
    show(sinks, 2, 4, MASKED)
    for sink in sinks:
        sink.close()
    found = [(each["source"], each["label"], each["phase"], each["cause"]) for each in records(tmp_path / "events.jsonl")]
    assert found == [
        ("door", "no_mask", "start", None),
        ("door", "no_mask", "end", "changed"),
        ("door", "mask", "start", None),
        ("door", "mask", "end", "stopped"),
    ]


def test_what_may_be_stored_of_a_face_may_change(tmp_path: Path) -> None:
    sources = common(privacy={"store_crops": True}, events={"update_s": 1.0})
    sinks = list(Reporting(sources).sinks(str(tmp_path / "events.jsonl"), None, None))
    show(sinks, 0, 2, BARE)
    sources.set("door", settings(privacy={"store_crops": True, "blur": "unmasked"}))
    show(sinks, 20, 22, person(2, Label.NO_MASK))
    for sink in sinks:
        sink.close()
    has_crop = [record["best"]["crop_jpeg"] is not None for record in records(tmp_path / "events.jsonl")]
    assert has_crop == [True, False, False, False]


def test_a_crop_that_may_not_be_stored_any_more_is_not_sent(tmp_path: Path) -> None:
    sources = common(privacy={"store_crops": True}, events={"update_s": 1.0})
    sinks = list(Reporting(sources).sinks(str(tmp_path / "events.jsonl"), None, None))
    show(sinks, 0, 1.5, BARE)
    sources.set("door", settings(events={"update_s": 1.0}))
    show(sinks, 1.5, 3, BARE)
    sources.set("door", settings(privacy={"store_crops": True}, events={"labels": []}))
    show(sinks, 3, 4, BARE)
    for sink in sinks:
        sink.close()
    found = [(record["phase"], record["best"]["crop_jpeg"] is not None) for record in records(tmp_path / "events.jsonl")]
    assert found == [("start", True), ("update", False), ("end", False)]


@pytest.mark.parametrize(
    ("events", "summary", "sections"),
    [
        ("events.jsonl", None, {}),
        (None, "summary.json", {}),
        (None, None, {"events": {"webhooks": [{"url": "http://127.0.0.1:1/x"}]}}),
    ],
)
def test_events_and_summary_need_tracking(events: str | None, summary: str | None, sections: dict[str, object]) -> None:
    Reporting(common(tracking={"enabled": False})).require_people(None, None)
    Reporting(common(**sections)).require_people(events, summary)
    with pytest.raises(ConfigError, match=r"tracking\.enabled"):
        Reporting(common(tracking={"enabled": False}, **sections)).require_people(events, summary)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ({"webhooks": [{"url": "http://h/a"}, {"url": "http://h/a"}]}, "given twice"),
        ({"webhooks": [{"url": "ftp://h/a"}]}, "not an http:// or https:// address"),
        ({"webhooks": [{"url": "http://h/a", "secret": "${NOT_SET}"}]}, "NOT_SET is not set"),
        ({"mqtt": "mqtt://${NOT_SET}@h"}, "NOT_SET is not set"),
    ],
)
def test_a_wrong_receiver_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch, events: dict[str, object], said: str) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigError, match=said):
        Reporting(common(events=events))


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="does not exist; create it"):
        list(Reporting(common()).sinks(str(tmp_path / "none" / "events.jsonl"), None, None))


def test_the_queue_of_receivers_lies_where_the_state_of_programs_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "maskstream"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "maskstream"
    reporting = Reporting(common(events={"webhooks": [{"url": "http://127.0.0.1:1/x"}]}))
    (sink,) = reporting.sinks(None, None, None)
    sink.close()
    assert (state_folder() / "events.db").exists()


def test_receivers_with_the_same_name_are_reported_under_different_ones(tmp_path: Path) -> None:
    hooks = [{"url": f"http://127.0.0.1:9/{path}"} for path in "ab"]
    reporting = Reporting(common(events={"webhooks": hooks, "queue": str(tmp_path / "queue" / "events.db")}))
    sinks = list(reporting.sinks(None, None, None))
    assert [status.receiver for status in reporting.deliveries()] == ["webhook at 127.0.0.1", "webhook at 127.0.0.1 (2)"]
    assert reporting.folders == (str(tmp_path / "queue"),)
    for sink in sinks:
        sink.close()
