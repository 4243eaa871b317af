"""How long the supervisor plans for many cameras, without nodes."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from maskstream.fleet.assignments import Assignments
from maskstream.fleet.dispatch import Dispatcher
from maskstream.fleet.leases import MARGIN_S
from maskstream.fleet.orders import NodeReport
from maskstream.fleet.plan import NodeView, plan
from maskstream.fleet.site import CameraSpec, Site
from tests.clocks import ManualClock

ROUNDS = 9


def planning_ms(cameras: int, nodes: int) -> list[float]:
    """Return the medians: two plans (time of the processor), and three turns (elapsed time, with the disk)."""
    site = made_site(cameras)
    views = [NodeView(name, is_up=True, is_draining=False, capacity_fps=100.0, demand_fps={}) for name in node_names(nodes)]
    placed = plan(site, views, {}, {}, 0).placements
    empty_ms = median(timed_ms(lambda: plan(site, views, {}, {}, 0), process_time) for _ in range(ROUNDS))
    quiet_ms = median(timed_ms(lambda: plan(site, views, placed, {}, 0), process_time) for _ in range(ROUNDS))
    turns = [turns_ms(site, nodes) for _ in range(ROUNDS)]
    return [empty_ms, quiet_ms, *(median(column) for column in zip(*turns, strict=True))]


def turns_ms(site: Site, nodes: int) -> tuple[float, float, float]:
    """Return the time of the turn that places all cameras, of one that changes nothing, and of one after a node is lost."""
    clock = ManualClock()
    with tempfile.TemporaryDirectory() as folder, closing(Assignments(Path(folder), clock.now_s)) as assignments:
        dispatcher = Dispatcher(site, assignments, clock)
        names = node_names(nodes)
        dispatcher.set_nodes(names)
        answer(dispatcher, names, clock)
        first_ms = timed_ms(dispatcher.take_turn, perf_counter)
        answer(dispatcher, names, clock)
        quiet_ms = timed_ms(dispatcher.take_turn, perf_counter)
        clock.advance(site.lease_s + MARGIN_S)
        answer(dispatcher, names[1:], clock)
        return first_ms, quiet_ms, timed_ms(dispatcher.take_turn, perf_counter)


def answer(dispatcher: Dispatcher, names: list[str], clock: ManualClock) -> None:
    """Let nodes answer that they have what they were ordered."""
    for name in names:
        order = dispatcher.order(name)
        running = frozenset((each.camera, each.epoch) for each in order.assigned)
        dispatcher.heard(NodeReport(name, "agent", clock.now_s(), order.turn, 100.0, {}, 0.0, running, running))


def made_site(cameras: int) -> Site:
    """Return a site with many cameras."""
    specs = tuple(CameraSpec(f"camera {number}", {}) for number in range(cameras))
    return Site("figures", specs, {}, 10.0, "go_on", 4, 5.0, {}, 1, Path("state"))


def node_names(nodes: int) -> list[str]:
    """Return the names of the nodes."""
    return [f"node {number}" for number in range(nodes)]


def timed_ms(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return how long a call takes, in milliseconds."""
    began_s = clock()
    work()
    return (clock() - began_s) * 1000
