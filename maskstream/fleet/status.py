"""Describe a fleet for its dashboard and its metrics: the nodes, where each camera is placed, and what moved."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from maskstream.stream.states import SourceState

NodeState: TypeAlias = Literal["up", "lost", "draining", "refused"]
"""`lost`: no reply within the lease. `draining`: it answers, and its cameras move away. `refused`: it has another version."""
PlacedState: TypeAlias = SourceState | Literal["unplaced", "unknown"]
"""The state that the node of a camera reported last. `unplaced`: it has no node. `unknown`: its node is lost."""


@dataclass(frozen=True)
class NodeStatus:
    """The state of a node."""

    name: str
    """Unique."""
    state: NodeState
    reason: str
    """Why it is in this state, and problems that it reports, as one line; empty for a node without problems."""
    heard_s: float | None
    """The time since its last reply; None before the first one."""
    capacity_fps: float
    """The number of frames that it can analyse per second; 0 until it is known."""
    used_fps: float
    """The number of frames that its cameras need per second."""
    cameras: int
    """The number of cameras that are placed on it."""
    waiting: int
    """The records on it that are not committed at the supervisor."""
    clock_offset_s: float
    """The time of its clock minus that of the supervisor's."""
    version: str
    """Of its program; empty before its first reply."""


@dataclass(frozen=True)
class PlacedCamera:
    """A camera of the site and the node that analyses it."""

    name: str
    """Unique."""
    node: str | None
    """None: it is unplaced."""
    epoch: int
    """The number of its assignment, which grows with each one; 0 before the first one."""
    state: PlacedState
    captured_fps: float
    """Frames that arrive per second."""
    analysed_fps: float
    """Frames that are analysed per second."""
    dropped_share: float
    """The fraction of the frames that is not analysed, in [0, 1]."""
    reason: str
    """Why it is in this state, or why no node has it; empty where nothing is wrong."""
    since_utc: float
    """When it was assigned to its node, in seconds since 1970; 0 without a node."""


@dataclass(frozen=True)
class Move:
    """A change of the node of a camera."""

    at_utc: float
    """Seconds since 1970."""
    camera: str
    from_node: str | None
    """None: it had no node."""
    to_node: str | None
    """None: it has no node, or left the site."""
    why: str
    """One line."""


@dataclass(frozen=True)
class FleetStatus:
    """The state of a fleet at one moment."""

    site: str
    """The name of the site."""
    generation: int
    """The number of accepted edits of the site file."""
    nodes: tuple[NodeStatus, ...]
    """Sorted by name."""
    cameras: tuple[PlacedCamera, ...]
    """In the order of the site file."""
    stale_records: int
    """Records that came too late from a former node of their camera and were left out, since the supervisor started."""
    moves: tuple[Move, ...]
    """The latest 50, the newest first."""
    drain: tuple[str, ...]
    """The names of the nodes that have to be emptied, sorted."""
    turn_age_s: float
    """The time since the supervisor's loop made its last turn; it makes one every 0.5 s."""

    def at(self, turn_age_s: float) -> "FleetStatus":
        """Return the same state, seen this time after the turn of the supervisor."""
        return replace(self, turn_age_s=turn_age_s)
