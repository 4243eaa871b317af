"""The collector commits records with their acknowledgement, and tells apart what a former node sends."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maskstream.errors import SinkError
from maskstream.events.types import Phase
from maskstream.fleet.collector import SETTLE_S, Collector, Committed
from maskstream.fleet.wire import NodeRecord
from tests.clocks import ManualClock
from tests.disks import files_at_most
from tests.fleet.made import Node, heartbeat, mask_event, minute_counts, utc_s

EPOCHS = {"east": 1, "west": 2}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def collector(tmp_path: Path, clock: ManualClock) -> Iterator[Collector]:
    made = Collector(tmp_path / "site", clock)
    yield made
    made.close()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[dict[str, Node]]:
    """Two nodes; `west` has the camera after `east`."""
    made = {name: Node(tmp_path, name, epoch_of=lambda _camera, name=name: EPOCHS[name]) for name in EPOCHS}
    yield made
    for node in made.values():
        node.outbox.release()


def records(collector: Collector) -> list[dict[str, Any]]:
    return [json.loads(row.body) for row in collector.outgoing(1000)]


def causes(collector: Collector) -> list[tuple[int, str | None]]:
    return [(record["sequence"], record["cause"]) for record in records(collector) if record["type"] == "event"]


def test_a_reply_that_comes_again_changes_nothing(collector: Collector, nodes: dict[str, Node]) -> None:
    nodes["east"].outbox.take([mask_event(), minute_counts(0.0, 60.0)])
    reply = nodes["east"].reply(collector)
    assert collector.commit(reply, 0.0) == Committed(accepted=2)
    assert collector.commit(reply, 0.0) == Committed()
    assert nodes["east"].reply(collector).records == ()
    assert nodes["east"].outbox.waiting() == 0
    assert [row.key for row in collector.outgoing(10)] == ["e-0", "counts-door-1-1772366400000"]


def test_an_event_of_a_former_node_ends_with_the_hand_over(collector: Collector, nodes: dict[str, Node]) -> None:
    """The former node went on for two seconds: the event lasted until the hand-over, not longer."""
    nodes["east"].outbox.take([mask_event(last_s=1.0), mask_event("e", 1, Phase.UPDATE, last_s=9.0)])
    collector.commit(nodes["east"].reply(collector), 0.0)
    collector.hand_over("door", 1, 2, utc_s(10.5))
    nodes["east"].outbox.take([mask_event("e", 2, Phase.END, last_s=12.0, cause="removed")])
    nodes["east"].outbox.take([mask_event("late", last_s=12.5), minute_counts(11.0, 12.0)])
    assert collector.commit(nodes["east"].reply(collector), 0.0) == Committed(accepted=1, stale=2)
    end = records(collector)[-1]
    assert (end["sequence"], end["phase"], end["cause"]) == (2, "end", "moved")
    assert (end["last_s"], end["ended_s"], end["duration_s"]) == (10.5, 10.5, 10.5)
    assert end["ended_utc"] == "2026-03-01T12:00:10.500+00:00"


def test_a_former_node_that_is_silent_does_not_keep_its_event_open(
    collector: Collector, nodes: dict[str, Node], clock: ManualClock
) -> None:
    nodes["east"].outbox.take([mask_event()])
    collector.commit(nodes["east"].reply(collector), 0.0)
    collector.hand_over("door", 1, 2, utc_s(10.0))
    clock.advance(SETTLE_S - 1)
    assert collector.settle() == 0
    clock.advance(1)
    assert collector.settle() == 1
    assert causes(collector) == [(0, None), (1, "moved")]
    nodes["east"].outbox.take([mask_event("e", 1, Phase.UPDATE, last_s=9.0)])
    assert collector.commit(nodes["east"].reply(collector), 0.0) == Committed(stale=1)


def test_an_event_that_arrives_after_that_time_ends_too(collector: Collector, nodes: dict[str, Node], clock: ManualClock) -> None:
    """The former node was cut off, and dies for good after it has sent what it had."""
    collector.hand_over("door", 1, 2, utc_s(10.0))
    clock.advance(SETTLE_S)
    collector.settle()
    nodes["east"].outbox.take([mask_event()])
    assert collector.commit(nodes["east"].reply(collector), 0.0) == Committed(accepted=1)
    clock.advance(SETTLE_S)
    collector.settle()
    assert causes(collector) == [(0, None), (1, "moved")]


def test_the_time_of_a_former_node_goes_on_after_a_restart(tmp_path: Path, nodes: dict[str, Node], clock: ManualClock) -> None:
    first = Collector(tmp_path / "site", clock)
    nodes["east"].outbox.take([mask_event()])
    first.commit(nodes["east"].reply(first), 0.0)
    first.hand_over("door", 1, 2, utc_s(10.0))
    first.close()
    second = Collector(tmp_path / "site", clock)
    clock.advance(SETTLE_S)
    assert second.settle() == 1
    assert causes(second) == [(0, None), (1, "moved")]
    second.close()


def test_events_of_a_camera_that_left_the_site_are_removed(
    collector: Collector, nodes: dict[str, Node], clock: ManualClock
) -> None:
    nodes["east"].outbox.take([mask_event()])
    collector.commit(nodes["east"].reply(collector), 0.0)
    collector.hand_over("door", 1, None, utc_s(10.0))
    clock.advance(SETTLE_S)
    collector.settle()
    assert causes(collector)[-1] == (1, "removed")


def test_the_first_time_of_a_hand_over_counts(collector: Collector, nodes: dict[str, Node]) -> None:
    collector.hand_over("door", 1, 2, utc_s(10.0))
    collector.hand_over("door", 1, 2, utc_s(20.0))
    nodes["east"].outbox.take([minute_counts(11.0, 12.0)])
    assert collector.commit(nodes["east"].reply(collector), 0.0) == Committed(stale=1)


def test_counts_of_the_minute_of_the_hand_over_are_clipped(collector: Collector, nodes: dict[str, Node]) -> None:
    collector.hand_over("door", 1, 2, utc_s(15.0))
    nodes["east"].outbox.take([minute_counts(0.0, 60.0)])
    nodes["west"].outbox.take([minute_counts(15.0, 60.0)])
    for node in nodes.values():
        collector.commit(node.reply(collector), 0.0)
    found = [(each["last_s"], each["person_s"]["mask"], each["people"]["mask"]) for each in records(collector)]
    assert found == [(15.0, 15.0, 1), (60.0, 45.0, 1)]


@pytest.mark.parametrize("offset_s", [-300.0, 300.0])
def test_the_clock_of_the_node_is_taken_into_account(offset_s: float, collector: Collector, nodes: dict[str, Node]) -> None:
    collector.hand_over("door", 1, 2, utc_s(10.0))
    before = minute_counts(1.0, 9.0, offset_s=offset_s)
    after = minute_counts(11.0, 12.0, offset_s=offset_s)
    nodes["east"].outbox.take([before, after])
    assert collector.commit(nodes["east"].reply(collector), offset_s) == Committed(accepted=1, stale=1)


def test_a_full_disk_acknowledges_nothing(collector: Collector, nodes: dict[str, Node]) -> None:
    nodes["east"].outbox.take([mask_event()])
    reply = nodes["east"].reply(collector)
    with files_at_most(4096), pytest.raises(SinkError, match="the records of the site cannot be written"):
        collector.commit(reply, 0.0)
    assert collector.acknowledged("east").acknowledged == 0
    assert collector.commit(nodes["east"].reply(collector), 0.0) == Committed(accepted=1)


@pytest.mark.parametrize("body", ["", "{", "3", '{"type": "lost", "records": 3}', '{"type": "event"}'])
def test_a_record_that_is_none_is_discarded_and_does_not_stop_the_others(
    body: str, collector: Collector, nodes: dict[str, Node], said: list[str]
) -> None:
    nodes["east"].outbox.take([minute_counts(0.0, 1.0)])
    (good,) = nodes["east"].reply(collector).records
    broken = NodeRecord(1, "door", 1, "x", body)
    reply = heartbeat("east", "o", (broken, NodeRecord(2, "door", 1, good.key, good.body)))
    assert collector.commit(reply, 0.0) == Committed(accepted=1, malformed=1)
    assert any("east: record 1 of door is discarded: " in line for line in said)


def test_a_node_whose_disk_was_replaced_begins_anew(collector: Collector, nodes: dict[str, Node], tmp_path: Path) -> None:
    east = nodes["east"]
    east.outbox.take([minute_counts(number, number + 0.5) for number in range(5)])
    collector.commit(east.reply(collector), 0.0)
    east.kill()
    shutil.rmtree(tmp_path / "east")
    east.start()
    east.outbox.take([minute_counts(100.0, 101.0)])
    assert collector.commit(east.reply(collector), 0.0) == Committed(accepted=1)


def test_a_node_that_was_restored_from_a_copy_loses_no_new_record(
    collector: Collector, nodes: dict[str, Node], tmp_path: Path
) -> None:
    """Its numbers were given to other records meanwhile."""
    east = nodes["east"]
    east.outbox.take([minute_counts(0.0, 1.0)])
    east.kill()
    shutil.copytree(tmp_path / "east", tmp_path / "copy")
    east.start()
    east.outbox.take([minute_counts(1.0, 2.0), minute_counts(2.0, 3.0)])
    collector.commit(east.reply(collector), 0.0)
    east.kill()
    shutil.rmtree(tmp_path / "east")
    shutil.move(tmp_path / "copy", tmp_path / "east")
    east.start()
    east.outbox.take([minute_counts(100.0, 101.0)])
    assert collector.commit(east.reply(collector), 0.0) == Committed(accepted=1, repeated=1)


def test_two_supervisors_do_not_share_the_file(collector: Collector, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="another run of the program uses it"):
        Collector(tmp_path / "site")
    assert collector.outgoing(1) == []


def test_totals_and_lost_records(collector: Collector, nodes: dict[str, Node]) -> None:
    nodes["east"].outbox.take([mask_event()])
    (record,) = nodes["east"].reply(collector).records
    reply = heartbeat("east", "o", (record,), lost=7)
    assert collector.commit(reply, 0.0) == Committed(accepted=1, lost=7)
    assert collector.commit(reply, 0.0) == Committed()
    totals = collector.totals()
    assert (totals.accepted, totals.stale, totals.waiting, totals.lost) == (1, 0, 1, {"east": 7})
    collector.delivered(1)
    assert collector.totals().waiting == 0
