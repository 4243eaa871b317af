"""Nodes of a simulated site: real agents, outboxes, assignments and collector; engines and time are made up."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maskstream import __version__
from maskstream.errors import SinkError
from maskstream.events.types import EventOrCounts, MaskEvent, Phase, Timestamp
from maskstream.fleet.agent import Agent, EngineReport, NodeSettings
from maskstream.fleet.assignments import Assignments
from maskstream.fleet.collector import Collector
from maskstream.fleet.forwarding import Forwarding
from maskstream.fleet.node_outbox import NodeOutbox
from maskstream.fleet.placement import Call, NodeInfo, Worker, WorkerDied, WorkerSpec
from maskstream.fleet.site import Site
from maskstream.fleet.supervisor import SiteParts, Supervisor
from maskstream.fleet.wire import Assignment, CameraHealth, Versions
from maskstream.stream.states import StateChange
from tests.clocks import ManualClock
from tests.events.test_sink import event

BEGAN_UTC = 1_795_000_000.0
OPENS_S = 1.0
"""How long a node needs to open a camera."""
EVENT_S = 4.0
"""Every camera has an event all the time; each lasts this long."""
STEP_S = 0.25


@dataclass
class Watched:
    """A camera that a simulated engine watches."""

    epoch: int
    opened_s: float
    first_frame_utc: float | None = None
    event: MaskEvent | None = None
    began_s: float = 0.0


class SimulatedWork:
    """An engine whose cameras are online after `OPENS_S`, and that makes events."""

    def __init__(self, clock: ManualClock, outbox: NodeOutbox, may_watch: Callable[[], bool], name: str) -> None:
        self.watched: dict[str, Watched] = {}
        self.assignments: tuple[Assignment, ...] = ()
        self.settings: NodeSettings | None = None
        self.is_failed = self.is_stopped = False
        self.weights = {"mask_mobilenet.safetensors": "cafe"}
        self.made: list[tuple[str, int]] = []
        """The event and the sequence of each record."""
        self._clock, self._outbox, self._may_watch, self._name = clock, outbox, may_watch, name
        self._events = 0

    def apply(self, settings: NodeSettings, assignments: Sequence[Assignment]) -> None:
        self.settings, self.assignments = settings, tuple(assignments)

    def report(self) -> EngineReport:
        if self.is_stopped:
            return EngineReport()
        if self.is_failed:
            return EngineReport(tuple(self._health(each) for each in self.assignments), problems=("no weights",))
        versions = Versions(__version__, self.weights, "settings")
        return EngineReport(tuple(self._health(each) for each in self.assignments), 40.0, 0.2, versions=versions)

    def _health(self, assignment: Assignment) -> CameraHealth:
        watched = self.watched.get(assignment.camera)
        is_online = watched is not None and watched.epoch == assignment.epoch and watched.first_frame_utc is not None
        first_utc = watched.first_frame_utc if watched is not None and is_online else None
        state, fps = ("online", 5.0) if is_online else ("connecting", 0.0)
        return CameraHealth(assignment.camera, assignment.epoch, state, fps, fps, 0.0, "", 0, first_utc, fps)

    def epoch_of(self, camera: str) -> int:
        return self.watched[camera].epoch

    def pass_time(self) -> None:
        """Open, watch and close cameras as an engine does while some time passes."""
        runs = self._may_watch() and not self.is_failed and not self.is_stopped
        wanted = {each.camera: each.epoch for each in self.assignments} if runs else {}
        for name, watched in list(self.watched.items()):
            if wanted.get(name) != watched.epoch:
                self._end(watched, "stopped" if self.is_stopped else "removed")
                del self.watched[name]
        for name, epoch in wanted.items():
            self.watched.setdefault(name, Watched(epoch, self._clock.now_s()))
            self._watch(name, self.watched[name])

    def _watch(self, name: str, watched: Watched) -> None:
        now_s = self._clock.now_s()
        if now_s - watched.opened_s < OPENS_S:
            return
        if watched.first_frame_utc is None:
            watched.first_frame_utc = utc_of(now_s)
        if watched.event is not None and now_s - watched.began_s >= EVENT_S:
            self._end(watched, "gone")
        if watched.event is None:
            self._events += 1
            watched.began_s, at = now_s, timestamp(now_s)
            made = replace(event(), event_id=f"{self._name}-{self._events}", source_id=name, began=at, last=at)
            watched.event = self._take(made)
        elif now_s - watched.event.last.time_s >= 1:
            update = replace(watched.event, sequence=watched.event.sequence + 1, phase=Phase.UPDATE, last=timestamp(now_s))
            watched.event = self._take(update)

    def _end(self, watched: Watched, cause: str) -> None:
        if watched.event is not None:
            self._take(replace(watched.event, sequence=watched.event.sequence + 1, phase=Phase.END, cause=cause))
            watched.event = None

    def _take(self, made: MaskEvent) -> MaskEvent:
        self._outbox.take([made])
        self.made.append((made.event_id, made.sequence))
        return made


def utc_of(now_s: float) -> float:
    return BEGAN_UTC + now_s


def timestamp(now_s: float) -> Timestamp:
    return Timestamp(round(now_s * 4), now_s, datetime.fromtimestamp(utc_of(now_s), UTC))


class SimulatedAgent:
    """What runs on a node: the process of an agent."""

    def __init__(self, spec: WorkerSpec, folder: Path, clock: ManualClock, number: int) -> None:
        self.spec, self.node_name = spec, spec.node or spec.name
        self.is_dead = self.is_frozen = False
        self.is_cut_off = False
        """It runs, but calls fail at once, as with Ray where only the network has failed."""
        self.outbox = NodeOutbox(folder / self.node_name, self._epoch_of, clock=clock)
        self.work = SimulatedWork(clock, self.outbox, self._may_watch, f"{self.node_name}-{number}")
        self.agent = Agent(self.node_name, self.work, self.outbox, clock.now_s, lambda: utc_of(clock.now_s()))

    def _epoch_of(self, camera: str) -> int:
        return self.work.epoch_of(camera)

    def _may_watch(self) -> bool:
        return self.agent.may_watch()

    def answer(self, method: str, *args: Any) -> Any:
        if method == "stop":
            self.work.is_stopped = True
            self.work.pass_time()
            return None
        assert method == "beat"
        return self.agent.beat(*args)

    @property
    def has_no_answer(self) -> bool:
        return self.is_dead or self.is_cut_off

    def kill(self) -> None:
        self.is_dead = True
        with suppress(SinkError):
            self.outbox.release()


@dataclass(eq=False)
class SimulatedCall:
    """A call that is answered when its agent runs."""

    worker: "SimulatedWorker"
    method: str
    args: tuple[Any, ...]
    answer: Any = None
    is_done: bool = False

    def result(self, timeout_s: float) -> Any:
        if self.worker.agent.is_dead and not self.is_done:
            raise WorkerDied("killed", has_ended=True)
        if self.worker.agent.is_cut_off and not self.is_done:
            raise WorkerDied("unavailable")
        if not self.is_done:
            raise TimeoutError
        return self.answer


@dataclass(eq=False)
class SimulatedWorker:
    agent: SimulatedAgent
    calls: list[SimulatedCall] = field(default_factory=list)

    @property
    def spec(self) -> WorkerSpec:
        return self.agent.spec

    def node(self) -> str | None:
        return self.agent.node_name

    def call(self, method: str, *args: object) -> Call:
        self.calls.append(SimulatedCall(self, method, args))
        return self.calls[-1]

    def end(self) -> None:
        self.agent.kill()

    def answer_all(self) -> None:
        for call in () if self.agent.is_frozen or self.agent.has_no_answer else self.calls:
            call.answer, call.is_done = self.agent.answer(call.method, *call.args), True
        if not self.agent.is_frozen:
            self.calls.clear()


class SimulatedPlacement:
    """Runs agents in this process. Time passes while the supervisor waits."""

    def __init__(self, folder: Path, clock: ManualClock, *nodes: str) -> None:
        self.agents: dict[str, SimulatedAgent] = {}
        self.failing: set[str] = set()
        """Nodes on which no agent can be started."""
        self._folder, self._clock, self._nodes = folder, clock, nodes
        self._workers: list[SimulatedWorker] = []
        self._started = 0

    def nodes(self) -> list[NodeInfo]:
        return [NodeInfo(name, 1, 0, True) for name in self._nodes]

    def start(self, spec: WorkerSpec) -> Worker:
        assert spec.node is not None
        if spec.node in self.failing:
            raise OSError("no room for a process")
        self._started += 1
        self.agents[spec.node] = SimulatedAgent(spec, self._folder, self._clock, self._started)
        return self._worker_of(self.agents[spec.node])

    def find(self, name: str) -> Worker | None:
        found = next((agent for agent in self.agents.values() if agent.spec.name == name and not agent.is_dead), None)
        return None if found is None else self._worker_of(found)

    def _worker_of(self, agent: SimulatedAgent) -> SimulatedWorker:
        self._workers.append(SimulatedWorker(agent))
        return self._workers[-1]

    def wait(self, calls: Collection[Call], timeout_s: float) -> list[Call]:
        """Let time pass until a call is answered. An answer takes a step of time."""
        left_s = timeout_s
        while True:
            self.pass_time(min(STEP_S, left_s))
            left_s -= STEP_S
            for worker in self._workers:
                worker.answer_all()
            done = [
                each for each in calls if isinstance(each, SimulatedCall) and (each.is_done or each.worker.agent.has_no_answer)
            ]
            if done or left_s <= 0:
                return list(done)

    def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)
        for agent in self.agents.values():
            if not agent.is_dead and not agent.is_frozen:
                agent.work.pass_time()

    def forget_program(self) -> None:
        """Forget the calls of a supervisor that was killed."""
        self._workers.clear()

    def close(self) -> None:
        pass

    def __enter__(self) -> "SimulatedPlacement":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Received:
    """A receiver that keeps what it got, on a disk that is never slow."""

    def __init__(self) -> None:
        self.items: list[EventOrCounts] = []

    def take(self, items: Sequence[EventOrCounts]) -> None:
        self.items += items

    def state_changed(self, change: StateChange) -> None:
        pass

    def health(self) -> str:
        return ""

    def is_saved(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def by_event(self) -> dict[str, list[MaskEvent]]:
        found: dict[str, list[MaskEvent]] = {}
        for item in self.items:
            if isinstance(item, MaskEvent):
                found.setdefault(item.event_id, []).append(item)
        return found


class SimulatedSite:
    """A supervisor that can be killed and started again, with its nodes."""

    def __init__(self, folder: Path, site: Site, *nodes: str) -> None:
        self.site, self.folder, self.clock = site, folder, ManualClock()
        self.placement = SimulatedPlacement(folder / "nodes", self.clock, *nodes)
        self.received = Received()
        self.states: list[StateChange] = []
        self.edited: Site | None = None
        self.start()

    def start(self) -> None:
        self.assignments = Assignments(self.folder, lambda: utc_of(self.clock.now_s()))
        self.collector = Collector(self.folder, self.clock)
        self.forwarding = Forwarding(self.collector, [self.received], self.clock)
        parts = SiteParts(
            placement=self.placement,
            spec=lambda node: WorkerSpec(f"site.{node.name}", "none:None", node=node.name, outlives=True),
            assignments=self.assignments,
            collector=self.collector,
            forward=self.forwarding.step,
            state_changed=self.states.append,
            poll_site=self._polled,
            settings_of=lambda site: NodeSettings((("site", site.settings),)),
            clock=self.clock,
            now_utc=lambda: utc_of(self.clock.now_s()),
        )
        self.supervisor = Supervisor(self.site, parts)

    def _polled(self) -> Site | None:
        edited, self.edited = self.edited, None
        self.site = edited or self.site
        return edited

    def kill_supervisor(self) -> None:
        self.placement.forget_program()
        self.assignments.close()
        self.collector.close()

    def run(self, seconds: float) -> None:
        """Let the supervisor make its turns for some time."""
        until_s = self.clock.now_s() + seconds
        while self.clock.now_s() < until_s:
            self.supervisor.turn()

    def without_supervisor(self, seconds: float) -> None:
        until_s = self.clock.now_s() + seconds
        while self.clock.now_s() < until_s:
            self.placement.pass_time(STEP_S)

    def nodes_of(self) -> dict[str, str | None]:
        return {camera.name: camera.node for camera in self.supervisor.status().cameras}

    def watching(self) -> dict[str, list[str]]:
        """Return which nodes have each camera online now."""
        found: dict[str, list[str]] = {camera.name: [] for camera in self.site.cameras}
        for name, agent in self.placement.agents.items():
            for camera, watched in agent.work.watched.items():
                if not agent.is_dead and not agent.is_frozen and watched.first_frame_utc is not None:
                    found.setdefault(camera, []).append(name)
        return found

    def agent(self, node: str) -> SimulatedAgent:
        return self.placement.agents[node]
