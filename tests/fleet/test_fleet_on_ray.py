"""`maskstream fleet --ray` on real raylets: agents, machines, the supervisor and the head are killed, and nothing is lost."""

import logging
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from time import monotonic, time

import pytest

from maskstream import __version__
from tests.cli.test_fleet import assert_each_record_once_and_in_order
from tests.command_lines import ROOT
from tests.fleet.fleets_on_ray import LOOP_S, RayFleet, fleet_on_ray, rtsp_cameras, utc_s
from tests.fleet.raylets import NODES, Raylets, running
from tests.receivers import wait_until
from tests.slowness import LONGEST_S, promised

pytestmark = pytest.mark.slow
FAILOVER_S = 20.0
"""The promise: from the end of an agent to the first frame of its cameras on another node."""
END_S = 12.0
CAMERAS = "abcdef"
FAST_CLOCK = """
import datetime, time
slow, ahead = time.time, 300
time.time = lambda: slow() + ahead
class Fast(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
datetime.datetime = Fast
"""
"""`sitecustomize.py` of a node whose clock is five minutes fast."""
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def raylets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raylets]:
    """Three machines, which find the package as an installed one. The last test kills the head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("nodes")))
        patch.setenv("PYTHONPATH", str(ROOT))
        with running() as cluster:
            yield cluster


@pytest.fixture(scope="module")
def cameras() -> Iterator[dict[str, str]]:
    with rtsp_cameras(CAMERAS) as urls:
        yield urls


@contextmanager
def measured(what: str, within_s: float) -> Iterator[None]:
    """Assert a promise, and log what it took: `--log-cli-level=INFO`."""
    began_s = monotonic()
    with promised(within_s):
        yield
    log.info("%s: %.1f s", what, monotonic() - began_s)


def stop_and_check(fleet: RayFleet) -> None:
    """End the site in order: no agent is left, no record waits, and each has arrived once."""
    with measured("end of the site", END_S):
        assert fleet.stop() == 130
    wait_until(lambda: fleet.agents() == {})
    assert fleet.waiting() == 0
    assert_each_record_once_and_in_order(fleet)
    assert all(records[-1]["phase"] == "end" for records in fleet.by_event().values())


def wait_for_events(fleet: RayFleet, cameras: str, number: int = 2) -> None:
    """Wait until each camera has more new events."""
    seen = set(fleet.by_event())

    def have() -> bool:
        new = [records[0]["source"] for event, records in fleet.by_event().items() if event not in seen]
        return all(new.count(camera) >= number for camera in cameras)

    wait_until(have)


def drain(fleet: RayFleet, node: str) -> None:
    command = RayFleet(fleet.folder, options=("--drain", node))
    command.start()
    assert command.processes[0].wait(LONGEST_S) == 0


def assert_watched_all_the_time(fleet: RayFleet, cameras: list[str], until_utc: float = inf) -> None:
    """Cameras that stayed up show a person without a mask in each loop; one may be missed, more where the machine is busy."""
    holes_s = {camera: round(fleet.hole_s(camera, until_utc), 1) for camera in cameras}
    slow = fleet.slowness()
    log.info("holes: %s, slowness: %.2f", holes_s, slow)
    assert max(holes_s.values()) < 3 * LOOP_S * slow, (holes_s, slow)


def test_each_node_gets_an_agent_and_cameras_of_a_killed_agent_go_on_elsewhere(
    tmp_path: Path, raylets: Raylets, cameras: dict[str, str]
) -> None:
    with fleet_on_ray(tmp_path, raylets, cameras) as fleet:
        assert sorted(fleet.agents()) == list(NODES)
        placed = fleet.placed()
        assert {node: len(names) for node, names in placed.items()} == dict.fromkeys(NODES, 2)
        seen = len(fleet.log())
        with measured("failover of a killed agent", FAILOVER_S):
            os.kill(fleet.agents()["west"], signal.SIGKILL)
            fleet.wait_for(*(f" {name}: online: on " for name in placed["west"]), after=seen)
        assert "west" not in fleet.placed()
        fleet.wait_for("west: its agent starts", after=seen)
        wait_until(lambda: sorted(fleet.agents()) == list(NODES))
        wait_for_events(fleet, CAMERAS)
        stop_and_check(fleet)
        assert_watched_all_the_time(fleet, placed["east"] + placed["north"])


def test_cameras_of_a_lost_machine_go_on_elsewhere_and_its_records_arrive_when_it_is_back(
    tmp_path: Path, raylets: Raylets, cameras: dict[str, str]
) -> None:
    with fleet_on_ray(tmp_path, raylets, cameras) as fleet:
        placed = fleet.placed()
        seen = len(fleet.log())
        with measured("failover of a lost machine", FAILOVER_S):
            raylets.kill_node("north")
            fleet.wait_for(*(f" {name}: online: on " for name in placed["north"]), after=seen)
        wait_for_events(fleet, CAMERAS)
        raylets.add_node("north")
        with measured("agent on the machine that is back", 60):
            fleet.wait_for("north: its agent starts", after=seen)
            wait_until(lambda: "north" in fleet.agents())
        stop_and_check(fleet)
        assert_watched_all_the_time(fleet, placed["east"] + placed["west"])


def test_agents_go_on_while_the_supervisor_is_dead(tmp_path: Path, raylets: Raylets, cameras: dict[str, str]) -> None:
    with fleet_on_ray(tmp_path, raylets, cameras) as fleet:
        agents, placed = fleet.agents(), fleet.placed()
        fleet.kill_supervisor()
        assert_each_record_once_and_in_order(fleet)
        with measured("the supervisor was dead", LONGEST_S):
            fleet.wait_for_records(20)
        assert fleet.agents() == agents
        seen = len(fleet.log())
        with measured("start of the next supervisor", 60):
            fleet.start()
            fleet.wait_for(*(f" {name}: online" for name in cameras), after=seen)
        assert fleet.agents() == agents
        wait_for_events(fleet, CAMERAS)
        assert not [line for line in fleet.log()[seen:] if " -> " in line]  # no camera moved
        assert fleet.placed() == placed
        stop_and_check(fleet)
        assert {records[-1]["cause"] for records in fleet.by_event().values()}.isdisjoint({"interrupted", "moved"})
        assert_watched_all_the_time(fleet, list(CAMERAS))


def test_cameras_of_an_agent_that_hangs_go_on_elsewhere(tmp_path: Path, raylets: Raylets, cameras: dict[str, str]) -> None:
    with fleet_on_ray(tmp_path, raylets, cameras) as fleet:
        placed, number = fleet.placed(), fleet.agents()["west"]
        seen = len(fleet.log())
        with measured("failover of an agent that hangs", FAILOVER_S):
            os.kill(number, signal.SIGSTOP)
            fleet.wait_for(*(f" {name}: online: on " for name in placed["west"]), after=seen)
        wait_for_events(fleet, CAMERAS, 1)
        os.kill(number, signal.SIGCONT)
        wait_for_events(fleet, CAMERAS, 1)
        stop_and_check(fleet)
        assert_watched_all_the_time(fleet, placed["east"] + placed["north"])


def test_a_drained_node_gives_its_cameras_away_while_it_watches_them(
    tmp_path: Path, raylets: Raylets, cameras: dict[str, str]
) -> None:
    with fleet_on_ray(tmp_path, raylets, cameras) as fleet:
        placed = fleet.placed()
        seen = len(fleet.log())
        drain(fleet, "east")
        with measured("drain of a node", FAILOVER_S):
            fleet.wait_for(*(f" {name}: east closes it" for name in placed["east"]), after=seen)
        assert "east" not in fleet.placed()
        wait_for_events(fleet, CAMERAS)
        stop_and_check(fleet)
        assert_watched_all_the_time(fleet, list(CAMERAS))


def other_version(folder: Path) -> dict[str, str]:
    """Install another minor version in a folder; return the environment of a node that has it."""
    shutil.copytree(ROOT / "maskstream", folder / "maskstream")
    package = folder / "maskstream" / "__init__.py"
    package.write_text(package.read_text().replace(f'"{__version__}"', '"9.9.0"'))
    return {"PYTHONPATH": str(folder)}


def without_weights(folder: Path) -> dict[str, str]:
    """Install the program without its weights in a folder."""
    shutil.copytree(ROOT / "maskstream", folder / "maskstream")
    shutil.copytree(ROOT / "configs", folder / "configs")
    return {"PYTHONPATH": str(folder)}


def fast_clock(folder: Path) -> dict[str, str]:
    """Return the environment of a node whose clock is five minutes fast."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAST_CLOCK)
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


def test_nodes_that_do_not_fit_take_no_cameras_and_a_fast_clock_does_not_matter(
    tmp_path: Path, raylets: Raylets, cameras: dict[str, str]
) -> None:
    raylets.add_node("older", **other_version(tmp_path / "older"))
    raylets.add_node("empty", **without_weights(tmp_path / "empty"))
    raylets.add_node("fast", **fast_clock(tmp_path / "fast"))
    try:
        with fleet_on_ray(tmp_path, raylets, cameras, where={"a": ["fast"], "b": ["fast"], "c": ["east"]}) as fleet:
            told = f"older: has version 9.9.0, the supervisor {__version__}; install the same on both"
            fleet.wait_for(told, "empty: takes no cameras: ", "fast: its clock is ")
            (ahead,) = re.findall(r"fast: its clock is (\d+) s ahead of that of the supervisor", "\n".join(fleet.log()))
            assert abs(int(ahead) - 300) <= 1  # an answer may take a second
            wait_for_events(fleet, CAMERAS)
            stop_and_check(fleet)
            assert [line for line in fleet.log() if "empty does not answer" in line] == []
            begins = [records[0] for records in fleet.by_event().values()]
            last_s = {camera: max(utc_s(each["began_utc"]) for each in begins if each["source"] == camera) for camera in "ac"}
            assert 250 < last_s["a"] - last_s["c"] < 350  # both were watched to the end, but not from the same moment on
            assert fleet.placed().keys().isdisjoint({"older", "empty"})
            assert_watched_all_the_time(fleet, list(CAMERAS))
    finally:
        for name in ("older", "empty", "fast"):
            raylets.kill_node(name)


def test_agents_deliver_without_the_head_and_what_they_keep_arrives_with_the_next_cluster(
    tmp_path: Path, raylets: Raylets, cameras: dict[str, str]
) -> None:
    with fleet_on_ray(tmp_path, raylets, cameras) as fleet:
        placed, seen, address = fleet.placed(), len(fleet.log()), raylets.address
        raylets.kill_head()
        wait_for_events(fleet, CAMERAS, 3)
        assert [line for line in fleet.log()[seen:] if " ERROR " in line and line.split()[2].strip(":") in NODES] == []
        with measured("failover of a killed agent without the head", FAILOVER_S):
            os.kill(fleet.agents()["west"], signal.SIGKILL)
            fleet.wait_for(*(f" {name}: online: on " for name in placed["west"]), after=seen)
        wait_for_events(fleet, CAMERAS)
        agents = fleet.agents()
        fleet.kill_supervisor()
        fleet.start()
        with measured("a supervisor without the head is refused", 30):
            assert fleet.processes[-1].wait(LONGEST_S) == 2
        log.info("%s", fleet.log()[-1])
        assert f"--ray {address}: " in fleet.log()[-1]
        fleet.wait_for_records(6)
        assert fleet.agents() == agents
        closed_utc = time()
        raylets.close()
        with running() as anew:
            fleet.options = ("--ray", anew.address)
            seen = len(fleet.log())
            fleet.start()
            fleet.wait_for(*(f" {name}: online" for name in cameras), after=seen)
            wait_for_events(fleet, CAMERAS)
            stop_and_check(fleet)
        assert_watched_all_the_time(fleet, placed["east"] + placed["north"], closed_utc)


def test_without_the_head_a_node_is_drained_and_the_site_ends_in_order(tmp_path: Path, cameras: dict[str, str]) -> None:
    """With a cluster of its own. Ray ends no process without the head: the agents stay, with engines that have ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path / "nodes"))
        patch.setenv("PYTHONPATH", str(ROOT))
        with running(("east", "west")) as cluster, fleet_on_ray(tmp_path, cluster, cameras) as fleet:
            placed, agents, seen = fleet.placed(), fleet.agents(), len(fleet.log())
            cluster.kill_head()
            drain(fleet, "east")
            with measured("drain of a node without the head", FAILOVER_S):
                fleet.wait_for(*(f" {name}: east closes it" for name in placed["east"]), after=seen)
            wait_for_events(fleet, CAMERAS)
            with measured("end of the site without the head", END_S + 10):
                assert fleet.stop() == 130
            assert fleet.agents() == agents
            assert_each_record_once_and_in_order(fleet)
            assert all(records[-1]["phase"] == "end" for records in fleet.by_event().values())
            assert_watched_all_the_time(fleet, list(CAMERAS))
