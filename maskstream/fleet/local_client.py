"""A local worker as the program sees it: a thread sends its calls, one at a time, and takes the answers."""

import os
import pickle
import signal
import subprocess
from contextlib import closing, suppress
from queue import SimpleQueue
from socket import AF_UNIX, socket
from threading import Condition, Event, Thread
from typing import Any, Final

from maskstream.fleet.messages import MessageSocket
from maskstream.fleet.placement import WorkerDied, WorkerSpec
from maskstream.fleet.worker_files import WorkerFiles
from maskstream.fleet.worker_object import Answer

_CONNECT_AGAIN_S: Final = 0.02
_CONNECT_S: Final = 1.0
_SAY_S: Final = 1.0
"""For which a process that closed its connection may take to end."""
_END_S: Final = 5.0
"""For which the end of a killed process or of a thread is waited for."""


class LocalCall:
    """A call of a local worker."""

    def __init__(self, worker: "LocalWorker", method: str, pickled: bytes, finished: Condition) -> None:
        """Keep what is to be sent, and the condition that is notified in the end."""
        self.worker: Final = worker
        self.method: Final = method
        self.pickled: Final = pickled
        self._finished = finished
        self._outcome: Answer | WorkerDied | None = None

    @property
    def is_done(self) -> bool:
        """Whether `result` returns or raises without waiting."""
        return self._outcome is not None

    def finish(self, outcome: Answer | WorkerDied) -> None:
        """Set the outcome. Only the first one counts."""
        with self._finished:
            self._outcome = self._outcome or outcome
            self._finished.notify_all()

    def result(self, timeout_s: float) -> Any:
        """Return what the method returned; see `Call`."""
        with self._finished:
            self._finished.wait_for(lambda: self.is_done, timeout_s)
            outcome = self._outcome
        if outcome is None:
            raise TimeoutError(f"worker {self.worker.spec.name} has not answered {self.method} within {timeout_s:g} s")
        if isinstance(outcome, WorkerDied):
            raise outcome
        return outcome.unpack()


class LocalWorker:
    """A process of this machine, started by this program or found."""

    def __init__(
        self, spec: WorkerSpec, files: WorkerFiles, finished: Condition, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        """Begin to send calls.

        Args:
            spec: What runs.
            files: Where it listens.
            finished: Notified whenever a call is done.
            process: None for a worker that another program started.
        """
        self.spec: Final = spec
        self._files = files
        self._finished = finished
        self._process = process
        self._waiting: SimpleQueue[LocalCall | None] = SimpleQueue()
        self._leaving = Event()
        self._died: WorkerDied | None = None
        self._messages: MessageSocket | None = None
        self._thread = Thread(target=self._serve, name=f"worker {spec.name}", daemon=True)
        self._thread.start()

    @property
    def is_dead(self) -> bool:
        """Whether a call found that the process has ended, or `end` was called."""
        return self._died is not None

    def node(self) -> str | None:
        """Return the node, which is known from the start."""
        return self.spec.node

    def call(self, method: str, *args: object) -> LocalCall:
        """Call a method and return at once; see `Worker`."""
        call = LocalCall(self, method, pickle.dumps((method, args)), self._finished)
        with self._finished:
            if self._died is None:
                self._waiting.put(call)
            else:
                call.finish(self._died)
        return call

    def end(self) -> None:
        """Kill the process with all that it started, and fail the calls."""
        self._stop(kill=True)

    def leave(self) -> None:
        """Kill the process unless it outlives the program; then only disconnect from it."""
        self._stop(kill=not self.spec.outlives)

    def _stop(self, kill: bool) -> None:
        if self._leaving.is_set():
            return
        self._leaving.set()
        if kill:
            self._kill()
        self._waiting.put(None)
        if (messages := self._messages) is not None:
            messages.close()
        self._thread.join(_END_S)
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0  # it goes on without this program: nothing that Python should warn of

    def _kill(self) -> None:
        if self._process is None:
            self._files.kill()
            self._files.has_ended(_END_S)
        else:
            _kill_group(self._process)
        self._files.forget()

    def _serve(self) -> None:
        call = None
        try:
            with closing(self._connected()) as messages:
                self._messages = messages
                while not self._leaving.is_set() and (call := self._waiting.get()) is not None:
                    messages.send(call.pickled)
                    call.finish(Answer.from_bytes(messages.receive()))
        except (EOFError, OSError):
            pass  # the process ended, or `_stop` closed the connection
        self._messages = None
        died = self._reason()
        with self._finished:
            self._died = died
            while call is not None or not self._waiting.empty():
                if call is not None:
                    call.finish(died)
                call = None if self._waiting.empty() else self._waiting.get()

    def _connected(self) -> MessageSocket:
        """Connect as soon as the process listens.

        Raises:
            EOFError: The process ended, or `_stop` was called.
        """
        while not self._leaving.wait(_CONNECT_AGAIN_S):
            connecting = socket(AF_UNIX)
            connecting.settimeout(_CONNECT_S)
            try:
                with self._files.address() as address:
                    connecting.connect(address)
            except OSError:
                connecting.close()
                if self._has_ended():
                    break
            else:
                connecting.settimeout(None)
                return MessageSocket(connecting)
        raise EOFError

    def _has_ended(self) -> bool:
        return not self._files.is_running() if self._process is None else self._process.poll() is not None

    def _reason(self) -> WorkerDied:
        """Say how the process ended, after it closed its connection."""
        name = self.spec.name
        if self._leaving.is_set():
            return WorkerDied(f"worker {name} was ended by this program")
        if self._process is None:
            ended = self._files.has_ended(_SAY_S)
            return WorkerDied(f"worker {name} ended" if ended else f"another program has connected to worker {name}", (), ended)
        try:
            code = self._process.wait(_SAY_S)
        except subprocess.TimeoutExpired:
            return WorkerDied(f"another program has connected to worker {name}")
        _kill_group(self._process)  # what it started
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return WorkerDied(f"the process of worker {name} {how}", self._files.last_lines(), has_ended=True)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
