"""Decide which node analyses which camera. Cameras stay where they are unless there is a cause to move them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from maskstream.fleet.site import CameraSpec, Site

OVERLOAD_S = 60.0
"""The time that a node must drop more than half of its frames before one of its cameras moves."""


class MoveCause(StrEnum):
    """Why a camera gets another node. All but `NEW` and `NODE_LOST` count for `max_moves_per_minute`."""

    NEW = "new"
    NODE_LOST = "node_lost"
    NOT_ALLOWED = "not_allowed"
    DRAIN = "drain"
    OVERLOAD = "overload"

    @property
    def is_limited(self) -> bool:
        """Whether `max_moves_per_minute` limits these moves: the camera is analysed meanwhile."""
        return self not in (MoveCause.NEW, MoveCause.NODE_LOST)


@dataclass(frozen=True)
class NodeView:
    """What the supervisor knows about a node."""

    name: str
    is_up: bool
    """False: it is lost, and its cameras may be placed on other nodes."""
    is_draining: bool
    capacity_fps: float
    """The frames per second that it can analyse, as measured; 0 where this is unknown."""
    demand_fps: Mapping[str, float]
    """The measured frames per second that each of its cameras needs."""
    is_silent: bool = False
    """It does not answer and is not lost yet: it keeps its cameras and gets no others. Also a node that refuses cameras."""


@dataclass(frozen=True)
class PlannedMove:
    """A camera that gets another node."""

    camera: str
    from_node: str | None
    """None: it had no node."""
    to_node: str
    cause: MoveCause


@dataclass(frozen=True)
class Plan:
    """The node of each camera."""

    placements: Mapping[str, str]
    """The node of each camera that has one."""
    moves: tuple[PlannedMove, ...]
    """The differences to the current placements, without cameras that only lose their node."""
    unplaced: Mapping[str, str]
    """Why a camera has no node."""
    held: Mapping[str, str]
    """Why a camera that has to move stays for now."""
