"""What an agent answers, and what its engine has to do."""

from pathlib import Path
from typing import Any

import pytest

from maskstream import __version__, load_config
from maskstream.fleet.agent import Agent, NodeSettings, minor_version
from maskstream.fleet.assigned_cameras import AssignedCameras
from maskstream.fleet.capacity import Capacity
from maskstream.fleet.node_outbox import NodeOutbox
from maskstream.fleet.wire import Assignment, Reconcile
from tests.clocks import ManualClock
from tests.fleet.simulated import SimulatedWork


class Node:
    """An agent with a simulated engine."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.outbox = NodeOutbox(folder, lambda camera: self.work.epoch_of(camera), clock=self.clock)
        self.work = SimulatedWork(self.clock, self.outbox, lambda: self.agent.may_watch(), "east")
        self.agent = Agent("east", self.work, self.outbox, self.clock.now_s)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)
            self.work.pass_time()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def assignment(camera: str, epoch: int = 1, **entry: Any) -> Assignment:
    return Assignment(camera, epoch, {"name": camera, "url": f"rtsp://camera/{camera}", **entry})


def wanted(*cameras: str, **changes: Any) -> Reconcile:
    given: dict[str, Any] = {
        "supervisor": "one",
        "term": 1,
        "generation": 1,
        "assignments": tuple(assignment(each) for each in cameras),
        "lease_s": 10.0,
        "on_partition": "stop",
        "acknowledged": 0,
        "version": __version__,
    }
    return Reconcile(**(given | changes))


def beat(node: Node, *cameras: str, **changes: Any) -> Any:
    """Call an agent as a supervisor does that has got its last answer."""
    return node.agent.beat(wanted(*cameras, **({"echo_s": node.clock.now_s()} | changes)))


def test_the_same_call_again_changes_nothing_and_returns_the_same_records(node: Node) -> None:
    beat(node, "a")
    node.pass_time(5)
    first, second = beat(node, "a"), beat(node, "a")
    assert first.records
    assert (first.records, first.cameras, first.waiting) == (second.records, second.cameras, second.waiting)
    assert first.cameras[0].state == "online"


def test_acknowledged_records_are_deleted_and_only_those_of_this_outbox(node: Node) -> None:
    beat(node, "a")
    node.pass_time(5)
    records = beat(node, "a").records
    assert beat(node, "a", acknowledged=records[-1].number, outbox="of another file").records == records
    rest = beat(node, "a", acknowledged=records[0].number, outbox=node.outbox.outbox_id)
    assert (rest.records, rest.waiting) == (records[1:], len(records) - 1)


def test_cameras_stop_when_the_lease_ends_and_go_on_with_the_next_call(node: Node) -> None:
    beat(node, "a")
    node.pass_time(9)
    assert node.agent.may_watch()
    assert set(node.work.watched) == {"a"}
    node.pass_time(2)
    assert not node.agent.may_watch()
    assert not node.work.watched
    beat(node, "a", turn=2)
    node.pass_time(1)
    assert set(node.work.watched) == {"a"}


def test_cameras_go_on_without_a_lease_where_the_site_says_so(node: Node) -> None:
    beat(node, "a", on_partition="go_on")
    node.pass_time(100)
    assert set(node.work.watched) == {"a"}


def test_no_camera_runs_before_the_first_call(node: Node) -> None:
    assert not node.agent.may_watch()


def test_older_calls_are_refused(node: Node) -> None:
    beat(node, "a", term=2, turn=7)
    for older in ({"term": 1, "turn": 9}, {"term": 2, "turn": 6}):
        refused = beat(node, **older)
        assert "older than term 2, turn 7" in refused.refused
        assert refused.records == ()
    assert [each.camera for each in node.work.assignments] == ["a"]


def test_another_supervisor_is_refused_until_the_lease_ends(node: Node) -> None:
    beat(node, "a", term=9)
    refused = beat(node, "b", supervisor="two")
    assert refused.refused == "this node belongs to supervisor one; stop that one first"
    assert [each.camera for each in node.work.assignments] == ["a"]
    node.pass_time(11)
    assert not beat(node, "b", supervisor="two").refused
    assert [each.camera for each in node.work.assignments] == ["b"]


@pytest.mark.parametrize("version", ["", "0.0.9", "99.1.0"])
def test_another_minor_version_is_refused(node: Node, version: str) -> None:
    refused = beat(node, "a", version=version)
    assert refused.refused.startswith(f"runs version {__version__}, the supervisor {version or 'an unknown one'}")
    assert node.work.settings is None


def test_a_patch_version_is_accepted(node: Node) -> None:
    assert not beat(node, "a", version=f"{minor_version(__version__)}.99").refused


def test_settings_reach_the_engine_in_their_layers(node: Node) -> None:
    layers, overrides = (("site", {"stream": {"stride": 2}}),), (("--set", {"device": "cpu"}),)
    beat(node, "a", settings=layers, overrides=overrides)
    assert node.work.settings == NodeSettings(layers, overrides)


def cameras_of(*assignments: Assignment, may_watch: bool = True) -> AssignedCameras:
    cameras = AssignedCameras(load_config(), lambda: may_watch, clock=ManualClock())
    cameras.assign(assignments)
    return cameras


def test_passwords_are_read_on_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_PASSWORD", "p w")
    cameras = cameras_of(assignment("gate", 7, url="rtsp://user:${GATE_PASSWORD}@camera/1", privacy={"blur": "all"}))
    (gate,) = cameras.poll() or []
    assert (gate.name, gate.location, gate.epoch, gate.config.privacy.blur) == ("gate", "rtsp://user:p%20w@camera/1", 7, "all")


def test_a_camera_that_cannot_be_read_here_does_not_stop_the_others() -> None:
    cameras = cameras_of(assignment("a", url="rtsp://${NOT_SET}@camera/"), assignment("b"), assignment("c", url="videos/*.mp4"))
    assert [each.name for each in cameras.poll() or []] == ["b"]
    refused = cameras.refused()
    assert "NOT_SET is not set" in refused["a"]
    assert "maskstream archive" in refused["c"]
    cameras.assign([assignment("b")])
    assert not cameras.refused()


def test_cameras_are_given_once_and_after_half_a_minute_again() -> None:
    clock = ManualClock()
    cameras = AssignedCameras(load_config(), lambda: True, clock=clock)
    assert cameras.poll() is None
    cameras.assign([assignment("a")])
    assert [each.name for each in cameras.poll() or []] == ["a"]
    cameras.assign([assignment("a")])
    assert cameras.poll() is None
    clock.advance(30)
    assert [each.name for each in cameras.poll() or []] == ["a"]


def test_another_epoch_opens_the_camera_again() -> None:
    cameras = cameras_of(assignment("a", 1))
    (first,) = cameras.poll() or []
    cameras.assign([assignment("a", 2)])
    (second,) = cameras.poll() or []
    assert not first.opens_like(second)


def test_nothing_is_watched_without_permission() -> None:
    assert cameras_of(assignment("a"), may_watch=False).poll() is None


def test_capacity_is_what_the_models_did() -> None:
    capacity = Capacity(probed_fps=20)
    for second in range(60):
        capacity.update(float(second), frames=8 * second, model_s=0.8 * second)
    assert capacity.fps == pytest.approx(10, abs=0.1)
    assert capacity.busy == pytest.approx(0.8)


def test_capacity_is_kept_while_there_is_nothing_to_analyse_and_with_another_engine() -> None:
    capacity = Capacity(probed_fps=20)
    for second in range(10):
        capacity.update(float(second), frames=100, model_s=5.0)
    assert (capacity.fps, capacity.busy) == (20, 0)
    capacity.update(20.0, frames=0, model_s=0.0)
    assert capacity.fps == 20
