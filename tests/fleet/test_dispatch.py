"""Turns of the supervisor: hand-overs, restarts of agents and supervisors, edits, and what the changes say."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from maskstream.fleet.assignments import Assignments
from maskstream.fleet.dispatch import HAND_OVER_S, Dispatcher
from maskstream.fleet.orders import Change, NodeReport
from tests.clocks import ManualClock
from tests.fleet.sites import a_site, camera
from tests.slowness import promised


class Turns:
    """A dispatcher with two nodes, whose answers the test decides on."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.site = a_site(["gate"])
        self.assignments = Assignments(folder, self.clock.now_s)
        self.agents = {"east": "agent 1", "west": "agent 1"}
        self.capacity_fps = {"north": 10.0}
        self.demand_fps: dict[str, float] = {}
        """The frames per second that cameras need, as their node measures it once they are open."""
        self.begin()

    def begin(self) -> None:
        self.dispatcher = Dispatcher(self.site, self.assignments, self.clock)
        self.dispatcher.set_nodes(self.agents)

    def answer(self, node: str, *, opens: bool = True, refuses: str = "") -> None:
        order = self.dispatcher.order(node)
        running = frozenset((each.camera, each.epoch) for each in order.assigned)
        online = running if opens else frozenset()
        now_s = self.clock.now_s()
        capacity_fps = self.capacity_fps.get(node, 25.0)
        demand_fps = {name: self.demand_fps[name] for name, _ in online if name in self.demand_fps}
        report = NodeReport(node, self.agents[node], now_s, order.turn, capacity_fps, demand_fps, 0.0, running, online, refuses)
        self.dispatcher.heard(report)

    def turn(self, *nodes: str, opens: bool = True) -> list[Change]:
        """Let a second pass and some nodes answer; return the changes."""
        self.clock.advance(1.0)
        for node in nodes:
            self.answer(node, opens=opens)
        return self.dispatcher.take_turn()


@pytest.fixture
def turns(tmp_path: Path) -> Iterator[Turns]:
    made = Turns(tmp_path)
    assert [(change.to_node, change.epoch) for change in made.turn("east", "west")] == [("east", 1)]
    with closing(made.assignments):
        yield made


def test_a_drained_node_closes_the_camera_once_the_new_node_analyses_it(turns: Turns) -> None:
    turns.assignments.drain("east")
    (moved,) = turns.turn("east", "west")
    assert moved == Change("gate", "east", "west", 2, 1, "east is drained")
    assert [row.camera for row in turns.dispatcher.order("east").assigned] == ["gate"], "new first, then old"
    assert turns.turn("east", "west", opens=False) == []
    assert turns.turn("east", "west") == [Change("gate", "east", None, None, 1, "west analyses it")]
    assert turns.dispatcher.order("east").assigned == ()
    assert len(turns.assignments.others()) == 1, "east may not have closed it"
    turns.turn("east", "west")
    assert turns.assignments.others() == []


def test_a_camera_that_allows_one_connection_is_closed_on_its_former_node_after_a_while(turns: Turns) -> None:
    turns.assignments.drain("east")
    turns.turn("east", "west")
    for _ in range(round(HAND_OVER_S) - 1):
        assert turns.turn("east", "west", opens=False) == []
    (released,) = turns.turn("east", "west", opens=False)
    assert released.why == "west could not open it within 30 s"


def test_a_camera_that_opens_on_another_node_needs_what_was_measured_before(turns: Turns) -> None:
    turns.demand_fps["gate"] = 20.0
    turns.turn("east", "west")
    turns.assignments.drain("east")
    assert [change.to_node for change in turns.turn("east", "west")] == ["west"]
    turns.agents["north"] = "agent 1"
    turns.dispatcher.set_nodes(turns.agents)
    turns.turn("east", "west", "north", opens=False)
    turns.dispatcher.set_site(a_site(["gate", "hall"]))
    (placed,) = turns.turn("east", "west", "north", opens=False)
    assert (placed.camera, placed.to_node) == ("hall", "north"), "west has 5 of 25 fps left, north 10 of 10"


def test_a_lost_node_loses_its_camera_after_the_lease_and_the_margin(turns: Turns) -> None:
    for _ in range(14):
        assert turns.turn("west") == []
    assert turns.turn("west") == [Change("gate", "east", "west", 2, 1, "east is lost")]
    assert turns.turn("east", "west") == [], "it does not go back"
    assert turns.dispatcher.order("east").assigned == ()


def test_a_node_whose_agent_has_certainly_ended_loses_its_camera_at_once(turns: Turns) -> None:
    turns.dispatcher.ended("east")
    assert [change.to_node for change in turns.turn("west")] == ["west"]


def test_a_camera_without_a_possible_node_comes_back_to_its_node(turns: Turns) -> None:
    for _ in range(40):
        assert turns.turn() == []
    assert turns.dispatcher.plan.unplaced == {"gate": "no node that it may be placed on answers"}
    assert turns.turn("east") == []
    assert turns.dispatcher.plan.placements == {"gate": "east"}


def test_a_new_agent_gets_its_cameras_with_new_epochs(turns: Turns) -> None:
    turns.agents["east"] = "agent 2"
    assert turns.turn("east", "west") == [Change("gate", "east", "east", 2, 1, "the agent of its node was restarted")]
    assert turns.turn("east", "west") == []


def test_a_new_supervisor_keeps_what_runs_and_notices_an_agent_that_was_restarted_meanwhile(turns: Turns) -> None:
    turns.assignments = Assignments(turns.assignments.path.parent, turns.clock.now_s)
    turns.begin()
    assert turns.turn("west") == [], "the node of the camera has time for an answer"
    assert turns.turn("east", "west") == []
    turns.agents["east"] = "agent 2"
    turns.begin()
    assert [change.epoch for change in turns.turn("east", "west")] == [2]


def test_a_node_that_refuses_is_lost_after_its_lease(turns: Turns) -> None:
    changes = []
    for _ in range(20):
        turns.clock.advance(1.0)
        turns.answer("east", refuses="runs version 9")
        turns.answer("west")
        changes += turns.dispatcher.take_turn()
    assert [change.to_node for change in changes] == ["west"]
    assert not turns.dispatcher.is_lost("west")
    assert turns.dispatcher.is_lost("east")


def test_a_camera_that_leaves_the_site_is_closed(turns: Turns) -> None:
    turns.dispatcher.set_site(replace(turns.site, cameras=(camera("hall"),)))
    changes = turns.turn("east", "west")
    assert Change("gate", "east", None, None, 1, "removed from the site") in changes
    assert [row.camera for row in turns.dispatcher.order("east").assigned] == ["hall"]


def test_an_overloaded_node_gives_one_camera_away_and_is_measured_anew(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    turns.site = a_site([camera("a", "east"), camera("b", "east"), camera("c", "east")])
    turns.begin()
    turns.turn("east", "west")
    turns.dispatcher.set_site(a_site(["a", "b", "c"]))
    moved = []
    for _ in range(125):
        turns.clock.advance(1.0)
        order = turns.dispatcher.order("east")
        running = frozenset((each.camera, each.epoch) for each in order.assigned)
        now_s = turns.clock.now_s()
        turns.dispatcher.heard(NodeReport("east", "agent 1", now_s, order.turn, 9.0, {}, 0.6, running, running))
        turns.answer("west")
        moved += [(change.camera, change.why) for change in turns.dispatcher.take_turn() if change.to_node]
    why = "east dropped more than half of its frames for 60 s"
    assert moved == [("a", why), ("b", why)]
    turns.assignments.close()


def test_a_thousand_cameras_on_sixty_nodes_are_placed_in_a_turn(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    turns.agents = {f"node {number}": "agent" for number in range(60)}
    turns.site = a_site([f"camera {number}" for number in range(1000)])
    turns.begin()
    for node in turns.agents:
        turns.answer(node)
    with promised(within_s=1.0):
        assert len(turns.dispatcher.take_turn()) == 1000
    with promised(within_s=0.25):
        assert turns.turn(*turns.agents) == []
    counts = [len(turns.assignments.of_node(node)) for node in turns.agents]
    assert max(counts) - min(counts) <= 1
    turns.assignments.close()
