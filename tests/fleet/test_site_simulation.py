"""Nodes fail, freeze, are cut off and come back, and supervisors are killed, in simulated time: what must hold, holds."""

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from maskstream.fleet.site import NodeLimits
from tests.fleet.simulated_site import STEP_S, SimulatedNode, SimulatedSite
from tests.fleet.sites import a_site, camera
from tests.properties import examples

NODES = ("east", "north", "west")
CAMERAS = tuple(f"camera {number}" for number in range(6))
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A disk would only make it slow: no process ends here."""
NODE = st.sampled_from(NODES)
SECONDS = st.sampled_from([0.5, 1.0, 3.0, 9.0, 16.0, 16.5, 31.0])
LIMITS = {"east": NodeLimits(labels=["gpu"]), "north": NodeLimits(), "west": NodeLimits(labels=["gpu"])}


class FailingSite(RuleBasedStateMachine):
    """Failures only: no camera ever has two valid nodes."""

    @initialize(
        offsets_s=st.tuples(*[st.floats(-1e4, 1e6)] * 3), rates=st.tuples(*[st.floats(0.8, 1.25)] * 3), some=st.integers(1, 6)
    )
    def begin(self, offsets_s: tuple[float, ...], rates: tuple[float, ...], some: int) -> None:
        self.folder = TemporaryDirectory(dir=IN_MEMORY)
        clocks = zip(NODES, offsets_s, rates, strict=True)
        nodes = {name: SimulatedNode(name, offset_s, rate) for name, offset_s, rate in clocks}
        self.sim = SimulatedSite(Path(self.folder.name), a_site(CAMERAS[:some], LIMITS), nodes)
        self.sim.run(3 * STEP_S)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.sim.run(STEP_S)
            self.check_valid_nodes()

    def check_valid_nodes(self) -> None:
        for each in CAMERAS:
            assert len(self.sim.valid_for(each)) <= 1, f"{each}: two nodes are valid"

    @rule(name=NODE, seconds=SECONDS)
    def node_dies(self, name: str, seconds: float) -> None:
        self.sim.nodes[name].is_dead = True
        self.wait(seconds)

    @rule(name=NODE, shift_s=st.floats(-1e5, 1e5), boots=st.booleans())
    def agent_starts(self, name: str, shift_s: float, boots: bool) -> None:
        node = self.sim.nodes[name]
        if boots:
            node.offset_s += shift_s
        self.sim.restarted.add(name)
        node.start(self.sim.now_s)

    @rule(name=NODE, is_frozen=st.booleans(), seconds=SECONDS)
    def freeze(self, name: str, is_frozen: bool, seconds: float) -> None:
        self.sim.nodes[name].is_frozen = is_frozen
        self.wait(seconds)

    @rule(name=NODE, calls=st.booleans(), answers=st.booleans(), are_lost=st.booleans(), seconds=SECONDS)
    def change_link(self, name: str, calls: bool, answers: bool, are_lost: bool, seconds: float) -> None:
        node = self.sim.nodes[name]
        node.calls_arrive, node.answers_arrive = calls, answers
        if are_lost:
            node.calls.clear()
            node.answers.clear()
        self.wait(seconds)

    @rule(name=NODE, back=st.integers(1, 60), seconds=SECONDS)
    def old_call_comes_again(self, name: str, back: int, seconds: float) -> None:
        """As from a supervisor that stood still while another one has begun."""
        node = self.sim.nodes[name]
        if back <= len(node.past):
            node.calls.append(node.past[-back])
        self.wait(seconds)

    @rule(name=NODE)
    def everything_is_well_again(self, name: str) -> None:
        node = self.sim.nodes[name]
        node.is_frozen, node.calls_arrive, node.answers_arrive = False, True, True
        if node.is_dead:
            self.agent_starts(name, 0.0, boots=False)

    @rule(seconds=SECONDS, starts=st.booleans())
    def supervisor_is_killed(self, seconds: float, starts: bool) -> None:
        if self.sim.supervisor is not None:
            self.sim.kill_supervisor()
            self.wait(seconds)
        if starts:
            self.supervisor_starts()

    @rule()
    def supervisor_starts(self) -> None:
        if self.sim.supervisor is None:
            self.sim.start_supervisor()
            self.wait(STEP_S)

    def teardown(self) -> None:
        if hasattr(self, "sim"):
            self.sim.close()
            self.folder.cleanup()


class EditedSite(FailingSite):
    """Edits, drains and overloads too: two valid nodes of a camera are a hand-over that the supervisor knows of."""

    def check_valid_nodes(self) -> None:
        """`SimulatedSite.check_validity` checks each of them."""

    @rule(name=NODE, drains=st.booleans())
    def drain(self, name: str, drains: bool) -> None:
        if self.sim.supervisor is not None:
            (self.sim.assignments.drain if drains else self.sim.assignments.undrain)(name)

    @rule(name=NODE, share=st.sampled_from([0.0, 0.4, 0.9]))
    def overload(self, name: str, share: float) -> None:
        self.sim.nodes[name].dropped_share = share

    @rule(name=NODE, cameras=st.sets(st.sampled_from(CAMERAS)))
    def cannot_open(self, name: str, cameras: set[str]) -> None:
        self.sim.nodes[name].unreachable = cameras

    @rule(
        cameras=st.dictionaries(st.sampled_from(CAMERAS), st.sampled_from([(), (), ("east",), ("gpu",), ("north", "west")])),
        lease_s=st.sampled_from([4.0, 10.0, 16.0]),
    )
    def edit(self, cameras: dict[str, tuple[str, ...]], lease_s: float) -> None:
        specs = tuple(camera(name, *nodes) for name, nodes in cameras.items())
        self.sim.edit(replace(self.sim.site, cameras=specs, lease_s=lease_s))


@pytest.mark.parametrize(
    ("machine", "share"),
    [
        (FailingSite, 1.0),
        (EditedSite, 1.0),
        pytest.param(FailingSite, 20.0, marks=pytest.mark.slow),
        pytest.param(EditedSite, 20.0, marks=pytest.mark.slow),
    ],
)
def test_properties_of_a_site_with_failures(machine: type[FailingSite], share: float) -> None:
    run_state_machine_as_test(machine, settings=settings(examples(share), stateful_step_count=20))
