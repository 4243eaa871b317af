"""One contract for all placements: local processes, and actors of Ray on three raylets."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from maskstream.fleet.local_placement import LocalPlacement
from maskstream.fleet.placement import CallFailed, Placement, WorkerDied, WorkerSpec
from maskstream.fleet.ray_placement import RayPlacement
from tests.conftest import ROOT
from tests.fleet.raylets import NODES, Raylets, running
from tests.slowness import LONGEST_S, promised

COUNTER = "tests.fleet.targets:Counter"
PROGRAM = """
import json, sys
from pathlib import Path
from maskstream.fleet.placement import WorkerSpec
{create}
goes_on = placement.start(WorkerSpec("goes_on", "tests.fleet.targets:Counter", {{"start": 40}}, cpus=0.1, outlives=True))
ends = placement.start(WorkerSpec("ends", "tests.fleet.targets:Counter", cpus=0.1))
goes_on.call("add", 1).result(600)
running = goes_on.call("wait_for", sys.argv[1])
print(json.dumps([ends.call("pid").result(600), ends.call("has_child").result(600)]), flush=True)
running.result(600)
"""

WAITS = """
import signal
from pathlib import Path
from maskstream.fleet.placement import WorkerSpec
class Asked(Exception): pass
def handle(number, frame): raise Asked
signal.signal(signal.SIGTERM, handle)
{create}
worker = placement.start(WorkerSpec("waits", "tests.fleet.targets:Counter", cpus=0.1))
worker.call("add").result(600)
call = worker.call("wait_for", "/no/such/file")
print("waits", flush=True)
try: placement.wait([call], 600)
except Asked: print("by SIGTERM", flush=True)
placement.close()
"""


class World:
    """A kind of placement, which programs open one after the other."""

    def __init__(self, open_placement: Callable[[], Placement], create: str) -> None:
        self.open = open_placement
        self.create = create
        """A statement that opens it in another program."""


@pytest.fixture(scope="module")
def raylets() -> Iterator[Raylets]:
    with running() as cluster:
        yield cluster


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "ray":
        address = request.getfixturevalue("raylets").address
        create = "from maskstream.fleet.ray_placement import RayPlacement\n"
        return World(lambda: RayPlacement(address), f"{create}placement = RayPlacement({address!r})")
    folder = tmp_path / "workers"
    create = "from maskstream.fleet.local_placement import LocalPlacement\n"
    create += f"placement = LocalPlacement(Path({str(folder)!r}), {NODES})"
    return World(lambda: LocalPlacement(folder, NODES), create)


@pytest.fixture
def placement(world: World) -> Iterator[Placement]:
    with world.open() as opened:
        yield opened


def spec(name: str, **others: object) -> WorkerSpec:
    return WorkerSpec(name, COUNTER, cpus=0.1, **others)  # type: ignore[arg-type]


def ended(pid: int) -> None:
    """Wait until a process has ended, or is left to its parent as a zombie."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            with suppress(psutil.TimeoutExpired):
                process.wait(0.05)


def test_calls_run_one_after_the_other(placement: Placement) -> None:
    worker = placement.start(WorkerSpec("counter", COUNTER, {"start": 5}, cpus=0.1))
    calls = [worker.call("add", number) for number in range(1, 20)]
    assert [call.result(LONGEST_S) for call in calls] == [5 + sum(range(1, number + 1)) for number in range(1, 20)]
    assert [(call.worker is worker, call.method) for call in calls] == [(True, "add")] * 19
    assert calls[3].result(0) == 15


def test_a_call_that_takes_long_does_not_block(placement: Placement, tmp_path: Path) -> None:
    go = tmp_path / "go"
    busy, idle = placement.start(spec("busy")), placement.start(spec("idle"))
    assert busy.call("add").result(LONGEST_S) == idle.call("add").result(LONGEST_S) == 1
    long, queued, short = busy.call("wait_for", str(go)), busy.call("add"), idle.call("add")
    assert placement.wait([long, queued, short], LONGEST_S) == [short]
    assert placement.wait([long, queued], 0.05) == []
    assert placement.wait([], 0.05) == []
    with pytest.raises(TimeoutError, match="busy has not answered wait_for within 0"):
        long.result(0)
    go.touch()
    assert (long.result(LONGEST_S), queued.result(LONGEST_S)) == (2, 3)
    assert set(placement.wait([long, queued, short], LONGEST_S)) == {long, queued, short}


def test_a_signal_ends_the_waiting(world: World) -> None:
    command = [sys.executable, "-c", WAITS.format(create=world.create)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"waits\n"
        with promised(within_s=2):
            program.terminate()
            assert program.stdout.read() == b"by SIGTERM\n"


def test_errors_of_a_method_leave_the_worker(placement: Placement) -> None:
    worker = placement.start(spec("counter"))
    with pytest.raises(CallFailed) as failed:
        worker.call("divide", 0).result(LONGEST_S)
    assert (failed.value.reason, failed.value.exit_code) == ("ZeroDivisionError: division by zero", None)
    assert "in divide\n    return 1 / by" in failed.value.traceback
    with pytest.raises(CallFailed) as failed:
        worker.call("unreadable").result(LONGEST_S)
    assert (str(failed.value), failed.value.exit_code) == ("clip.mp4 cannot be read;\\nit is empty", 3)
    with pytest.raises(CallFailed, match="AttributeError: 'Counter' object has no attribute 'subtract'"):
        worker.call("subtract").result(LONGEST_S)
    assert worker.call("add").result(LONGEST_S) == 1


def test_an_error_of_the_constructor_is_that_of_each_call(placement: Placement) -> None:
    broken = placement.start(WorkerSpec("broken", "tests.fleet.targets:Broken", cpus=0.1))
    missing = placement.start(WorkerSpec("missing", "tests.fleet.no_such_module:Broken", cpus=0.1))
    for call in (broken.call("add"), broken.call("add")):
        with pytest.raises(CallFailed, match="ValueError: no models here"):
            call.result(LONGEST_S)
    with pytest.raises(CallFailed, match=r"ModuleNotFoundError: No module named 'tests\.fleet\.no_such_module'"):
        missing.call("add").result(LONGEST_S)


def test_large_values_and_values_that_cannot_be_sent(placement: Placement) -> None:
    worker = placement.start(spec("counter"))
    value = {"bytes": os.urandom(3_000_000), "path": Path("a")}
    assert worker.call("echo", value).result(LONGEST_S) == value
    with pytest.raises(CallFailed, match="lambda"):
        worker.call("returns_a_lambda").result(LONGEST_S)
    with pytest.raises((TypeError, AttributeError), match=r"lock"):
        worker.call("echo", __import__("threading").Lock())
    assert worker.call("add").result(LONGEST_S) == 1


@pytest.mark.parametrize("how", ["exit", "kill", "stop and end"])
def test_the_end_of_a_worker_ends_its_calls(placement: Placement, tmp_path: Path, how: str) -> None:
    worker, other = placement.start(spec("victim")), placement.start(spec("other"))
    pid, child = worker.call("pid").result(LONGEST_S), worker.call("has_child").result(LONGEST_S)
    running = worker.call("die", "out of paper", 7) if how == "exit" else worker.call("wait_for", str(tmp_path / "never"))
    waiting = worker.call("add")
    if how == "kill":
        os.kill(pid, signal.SIGKILL)
    if how == "stop and end":
        os.kill(pid, signal.SIGSTOP)
        with promised(within_s=2):
            stuck = worker.call("echo", b"x" * 10_000_000)
            assert placement.wait([running, waiting, stuck], 0.1) == []
            worker.end()
            worker.end()
    for call in (running, waiting, worker.call("add")):
        assert placement.wait([call], LONGEST_S) == [call]
        with pytest.raises(WorkerDied) as died:
            call.result(LONGEST_S)
        assert "victim" in died.value.reason
        assert "\n" not in died.value.reason
        assert died.value.has_ended == (how != "stop and end"), died.value.reason
    ended(pid)
    if isinstance(placement, LocalPlacement):
        ended(child)
    if how == "exit" and isinstance(placement, LocalPlacement):
        assert died.value.reason == "the process of worker victim ended with exit code 7"
        assert died.value.last_lines[-1] == "out of paper"
    assert other.call("add").result(LONGEST_S) == 1
    assert placement.start(spec("victim")).call("add").result(LONGEST_S) == 1


def test_workers_run_where_they_are_told(placement: Placement) -> None:
    nodes = placement.nodes()
    assert [node.name for node in nodes if node.is_alive] == list(NODES)
    assert all(node.cpus >= 1 for node in nodes)
    workers = [placement.start(spec(f"at_{node}", node=node)) for node in NODES]
    assert [worker.call("add").result(LONGEST_S) for worker in workers] == [1, 1, 1]
    assert [worker.node() for worker in workers] == list(NODES)
    anywhere = placement.start(spec("anywhere"))
    anywhere.call("add").result(LONGEST_S)
    assert anywhere.node() in NODES
    with pytest.raises(ValueError, match="south: no such node; there are east, north, west"):
        placement.start(spec("at_south", node="south"))


@pytest.mark.parametrize("outlives", [False, True])
def test_names_are_unique(placement: Placement, outlives: bool) -> None:
    worker = placement.start(spec("counter", outlives=outlives))
    assert worker.call("add").result(LONGEST_S) == 1
    with pytest.raises(ValueError, match="counter: a worker of this name runs"):
        placement.start(spec("counter"))
    worker.end()
    assert placement.start(spec("counter", outlives=outlives)).call("add").result(LONGEST_S) == 1
    for name in ("", "a b", "../a", ".a", "a" * 65):
        with pytest.raises(ValueError, match="a worker is named by"):
            placement.start(spec(name))
    last = placement.find("counter")
    if last is not None:
        last.end()


def test_workers_outlive_a_program_that_leaves(world: World) -> None:
    with world.open() as first:
        goes_on, ends = first.start(spec("goes_on", outlives=True, node="north")), first.start(spec("ends"))
        assert first.find("goes_on") is not None
        assert first.find("ends") is first.find("nobody") is None
        pid, other_pid = goes_on.call("pid").result(LONGEST_S), ends.call("pid").result(LONGEST_S)
        assert goes_on.call("add", 3).result(LONGEST_S) == 3
        first.close()
        first.close()
    ended(other_pid)
    with world.open() as second:
        found = second.find("goes_on")
        assert found is not None
        assert found.call("pid").result(LONGEST_S) == pid
        assert found.call("add").result(LONGEST_S) == 4
        assert (found.spec.name, found.spec.target, found.spec.outlives, found.node()) == ("goes_on", COUNTER, True, "north")
        assert second.find("ends") is None
        found.end()
        ended(pid)
        assert second.find("goes_on") is None
    with world.open() as third:
        assert third.find("goes_on") is None


def test_workers_outlive_a_program_that_is_killed(world: World, tmp_path: Path) -> None:
    go = tmp_path / "go"
    command = [sys.executable, "-c", PROGRAM.format(create=world.create), str(go)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}) as program:
        assert program.stdout is not None
        others = json.loads(program.stdout.readline())
        program.kill()
    with world.open() as placement:
        ended(others[0])
        if isinstance(placement, LocalPlacement):
            ended(others[1])
        found = placement.find("goes_on")
        assert found is not None
        call = found.call("add", 1)
        assert placement.wait([call], 0.05) == []  # the call of the killed program still runs
        go.touch()
        assert call.result(LONGEST_S) == 43
        assert placement.find("ends") is None
        found.end()


def test_a_stopped_worker_that_was_found_can_be_ended(world: World) -> None:
    with world.open() as first:
        pid = first.start(spec("stopped", outlives=True)).call("pid").result(LONGEST_S)
    os.kill(pid, signal.SIGSTOP)
    with world.open() as second:
        found = second.find("stopped")
        assert found is not None
        call = found.call("add")
        assert second.wait([call], 0.1) == []
        with promised(within_s=4):
            found.end()
        ended(pid)
        with pytest.raises(WorkerDied):
            call.result(LONGEST_S)
        assert second.find("stopped") is None
