"""What the supervisor learns from the answers of nodes, and what it orders them to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from maskstream.fleet.assignments import Assigned


@dataclass(frozen=True)
class NodeReport:
    """The part of an answer of a node that its cameras are placed by."""

    node: str
    agent: str
    """Identifies the process of the agent. Another one begins without the cameras of the former."""
    sent_s: float
    """When it was sent, by the clock of the node (`lease_now_s`)."""
    applied_turn: int
    """The turn of the latest order of this term that the node has applied; 0 before the first one."""
    capacity_fps: float
    """The frames per second that the node can analyse; 0 where this is unknown."""
    demand_fps: Mapping[str, float]
    """The frames per second that each camera needs, without cameras that deliver none."""
    dropped_share: float
    """The part of the frames of all its cameras that is dropped, in [0, 1]."""
    running: frozenset[tuple[str, int]]
    """Camera and epoch of each assignment that the node has."""
    online: frozenset[tuple[str, int]]
    """Those of `running` that have delivered a frame."""
    refuses: str = ""
    """Why the node applies no orders, such as another version; empty where it does."""


@dataclass(frozen=True)
class Order:
    """What a node has to do, for the next call."""

    node: str
    turn: int
    """The number of the turn of the supervisor. A node applies no order that is older than its last one."""
    assigned: tuple[Assigned, ...]
    """The cameras that it has to analyse. It closes all others."""
    echo_s: float | None
    """The time in the latest answer of the node, for its `Lease.renewed`."""
    lease_s: float


@dataclass(frozen=True)
class Change:
    """A change of the assignments of a camera."""

    camera: str
    from_node: str | None
    to_node: str | None
    """None: the camera left the site, or its former node may close it."""
    epoch: int | None
    """The epoch that begins; None where none does."""
    old_epoch: int | None
    """The epoch that ends, or whose hand-over begins; None where none does."""
    why: str
    """One line."""
