"""Committed records go on to every receiver; one that fails does not hold up the others."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from maskstream.errors import SinkError
from maskstream.events.messages import message_of
from maskstream.events.types import EventOrCounts
from maskstream.fleet import forwarding as module
from maskstream.fleet.collector import Collector
from maskstream.fleet.forwarding import Forwarding, forwarded_file
from maskstream.stream.states import StateChange
from tests.clocks import ManualClock
from tests.disks import files_at_most
from tests.fleet.made import Node, minute_counts


class Stubborn:
    """A receiver that takes nothing, or saves nothing, as long as it is told so."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refuses = False
        self.saves = True
        self.closed = 0

    def take(self, items: Sequence[EventOrCounts]) -> None:
        if self.refuses:
            raise SinkError("stubborn: cannot be written: it is full; make room")
        self.taken += [message_of(item).key for item in items]

    def is_saved(self) -> bool:
        return self.saves

    def state_changed(self, change: StateChange) -> None:
        """Not used."""

    def health(self) -> str:
        return ""

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    made = Collector(tmp_path / "site")
    yield made
    made.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.outbox.release()


def make(collector: Collector, node: Node, begin: int, end: int) -> None:
    """Commit counts of some minutes."""
    node.outbox.take([minute_counts(number, number + 0.5) for number in range(begin, end)])
    while node.outbox.waiting():
        collector.commit(node.reply(collector), 0.0)


def lines(path: Path) -> list[float]:
    return [json.loads(line)["began_s"] for line in path.read_text().splitlines()]


def test_a_receiver_that_fails_does_not_hold_up_the_others(
    collector: Collector, node: Node, tmp_path: Path, said: list[str]
) -> None:
    clock, stubborn = ManualClock(), Stubborn()
    path = tmp_path / "events.jsonl"
    forwarding = Forwarding(collector, [stubborn, forwarded_file(str(path), collector)], clock)
    stubborn.refuses = True
    for begin in (0, 2):
        make(collector, node, begin, begin + 2)
        forwarding.step()
    assert lines(path) == [0, 1, 2, 3]
    assert (stubborn.taken, collector.totals().waiting) == ([], 4)
    assert forwarding.health() == "stubborn: cannot be written: it is full; make room"
    assert sum("stubborn: cannot be written" in line for line in said) == 1
    stubborn.refuses = False
    assert forwarding.step() == 4
    assert (len(stubborn.taken), collector.totals().waiting, forwarding.health()) == (4, 0, "")
    forwarding.close()
    forwarding.close()
    assert stubborn.closed == 1


def test_a_receiver_that_saves_nothing_gets_a_bounded_number(
    collector: Collector, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store keeps in memory what its disk refuses, and drops what is too much."""
    monkeypatch.setattr(module, "_UNSAVED", 3)
    stubborn, other = Stubborn(), Stubborn()
    forwarding = Forwarding(collector, [stubborn, other])
    stubborn.saves = False
    make(collector, node, 0, 10)
    for _ in range(10):
        forwarding.step()
    assert (len(stubborn.taken), len(other.taken), collector.totals().waiting) == (3, 10, 10)
    stubborn.saves = True
    for _ in range(10):
        forwarding.step()
    assert (stubborn.taken, collector.totals().waiting) == (other.taken, 0)


def test_records_that_a_receiver_does_not_take_for_long_are_bounded(tmp_path: Path, node: Node, said: list[str]) -> None:
    """The oldest are dropped for this receiver. The others have them, also after a restart."""
    path, stubborn = tmp_path / "events.jsonl", Stubborn()
    stubborn.refuses = True
    collector = Collector(tmp_path / "site", limit_bytes=2_000)
    forwarding = Forwarding(collector, [stubborn, forwarded_file(str(path), collector)])
    for begin in range(30):
        make(collector, node, begin, begin + 1)
        forwarding.step()
    totals = collector.totals()
    assert sum(len(row.body) for row in collector.outgoing(100)) <= 2_000
    assert totals.waiting > 3
    assert totals.waiting + totals.dropped == 30
    assert sum("the oldest records were dropped" in line for line in said) == 1
    forwarding.close(timeout_s=0)
    collector.close()
    collector = Collector(tmp_path / "site", limit_bytes=2_000)
    forwarding = Forwarding(collector, [stubborn, forwarded_file(str(path), collector)])
    stubborn.refuses = False
    forwarding.step()
    assert lines(path) == list(range(30))
    assert len(stubborn.taken) == totals.waiting
    make(collector, node, 30, 33)
    forwarding.step()
    assert (lines(path)[-1], collector.totals().waiting, collector.totals().dropped) == (32, 0, totals.dropped)
    forwarding.close()
    collector.close()


def test_the_keys_are_those_of_the_nodes(collector: Collector, node: Node) -> None:
    """With the epoch: nodes with different clocks may begin a minute at the same time."""
    receiver = Stubborn()
    make(collector, node, 0, 1)
    Forwarding(collector, [receiver]).step()
    assert receiver.taken == ["counts-door-1-1772366400000"]


def test_a_disk_that_is_full_in_the_middle_of_a_line(collector: Collector, node: Node, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    forwarding = Forwarding(collector, [forwarded_file(str(path), collector)])
    make(collector, node, 0, 5)
    with files_at_most(700):
        forwarding.step()
    assert path.stat().st_size == 700  # two lines and a half
    assert "cannot be written" in forwarding.health()
    forwarding.step()
    assert lines(path) == [0, 1, 2, 3, 4]
    assert (collector.totals().waiting, forwarding.health()) == (0, "")
    forwarding.close()


def test_a_full_disk_of_the_supervisor_only_delays_the_acknowledgement(collector: Collector, node: Node) -> None:
    receiver = Stubborn()
    forwarding = Forwarding(collector, [receiver])
    make(collector, node, 0, 2)
    with files_at_most(4096), pytest.raises(SinkError):
        forwarding.step()
    assert collector.totals().waiting == 2
    assert forwarding.step() == 2
    assert (len(receiver.taken), collector.totals().waiting) == (2, 0)


def test_a_file_of_another_run_is_continued(collector: Collector, node: Node, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"began_s": -1}\n{"began_s": -2}')
    forwarding = Forwarding(collector, [forwarded_file(str(path), collector)])
    make(collector, node, 0, 1)
    forwarding.step()
    assert lines(path) == [-1, -2, 0]
    forwarding.close()


def test_a_file_that_was_moved_away_is_made_again(collector: Collector, node: Node, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first = Forwarding(collector, [forwarded_file(str(path), collector)])
    make(collector, node, 0, 3)
    first.step()
    first.close()
    path.rename(tmp_path / "yesterday.jsonl")
    second = Forwarding(collector, [forwarded_file(str(path), collector)])
    make(collector, node, 3, 4)
    second.step()
    assert lines(path) == [3]
    second.close()


def test_standard_output(collector: Collector, node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    forwarding = Forwarding(collector, [forwarded_file("-", collector)])
    make(collector, node, 0, 2)
    forwarding.step()
    records: list[dict[str, Any]] = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [record["began_s"] for record in records] == [0, 1]
    assert collector.totals().waiting == 0
    forwarding.close()


def test_without_receivers_nothing_is_kept(collector: Collector, node: Node) -> None:
    make(collector, node, 0, 5)
    Forwarding(collector, []).step()
    assert collector.totals().waiting == 0
