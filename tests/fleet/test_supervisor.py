"""A supervisor with simulated nodes and time: what becomes of cameras and records when agents and supervisors end or hang."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from maskstream.events.types import Phase
from maskstream.stream.states import SourceState
from tests.disks import files_at_most
from tests.fleet.simulated import STEP_S, Received, SimulatedSite
from tests.fleet.sites import a_site

FAILOVER_S = 20.0
"""The promise."""


@pytest.fixture
def pair(tmp_path: Path) -> SimulatedSite:
    """Three cameras and two nodes, which go on without a supervisor."""
    site = SimulatedSite(tmp_path, a_site(["a", "b", "c"], on_partition="go_on"), "east", "west")
    site.run(10)
    assert all(len(nodes) == 1 for nodes in site.watching().values())
    return site


def assert_in_order(received: Received) -> None:
    """Every event has all of its records once, in order."""
    for records in received.by_event().values():
        assert [each.sequence for each in records] == list(range(len(records)))
        assert [each.phase for each in records].count(Phase.END) <= 1
        assert all(each.phase is not Phase.END for each in records[:-1])


def keys(received: Received) -> set[tuple[str, int]]:
    return {(each.event_id, each.sequence) for records in received.by_event().values() for each in records}


def seconds_until_all_are_watched(site: SimulatedSite) -> float:
    began_s = site.clock.now_s()
    while not all(site.watching().values()):
        site.run(STEP_S)
        assert site.clock.now_s() - began_s < 60
    return site.clock.now_s() - began_s


def test_cameras_are_spread_over_the_nodes_and_their_records_arrive(pair: SimulatedSite) -> None:
    assert sorted(pair.nodes_of().values()) in (["east", "east", "west"], ["east", "west", "west"])
    assert len({records[0].source_id for records in pair.received.by_event().values()}) == 3
    assert_in_order(pair.received)
    assert [(each.source_id, each.state) for each in pair.states[-3:]] == [(name, SourceState.ONLINE) for name in "abc"]


def test_cameras_of_a_killed_agent_go_on_elsewhere_and_it_starts_again(pair: SimulatedSite) -> None:
    lost = [name for name, nodes in pair.watching().items() if nodes == ["east"]]
    pair.agent("east").kill()
    assert seconds_until_all_are_watched(pair) <= 3
    assert {pair.nodes_of()[name] for name in lost} == {"west"}
    pair.run(20)
    assert not pair.agent("east").is_dead
    assert pair.supervisor.status().nodes[0].state == "up"
    assert_in_order(pair.received)
    ends = {records[-1].cause for records in pair.received.by_event().values() if records[-1].source_id in lost}
    assert ends <= {"gone", "interrupted", "moved", None}
    assert ends & {"interrupted", "moved"}


def test_cameras_of_an_agent_that_hangs_go_on_elsewhere_in_time(pair: SimulatedSite) -> None:
    lost = [name for name, nodes in pair.watching().items() if nodes == ["east"]]
    pair.agent("east").is_frozen = True
    assert seconds_until_all_are_watched(pair) <= FAILOVER_S
    assert [node.state for node in pair.supervisor.status().nodes] == ["lost", "up"]
    pair.run(30)
    pair.agent("east").is_frozen = False
    pair.run(30)
    assert all(nodes == ["west"] for name, nodes in pair.watching().items() if name in lost)
    assert [node.state for node in pair.supervisor.status().nodes] == ["up", "up"]
    assert_in_order(pair.received)


def test_a_camera_of_an_agent_that_only_the_network_cut_off_waits_for_the_end_of_its_lease(tmp_path: Path) -> None:
    site = SimulatedSite(tmp_path, a_site(["a", "b"], on_partition="stop"), "east", "west")
    site.run(10)
    (own,) = (name for name, nodes in site.watching().items() if nodes == ["east"])
    site.agent("east").is_cut_off = True
    began_s = site.clock.now_s()
    while site.watching()[own] != ["west"]:
        site.run(STEP_S)
        assert len(site.watching()[own]) <= 1, "two nodes are valid"
        assert site.clock.now_s() - began_s <= FAILOVER_S
    site.agent("east").is_cut_off = False
    site.run(40)
    assert [node.state for node in site.supervisor.status().nodes] == ["up", "up"]
    assert site.watching()[own] == ["west"]
    assert_in_order(site.received)


def test_what_an_agent_recorded_while_it_was_cut_off_is_told_apart(pair: SimulatedSite) -> None:
    """It watches on, its camera is placed on another node, and it is back: its later records are of a former node."""
    east = pair.agent("east")
    own = {camera for camera, nodes in pair.watching().items() if nodes == ["east"]}
    east.is_frozen = True  # as where no call reaches it
    for _ in range(80):
        pair.run(STEP_S * 2)
        east.work.pass_time()
    assert all(len(nodes) == 1 for nodes in pair.watching().values())
    east.is_frozen = False
    pair.run(20)
    assert pair.supervisor.status().stale_records > 0
    assert_in_order(pair.received)
    for camera in own:
        spans = sorted(
            (records[0].began.time_s, records[-1].last.time_s)
            for records in pair.received.by_event().values()
            if records[0].source_id == camera
        )
        assert all(after[0] >= before[1] - 1 for before, after in pairwise(spans)), camera


def test_agents_go_on_without_a_supervisor_and_nothing_is_lost_or_doubled(pair: SimulatedSite) -> None:
    before = pair.nodes_of()
    pair.kill_supervisor()
    pair.without_supervisor(60)
    assert all(len(nodes) == 1 for nodes in pair.watching().values())
    pair.start()
    pair.run(20)
    assert pair.nodes_of() == before
    made = {key for agent in pair.placement.agents.values() for key in agent.work.made}
    pair.supervisor.close()
    assert made <= keys(pair.received)
    assert_in_order(pair.received)
    assert len(pair.placement.agents) == 2


def test_a_site_that_stops_on_partition_watches_nothing_after_the_lease(tmp_path: Path) -> None:
    site = SimulatedSite(tmp_path, a_site(["a"], on_partition="stop"), "east")
    site.run(10)
    assert site.watching() == {"a": ["east"]}
    site.kill_supervisor()
    site.without_supervisor(site.site.lease_s + 1)
    assert site.watching() == {"a": []}
    site.start()
    site.run(10)
    assert site.watching() == {"a": ["east"]}
    assert_in_order(site.received)


def test_a_drained_node_gives_its_cameras_away_without_a_gap(pair: SimulatedSite) -> None:
    pair.assignments.drain("east")
    until_s = pair.clock.now_s() + 20
    while pair.clock.now_s() < until_s:
        pair.run(STEP_S)
        assert all(pair.watching().values())
    assert all(nodes == ["west"] for nodes in pair.watching().values())
    status = pair.supervisor.status()
    assert (status.nodes[0].state, status.drain) == ("draining", ("east",))
    assert "east is drained" in {move.why for move in status.moves}
    assert_in_order(pair.received)


def test_the_only_node_gets_its_cameras_back_with_another_epoch(tmp_path: Path) -> None:
    site = SimulatedSite(tmp_path, a_site(["a"]), "east")
    site.run(10)
    epoch = site.supervisor.status().cameras[0].epoch
    site.agent("east").kill()
    assert seconds_until_all_are_watched(site) <= FAILOVER_S
    site.run(5)
    assert site.supervisor.status().cameras[0].epoch > epoch
    assert_in_order(site.received)


def test_cameras_that_are_added_and_removed_in_the_site(pair: SimulatedSite) -> None:
    pair.edited = replace(a_site(["b", "c", "d"], on_partition="go_on"), generation=2)
    pair.run(10)
    assert {name for name, nodes in pair.watching().items() if nodes} == {"b", "c", "d"}
    assert pair.states[-1].state is SourceState.ONLINE
    ended = [each for each in pair.states if each.state is SourceState.ENDED]
    assert [(each.source_id, each.cause) for each in ended] == [("a", "removed from the site")]
    last = [records[-1] for records in pair.received.by_event().values() if records[0].source_id == "a"]
    assert [each.cause for each in last][-1] == "removed"


def test_cameras_move_away_from_a_node_whose_engine_does_not_run(pair: SimulatedSite) -> None:
    pair.agent("east").work.is_failed = True
    pair.run(45)
    assert set(pair.nodes_of().values()) == {"west"}
    east = pair.supervisor.status().nodes[0]
    assert (east.state, east.reason) == ("refused", "no weights")


def test_an_agent_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    site = SimulatedSite(tmp_path, a_site(["a"]), "east", "west")
    site.placement.failing.add("east")
    site.run(15)
    assert site.watching() == {"a": ["west"]}
    assert "no room for a process" in site.supervisor.status().nodes[0].reason
    site.placement.failing.clear()
    site.run(40)
    assert site.supervisor.status().nodes[0].state == "up"


def test_a_full_disk_keeps_the_records_on_their_nodes(pair: SimulatedSite) -> None:
    with files_at_most(1000):
        pair.run(10)
    assert all(len(nodes) == 1 for nodes in pair.watching().values())
    pair.run(10)
    made = {key for agent in pair.placement.agents.values() for key in agent.work.made}
    pair.supervisor.close()
    assert made <= keys(pair.received)
    assert_in_order(pair.received)


def test_an_agent_that_cannot_be_reached_for_some_seconds_keeps_its_cameras(pair: SimulatedSite) -> None:
    before, agents = pair.nodes_of(), dict(pair.placement.agents)
    pair.agent("east").is_cut_off = True
    pair.run(6)
    pair.agent("east").is_cut_off = False
    pair.run(20)
    assert pair.nodes_of() == before
    assert pair.placement.agents == agents
    assert_in_order(pair.received)


def test_on_a_full_disk_the_supervisor_goes_on_and_cameras_wait_for_another_node(pair: SimulatedSite) -> None:
    lost = [name for name, nodes in pair.watching().items() if nodes == ["east"]]
    pair.placement.failing.add("east")
    with files_at_most(1000):
        pair.agent("east").kill()
        pair.run(10)
        assert all(nodes == ([] if name in lost else ["west"]) for name, nodes in pair.watching().items())
    pair.run(10)
    assert all(nodes == ["west"] for nodes in pair.watching().values())
    assert_in_order(pair.received)


def test_events_of_a_camera_that_left_the_site_while_the_disk_was_full_end_later(pair: SimulatedSite) -> None:
    pair.agent(pair.watching()["a"][0]).is_frozen = True  # it does not end the event itself
    pair.edited = replace(a_site(["b", "c"], on_partition="go_on"), generation=2)
    with files_at_most(1000):
        pair.run(10)
    assert [records for records in pair.received.by_event().values() if records[-1].cause == "removed"] == []
    pair.run(30)
    (ended,) = (records for records in pair.received.by_event().values() if records[-1].cause == "removed")
    assert ended[0].source_id == "a"
    assert_in_order(pair.received)


def test_at_the_end_open_events_end_and_all_records_arrive(pair: SimulatedSite) -> None:
    pair.supervisor.close()
    assert all(agent.is_dead for agent in pair.placement.agents.values())
    assert all(records[-1].phase is Phase.END for records in pair.received.by_event().values())
    made = {key for agent in pair.placement.agents.values() for key in agent.work.made}
    assert keys(pair.received) == made
    assert_in_order(pair.received)


def test_a_node_that_hangs_at_the_end_takes_no_longer_than_ten_seconds(pair: SimulatedSite) -> None:
    pair.agent("west").is_frozen = True
    began_s = pair.clock.now_s()
    pair.supervisor.close()
    assert pair.clock.now_s() - began_s <= 11
    assert all(agent.is_dead for agent in pair.placement.agents.values())


def test_an_agent_that_hangs_for_long_is_ended_and_another_one_started(pair: SimulatedSite) -> None:
    hanging = pair.agent("east")
    hanging.is_frozen = True
    pair.run(140)
    assert hanging.is_dead
    assert pair.agent("east") is not hanging
    assert [node.state for node in pair.supervisor.status().nodes] == ["up", "up"]
    assert_in_order(pair.received)


def test_a_node_with_other_weights_is_named(pair: SimulatedSite) -> None:
    pair.agent("west").work.weights = {"mask_mobilenet.safetensors": "f00d"}
    pair.run(2)
    east, west = pair.supervisor.status().nodes
    assert east.reason == ""
    assert west.reason == "has other weights than other nodes: mask_mobilenet.safetensors; install the same on all"


def test_a_node_of_another_supervisor_gets_no_cameras_while_that_one_is_there(tmp_path: Path) -> None:
    first = SimulatedSite(tmp_path / "first", a_site(["a"]), "east")
    first.run(10)
    second = SimulatedSite(tmp_path / "second", a_site(["b"]), "east")
    second.placement.agents["east"] = first.agent("east")
    second.run(5)
    (east,) = second.supervisor.status().nodes
    assert east.state == "refused"
    assert east.reason.startswith("this node belongs to supervisor")
    assert second.supervisor.status().cameras[0].node is None
    assert set(first.agent("east").work.watched) == {"a"}
