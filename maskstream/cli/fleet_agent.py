"""The agent of a node of a fleet: the process that `maskstream fleet` starts on each machine."""

from pathlib import Path

from rich.console import Console

from maskstream import __version__
from maskstream.cli.node_build import NodeParts
from maskstream.cli.node_engine import NodeEngine
from maskstream.cli.process import keep_freed_memory, redact_tracebacks, start_log
from maskstream.clock import MONOTONIC
from maskstream.errors import ConfigError
from maskstream.fleet.agent import Agent, minor_version
from maskstream.fleet.node_outbox import NodeOutbox
from maskstream.fleet.wire import Heartbeat, Reconcile
from maskstream.io.user_folders import state_folder


class FleetAgent:
    """One engine and the outbox of its records. The supervisor calls `beat`, and `stop` at the end."""

    def __init__(
        self, node: str, site: str, folder: str | None = None, version: str = __version__, log_level: str = "INFO"
    ) -> None:
        """Open the outbox of the node. The engine starts with the first `beat`.

        Args:
            node: The name of the node.
            site: The name of the site.
            folder: Where the node keeps its records; None: below the folder for state of the user.
            version: That of the supervisor.
            log_level: The lowest level that is logged, to standard error.

        Raises:
            ConfigError: The supervisor has another minor version, or there is no folder.
            SinkError: The outbox cannot be opened.
        """
        redact_tracebacks()
        start_log(Console(stderr=True), log_level)
        keep_freed_memory()
        if minor_version(version) != minor_version(__version__):
            raise ConfigError(f"has version {__version__}, the supervisor {version}; install the same on both")
        self._outbox = NodeOutbox(_folder_of(folder, site, node), epoch_of=self._epoch_of)
        self._parts = NodeParts(self._outbox, self._may_watch, MONOTONIC)
        self._engine = NodeEngine(self._parts)
        self._agent = Agent(node, self._engine, self._outbox)
        self._stopped_in: int | None = None
        """The term of the supervisor that ended the engine."""

    def beat(self, wanted: Reconcile) -> Heartbeat:
        """Do what the supervisor wants, and return the state of the node; see `Agent.beat`.

        A supervisor may have been killed after `stop` and before it ended this process: the next one gets an engine again.
        """
        if self._stopped_in is not None and wanted.term > self._stopped_in:
            self._engine.resume()
        return self._agent.beat(wanted)

    def stop(self) -> None:
        """Begin to end the engine. Its last records are returned by `beat`."""
        self._stopped_in = self._agent.term
        self._engine.stop()

    def _may_watch(self) -> bool:
        return self._agent.may_watch()

    def _epoch_of(self, camera: str) -> int:
        return self._parts.opened.epoch(camera)


def _folder_of(folder: str | None, site: str, node: str) -> Path:
    if folder is not None:
        return Path(folder)
    state = state_folder()
    if state is None:
        raise ConfigError(f"{node}: there is no home folder for the records of the node; set XDG_STATE_HOME")
    return state / "sites" / site / "nodes" / node
