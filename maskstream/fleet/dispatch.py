"""Place the cameras of a site: the plan, the leases of the nodes, and the assignments on the disk, turn by turn."""

from collections.abc import Mapping
from dataclasses import dataclass

from maskstream.fleet.assignments import Assigned


@dataclass(frozen=True)
class NodeReport:
    """The part of an answer of a node that its cameras are placed by."""

    node: str
    sent_s: float
    """When it was sent, by the clock of the node (`lease_now_s`)."""
    applied_turn: int
    """The turn of the latest order that the node has applied, in this term; 0 before the first one."""
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
    """Why the node takes no cameras, such as another version; empty where it does."""


@dataclass(frozen=True)
class Order:
    """What a node has to do, for the next call."""

    node: str
    turn: int
    """The number of the turn of the supervisor. A node applies no order that is older than its last one."""
    assigned: tuple[Assigned, ...]
    """The cameras that it has to analyse. It closes all others."""
    echo_s: float | None
    """The time of the latest answer of the node: `Lease.renewed` of the node."""
    lease_s: float


@dataclass(frozen=True)
class Change:
    """A change of an assignment."""

    camera: str
    from_node: str | None
    to_node: str | None
    """None: the camera left the site, or its former node was released."""
    epoch: int
    """The new epoch; where there is none, the ended one."""
    old_epoch: int | None
    """The epoch that a new one follows."""
    why: str
    """One line."""
