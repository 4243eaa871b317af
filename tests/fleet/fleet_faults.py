"""Faults of a running fleet: agents and supervisors are killed or stopped, and the next step waits until all goes on."""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic, sleep, time

from tests.cli.fleets import Fleet
from tests.fleet.record_audit import Held, held_records
from tests.receivers import wait_until

AGENT, HANG, SUPERVISOR, BOTH = "agent killed", "agent hangs", "supervisor killed", "supervisor killed, then agent"
_WITHOUT_SUPERVISOR_S = 5.0
"""Records wait on the disk of an agent meanwhile."""
_LOADED = "face_mobilenet"
"""In the log of an agent that has loaded its models."""
_CLOSED = "removed from the list of cameras"
"""In the log of an agent that has learned that it lost a camera."""


@dataclass
class Fault:
    """What happened, and when."""

    what: str
    at_utc: float
    cameras: tuple[str, ...]
    """Those that it concerns."""
    held: tuple[Held, ...] = ()
    """Records that were on the disk of the agent, and that the supervisor had not acknowledged."""
    records_s: float | None = None
    """From the kill of a supervisor until the next one wrote into the file of events."""


def kill_agent(fleet: Fleet) -> Fault:
    """Kill the agent with the most cameras, and wait until another one has them and a new agent has started."""
    seen = len(fleet.log())
    node, fault = _stopped(fleet, AGENT)
    os.kill(fleet.agents()[node], signal.SIGKILL)
    fleet.wait_for(*(f"{name}: online: on " for name in fault.cameras), f"{node}: its agent starts", after=seen)
    _wait_for_models(fleet)
    return fault


def hang_agent(fleet: Fleet) -> Fault:
    """Stop the agent with the most cameras, and let it go on when another one has them."""
    seen = len(fleet.log())
    node, fault = _stopped(fleet, HANG)
    fleet.wait_for(*(f"{name}: online: on " for name in fault.cameras), after=seen)
    before = _agent_log(fleet, node).count(_CLOSED)
    os.kill(fleet.agents()[node], signal.SIGCONT)
    wait_until(lambda: _agent_log(fleet, node).count(_CLOSED) > before)
    return fault


def kill_supervisor(fleet: Fleet) -> Fault:
    """Kill the supervisor, start the next one at once, and wait until it knows all cameras."""
    seen, began_s = len(fleet.log()), monotonic()
    fault = Fault(SUPERVISOR, time(), tuple(fleet.nodes_of()))
    fleet.kill_supervisor()
    size = fleet.events.stat().st_size
    fleet.start()
    wait_until(lambda: fleet.events.stat().st_size > size)
    fault.records_s = monotonic() - began_s
    fleet.wait_for(*(f"{name}: online" for name in fault.cameras), after=seen)
    return fault


def kill_both(fleet: Fleet) -> Fault:
    """Kill the supervisor, later an agent; start the next supervisor, and wait until it knows all cameras."""
    cameras = list(fleet.nodes_of())
    fleet.kill_supervisor()
    sleep(_WITHOUT_SUPERVISOR_S)
    seen = len(fleet.log())
    node, fault = _stopped(fleet, BOTH)
    os.kill(fleet.agents()[node], signal.SIGKILL)
    fleet.start()
    fleet.wait_for(*(f"{name}: online" for name in cameras), f"{node}: its agent starts", after=seen)
    _wait_for_models(fleet)
    return fault


FAULTS: Mapping[str, Callable[[Fleet], Fault]] = {
    AGENT: kill_agent,
    HANG: hang_agent,
    SUPERVISOR: kill_supervisor,
    BOTH: kill_both,
}


def _stopped(fleet: Fleet, what: str) -> tuple[str, Fault]:
    """Stop the agent with the most cameras; return its node, and the fault with the records on its disk."""
    placed = fleet.nodes_of()
    node = max(set(placed.values()), key=list(placed.values()).count)
    at_utc = time()
    os.kill(fleet.agents()[node], signal.SIGSTOP)
    held = held_records(fleet.folder / "state" / "nodes" / node)
    return node, Fault(what, at_utc, tuple(name for name, at in placed.items() if at == node), tuple(held))


def _wait_for_models(fleet: Fleet) -> None:
    """Wait until each agent has loaded its models: the next fault must find one that can take over."""
    wait_until(lambda: all(_LOADED in _agent_log(fleet, node) for node in fleet.agents()))


def _agent_log(fleet: Fleet, node: str) -> str:
    return (fleet.folder / "state" / "agents" / f"test.{node}.log").read_text()
