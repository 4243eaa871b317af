"""The measurements of docs/fleet.md, with small numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DEMO
from tests.fleet.archive_bytes import differences
from tests.fleet.figure_tables import percentile, table
from tests.fleet.fleet_faults import FAULTS
from tools.fleet_figures import main


def measured(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[str, dict[str, Any]]:
    """Return the tables and the record of a measurement."""
    main([str(each) for each in arguments])
    *tables, record = capsys.readouterr().out.splitlines()
    return "\n".join(tables), json.loads(record)


def test_percentiles_are_measured_values() -> None:
    assert [percentile([3, 1, 2, 4], percent) for percent in (1, 50, 75, 95, 100)] == [1, 2, 3, 4, 4]
    assert table(["a", "b"], [[1, "c"]]) == "| a | b |\n|---|---|\n| 1 | c |"


def test_a_difference_of_one_byte_is_found_and_times_of_processing_are_none(tmp_path: Path) -> None:
    for name, events, timing in (("first", "{}", 1), ("same", "{}", 2), ("other", "{ }", 1)):
        result = tmp_path / name / "ab" / "abc"
        result.mkdir(parents=True)
        (result / "events.jsonl").write_text(events)
        (result / "faces.jsonl").write_text(json.dumps({"frame": 1, "timing_ms": timing}))
    assert differences(tmp_path / "first", tmp_path / "same") == []
    assert differences(tmp_path / "first", tmp_path / "other") == ["ab/abc/events.jsonl"]
    (tmp_path / "same" / "archive.csv").write_text("path\n")
    assert differences(tmp_path / "first", tmp_path / "same") == ["archive.csv"]


@pytest.mark.slow
def test_an_archive_gives_the_same_bytes_with_any_number_of_workers_and_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--clips", DEMO.parent, "--number", "6", "--clip-s", "0.6", "--kills", "2", "--folder", tmp_path)
    tables, record = measured(capsys, "archive", *options)
    runs = record["runs"]
    assert [run["workers"] for run in runs] == [0, 1, 2, 4, 2, 4]
    assert [run["kills"] > 0 for run in runs] == [False, False, False, False, True, True]
    assert [(run["failed"], run["different"]) for run in runs] == [(0, [])] * 6
    assert record["video_s"] == pytest.approx(6 * 0.6, abs=0.3)
    assert len(tables.splitlines()) == 8
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_agents_and_supervisors_are_killed_or_hang(capsys: pytest.CaptureFixture[str]) -> None:
    faults = ("--kills", "1", "--hangs", "1", "--supervisor-kills", "1", "--both-kills", "1")
    _, record = measured(capsys, "failover", "--cameras", "2", *faults, "--pause-s", "3")
    assert [fault["what"] for fault in record["faults"]] == list(FAULTS)
    killed, hung, supervised, both = ([outage["blind_s"] for outage in fault["outages"]] for fault in record["faults"])
    assert 0 < min(killed) <= max(killed) < min(hung)
    assert supervised == [0, 0]
    assert min(both) > 0
    records = record["records"]
    lost = ("missing", "unacknowledged", "undelivered", "waiting_missing", "doubled")
    assert {name: records[name] for name in lost} == dict.fromkeys(lost, 0)
    assert records["waiting"] > 0
    assert records["in_file"] >= records["made"] - records["stale"] > 0


@pytest.mark.slow
def test_capacity_is_found_by_adding_cameras(capsys: pytest.CaptureFixture[str]) -> None:
    times = ("--settle-s", "3", "--window-s", "4")
    tables, record = measured(capsys, "capacity", "--fps", "2", "--most", "2", "--dropped", "0.5", *times)
    assert record["cameras"] == 2
    assert [step["cameras"] for step in record["steps"]] == [1, 2]
    assert record["steps"][1]["analysed_fps"] > record["steps"][0]["analysed_fps"] > 0
    assert len(tables.splitlines()) == 4
