"""Describe a site after a turn of its supervisor, for the dashboard and the metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from maskstream.fleet.assignments import Assigned, Assignments, Stage
from maskstream.fleet.dispatch import Dispatcher
from maskstream.fleet.site import Site
from maskstream.fleet.status import FleetStatus, Move, NodeState, NodeStatus, PlacedCamera
from maskstream.fleet.wire import CameraHealth, Heartbeat, Versions
from maskstream.stream.states import SourceState


@dataclass
class NodeFacts:
    """What is known of a node."""

    name: str
    last: Heartbeat | None = None
    """Its latest reply."""
    problem: str = ""
    """Why it takes no cameras, by its reply; empty where it does."""
    link_problem: str = ""
    """Why its agent does not run; empty where it does."""
    clock_offset_s: float = 0.0
    """Its clock minus that of the supervisor."""
    difference: str = ""
    """What it has that other nodes do not have; empty where it is like them."""


def difference_of(versions: Versions, others: Versions) -> str:
    """Return how a node differs from others; empty where it does not, or is not known yet."""
    if not versions.weights or versions == others:
        return ""
    names = sorted(name for name, digest in versions.weights.items() if others.weights.get(name, digest) != digest)
    if names:
        return f"has other weights than other nodes: {', '.join(names)}; install the same on all"
    return "has other settings than other nodes" if versions.settings != others.settings else ""


def fleet_status(
    site: Site,
    nodes: Sequence[NodeFacts],
    dispatch: Dispatcher,
    assignments: Assignments,
    moves: Iterable[Move],
    stale_records: int,
) -> FleetStatus:
    """Return the state of a site."""
    current = assignments.current()
    draining = assignments.draining()
    healths = {(health.camera, health.epoch): health for node in nodes if node.last is not None for health in node.last.cameras}
    silent = {
        node.name: node.problem or f"{node.name} does not answer"
        for node in nodes
        if _is_silent(node.name, dispatch, site.lease_s)
    }
    leaving = {row.camera: row for row in assignments.others() if row.stage is Stage.LEAVING and row.node not in silent}
    cameras = []
    for camera in site.cameras:
        row, former = current.get(camera.name), leaving.get(camera.name)
        reason = dispatch.plan.unplaced.get(camera.name, "") or dispatch.plan.held.get(camera.name, "")
        health = healths.get((camera.name, row.epoch)) if row else None
        if former is not None and (health is None or health.first_frame_utc is None):
            health = healths.get((camera.name, former.epoch), health)  # it is analysed there until the new node has it
        cameras.append(_placed(camera.name, row, health, reason, silent))
    return FleetStatus(
        site=site.name,
        generation=site.generation,
        nodes=tuple(
            _node(node, dispatch, draining, current, node.name in silent) for node in sorted(nodes, key=lambda node: node.name)
        ),
        cameras=tuple(cameras),
        stale_records=stale_records,
        moves=tuple(moves),
        drain=tuple(sorted(draining)),
        turn_age_s=0.0,
    )


def _is_silent(node: str, dispatch: Dispatcher, lease_s: float) -> bool:
    """Return whether a node has not replied for half a lease: what it reported may be true no more."""
    heard_s = dispatch.heard_age_s(node)
    return dispatch.is_lost(node) or (heard_s is not None and heard_s > lease_s / 2)


def _node(
    node: NodeFacts, dispatch: Dispatcher, draining: frozenset[str], current: dict[str, Assigned], is_silent: bool
) -> NodeStatus:
    last = node.last
    state: NodeState = "up"
    if node.problem:
        state = "refused"
    elif last is None or node.link_problem or dispatch.is_lost(node.name):
        state = "lost"
    elif node.name in draining:
        state = "draining"
    heard_s = dispatch.heard_age_s(node.name)
    problems = [node.problem or node.link_problem] if node.problem or node.link_problem else list(last.problems if last else ())
    problems += [node.difference] if node.difference else []
    if is_silent and not problems and heard_s is not None:
        problems = [f"no reply for {heard_s:.0f} s"]
    return NodeStatus(
        name=node.name,
        state=state,
        reason=" | ".join(problems),
        heard_s=heard_s,
        capacity_fps=last.capacity_fps if last else 0.0,
        used_fps=sum(camera.wanted_fps for camera in last.cameras) if last else 0.0,
        cameras=sum(row.node == node.name for row in current.values()),
        waiting=last.waiting if last else 0,
        clock_offset_s=node.clock_offset_s,
        version=last.versions.program if last else "",
    )


def _placed(name: str, row: Assigned | None, health: CameraHealth | None, reason: str, silent: Mapping[str, str]) -> PlacedCamera:
    if row is None:
        return PlacedCamera(name, None, 0, "unplaced", 0.0, 0.0, 0.0, reason, 0.0)
    if row.node in silent:
        why = reason or silent[row.node]
        return PlacedCamera(name, row.node, row.epoch, "unknown", 0.0, 0.0, 0.0, why, row.since_utc)
    if health is None:
        return PlacedCamera(name, row.node, row.epoch, SourceState.CONNECTING, 0.0, 0.0, 0.0, reason, row.since_utc)
    return PlacedCamera(
        name=name,
        node=row.node,
        epoch=row.epoch,
        state=SourceState(health.state),
        captured_fps=health.captured_fps,
        analysed_fps=health.analysed_fps,
        dropped_share=health.dropped_share,
        reason=health.reason or reason,
        since_utc=row.since_utc,
    )
