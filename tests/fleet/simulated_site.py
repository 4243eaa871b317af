"""A site in simulated time: the real dispatcher, assignments and leases, between nodes that fail and links that break."""

from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from maskstream.fleet.assignments import Assignments
from maskstream.fleet.dispatch import HAND_OVER_S, Dispatcher
from maskstream.fleet.leases import MARGIN_S, AcceptedSupervisor, Lease
from maskstream.fleet.orders import Change, NodeReport, Order
from maskstream.fleet.plan import OVERLOAD_S
from maskstream.fleet.site import Site
from tests.clocks import ManualClock

STEP_S = 0.5
CAPACITY_FPS = 25.0


@dataclass
class Call:
    """An order on its way, with the supervisor that sent it."""

    authority: str
    term: int
    order: Order


@dataclass(eq=False)
class SimulatedNode:
    """An agent: it applies orders, and has a clock of its own."""

    name: str
    offset_s: float
    rate: float
    """How fast its clock runs."""
    agent: int = 0
    """Counts its starts."""
    is_dead: bool = False
    is_frozen: bool = False
    """Its process stands still, and its calls wait."""
    calls_arrive: bool = True
    answers_arrive: bool = True
    """Without these, calls and answers wait on the way."""
    dropped_share: float = 0.0
    unreachable: set[str] = field(default_factory=set)
    """Cameras that it cannot open."""
    calls: deque[Call] = field(default_factory=deque)
    answers: deque[NodeReport] = field(default_factory=deque)
    past: deque[Call] = field(default_factory=lambda: deque(maxlen=60))
    """The latest calls that it has answered."""
    running: frozenset[tuple[str, int]] = frozenset()
    online: frozenset[tuple[str, int]] = frozenset()

    def start(self, now_s: float) -> None:
        """Start a new agent: it knows nothing of the last one."""
        self.agent += 1
        self.is_dead = self.is_frozen = False
        self.lease = Lease(self.clock_s(now_s))
        self.obedience = AcceptedSupervisor()
        self.applied = (0, 0)
        self.running = self.online = frozenset()
        self.calls.clear()
        self.answers.clear()

    def clock_s(self, now_s: float) -> float:
        return self.offset_s + self.rate * now_s

    def work(self, now_s: float) -> None:
        """Answer the next call that has arrived: those that waited are answered one by one."""
        if self.is_dead or self.is_frozen:
            return
        if not self.is_valid(now_s):
            self.online = frozenset()
        if self.calls and self.calls_arrive:
            self.past.append(self.calls.popleft())
            self.answers.append(self._beat(self.past[-1], now_s))

    def is_valid(self, now_s: float) -> bool:
        """Whether it may analyse its cameras with `on_partition: stop`."""
        return not self.is_dead and not self.is_frozen and self.lease.may_run("stop", self.clock_s(now_s))

    def _beat(self, call: Call, now_s: float) -> NodeReport:
        has_lease = self.lease.is_valid(self.clock_s(now_s))
        order = call.order
        refusal = self.obedience.refusal(call.authority, call.term, order.turn, has_lease=has_lease)
        if not refusal:
            self.lease.renewed(order.echo_s, order.lease_s, self.clock_s(now_s))
            before = self.running
            self.running = frozenset((each.camera, each.epoch) for each in order.assigned)
            opened = {each for each in self.running & before if each[0] not in self.unreachable}  # a turn after it was ordered
            self.online = frozenset(opened) if self.is_valid(now_s) else frozenset()
            self.applied = (call.term, order.turn)
        return NodeReport(
            node=self.name,
            agent=f"{self.name} {self.agent}",
            sent_s=self.clock_s(now_s),
            applied_turn=self.applied[1] if self.applied[0] == call.term else 0,
            capacity_fps=CAPACITY_FPS,
            demand_fps={},
            dropped_share=self.dropped_share,
            running=self.running,
            online=self.online,
            refuses=refusal,
        )


class SimulatedSite:
    """Nodes and a supervisor, which may be killed and started again. Each step checks what must always hold."""

    def __init__(self, folder: Path, site: Site, nodes: Mapping[str, SimulatedNode]) -> None:
        self.folder = folder
        self.site = site
        self.nodes = nodes
        self.clock = ManualClock()
        self.longest_lease_s = site.lease_s
        self.heard_s: dict[str, float] = {}
        """When the latest answer of a node came to a supervisor."""
        self.refusing: set[str] = set()
        """Nodes whose latest answer was a refusal."""
        self.overloaded_since_s: dict[str, float] = {}
        self.restarted: set[str] = set()
        """Nodes whose agent was started again since their cameras got an epoch."""
        self.latest_epoch = 0
        self.moves_s: deque[float] = deque()
        """The times of all moves from nodes that were not lost, of this term."""
        self.assigned_s: dict[int, float] = {}
        self.changes: list[Change] = []
        for node in nodes.values():
            node.start(self.now_s)
        self.supervisor: Dispatcher | None = None
        self.start_supervisor()

    @property
    def now_s(self) -> float:
        return self.clock.now_s()

    def start_supervisor(self) -> None:
        self.assignments = Assignments(self.folder, self.clock.now_s)
        self.supervisor = Dispatcher(self.site, self.assignments, self.clock)
        self.supervisor.set_nodes(self.nodes)
        self.moves_s.clear()
        self.began_s = self.now_s
        for node in self.nodes.values():
            node.answers.clear()  # to the process that was killed

    def kill_supervisor(self) -> None:
        self.supervisor = None
        self.assignments.close()

    def edit(self, site: Site) -> None:
        self.site = site
        self.longest_lease_s = max(self.longest_lease_s, site.lease_s)
        if self.supervisor is not None:
            self.supervisor.set_site(site)

    def run(self, seconds: float) -> None:
        """Let time pass, step by step."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            for node in self.nodes.values():
                node.work(self.now_s)
            self.check_validity()
            if self.supervisor is not None:
                self._take_turn(self.supervisor)
            for node in self.nodes.values():
                node.work(self.now_s)
            self.check_validity()

    def _take_turn(self, supervisor: Dispatcher) -> None:
        for node in self.nodes.values():
            while node.answers and node.answers_arrive:
                self._hear(supervisor, node.answers.popleft())
        silent = {name for name in self.nodes if self._age_s(name) >= self.longest_lease_s + MARGIN_S}
        lost = {name for name in self.nodes if self._age_s(name) >= self.site.lease_s + MARGIN_S}
        draining = self.assignments.draining()
        before = self.assignments.current()
        for change in supervisor.take_turn():
            self.changes.append(change)
            former = before.get(change.camera)
            self._check_change(change, lost, draining, None if former is None else former.node)
        self.check_placed(supervisor, silent, draining)
        for name, node in self.nodes.items():
            if not node.is_dead:
                node.calls.append(Call(self.assignments.authority, self.assignments.term, supervisor.order(name)))

    def _hear(self, supervisor: Dispatcher, report: NodeReport) -> None:
        supervisor.heard(report)
        self.refusing.discard(report.node)
        if report.refuses:  # an old call that came again: until the next answer
            self.refusing.add(report.node)
            return
        self.heard_s[report.node] = self.now_s
        if report.running and report.dropped_share > 0.5:
            self.overloaded_since_s.setdefault(report.node, self.now_s)
        else:
            self.overloaded_since_s.pop(report.node, None)

    def _age_s(self, node: str) -> float:
        """Return how long a node was not heard; one that an earlier supervisor knew counts as heard when this one began."""
        known = {row.node for row in (*self.assignments.current().values(), *self.assignments.others())}
        began_s = self.began_s if node in known else float("-inf")
        return self.now_s - max(self.heard_s.get(node, float("-inf")), began_s)

    def _check_change(self, change: Change, lost: set[str], draining: frozenset[str], former: str | None) -> None:
        """Nothing moves without a cause; epochs grow; moves are limited; a former node is released once the new one analyses."""
        if change.epoch is None:
            self._check_release(change)
            return
        assert change.epoch > self.latest_epoch, "epochs grow"
        self.latest_epoch = change.epoch
        self.assigned_s[change.epoch] = self.now_s
        if former == change.to_node:
            assert former in self.restarted, f"{change}: without a cause"
            return
        assert change.to_node not in draining or change.from_node == change.to_node, (
            "it may come back to a node that has not closed it"
        )
        if former is None or former in lost:
            return
        self.moves_s.append(self.now_s)
        while self.moves_s[0] <= self.now_s - 60.0:
            self.moves_s.popleft()
        assert len(self.moves_s) <= self.site.max_moves_per_minute, "too many moves"
        wanted = next(camera.nodes for camera in self.site.cameras if camera.name == change.camera)
        overload_s = self.now_s - self.overloaded_since_s.get(former, self.now_s)
        is_forbidden = bool(wanted) and not self.site.names_of(former) & set(wanted)
        assert former in draining or is_forbidden or overload_s >= OVERLOAD_S, f"{change}: without a cause"
        if former not in draining and not is_forbidden:
            del self.overloaded_since_s[former]

    def _check_release(self, change: Change) -> None:
        if change.camera not in {camera.name for camera in self.site.cameras}:
            return
        new = self.assignments.current()[change.camera]
        is_online = (new.camera, new.epoch) in self.nodes[new.node].online
        waited_s = self.now_s - max(self.assigned_s.get(new.epoch, 0.0), self.began_s)
        assert (
            is_online or waited_s >= HAND_OVER_S or self.nodes[new.node].is_dead or not self.nodes[new.node].is_valid(self.now_s)
        )

    def check_placed(self, supervisor: Dispatcher, silent: set[str], draining: frozenset[str]) -> None:
        """Each camera with a possible node is on a node that was heard within the lease and the margin."""
        current = self.assignments.current()
        heard = {name for name, at_s in self.heard_s.items() if at_s >= max(self.now_s - STEP_S, self.began_s)}
        possible = heard - draining - self.refusing
        for camera in self.site.cameras:
            if any(not camera.nodes or self.site.names_of(name) & set(camera.nodes) for name in possible):
                assert camera.name in current, f"{camera.name} has no node"
                assert current[camera.name].node not in silent, f"{camera.name} is on a node that is lost"
        epochs_by_camera = defaultdict(list)
        for row in (*current.values(), *self.assignments.others()):
            epochs_by_camera[row.camera].append(row.epoch)
        assert all(max(epochs_by_camera[name]) == row.epoch for name, row in current.items()), "the current epoch is the largest"

    def check_validity(self) -> None:
        """A node that is valid for a camera is one that the supervisor knows of: it is lost to no other node."""
        known = {(row.camera, row.node) for row in (*self.assignments.current().values(), *self.assignments.others())}
        for node in self.nodes.values():
            if node.is_valid(self.now_s):
                for camera, epoch in node.running:
                    assert (camera, node.name) in known, f"{node.name} is valid for {camera}, epoch {epoch}: {known}"

    def valid_for(self, camera: str) -> list[str]:
        """Return the nodes that may analyse a camera now."""
        names = [name for name, node in self.nodes.items() if node.is_valid(self.now_s)]
        return [name for name in names if camera in {running for running, _ in self.nodes[name].running}]

    def close(self) -> None:
        with closing(self.assignments):
            self.supervisor = None


def with_cameras(site: Site, **changes: object) -> Site:
    """Return an edited site."""
    return replace(site, **changes)  # type: ignore[arg-type]
