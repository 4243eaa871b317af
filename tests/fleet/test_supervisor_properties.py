"""Agents and supervisors end, hang and come back in any order: events are received once, and cameras are watched in the end."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskstream.events.types import Phase
from tests.fleet.simulated import SimulatedSite
from tests.fleet.sites import a_site
from tests.fleet.test_supervisor import assert_in_order

NODES = ("east", "west")
ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.integers(1, 20)),
    st.tuples(st.sampled_from(["kill", "freeze", "thaw", "cut off", "reach", "drain", "undrain"]), st.sampled_from(NODES)),
    st.tuples(st.just("restart"), st.integers(0, 30)),
)


def act(site: SimulatedSite, kind: str, value: int | str) -> None:
    if isinstance(value, int):
        if kind == "restart":
            site.kill_supervisor()
            site.without_supervisor(value)
            site.start()
        site.run(value)
        return
    agent = site.placement.agents.get(value)
    if kind == "drain":
        site.assignments.drain(value)
    elif kind == "undrain":
        site.assignments.undrain(value)
    elif agent is not None and not agent.is_dead:
        if kind == "kill":
            agent.kill()
        elif kind in ("freeze", "thaw"):
            agent.is_frozen = kind == "freeze"
        else:
            agent.is_cut_off = kind == "cut off"
    site.run(2)


@pytest.mark.slow
@settings(max_examples=10)
@given(actions=st.lists(ACTIONS, min_size=3, max_size=12), on_partition=st.sampled_from(["go_on", "stop"]))
def test_every_event_is_received_once_whatever_ends_or_hangs(actions: list[tuple[str, int | str]], on_partition: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = SimulatedSite(Path(folder), a_site(["a", "b"], on_partition=on_partition), *NODES)
        site.run(5)
        has_drain = any(kind == "drain" for kind, _ in actions)
        for kind, value in actions:
            act(site, kind, value)
            assert_in_order(site.received)
            if on_partition == "stop" and not has_drain:  # which keeps a camera on two nodes for a while
                assert all(len(nodes) <= 1 for nodes in site.watching().values()), site.watching()
        for node in NODES:
            site.agent(node).is_frozen = site.agent(node).is_cut_off = False
            site.assignments.undrain(node)
        site.run(90)
        assert {name: len(nodes) for name, nodes in site.watching().items()} == {"a": 1, "b": 1}
        site.supervisor.close()
        assert_in_order(site.received)
        assert all(records[-1].phase is Phase.END for records in site.received.by_event().values())
        site.kill_supervisor()
