"""Assignments on the disk: epochs and terms that only grow, also where the process is killed while it writes."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from maskstream.errors import ConfigError, StoreError
from maskstream.fleet.assignments import FILE_NAME, Assigned, Assignments, Stage
from tests.command_lines import ROOT
from tests.disks import files_at_most


@pytest.fixture
def assignments(tmp_path: Path) -> Iterator[Assignments]:
    with closing(Assignments(tmp_path, lambda: 1.8e9)) as opened:
        yield opened


def again(assignments: Assignments) -> Assignments:
    """Return what the next process finds, without an orderly end of the last one."""
    return Assignments(assignments.path.parent)


def test_an_assignment_has_a_node_and_an_epoch(assignments: Assignments) -> None:
    assert assignments.assign("gate", "east") == 1
    assert assignments.current() == {"gate": Assigned("gate", "east", 1, 1.8e9, Stage.CURRENT)}
    assert assignments.of_node("east") == [assignments.current()["gate"]]


def test_epochs_and_terms_grow_across_restarts_also_after_a_camera_was_removed(assignments: Assignments) -> None:
    assert assignments.assign_all({"gate": "east", "hall": "west"}) == {"gate": 1, "hall": 2}
    assignments.remove([1, 2])
    assignments.forget([1, 2])
    with closing(again(assignments)) as second:
        assert second.term == assignments.term + 1
        assert second.authority == assignments.authority
        assert second.assign("gate", "east") == 3
        assert second.current()["gate"].epoch == 3


def test_a_lost_node_loses_its_camera_and_one_that_runs_keeps_it_until_it_is_released(assignments: Assignments) -> None:
    assignments.assign_all({"lost": "east", "moved": "east"})
    assignments.assign_all({"lost": "west", "moved": "west"}, keep=["moved"])
    assert [(row.camera, row.stage) for row in assignments.of_node("east")] == [("moved", Stage.LEAVING)]
    assignments.remove([2])
    assert assignments.of_node("east") == []
    assert [(row.epoch, row.stage) for row in assignments.others()] == [(2, Stage.REMOVED)]
    assignments.forget([2])
    assert assignments.others() == []
    assert {row.node for row in assignments.current().values()} == {"west"}


def test_a_node_that_gets_a_camera_back_has_one_assignment_of_it(assignments: Assignments) -> None:
    assignments.assign("gate", "east")
    assignments.assign_all({"gate": "west"}, keep=["gate"])
    assignments.assign("gate", "east")
    assert [(row.node, row.epoch) for row in assignments.of_node("east")] == [("east", 3)]
    assert assignments.others() == []


def test_drained_nodes_agents_generations_and_leases_are_kept(assignments: Assignments) -> None:
    for node in ("east", "east", "west"):
        assignments.drain(node)
    assignments.undrain("west")
    assignments.note_agent("east", "first")
    assignments.note_agent("east", "second")
    assignments.keep_longest_lease_s(12.5)
    assert [assignments.next_generation() for _ in range(2)] == [1, 2]
    with closing(again(assignments)) as second:
        assert second.draining() == {"east"}
        assert second.agents() == {"east": "second"}
        assert second.next_generation() == 3
        assert second.longest_lease_s() == 12.5


def test_a_supervisor_cannot_write_once_a_later_one_has_begun(assignments: Assignments) -> None:
    assignments.assign("gate", "east")
    with closing(again(assignments)) as second:
        with pytest.raises(StoreError, match=r"a later supervisor \(term 2\) has taken over this site; this one has to end"):
            assignments.assign("gate", "west")
        assert second.current()["gate"].node == "east"
        second.assign("gate", "north")
    with pytest.raises(StoreError, match="a later supervisor"):
        assignments.drain("north")


def test_nothing_is_changed_where_the_disk_is_full(assignments: Assignments) -> None:
    assignments.assign("gate", "east")
    before = (assignments.current(), assignments.others())
    many = {f"camera {number} {'x' * 500}": "west" for number in range(200)}
    with files_at_most(assignments.path.stat().st_size), pytest.raises(StoreError, match="cannot be written: "):
        assignments.assign_all(many)
    assert (assignments.current(), assignments.others()) == before
    assert assignments.assign("gate", "west") == 2


def test_files_of_a_later_version_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(ConfigError, match="a later version of maskstream has written it"):
        Assignments(tmp_path)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="the assignments of the site cannot be opened: file is not a database"):
        Assignments(tmp_path)


def test_only_the_owner_can_read_the_file(assignments: Assignments) -> None:
    assert assignments.path.stat().st_mode & 0o077 == 0


def test_closing_twice_does_nothing(assignments: Assignments) -> None:
    assignments.close()
    assignments.close()


def killed(folder: Path, reports: int) -> list[str]:
    """Return what a process has reported that was killed while it assigned cameras."""
    command = [sys.executable, "-m", "tests.fleet.assigning", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(reports)]
        child.kill()  # SIGKILL, at whatever it does now
        lines += child.stdout.readlines()
    return [line.strip() for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("rounds", [pytest.param(3, id="few"), pytest.param(15, id="many", marks=pytest.mark.slow)])
def test_epochs_only_grow_across_processes_that_are_killed(rounds: int, tmp_path: Path) -> None:
    epochs: list[int] = []
    for term in range(1, rounds + 1):
        began, *reported = killed(tmp_path, 10 + 3 * term)
        assert began == f"term {2 * term - 1}"
        epochs += [int(line.rpartition("/")[2]) for line in reported]
        assert epochs == sorted(set(epochs)), "an epoch was given twice or fell"
        with closing(Assignments(tmp_path)) as after:
            latest = {}
            for line in reported:
                camera, node, epoch = line.split("/")
                latest[camera] = (node, int(epoch))
            current = {camera: (row.node, row.epoch) for camera, row in after.current().items()}
            # the last assignment may be on the disk without having been reported
            unreported = {camera for camera in latest if current[camera] != latest[camera]}
            assert len(unreported) <= 1
            assert all(current[camera][1] > epochs[-1] for camera in unreported)
            assert after.assign("next", "east") > epochs[-1]
