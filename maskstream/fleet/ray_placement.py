"""Run workers as actors of a Ray cluster."""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from threading import Event
from time import sleep
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from maskstream.errors import ConfigError
from maskstream.fleet.placement import Call, NodeInfo, Worker, WorkerSpec, check_name
from maskstream.fleet.ray_head import Head

if TYPE_CHECKING:
    from maskstream.fleet.ray_workers import RayWorker

_MISSING: Final = "--ray needs ray; pip install 'maskstream[fleet]'; without it, `maskstream archive` works with local processes"
_NAMESPACE: Final = "maskstream"
"""Ray's namespace of the workers that outlive a program."""
_RECONNECT: Final = "RAY_gcs_rpc_server_reconnect_timeout_s"
_YEAR_S: Final = 31_536_000
_ANSWER_S: Final = 5.0
_LEAVE_S: Final = 10.0


class RayPlacement:
    """Actors of Ray as workers. While the head is down, workers run and answer, but none is started, found or ended.

    A worker that does not outlive the program has no name in Ray, so that programs do not meet. A process has one such placement
    at a time.
    """

    def __init__(self, address: str) -> None:
        """Connect to a cluster.

        Args:
            address: `HOST:PORT` of the head; "auto" for the cluster that this machine belongs to; "local" for a cluster of this
                machine alone, which ends with the program and all workers.

        Raises:
            ConfigError: Ray is not installed, or no head answers within 15 s, or it refuses this program.
        """
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault(_RECONNECT, str(_YEAR_S))  # else Ray ends this process after a minute without the head
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ConfigError(_MISSING) from error
        from maskstream.fleet import ray_connection, ray_workers

        ray_connection.connect(address, _NAMESPACE)
        self._ray, self._actors = ray, ray_workers
        self._head = Head(_ANSWER_S)
        self._workers: dict[str, RayWorker] = {}
        self._nodes: dict[str, NodeInfo] = {}
        self._is_open = True

    def nodes(self) -> list[NodeInfo]:
        """Return the nodes by name; as they were before while the head is down."""
        with suppress(TimeoutError):
            self._nodes = nodes_by_id(self._head.ask(self._ray.nodes))
        return sorted(self._nodes.values(), key=lambda node: node.name)

    def start(self, spec: WorkerSpec) -> Worker:
        """Start an actor, and return within 5 s; see `Placement`."""
        check_name(spec.name)
        runs = ValueError(f"{spec.name}: a worker of this name runs; end it first, or choose another name")
        if spec.name in self._workers and not self._workers[spec.name].is_dead:
            raise runs
        node_id = None if spec.node is None else self._id_of(spec.node)
        gave_up = Event()

        def create() -> Any:
            handle = self._actors.create(spec, node_id, _NAMESPACE)
            if gave_up.is_set():
                self._ray.kill(handle)
            return handle

        handle, problem = None, ""
        try:
            handle = self._head.ask(create)
        except TimeoutError as error:
            gave_up.set()
            problem = str(error)
        except ValueError as error:
            if "already taken" in str(error):
                raise runs from error
            raise
        worker = self._workers[spec.name] = self._actors.RayWorker(spec, handle, self._name_of, problem)
        return worker

    def find(self, name: str) -> Worker | None:
        """Return the worker of this name that outlives programs, where it runs; see `Placement`."""
        worker = self._workers.get(name)
        if worker is not None and not worker.spec.outlives:
            return None
        try:
            found = self._head.ask(lambda: self._actors.find(name, _NAMESPACE))
        except TimeoutError:
            if worker is not None and not worker.is_dead:
                return worker
            raise
        if found is None:
            if worker is not None:
                worker.is_dead = True
            return None
        if worker is None or worker.is_dead:
            spec, handle = found
            worker = self._workers[name] = self._actors.RayWorker(spec, handle, self._name_of)
        return worker

    def wait(self, calls: Collection[Call], timeout_s: float) -> list[Call]:
        """Return the calls that are done, at least one of them unless `timeout_s` is over."""
        answers = {call.answer: call for call in calls if isinstance(call, self._actors.RayCall)}
        if not answers:
            sleep(timeout_s)
        return [answers[answer] for answer in wait(answers, timeout_s, FIRST_COMPLETED).done]

    def close(self) -> None:
        """End the workers that do not outlive the program, and leave the cluster."""
        if not self._is_open:
            return
        self._is_open = False
        for worker in self._workers.values():
            if not worker.spec.outlives:
                worker.end()
        with suppress(TimeoutError):
            Head(_LEAVE_S).ask(self._ray.shutdown)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _id_of(self, name: str) -> str:
        """Return Ray's number of a node.

        Raises:
            ValueError: There is no such node.
        """
        if name not in {node.name for node in self._nodes.values() if node.is_alive}:
            self.nodes()
        ids = {node.name: number for number, node in self._nodes.items()}
        if name not in ids:
            raise ValueError(f"{name}: no such node; there are {', '.join(sorted(ids))}")
        return ids[name]

    def _name_of(self, number: str) -> str | None:
        if number not in self._nodes:
            self.nodes()
        return self._nodes[number].name if number in self._nodes else None


def nodes_by_id(rows: Sequence[Mapping[str, Any]]) -> dict[str, NodeInfo]:
    """Return the nodes by Ray's number of them, under names that are unique.

    A machine that has come back has another number: it replaces the one that died. Nodes that share a name, as raylets of one
    machine may, have the first digits of their number at its end.

    Args:
        rows: What `ray.nodes()` returns.
    """
    alive = Counter(row["NodeName"] for row in rows if row["Alive"])
    nodes: dict[str, NodeInfo] = {}
    for row in sorted(rows, key=lambda row: (row["NodeName"], row["NodeID"])):
        name, number, is_alive = row["NodeName"], row["NodeID"], bool(row["Alive"])
        if alive[name] > 1 and is_alive:
            name = f"{name}-{number[:8]}"
        if is_alive or (alive[name] == 0 and all(node.name != name for node in nodes.values())):
            resources = row["Resources"]
            nodes[number] = NodeInfo(name, float(resources.get("CPU", 0)), float(resources.get("GPU", 0)), is_alive)
    return nodes
