"""Decide which node analyses which camera. Cameras stay where they are unless there is a cause to move them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from maskstream.fleet.site import CameraSpec, Site

OVERLOAD_S: Final = 60.0
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
    """The frames per second that cameras need, as measured when they delivered frames last."""
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


def plan(
    site: Site,
    nodes: Sequence[NodeView],
    current: Mapping[str, str],
    overloaded_for_s: Mapping[str, float],
    recent_moves: int,
) -> Plan:
    """Return the node of each camera.

    A camera stays on its node while that is not lost. A camera without a node gets the one with the largest free capacity
    of those it may be placed on, also where none has enough: its frames are dropped rather than none analysed.

    Args:
        site: The cameras and the limits of nodes.
        nodes: All nodes that are known.
        current: The node of each camera that has one, which may be unknown or lost.
        overloaded_for_s: How long each node has dropped more than half of its frames.
        recent_moves: How many moves that are limited were begun in the last 60 s.
    """
    planning = _Planning(site, nodes, current, overloaded_for_s, recent_moves)
    planning.place_cameras_without_node()
    planning.move_where_not_allowed()
    planning.move_from_draining_nodes()
    planning.move_from_overloaded_nodes()
    return Plan(planning.placements, tuple(planning.moves), planning.unplaced, planning.held)


class _Planning:
    """One calculation of a plan."""

    def __init__(
        self,
        site: Site,
        nodes: Sequence[NodeView],
        current: Mapping[str, str],
        overloaded_for_s: Mapping[str, float],
        recent_moves: int,
    ) -> None:
        self._site = site
        self._nodes = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}
        self._current = current
        self._overloaded_for_s = overloaded_for_s
        self._moves_left = max(0, site.max_moves_per_minute - recent_moves)
        self._names = {name: site.names_of(name) for name in self._nodes}
        self._open = [node.name for node in self._nodes.values() if node.is_up and not node.is_silent and not node.is_draining]
        self._demand_fps = {camera.name: self._demand_of(camera.name) for camera in site.cameras}
        self._free_fps = {name: self._capacity_of(name) for name in self._nodes}
        self.placements: dict[str, str] = {}
        self.moves: list[PlannedMove] = []
        self.unplaced: dict[str, str] = {}
        self.held: dict[str, str] = {}

    def place_cameras_without_node(self) -> None:
        """Keep each camera whose node is not lost, and place the others, those that need most first."""
        without_node: list[CameraSpec] = []
        for camera in self._site.cameras:
            node = self._nodes.get(self._current.get(camera.name, ""))
            if node is not None and node.is_up:
                self._put(camera.name, node.name)
            else:
                without_node.append(camera)
        for camera in sorted(without_node, key=lambda camera: (-self._demand_fps[camera.name], camera.name)):
            target = self._best_of(self._candidates(camera))
            if target is None:
                self.unplaced[camera.name] = self._why_nowhere(camera)
                continue
            self._put(camera.name, target)
            former = self._current.get(camera.name)
            cause = MoveCause.NEW if former is None else MoveCause.NODE_LOST
            self.moves.append(PlannedMove(camera.name, former, target, cause))

    def move_where_not_allowed(self) -> None:
        """Move cameras from nodes that an edit of the site does not allow any more."""
        for camera, node in self._running():
            if not self._is_allowed(camera, node):
                self._move(camera, MoveCause.NOT_ALLOWED)

    def move_from_draining_nodes(self) -> None:
        """Move the cameras of nodes that are drained."""
        for camera, node in self._running():
            if self._nodes[node].is_draining:
                self._move(camera, MoveCause.DRAIN)

    def move_from_overloaded_nodes(self) -> None:
        """Move one camera from each overloaded node: of those that another node has capacity for, the one that needs most."""
        for node in self._open:
            if self._overloaded_for_s.get(node, 0.0) < OVERLOAD_S:
                continue
            choices = [(self._demand_fps[camera.name], camera) for camera, at in self._running() if at == node]
            for _, camera in sorted(choices, key=lambda choice: (-choice[0], choice[1].name)):
                target = self._relief(camera, node)
                if target is not None:
                    self._move_to(camera, target, MoveCause.OVERLOAD)
                    break

    def _relief(self, camera: CameraSpec, node: str) -> str | None:
        """Return a node that can analyse a camera beside its own ones."""
        able = [name for name in self._candidates(camera) if name != node and not self._overloaded_for_s.get(name, 0.0)]
        target = self._best_of(able)
        return target if target is not None and self._free_fps[target] >= self._demand_fps[camera.name] else None

    def _running(self) -> Iterator[tuple[CameraSpec, str]]:
        """Yield the cameras that this plan has not moved, with their nodes."""
        moved = {move.camera for move in self.moves}
        for camera in self._site.cameras:
            if camera.name in self.placements and camera.name not in moved and camera.name not in self.held:
                yield camera, self.placements[camera.name]

    def _move(self, camera: CameraSpec, cause: MoveCause) -> None:
        target = self._best_of(self._candidates(camera))
        if target is None:
            self.held[camera.name] = self._why_nowhere(camera)
        else:
            self._move_to(camera, target, cause)

    def _move_to(self, camera: CameraSpec, target: str, cause: MoveCause) -> None:
        if not self._moves_left:
            self.held[camera.name] = f"waits: {self._site.max_moves_per_minute} moves a minute (max_moves_per_minute)"
            return
        self._moves_left -= 1
        former = self.placements[camera.name]
        self._free_fps[former] += self._demand_fps[camera.name]
        self._put(camera.name, target)
        self.moves.append(PlannedMove(camera.name, former, target, cause))

    def _put(self, camera: str, node: str) -> None:
        self.placements[camera] = node
        self._free_fps[node] -= self._demand_fps[camera]

    def _candidates(self, camera: CameraSpec) -> list[str]:
        return [name for name in self._open if self._is_allowed(camera, name)]

    def _is_allowed(self, camera: CameraSpec, node: str) -> bool:
        return not camera.nodes or not self._names[node].isdisjoint(camera.nodes)

    def _best_of(self, names: Sequence[str]) -> str | None:
        return max(names, key=lambda name: self._free_fps[name], default=None)  # of equals the first by name

    def _demand_of(self, camera: str) -> float:
        node = self._nodes.get(self._current.get(camera, ""))
        return self._site.analysed_fps if node is None else node.demand_fps.get(camera, self._site.analysed_fps)

    def _capacity_of(self, node: str) -> float:
        measured_fps, limits = self._nodes[node].capacity_fps, self._site.nodes.get(node)
        if limits is None or limits.capacity_fps is None:
            return measured_fps
        return min(measured_fps, limits.capacity_fps) if measured_fps > 0 else limits.capacity_fps

    def _why_nowhere(self, camera: CameraSpec) -> str:
        allowed = [node for node in self._nodes.values() if self._is_allowed(camera, node.name)]
        named = f" (nodes: {', '.join(camera.nodes)})" if camera.nodes else ""
        if any(node.is_up and node.is_draining for node in allowed):
            return f"its nodes are drained or do not answer{named}"
        return f"no node that it may be placed on answers{named}"
