"""Measure how long cameras are blind when an agent is killed or hangs: `python -m tests.cli.failover --rounds 10`.

Two agents and three cameras run on this machine. The time is that from the signal to the line of the log that the last camera is
online on the other node.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from statistics import quantiles
from time import monotonic

from tests.cli.fleets import Fleet, running_fleet
from tests.command_lines import fork_server
from tests.conftest import DEMO
from tests.receivers import wait_until
from tests.web.demo_cameras import demo_cameras, demo_jpegs

PATHS = ("/a", "/b", "/c")


def main() -> None:
    """Print the times, and how many records are missing or double."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with fork_server(), demo_cameras(demo_jpegs(str(DEMO)), *PATHS) as url, tempfile.TemporaryDirectory() as folder:
        cameras = {path.strip("/"): f"{url}{path}" for path in PATHS}
        with running_fleet(Path(folder), cameras) as fleet:
            killed = [killed_s(fleet) for _ in range(rounds)]
            stopped = [stopped_s(fleet) for _ in range(rounds)]
            fleet.stop()
            lines = [f"killed (SIGKILL): {shown(killed)}", f"hangs (SIGSTOP): {shown(stopped)}", count(fleet), ""]
            sys.stdout.write("\n".join(lines))


def count(fleet: Fleet) -> str:
    """Return how many records there are, how many of an event are missing or there twice, and how many wait on the nodes."""
    events = fleet.by_event().values()
    known = [{each["sequence"] for each in records} for records in events]
    missing = sum(max(numbers) + 1 - len(numbers) for numbers in known)
    doubled = sum(len(records) - len(numbers) for records, numbers in zip(events, known, strict=True))
    return f"{len(events)} events, {len(fleet.records())} records, {missing} missing, {doubled} double, {fleet.waiting()} waiting"


def shown(times_s: list[float]) -> str:
    cuts = quantiles(times_s, n=20, method="inclusive")
    return f"p50 {cuts[9]:.1f} s, p95 {cuts[18]:.1f} s, longest {max(times_s):.1f} s of {len(times_s)}"


def killed_s(fleet: Fleet) -> float:
    """Kill an agent with cameras, and wait until it has started again."""
    node, lost, seen = victim(fleet)
    began_s = monotonic()
    os.kill(fleet.agents()[node], signal.SIGKILL)
    fleet.wait_for(*(f"{name}: online: on " for name in lost), after=seen)
    took_s = monotonic() - began_s
    fleet.wait_for(f"{node}: its agent starts", after=seen)
    wait_until(lambda: "face_mobilenet" in agent_log(fleet, node))
    return took_s


def stopped_s(fleet: Fleet) -> float:
    """Stop an agent with cameras, and let it go on when they are online elsewhere."""
    node, lost, seen = victim(fleet)
    number = fleet.agents()[node]
    began_s = monotonic()
    os.kill(number, signal.SIGSTOP)
    fleet.wait_for(*(f"{name}: online: on " for name in lost), after=seen)
    took_s = monotonic() - began_s
    lines = agent_log(fleet, node).count("removed from the list of cameras")
    os.kill(number, signal.SIGCONT)
    wait_until(lambda: agent_log(fleet, node).count("removed from the list of cameras") > lines)
    return took_s


def victim(fleet: Fleet) -> tuple[str, list[str], int]:
    nodes = fleet.nodes_of()
    node = next(iter(nodes.values()))
    return node, [name for name, at in nodes.items() if at == node], len(fleet.log())


def agent_log(fleet: Fleet, node: str) -> str:
    return (fleet.folder / "state" / "agents" / f"test.{node}.log").read_text()


if __name__ == "__main__":
    main()
