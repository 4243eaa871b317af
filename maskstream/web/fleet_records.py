"""Make the JSON of a fleet: its nodes, its cameras and what moved, as far as a client may see them."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from maskstream.fleet.status import FleetStatus, Move, NodeState, NodeStatus, PlacedCamera
from maskstream.io.text_file import iso_8601
from maskstream.web.camera_answers import OutageRecord
from maskstream.web.requests import Access


class PlacedRecord(TypedDict):
    """A camera of a fleet, which a node analyses."""

    camera: Annotated[str, Field(description="The name.")]
    state: Annotated[
        Literal["connecting", "online", "stalled", "reconnecting", "offline", "ended", "unplaced", "unknown"],
        Field(description="unplaced: no node has it. unknown: its node does not answer."),
    ]
    cause: Annotated[str, Field(description="Why it is in this state, or why no node has it.")]
    node: Annotated[str | None, Field(description="null: it is unplaced.")]
    epoch: Annotated[int, Field(description="The number of its assignment, which grows with each one.")]
    since_utc: Annotated[str | None, Field(description="Since when its node has it. null: it is unplaced.")]
    fps_in: Annotated[float, Field(description="Frames that arrive per second.")]
    fps_out: Annotated[float, Field(description="Frames that are analysed per second.")]
    dropped_share: Annotated[float, Field(description="The fraction of the frames that is not analysed, in [0, 1].")]
    last_outage: NotRequired[Annotated[OutageRecord | None, Field(description="Only in the list of cameras.")]]
    source: Annotated[None, Field(description="Its address is in the site file.")]
    editable: Annotated[Literal[False], Field(description="The site file is edited by hand.")]


class NodeRecord(TypedDict):
    """A node of a fleet."""

    node: Annotated[str, Field(description="The name.")]
    state: NodeState
    reason: Annotated[str, Field(description="Why, and its problems; empty for users of some cameras only.")]
    heard_s: Annotated[float | None, Field(description="Time since its last reply. null: it has not replied yet.")]
    capacity_fps: Annotated[float, Field(description="Frames that it can analyse per second; 0: not known yet.")]
    used_fps: Annotated[float, Field(description="Frames that its cameras need per second.")]
    cameras: Annotated[int, Field(description="Cameras on it, also those that the client may not see.")]
    waiting: Annotated[int, Field(description="Records on it that the supervisor has not committed.")]
    clock_offset_s: Annotated[float, Field(description="Its clock minus the supervisor's.")]
    version: str
    is_draining: Annotated[bool, Field(description="Whether an administrator has asked to empty it.")]


class MoveRecord(TypedDict):
    """A change of the node of a camera."""

    at_utc: str
    camera: str
    from_node: Annotated[str | None, Field(description="null: it had none.")]
    to_node: Annotated[str | None, Field(description="null: it has none, or left the site.")]
    why: str


class Nodes(TypedDict):
    """The state of a fleet."""

    site: Annotated[str, Field(description="The name of the site.")]
    generation: Annotated[int, Field(description="The number of accepted edits of the site file.")]
    stale_records: Annotated[int, Field(description="Records of former nodes of cameras that were left out.")]
    nodes: list[NodeRecord]
    cameras: Annotated[list[PlacedRecord], Field(description="Those that the client may see.")]
    moves: Annotated[list[MoveRecord], Field(description="The latest, the newest first, of cameras that the client may see.")]


def placed_records(status: FleetStatus) -> list[dict[str, Any]]:
    """Return the records of all cameras of a fleet."""
    return [_placed(camera) for camera in status.cameras]


def fleet_record(status: FleetStatus, access: Access) -> dict[str, Any]:
    """Return what a client may see of a fleet, as `Nodes`.

    The reasons of nodes may name cameras. They are for clients that may see all cameras.
    """
    return {
        "site": status.site,
        "generation": status.generation,
        "stale_records": status.stale_records,
        "nodes": [_node(node, status, with_reason=access.cameras is None) for node in status.nodes],
        "cameras": [_placed(camera) for camera in status.cameras if access.may_see(camera.name)],
        "moves": [_move(move) for move in status.moves if access.may_see(move.camera)],
    }


def _placed(camera: PlacedCamera) -> dict[str, Any]:
    return {
        "camera": camera.name,
        "state": str(camera.state),
        "cause": camera.reason,
        "node": camera.node,
        "epoch": camera.epoch,
        "since_utc": None if camera.node is None else _utc(camera.since_utc),
        "fps_in": round(camera.captured_fps, 2),
        "fps_out": round(camera.analysed_fps, 2),
        "dropped_share": round(camera.dropped_share, 3),
        "source": None,
        "editable": False,
    }


def _node(node: NodeStatus, status: FleetStatus, *, with_reason: bool) -> dict[str, Any]:
    return {
        "node": node.name,
        "state": node.state,
        "reason": node.reason if with_reason else "",
        "heard_s": None if node.heard_s is None else round(node.heard_s, 1),
        "capacity_fps": round(node.capacity_fps, 1),
        "used_fps": round(node.used_fps, 1),
        "cameras": node.cameras,
        "waiting": node.waiting,
        "clock_offset_s": round(node.clock_offset_s, 3),
        "version": node.version,
        "is_draining": node.name in status.drain,
    }


def _move(move: Move) -> dict[str, Any]:
    return {
        "at_utc": _utc(move.at_utc),
        "camera": move.camera,
        "from_node": move.from_node,
        "to_node": move.to_node,
        "why": move.why,
    }


def _utc(seconds: float) -> str:
    return str(iso_8601(datetime.fromtimestamp(seconds, UTC)))
