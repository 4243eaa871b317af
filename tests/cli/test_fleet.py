"""`maskstream fleet` with real agents and cameras: they are killed and stopped, and no record is lost or doubled."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maskstream import load_config
from maskstream.cli.fleet_run import FleetRequest
from maskstream.config.loading import Layer
from tests.cli.fleets import PROGRAM, Fleet, running_fleet
from tests.command_lines import run
from tests.conftest import DEMO
from tests.fleet.sites import a_site
from tests.receivers import wait_until
from tests.slowness import promised
from tests.web.demo_cameras import demo_cameras, demo_jpegs

FAILOVER_S = 20.0
"""The promise: from the end of an agent to the first frame of its cameras elsewhere."""
END_S = 12.0
PATHS = ("/a", "/b", "/c")


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    return demo_jpegs(str(DEMO))


@pytest.fixture
def cameras(jpegs: list[bytes]) -> Iterator[dict[str, str]]:
    with demo_cameras(jpegs, *PATHS) as url:
        yield {path.strip("/"): f"{url}{path}" for path in PATHS}


def command(*arguments: str | Path) -> Any:
    return run([*PROGRAM, *map(str, arguments)], text=True)


def assert_each_record_once_and_in_order(fleet: Fleet) -> None:
    events = fleet.by_event()
    assert events
    for records in events.values():
        assert [each["sequence"] for each in records] == list(range(len(records)))
        assert [each["phase"] for each in records].count("end") <= 1
    minutes = [(each["source"], each["began_utc"]) for each in fleet.records() if each["type"] == "counts"]
    assert len(minutes) == len(set(minutes))


def stop_and_check(fleet: Fleet) -> None:
    """End the site in order: all events end, no record is left on a node, and no process."""
    with promised(within_s=END_S):
        assert fleet.stop() == 130
    assert fleet.agents() == {}
    assert fleet.waiting() == 0
    assert_each_record_once_and_in_order(fleet)
    assert all(records[-1]["phase"] == "end" for records in fleet.by_event().values())


def test_one_agent_watches_the_cameras_and_a_second_supervisor_is_refused(tmp_path: Path, cameras: dict[str, str]) -> None:
    with running_fleet(tmp_path, {"a": cameras["a"]}, "--nodes", "1") as fleet:
        wait_until(lambda: len(fleet.by_event()) > 0)
        second = command("--site", fleet.site)
        assert (second.returncode, second.stdout) == (2, "")
        pid = fleet.processes[0].pid
        assert second.stderr == f"test: another maskstream fleet leads this site (process {pid}); stop it first\n"
        stop_and_check(fleet)
        assert {records[0]["source"] for records in fleet.by_event().values()} == {"a"}
        assert "stopped" in {records[-1]["cause"] for records in fleet.by_event().values()}


@pytest.mark.slow
def test_cameras_of_a_killed_agent_go_on_elsewhere(tmp_path: Path, cameras: dict[str, str]) -> None:
    with running_fleet(tmp_path, cameras) as fleet:
        wait_until(lambda: len(fleet.by_event()) > 2)
        node, lost = busier(fleet)
        seen = len(fleet.log())
        with promised(FAILOVER_S):
            os.kill(fleet.agents()[node], signal.SIGKILL)
            fleet.wait_for(*(f"{name}: online: on " for name in lost), after=seen)
        assert {fleet.nodes_of()[name] for name in lost}.isdisjoint({node})
        fleet.wait_for(f"{node}: its agent starts", after=seen)
        wait_until(lambda: len(fleet.agents()) == 2)
        stop_and_check(fleet)
        assert {"interrupted", "moved"} & {records[-1]["cause"] for records in fleet.by_event().values()}


@pytest.mark.slow
def test_agents_go_on_while_the_supervisor_is_dead_and_nothing_is_lost_or_doubled(
    tmp_path: Path, cameras: dict[str, str]
) -> None:
    with running_fleet(tmp_path, cameras) as fleet:
        wait_until(lambda: len(fleet.by_event()) > 2)
        agents = fleet.agents()
        fleet.kill_supervisor()
        assert_each_record_once_and_in_order(fleet)
        before = len(fleet.records())
        logged = {node: agent_log(fleet, node).count(" fps in, ") for node in agents}
        for node, lines in logged.items():  # they go on: each says how its cameras are every 10 s
            wait_until(lambda node=node, lines=lines: agent_log(fleet, node).count(" fps in, ") > lines)
        assert fleet.agents() == agents
        seen = len(fleet.log())
        fleet.start()
        fleet.wait_for(*(f"{name}: online" for name in cameras), after=seen)
        assert fleet.agents() == agents
        wait_until(lambda: len(fleet.records()) > before + 5)
        assert not [line for line in fleet.log()[seen:] if " -> " in line]  # no camera moved
        fleet.kill_supervisor()  # in the middle of what it does
        seen = len(fleet.log())
        fleet.start()
        fleet.wait_for(*(f"{node}: its agent runs, and goes on" for node in agents), after=seen)
        stop_and_check(fleet)
        assert "interrupted" not in {records[-1]["cause"] for records in fleet.by_event().values()}


@pytest.mark.slow
def test_agents_whose_supervisor_was_killed_while_it_ended_them_watch_again(tmp_path: Path, cameras: dict[str, str]) -> None:
    with running_fleet(tmp_path, cameras) as fleet:
        agents, node = fleet.agents(), busier(fleet)[0]
        os.kill(fleet.processes[0].pid, signal.SIGINT)
        wait_until(lambda: "ended: stopped" in agent_log(fleet, node))
        fleet.kill_supervisor()
        if not fleet.agents():
            pytest.skip("the supervisor was faster")
        seen = len(fleet.log())
        fleet.start()
        fleet.wait_for(*(f"{name}: online" for name in cameras), after=seen)
        assert agents.items() & fleet.agents().items()
        stop_and_check(fleet)


@pytest.mark.slow
def test_cameras_of_an_agent_that_hangs_go_on_elsewhere_and_it_is_told_when_it_is_back(
    tmp_path: Path, cameras: dict[str, str]
) -> None:
    with running_fleet(tmp_path, cameras) as fleet:
        wait_until(lambda: len(fleet.by_event()) > 2)
        node, lost = busier(fleet)
        seen, number = len(fleet.log()), fleet.agents()[node]
        with promised(FAILOVER_S):
            os.kill(number, signal.SIGSTOP)
            fleet.wait_for(*(f"{name}: online: on " for name in lost), after=seen)
        os.kill(number, signal.SIGCONT)
        wait_until(lambda: "ended: removed from the list of cameras" in agent_log(fleet, node))
        stop_and_check(fleet)


@pytest.mark.slow
def test_a_drained_node_gives_its_cameras_away_while_it_watches_them(tmp_path: Path, cameras: dict[str, str]) -> None:
    with running_fleet(tmp_path, cameras, max_moves_per_minute=10) as fleet:
        node, moved = busier(fleet)
        seen = len(fleet.log())
        command("--site", fleet.site, "--drain", "nowhere")
        fleet.wait_for("nowhere: there is no such node yet; there are local-1, local-2", after=seen)
        asked = command("--site", fleet.site, "--drain", node)
        assert (asked.returncode, asked.stdout) == (0, f"{fleet.site}: maskstream fleet is told\n")
        fleet.wait_for(*(f"{name}: {node} closes it" for name in moved), after=seen)
        assert set(fleet.nodes_of().values()).isdisjoint({node})
        closed = [line for line in agent_log(fleet, node).splitlines() if "removed from the list" in line]
        assert len(closed) <= len(moved)
        stop_and_check(fleet)


def busier(fleet: Fleet) -> tuple[str, list[str]]:
    """Return a node with cameras, and its cameras."""
    nodes = fleet.nodes_of()
    node = next(iter(nodes.values()))
    return node, [name for name, at in nodes.items() if at == node]


def agent_log(fleet: Fleet, node: str) -> str:
    return (fleet.folder / "state" / "agents" / f"test.{node}.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--site is missing; see --help\n"),
        (["--site", "no.yaml"], 3, "no.yaml: no such file; see configs/site.yaml\n"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    answer = run([*PROGRAM, *arguments], cwd=tmp_path, text=True)
    assert (answer.returncode, answer.stderr) == (code, message)


def test_a_request_without_a_supervisor_waits_for_the_next_one(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.write_site({"a": "rtsp://127.0.0.1:9/a"})
    asked = command("--site", fleet.site, "--drain", "local-1", "--undrain", "local-2")
    assert asked.stdout == f"{fleet.site}: maskstream fleet does not run; it is told when it starts\n"
    requests = sorted(path.name for path in (tmp_path / "state" / "requests").iterdir())
    assert requests == ["drain.local-1", "undrain.local-2"]


def test_passwords_of_receivers_stay_with_the_supervisor(tmp_path: Path) -> None:
    values = {"events": {"mqtt": "mqtt://user:secret@broker", "update_s": 9}, "web": {"listen": "0.0.0.0:80"}, "device": "cpu"}
    layer = Layer("--config", values)
    request = FleetRequest(tmp_path, load_config(), (layer,), (layer,), None, 1, None, None, "INFO")
    settings = request.settings_of(a_site(["a"]))
    for layers in (settings.layers, settings.overrides):
        assert layers[0] == ("--config", {"events": {"update_s": 9}, "device": "cpu"})
