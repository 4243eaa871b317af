"""`maskstream fleet --ray`: machines and the head of a Ray cluster are lost, and the cameras go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fleets import Fleet, running_fleet
from tests.cli.test_fleet import FAILOVER_S, assert_each_record_once_and_in_order
from tests.conftest import DEMO
from tests.fleet.raylets import Raylets, running
from tests.receivers import wait_until
from tests.slowness import promised
from tests.web.demo_cameras import demo_cameras, demo_jpegs

NODES = ("east", "west")


@pytest.fixture
def raylets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Raylets]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "nodes"))
    with running(NODES) as cluster:
        yield cluster


@pytest.fixture
def cameras() -> Iterator[dict[str, str]]:
    with demo_cameras(demo_jpegs(str(DEMO)), "/a", "/b") as url:
        yield {"a": f"{url}/a", "b": f"{url}/b"}


def place_on(fleet: Fleet, node: str) -> list[str]:
    return [name for name, at in fleet.nodes_of().items() if at == node]


@pytest.mark.slow
def test_cameras_of_a_lost_machine_go_on_and_all_go_on_without_the_head(
    tmp_path: Path, raylets: Raylets, cameras: dict[str, str]
) -> None:
    with running_fleet(tmp_path, cameras, "--ray", raylets.address) as fleet:
        wait_until(lambda: len(fleet.by_event()) > 1)
        assert place_on(fleet, "west")
        seen = len(fleet.log())
        fleet.kill_supervisor()
        fleet.start()
        fleet.wait_for(*(f"{node}: its agent runs, and goes on" for node in NODES), after=seen)
        fleet.wait_for(*(f"{name}: online: on " for name in cameras), after=seen)
        assert not [line for line in fleet.log()[seen:] if " -> " in line]
        seen = len(fleet.log())
        lost = place_on(fleet, "west")
        with promised(FAILOVER_S):
            raylets.kill_node("west")
            fleet.wait_for(*(f"{name}: online: on east" for name in lost), after=seen)
        raylets.kill_head()
        before, seen = len(fleet.records()), len(fleet.log())
        wait_until(lambda: len(fleet.records()) > before + 5)
        others = [line for line in fleet.log()[seen:] if " west: " not in line]  # which nobody can start without the head
        assert not others, others
        assert fleet.stop() == 130
        assert_each_record_once_and_in_order(fleet)
