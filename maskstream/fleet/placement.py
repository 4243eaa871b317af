"""Define where workers run: processes of this machine, or actors of Ray.

A worker is one object in a process of its own. Its methods are called by name, one call after the other, each at most once:
no call is repeated behind the back of the caller. Whoever needs a result exactly once calls again and has an idempotent method.
"""

import re
import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Protocol, Self

from maskstream.errors import MaskStreamError
from maskstream.redaction import one_line, redact_text

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class NodeInfo:
    """A machine that workers can run on, at the moment that it was asked for."""

    name: str
    """The host name, or Ray's name of the node; unique within the placement."""
    cpus: float
    """Cores, of which workers take `WorkerSpec.cpus`."""
    gpus: float
    is_alive: bool
    """False for a node that left or died; nothing can be started there."""


@dataclass(frozen=True)
class WorkerSpec:
    """A worker to start."""

    name: str
    """Letters, digits, `.`, `_` and `-`. Unique within the placement; a worker that `outlives` the program keeps it."""
    target: str
    """The class, as `package.module:Class`. The worker's process creates it with `arguments`."""
    arguments: Mapping[str, object] = field(default_factory=dict)
    """Keyword arguments, which must be picklable."""
    cpus: float = 1.0
    """Cores that Ray reserves; local processes do not reserve any."""
    gpus: float = 0.0
    """Part of a GPU that Ray reserves, such as 0.25; local processes share the GPUs of the machine."""
    node: str | None = None
    """Start it on this node and nowhere else; None leaves the choice to the placement."""
    outlives: bool = False
    """Go on when the program that started it ends or is killed; `Placement.find` returns the worker to the next program."""


def check_name(name: str) -> None:
    """Check the name of a worker.

    Raises:
        ValueError: It has other characters than letters, digits, `.`, `_` and `-`, or more than 64.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r}: a worker is named by up to 64 letters, digits, '.', '_' and '-'")


class WorkerDied(Exception):
    """The process of a worker ended before it answered, or its node did. Whether the method ran is unknown.

    Where only the network has failed, the process may still run: see `has_ended`.
    """

    def __init__(self, reason: str, last_lines: tuple[str, ...] = (), has_ended: bool = False) -> None:
        """Keep what is known.

        Args:
            reason: One line.
            last_lines: What the worker last wrote to standard error; () where that is unknown.
            has_ended: The process has certainly ended. False: it may run, but cannot be reached.
        """
        super().__init__(reason, last_lines, has_ended)
        self.reason = reason
        self.last_lines = last_lines
        self.has_ended = has_ended

    def __str__(self) -> str:
        return self.reason


class CallFailed(Exception):
    """The method raised an error, or the constructor did before it. The worker goes on and takes other calls."""

    def __init__(self, reason: str, traceback_text: str = "", exit_code: int | None = None) -> None:
        """Keep what the worker said.

        Args:
            reason: `Type: message`, or the message alone for a `MaskStreamError`, whose message is complete.
            traceback_text: The traceback in the worker.
            exit_code: That of the `MaskStreamError`; None for other errors, which are the programmer's.
        """
        super().__init__(reason, traceback_text, exit_code)
        self.reason = reason
        self.traceback = traceback_text
        self.exit_code = exit_code

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Describe an error by plain values, which the caller can read whatever modules it has."""
        text = redact_text("".join(traceback.format_exception(error)))
        if isinstance(error, MaskStreamError):
            return cls(str(error), text, error.exit_code)
        return cls(one_line(redact_text(f"{type(error).__name__}: {error}".removesuffix(": "))), text)

    def __str__(self) -> str:
        return self.reason


class Call(Protocol):
    """A call of a worker's method, waiting, running or done."""

    @property
    def worker(self) -> "Worker":
        """The worker that was called."""
        ...

    @property
    def method(self) -> str:
        """The name of the method."""
        ...

    def result(self, timeout_s: float) -> Any:
        """Return what the method returned. It may be asked for again.

        Raises:
            TimeoutError: The call is not done after `timeout_s`; it goes on.
            WorkerDied: The worker ended before it answered.
            CallFailed: The method raised an error.
        """
        ...


class Worker(Protocol):
    """An object in a process of its own."""

    @property
    def spec(self) -> WorkerSpec:
        """What was started. A worker that was found has its spec without the arguments."""
        ...

    def node(self) -> str | None:
        """Return the name of its node; None while Ray has not placed it yet."""
        ...

    def call(self, method: str, *args: object) -> Call:
        """Call a method and return at once. Calls run in this order, one at a time, each at most once.

        Args:
            method: Name of the method.
            args: Positional arguments, which must be picklable, as must the value that it returns.
        """
        ...

    def end(self) -> None:
        """Kill the worker, also one that is stopped or hangs. Its calls raise `WorkerDied`. A second call does nothing."""
        ...


class Placement(Protocol):
    """Where workers are started and found. A context manager."""

    def nodes(self) -> list[NodeInfo]:
        """Return the nodes by name, also those that died as far as they are known. While the head of Ray is down: as before."""
        ...

    def start(self, spec: WorkerSpec) -> Worker:
        """Start a worker and return at once. An error in its constructor is raised as `CallFailed` by each of its calls.

        A worker that cannot be started, as its node has died or the head of Ray is down, raises `WorkerDied` in each call.

        Raises:
            ValueError: A worker of this name runs, or the node is unknown.
        """
        ...

    def find(self, name: str) -> Worker | None:
        """Return a worker that `outlives` the program which started it; None where no such worker runs.

        While the head of Ray is down, a worker that could not be reached is returned: it may be reached again.

        Raises:
            TimeoutError: The head of Ray is down, and nobody knows.
        """
        ...

    def wait(self, calls: Collection[Call], timeout_s: float) -> list[Call]:
        """Return the calls that are done, at least one of them unless `timeout_s` is over. Their results do not block."""
        ...

    def close(self) -> None:
        """End all workers that do not outlive the program, in bounded time. A second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
