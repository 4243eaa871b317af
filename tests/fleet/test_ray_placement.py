"""What actors of Ray promise beyond the contract of all placements: lost machines, a lost head, addresses that lead nowhere."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from time import sleep

import psutil
import pytest

from maskstream.errors import ConfigError
from maskstream.fleet.placement import NodeInfo, Worker, WorkerDied, WorkerSpec
from maskstream.fleet.ray_placement import RayPlacement, nodes_by_id
from tests.conftest import ROOT
from tests.fleet.raylets import Raylets, running
from tests.slowness import LONGEST_S, promised

COUNTER = "tests.fleet.targets:Counter"
PROGRAM = """
import sys, time
from maskstream.fleet.ray_placement import RayPlacement
placement = RayPlacement(sys.argv[1])
worker = placement.find("goes_on")
print(worker.call("add").result(600), flush=True)
sys.stdin.readline()
print(worker.call("add").result(600), flush=True)
"""
WITHOUT_RAY = """
import sys
sys.modules["ray"] = None
from maskstream.errors import ConfigError
from maskstream.fleet.ray_placement import RayPlacement
try: RayPlacement("auto")
except ConfigError as error: print(error)
"""


def spec(name: str, node: str | None = None, outlives: bool = False) -> WorkerSpec:
    return WorkerSpec(name, COUNTER, cpus=0.1, node=node, outlives=outlives)


def alive(placement: RayPlacement) -> dict[str, bool]:
    return {node.name: node.is_alive for node in placement.nodes()}


def reason_of_death(worker: Worker) -> str:
    with pytest.raises(WorkerDied) as died:
        worker.call("add").result(LONGEST_S)
    return died.value.reason


def row(name: str, number: str, alive: bool = True, **resources: float) -> dict[str, object]:
    return {"NodeName": name, "NodeID": number * 20, "Alive": alive, "Resources": resources}


def test_nodes_have_unique_names() -> None:
    rows = [row("east", "a1", CPU=4, GPU=1), row("west", "b2"), row("west", "c3", CPU=2), row("south", "d4", alive=False)]
    assert list(nodes_by_id(rows).values()) == [
        NodeInfo("east", 4, 1, is_alive=True),
        NodeInfo("south", 0, 0, is_alive=False),
        NodeInfo("west-b2b2b2b2", 0, 0, is_alive=True),
        NodeInfo("west-c3c3c3c3", 2, 0, is_alive=True),
    ]


def test_a_machine_that_came_back_replaces_the_one_that_died() -> None:
    rows = [row("east", "a1", alive=False), row("east", "b2"), row("west", "c3", alive=False), row("west", "d4", alive=False)]
    nodes = nodes_by_id(rows)
    assert [(node.name, node.is_alive) for node in nodes.values()] == [("east", True), ("west", False)]
    assert "b2" * 20 in nodes


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://192.0.2.20:10001", "addresses of Ray Client are not supported"),
        ("192.0.2.20", "give HOST:PORT of the head, such as 192.0.2.20:6379, or auto"),
        (":6379", "give HOST:PORT"),
        ("192.0.2.20:port", "give HOST:PORT"),
        ("192.0.2.20:99999", "give HOST:PORT"),
        ("no-such-host.invalid:6379", "check the address, and that Ray runs there"),
        ("auto", "no Ray runs here; start it (ray start --head), or give HOST:PORT"),
    ],
)
def test_addresses_that_lead_nowhere(address: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is missing: pip install -r requirements-fleet.txt")
    if address == "auto" and any(process.name() in ("gcs_server", "raylet") for process in psutil.process_iter()):
        pytest.skip("another program runs Ray here, which --ray auto would find")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where Ray notes the cluster that this machine belongs to
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError) as refused:
        RayPlacement(address)
    assert str(refused.value).startswith(f"--ray {address}: ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("listens", "within_s", "message"), [(False, 3, "Connection refused"), (True, 15, "no head of Ray answers")]
)
@pytest.mark.slow
def test_ports_without_a_head(listens: bool, within_s: float, message: str) -> None:
    """In a process of its own, which Ray goes on to try in a thread."""
    pytest.importorskip("ray", reason="ray is missing: pip install -r requirements-fleet.txt")
    with socket() as port:
        port.bind(("127.0.0.1", 0))
        if listens:
            port.listen()
        address = f"127.0.0.1:{port.getsockname()[1]}"
        code = f"from maskstream.fleet.ray_placement import RayPlacement\nRayPlacement({address!r})"
        with promised(within_s=within_s + 2):  # Python and Ray are loaded, too
            done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"maskstream.errors.ConfigError: --ray {address}: ")
    assert message in last


def test_without_ray_it_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_RAY], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "--ray needs ray; pip install 'maskstream[fleet]'; without it, `maskstream archive` works with local processes\n"
    )


@pytest.fixture(scope="module")
def raylets() -> Iterator[Raylets]:
    """The last test of the file kills the head."""
    with running() as cluster:
        yield cluster


@pytest.mark.slow
def test_a_lost_machine_ends_its_workers_and_may_come_back(raylets: Raylets, capfd: pytest.CaptureFixture[str]) -> None:
    with RayPlacement(raylets.address) as placement:
        with pytest.raises(ValueError, match="whole number"):
            placement.start(WorkerSpec("parts", COUNTER, gpus=1.5))
        lost, kept = placement.start(spec("lost", "north", outlives=True)), placement.start(spec("kept", "west"))
        assert lost.call("add").result(LONGEST_S) == kept.call("add").result(LONGEST_S) == 1
        running_call = lost.call("wait_for", "/no/such/file")
        with promised(within_s=20):
            raylets.kill_node("north")
            assert placement.wait([running_call], LONGEST_S) == [running_call]
        with pytest.raises(WorkerDied, match="worker lost: ") as died:
            running_call.result(0)
        assert not died.value.has_ended, died.value.reason
        assert "\n" not in reason_of_death(lost)
        while alive(placement)["north"]:  # the head misses five health checks before it believes that the node is lost
            sleep(0.1)
        assert alive(placement) == {"east": True, "north": False, "west": True}
        assert placement.find("lost") is None
        assert "worker late" in reason_of_death(placement.start(spec("late", "north")))
        raylets.add_node("north")
        assert alive(placement) == {"east": True, "north": True, "west": True}
        again = placement.start(spec("lost", "north"))
        assert (again.call("add").result(LONGEST_S), again.node()) == (1, "north")
        assert kept.call("add").result(LONGEST_S) == 2
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_workers_and_programs_go_on_without_the_head(raylets: Raylets) -> None:
    command = [sys.executable, "-c", PROGRAM, raylets.address]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
    impatient = os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "1"}
    with RayPlacement(raylets.address) as placement:
        goes_on = placement.start(spec("goes_on", "west", outlives=True))
        ends = placement.start(spec("ends", "east"))
        assert goes_on.call("add").result(LONGEST_S) == ends.call("add").result(LONGEST_S) == 1
        with subprocess.Popen(command, env=impatient, **pipes) as first:  # type: ignore[call-overload]
            assert first.stdout.readline() == b"2\n"
            raylets.kill_head()
            assert first.wait(LONGEST_S) != 0  # which shows that the variable still does what it did
        assert [worker.call("add").result(LONGEST_S) for worker in (goes_on, ends)] == [3, 2]
        with promised(within_s=8):
            assert [node.name for node in placement.nodes()] == ["east", "north", "west"]
        with promised(within_s=1):  # once it is known that the head is silent
            assert [node.name for node in placement.nodes()] == ["east", "north", "west"]
            with pytest.raises(TimeoutError, match="the head of Ray has not answered"):
                placement.find("of_another_program")
            assert placement.find("goes_on") is goes_on
            new = placement.start(spec("new"))
        assert reason_of_death(new) == "worker new was not started: the head of Ray has not answered an earlier question"
        assert new.node() is None
        assert [worker.call("add").result(LONGEST_S) for worker in (goes_on, ends)] == [4, 3]
        with promised(within_s=12):
            placement.close()
