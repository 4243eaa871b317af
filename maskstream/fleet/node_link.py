"""Hold the connection of the supervisor to the agent of one node: find or start it, call it, start it again after it died."""

from typing import Final

from loguru import logger

from maskstream.fleet.placement import Call, CallFailed, Placement, Worker, WorkerDied, WorkerSpec
from maskstream.fleet.wire import Heartbeat, Reconcile

_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_HANGS_S: Final = 120.0
"""An agent that does not answer for this time is ended: its cameras have been on other nodes for long."""
_STEADY_S: Final = 60.0
"""An agent that has answered for this time is started again at once."""


class NodeLink:
    """The agent of one node. No method waits for the agent."""

    def __init__(self, placement: Placement, spec: WorkerSpec) -> None:
        """Begin without the agent.

        Args:
            placement: Where it is found or started.
            spec: The agent; its `node` is set.
        """
        self.node = spec.node or spec.name
        self.last: Heartbeat | None = None
        """The latest reply of the agent that runs; None before its first one."""
        self.problem = ""
        """Why there is no reply, as one line; empty where nothing is known."""
        self._placement = placement
        self._spec = spec
        self._worker: Worker | None = None
        self._call: Call | None = None
        self._failures = 0
        self._retry_at_s = 0.0
        self._started_at_s = self._sent_s = 0.0
        self._was_found = False

    @property
    def is_running(self) -> bool:
        """Whether the agent runs, as far as is known."""
        return self._worker is not None

    @property
    def is_free(self) -> bool:
        """Whether the agent runs and has answered the last call."""
        return self._worker is not None and self._call is None

    @property
    def is_known(self) -> bool:
        """Whether the agent has cameras: it has answered, or an earlier supervisor has started it."""
        return self.last is not None or self._was_found

    @property
    def sent_s(self) -> float:
        """When the latest call was sent."""
        return self._sent_s

    @property
    def call(self) -> Call | None:
        """The call that has not been answered."""
        return self._call

    def attend(self, now_s: float) -> None:
        """Find the agent that an earlier supervisor started, or start one, where there is none and the next attempt is due.

        One that hangs is ended.
        """
        if self._worker is not None and self._call is not None and now_s - self._sent_s > _HANGS_S:
            self._worker.end()
            self._failed(f"its agent has not answered for {_HANGS_S:.0f} s", now_s)
        if self._worker is not None or now_s < self._retry_at_s:
            return
        try:
            self._worker = self._placement.find(self._spec.name)
            self._was_found = self._worker is not None
            if self._worker is None:
                self._worker = self._placement.start(self._spec)
        except (OSError, ValueError) as error:  # the node has just left, or the machine has no room for a process
            self._failed(f"cannot be started: {error}", now_s)
            return
        self._started_at_s = now_s
        if not (self._was_found and self.problem):  # else nobody knows whether it can be reached again
            logger.info("{}: {}", self.node, "its agent runs, and goes on" if self._was_found else "its agent starts")

    def send(self, wanted: Reconcile, now_s: float) -> None:
        """Call the agent, where it runs and has answered the last call."""
        if self._worker is not None and self.is_free:
            self._sent_s = now_s
            self._call = self._worker.call("beat", wanted)

    def receive(self, now_s: float) -> Heartbeat | None:
        """Take the answer of a call that is done; None where there is no answer, or an error in place of it.

        Raises:
            WorkerDied: The agent has ended, or cannot be reached. The next `attend` after a wait finds it or starts another one.
        """
        call, self._call = self._call, None
        if call is None:
            return None
        try:
            reply: Heartbeat = call.result(0)
        except TimeoutError:
            self._call = call
            return None
        except CallFailed as error:
            self._take_error(error, now_s)
            return None
        except WorkerDied as died:
            what = "has ended" if died.has_ended else "cannot be reached"
            self._failed(f"its agent {what}: {' | '.join([f'{died.reason:.200}', *died.last_lines[-3:]])}", now_s)
            raise
        if self.problem:
            logger.info("{}: its agent answers", self.node)
        self.last, self.problem = reply, ""
        if now_s - self._started_at_s > _STEADY_S:
            self._failures = 0
        return reply

    def stop(self) -> None:
        """Ask the agent to end its engine."""
        if self._worker is not None:
            self._worker.call("stop")

    def end(self) -> None:
        """Kill the agent. A second call does nothing."""
        if self._worker is not None:
            self._worker.end()
        self._worker = self._call = self.last = None

    def _take_error(self, error: CallFailed, now_s: float) -> None:
        """Start an agent again that could not be created. One that fails now and then has cameras, and goes on."""
        if self.last is None:
            self.end()
            self._failed(error.reason, now_s)
            return
        if error.reason != self.problem:
            logger.error("{}: {}", self.node, error.reason)
            if error.exit_code is None:
                logger.debug("{}", error.traceback)
        self.problem = error.reason

    def _failed(self, reason: str, now_s: float) -> None:
        wait_s = min(_FIRST_WAIT_S * 2 ** min(self._failures, 10), _LONGEST_WAIT_S)
        self._failures += 1
        self._retry_at_s = now_s + wait_s
        self._worker = self._call = self.last = None
        if reason != self.problem:
            logger.error("{}: {}; next attempt in {:.0f} s", self.node, reason, wait_s)
        self.problem = reason
