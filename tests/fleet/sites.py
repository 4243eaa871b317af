"""Sites and nodes for tests of the parts that place cameras."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from maskstream.fleet.plan import NodeView
from maskstream.fleet.site import CameraSpec, NodeLimits, OnPartition, Site


def camera(name: str, *nodes: str) -> CameraSpec:
    return CameraSpec(name, {"name": name, "url": f"rtsp://camera/{name}"}, nodes)


def a_site(
    cameras: Sequence[CameraSpec | str],
    nodes: Mapping[str, NodeLimits] | None = None,
    *,
    lease_s: float = 10.0,
    on_partition: OnPartition = "stop",
    max_moves_per_minute: int = 4,
    analysed_fps: float = 5.0,
) -> Site:
    return Site(
        name="test",
        cameras=tuple(camera(each) if isinstance(each, str) else each for each in cameras),
        nodes=nodes or {},
        lease_s=lease_s,
        on_partition=on_partition,
        max_moves_per_minute=max_moves_per_minute,
        analysed_fps=analysed_fps,
        settings={},
        generation=1,
        folder=Path("state"),
    )


def view(
    name: str,
    capacity_fps: float = 100.0,
    demand_fps: Mapping[str, float] | None = None,
    *,
    is_up: bool = True,
    is_draining: bool = False,
    is_silent: bool = False,
) -> NodeView:
    return NodeView(name, is_up, is_draining, capacity_fps, demand_fps or {}, is_silent)
