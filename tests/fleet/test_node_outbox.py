"""The outbox of a node keeps records through kills and full disks, and counts what it drops."""

import json
import stat
from base64 import b64encode
from pathlib import Path

import pytest

from maskstream.errors import SinkError
from maskstream.events.types import Phase
from maskstream.fleet.node_outbox import NodeOutbox
from maskstream.fleet.record_file import FILE_NAME
from tests.clocks import ManualClock
from tests.disks import files_at_most
from tests.fleet.made import CROP, Node, mask_event, minute_counts


def keys(outbox: NodeOutbox, after: int = 0, limit: int = 1000) -> list[str]:
    return [record.key for record in outbox.records(after, limit)]


def numbers(outbox: NodeOutbox, after: int = 0) -> list[int]:
    return [record.number for record in outbox.records(after, 1000)]


def test_records_are_returned_until_they_are_acknowledged(tmp_path: Path) -> None:
    outbox = NodeOutbox(tmp_path, lambda _camera: 4)
    outbox.take([mask_event(), mask_event("e", 1, Phase.END, cause="gone")])
    assert [(each.number, each.camera, each.epoch, each.key) for each in outbox.records(0, 10)] == [
        (1, "door", 4, "e-0"),
        (2, "door", 4, "e-1"),
    ]
    assert keys(outbox) == ["e-0", "e-1"]
    assert keys(outbox, limit=1) == ["e-0"]
    assert keys(outbox, after=1) == ["e-1"]
    assert keys(outbox, after=0) == ["e-1"]  # a call that comes late
    assert outbox.waiting() == 1
    outbox.release()


def test_numbers_grow_across_restarts(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.outbox.take([minute_counts(0.0, 1.0)])
    assert numbers(node.outbox) == [1]
    node.outbox.records(1, 1)
    node.kill()
    node.start()
    node.outbox.take([minute_counts(1.0, 2.0)])
    assert numbers(node.outbox, after=1) == [2]
    node.outbox.release()


def test_the_events_of_a_killed_agent_end_in_the_epoch_in_which_they_began(tmp_path: Path) -> None:
    epochs = {"door": 1}
    node = Node(tmp_path, epoch_of=epochs.__getitem__)
    node.outbox.take([mask_event()])
    epochs["door"] = 2
    node.outbox.take([mask_event("e", 1, Phase.UPDATE), mask_event("f")])
    node.kill()
    node.start()
    found = [(each.key, each.epoch, json.loads(each.body)["cause"]) for each in node.outbox.records(0, 10)]
    assert found == [("e-0", 1, None), ("e-1", 1, None), ("f-0", 2, None), ("e-2", 1, "interrupted"), ("f-1", 2, "interrupted")]
    node.kill()
    node.start()
    assert len(keys(node.outbox)) == 5
    node.outbox.release()


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, said: list[str]) -> None:
    outbox = NodeOutbox(tmp_path, lambda _camera: 1)
    outbox.take([mask_event("a")])
    with files_at_most(4096):
        for number in range(5):
            outbox.take([mask_event(f"b{number}")])
        assert keys(outbox) == ["a-0"]
        assert outbox.waiting() == 6
        assert "the outbox of the node cannot be written" in outbox.problem
        assert outbox.health().startswith("supervisor: 6 records wait: ")
    assert keys(outbox) == ["a-0", "b0-0", "b1-0", "b2-0", "b3-0", "b4-0"]
    assert (outbox.problem, outbox.lost) == ("", 0)
    assert sum("cannot be written" in line for line in said) == 1
    assert any("the records are on disk again" in line for line in said)
    outbox.release()


def test_a_full_outbox_drops_the_oldest_records_and_counts_them(tmp_path: Path, said: list[str]) -> None:
    node = Node(tmp_path, limit_bytes=5_000)
    node.outbox.take([mask_event(f"e{number}", phase=Phase.END, cause="gone") for number in range(10)])
    kept = len(keys(node.outbox))
    assert 0 < kept < 10
    assert keys(node.outbox)[-1] == "e9-0"
    assert node.outbox.lost == 10 - kept
    assert any("the outbox is full" in line for line in said)
    node.kill()
    node.start()
    assert node.outbox.lost == 10 - kept
    node.outbox.release()


def test_records_in_memory_have_the_same_limit(tmp_path: Path) -> None:
    outbox = NodeOutbox(tmp_path, lambda _camera: 1, limit_bytes=5_000)
    with files_at_most(4096):
        for number in range(10):
            outbox.take([mask_event(f"e{number}", phase=Phase.END, cause="gone")])
    assert keys(outbox)[-1] == "e9-0"
    assert outbox.lost + len(keys(outbox)) == 10
    outbox.release()


def test_long_records_are_sent_in_several_replies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskstream.fleet.node_outbox._REPLY_BYTES", 1_500)
    outbox = NodeOutbox(tmp_path, lambda _camera: 1)
    outbox.take([mask_event(f"e{number}") for number in range(3)])
    assert keys(outbox) == ["e0-0"]
    assert keys(outbox, after=1) == ["e1-0"]
    outbox.release()


def test_a_silent_supervisor_is_reported(tmp_path: Path) -> None:
    clock = ManualClock()
    outbox = NodeOutbox(tmp_path, lambda _camera: 1, clock=clock)
    outbox.take([mask_event()])
    assert outbox.health() == ""
    clock.advance(40.0)
    assert outbox.health() == "supervisor: 1 records wait: no answer for 40 s"
    outbox.release()


def test_the_end_of_an_engine_leaves_the_outbox_open(tmp_path: Path) -> None:
    outbox = NodeOutbox(tmp_path, lambda _camera: 1)
    outbox.take([mask_event()])
    outbox.close()
    outbox.interrupt()
    assert keys(outbox) == ["e-0", "e-1"]
    outbox.release()
    outbox.release()


def test_only_its_owner_reads_it_and_acknowledged_faces_are_overwritten(tmp_path: Path) -> None:
    outbox = NodeOutbox(tmp_path, lambda _camera: 1)
    outbox.take([mask_event("e", phase=Phase.END, cause="gone")])
    files = [path for path in tmp_path.iterdir() if path.name.startswith(FILE_NAME)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    face = b64encode(CROP)
    assert any(face in path.read_bytes() for path in files)
    outbox.records(1, 10)
    assert not any(face[:40] in path.read_bytes() for path in files)
    outbox.release()


def test_two_agents_do_not_share_an_outbox(tmp_path: Path) -> None:
    outbox = NodeOutbox(tmp_path, lambda _camera: 1)
    with pytest.raises(SinkError, match="another run of the program uses it"):
        NodeOutbox(tmp_path, lambda _camera: 1)
    outbox.release()
