"""Workers as actors of Ray, and their calls. Imported for `--ray` alone."""

import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import ray
from ray.exceptions import ActorUnavailableError, RayError
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from maskstream.fleet.placement import WorkerDied, WorkerSpec
from maskstream.fleet.worker_object import Answer, WorkerObject
from maskstream.redaction import one_line

_PROCESS_ENDED: Final = "its worker process has died"
"""In Ray's message where the node saw the process end. A node that the head cannot reach is "dead" too, and may go on."""


class ActorHost:
    """The actor: it holds the worker's object. Ray creates it on the node, where maskstream must be installed."""

    def __init__(self, target: str, arguments: Mapping[str, object]) -> None:
        """Create the object; an error of its constructor is the answer to each call."""
        self._object = WorkerObject(target, arguments)

    def call(self, pickled: bytes) -> bytes:
        """Call a method of the object: take the pickled method and arguments, return the pickled answer."""
        method, args = pickle.loads(pickled)  # noqa: S301  from a program of this cluster
        return self._object.call(method, args).to_bytes()

    def node_id(self) -> str:
        """Return Ray's number of the node."""
        number: str = ray.get_runtime_context().get_node_id()
        return number


def create(spec: WorkerSpec, node_id: str | None, namespace: str) -> Any:
    """Create the actor of a worker; return Ray's handle of it.

    Raises:
        ValueError: A worker of this name outlives programs already.
    """
    options: dict[str, Any] = {"num_cpus": spec.cpus, "num_gpus": spec.gpus, "max_restarts": 0, "max_task_retries": 0}
    if node_id is not None:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node_id, soft=False)
    if spec.outlives:
        options |= {"name": spec.name, "namespace": namespace, "lifetime": "detached"}
    handle = ray.remote(ActorHost).options(**options).remote(spec.target, dict(spec.arguments))
    if spec.outlives:
        described = pickle.dumps(replace(spec, arguments={}))
        _internal_kv_put(spec.name.encode(), described, overwrite=True, namespace=namespace.encode())
    return handle


def find(name: str, namespace: str) -> tuple[WorkerSpec, Any] | None:
    """Return the spec, without arguments, and the handle of an actor that outlives programs; None where none has this name."""
    try:
        handle = ray.get_actor(name, namespace)
    except ValueError:
        return None
    described = _internal_kv_get(name.encode(), namespace=namespace.encode())
    spec: WorkerSpec = pickle.loads(described)  # noqa: S301  from a program of this cluster
    return spec, handle


class RayCall:
    """A call of an actor."""

    def __init__(self, worker: "RayWorker", method: str, answer: Future[bytes]) -> None:
        """Keep the answer to come. `ray.wait` is not used: it swallows what handlers of signals raise."""
        self.worker: Final = worker
        self.method: Final = method
        self.answer: Final = answer

    def result(self, timeout_s: float) -> Any:
        """Return what the method returned; see `Call`."""
        name = self.worker.spec.name
        try:
            pickled = self.answer.result(timeout_s)
        except TimeoutError:
            raise TimeoutError(f"worker {name} has not answered {self.method} within {timeout_s:g} s") from None
        except RayError as error:
            self.worker.is_dead = not isinstance(error, ActorUnavailableError)
            raise WorkerDied(f"worker {name}: {_reason(error)}", has_ended=_PROCESS_ENDED in str(error)) from error
        return Answer.from_bytes(pickled).unpack()


class RayWorker:
    """An actor, started by this program or found."""

    def __init__(self, spec: WorkerSpec, handle: Any, name_of: Callable[[str], str | None], problem: str = "") -> None:
        """Keep the actor.

        Args:
            spec: What runs.
            handle: Ray's handle of the actor; None where it could not be started.
            name_of: The name of the node that has this number of Ray.
            problem: Why it could not be started.
        """
        self.spec: Final = spec
        self._problem = problem
        self.is_dead = handle is None
        """Whether the worker was not started, a call found that it or its node had ended, or `end` was called."""
        self._handle: Final = handle
        self._name_of = name_of
        self._node_id = None if handle is None or spec.node else handle.node_id.remote().future()

    def node(self) -> str | None:
        """Return the node; None while Ray has not placed the actor yet."""
        if self._node_id is None:
            return self.spec.node
        with suppress(TimeoutError, RayError):
            return self._name_of(self._node_id.result(0))
        return None

    def call(self, method: str, *args: object) -> RayCall:
        """Call a method and return at once; see `Worker`."""
        pickled = pickle.dumps((method, args))
        if self._handle is not None:
            return RayCall(self, method, self._handle.call.remote(pickled).future())
        never: Future[bytes] = Future()
        never.set_exception(WorkerDied(f"worker {self.spec.name} was not started: {self._problem}"))
        return RayCall(self, method, never)

    def end(self) -> None:
        """Kill the actor. Ray kills a process that is stopped some seconds later."""
        self.is_dead = True
        if self._handle is not None:
            ray.kill(self._handle)


def _reason(error: RayError) -> str:
    """Return the line of Ray's message that says what happened; the lines before it name the actor."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return one_line(
        lines[1] if len(lines) > 1 and "died unexpectedly" in lines[0] else lines[0] if lines else type(error).__name__
    )
