"""Processes that are killed while they commit and forward lose nothing and double nothing, at real receivers."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from maskstream.store.store import Store
from tests.command_lines import ROOT
from tests.ports import free_port
from tests.receivers import broker, subscriber, wait_until, web_receiver


def killed(folder: Path, rounds: int, *addresses: str) -> list[list[str]]:
    """Return the names of the records that were reported."""
    line = [sys.executable, "-m", "tests.fleet.forwarding_process", str(folder), str(rounds), *addresses]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def name(record: dict[str, Any]) -> tuple[str, str]:
    if record["type"] == "counts":
        return "counts", record["began_utc"]
    return record["event_id"], str(record["sequence"])


def check_complete(reported: Sequence[Sequence[str]], records: Sequence[dict[str, Any]]) -> None:
    """All that was reported is there, once; sequences have no gaps, and each event has ended."""
    names = [name(record) for record in records]
    assert {tuple(each) for each in reported} <= set(names)
    assert len(set(names)) == len(names)
    phases = defaultdict(list)
    for record in records:
        if record["type"] == "event":
            phases[record["event_id"]].append((record["sequence"], record["phase"]))
    for found in phases.values():
        assert [number for number, _ in found] == list(range(len(found)))
        assert [phase == "end" for _, phase in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.parametrize("rounds", [pytest.param(8, id="few"), pytest.param(100, id="many", marks=pytest.mark.slow)])
def test_the_file_and_the_store_have_each_record_once(rounds: int, tmp_path: Path) -> None:
    reported = killed(tmp_path, rounds)
    assert len(reported) >= rounds
    records = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    check_complete(reported, records)
    with Store(tmp_path / "store") as store:
        latest = {record["event_id"]: record for record in records if record["type"] == "event"}
        stored = store.events.page(cameras=None, limit=100_000).events
        assert {each.event_id: each.record["sequence"] for each in stored} == {
            key: each["sequence"] for key, each in latest.items()
        }
        assert store.events.open_count() == 0
        minutes = Counter(each["began_utc"] for each in store.people.page(cameras=None, limit=100_000).minutes)
        assert minutes == Counter(each["began_utc"] for each in records if each["type"] == "counts")


def test_a_webhook_gets_the_same_record_with_the_same_key(tmp_path: Path) -> None:
    with web_receiver() as posts:
        reported = killed(tmp_path, 8, posts.url)
    by_key = {}
    for headers, record in zip(posts.headers, posts.records, strict=True):
        assert by_key.setdefault(headers["webhook-id"], record) == record
    check_complete(reported, list(by_key.values()))


def test_mqtt_delivers_records_that_are_told_apart_by_what_they_contain(
    tmp_path: Path, system_tool: Callable[[str], str]
) -> None:
    port = free_port()
    with broker(system_tool("mosquitto"), tmp_path, port), subscriber(port) as received:
        reported = killed(tmp_path / "site", 8, f"mqtt://127.0.0.1:{port}")
        kinds = ("events", "counts")

        def arrived() -> list[dict[str, Any]]:
            texts = dict.fromkeys(text for kind in kinds for text in received.on(f"maskstream/door/{kind}"))
            return [json.loads(text) for text in texts]

        wait_until(lambda: {tuple(each) for each in reported} <= {name(record) for record in arrived()})
        check_complete(reported, arrived())
