"""Answer the supervisor on a node: accept or refuse what it wants, renew the lease, return health and records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Final, Protocol
from uuid import uuid4

from loguru import logger

from maskstream import __version__
from maskstream.fleet.leases import AcceptedSupervisor, Lease, lease_now_s
from maskstream.fleet.wire import Assignment, CameraHealth, Heartbeat, NodeRecord, Reconcile, SettingsLayers, Versions

MAX_RECORDS: Final = 500
"""Records in one reply: the call has to return soon."""


@dataclass(frozen=True)
class NodeSettings:
    """The configuration that all cameras of a node share."""

    layers: SettingsLayers = ()
    overrides: SettingsLayers = ()
    """They also override the settings of single cameras."""


@dataclass(frozen=True)
class EngineReport:
    """What the engine of a node does, at one moment."""

    cameras: tuple[CameraHealth, ...] = ()
    capacity_fps: float = 0.0
    """0 while no engine runs."""
    busy: float = 0.0
    problems: tuple[str, ...] = ()
    versions: Versions = field(default_factory=lambda: Versions(__version__, {}, ""))


class NodeWork(Protocol):
    """The engine of a node. All methods return at once."""

    def apply(self, settings: NodeSettings, assignments: Sequence[Assignment]) -> None:
        """Watch these cameras with these settings from now on. The same call again changes nothing."""
        ...

    def report(self) -> EngineReport:
        """Return what the engine does."""
        ...


class WaitingRecords(Protocol):
    """The records of a node that the supervisor has not committed."""

    @property
    def outbox_id(self) -> str:
        """Identifies the file with the records."""
        ...

    @property
    def lost(self) -> int:
        """Records that were dropped because there was no room."""
        ...

    def waiting(self) -> int:
        """Return the number of records."""
        ...

    def records(self, after: int, limit: int) -> tuple[NodeRecord, ...]:
        """Delete the records up to a number, and return the oldest ones that remain."""
        ...


class Agent:
    """The answers of a node. One thread calls `beat`; the engine's thread asks `may_watch`."""

    def __init__(
        self,
        node: str,
        work: NodeWork,
        outbox: WaitingRecords,
        now_s: Callable[[], float] = lease_now_s,
        now_utc: Callable[[], float] = time,
    ) -> None:
        """Begin without a supervisor.

        Args:
            node: The name of the node.
            work: The engine.
            outbox: The records of the engine.
            now_s: The clock of the lease.
            now_utc: Returns seconds since 1970.
        """
        self._node = node
        self._id = uuid4().hex
        self._work = work
        self._outbox = outbox
        self._now_s = now_s
        self._now_utc = now_utc
        self._lease = Lease(now_s())
        self._accepted_supervisor = AcceptedSupervisor()
        self._accepted: Reconcile | None = None

    @property
    def term(self) -> int:
        """The term of the supervisor that was accepted last; 0 before the first one."""
        return self._accepted.term if self._accepted else 0

    def may_watch(self) -> bool:
        """Return whether the node may watch its cameras now: within the lease, or where it goes on without a supervisor."""
        accepted = self._accepted
        return accepted is not None and self._lease.may_run(accepted.on_partition, self._now_s())

    def beat(self, wanted: Reconcile) -> Heartbeat:
        """Do what the supervisor wants, and return the state of the node. The same call again changes nothing.

        A supervisor that is refused changes nothing and gets no records.
        """
        refused = self._why_refused(wanted)
        if refused:
            return self._reply(refused, ())
        self._lease.renewed(wanted.echo_s, wanted.lease_s, self._now_s())
        last, self._accepted = self._accepted, wanted
        if last is None or (wanted.supervisor, wanted.term) != (last.supervisor, last.term):
            logger.info("supervisor {}, term {}: {} cameras", wanted.supervisor, wanted.term, len(wanted.assignments))
        self._work.apply(NodeSettings(wanted.settings, wanted.overrides), wanted.assignments)
        known = wanted.acknowledged if wanted.outbox == self._outbox.outbox_id else 0
        return self._reply("", self._outbox.records(known, MAX_RECORDS))

    def _why_refused(self, wanted: Reconcile) -> str:
        """Return why a call is refused; empty where it is accepted."""
        if minor_version(wanted.version) != minor_version(__version__):
            return f"runs version {__version__}, the supervisor {wanted.version or 'an unknown one'}; install the same on both"
        has_lease = self._lease.is_valid(self._now_s())
        return self._accepted_supervisor.refusal(wanted.supervisor, wanted.term, wanted.turn, has_lease=has_lease)

    def _reply(self, refused: str, records: tuple[NodeRecord, ...]) -> Heartbeat:
        report = self._work.report()
        return Heartbeat(
            node=self._node,
            agent=self._id,
            applied_generation=self._accepted.generation if self._accepted else 0,
            wall_utc=self._now_utc(),
            capacity_fps=report.capacity_fps,
            busy=report.busy,
            cameras=report.cameras,
            records=records,
            waiting=self._outbox.waiting(),
            versions=report.versions,
            problems=report.problems,
            outbox=self._outbox.outbox_id,
            lost=self._outbox.lost,
            refused=refused,
            applied_turn=self._accepted.turn if self._accepted else 0,
            sent_s=self._now_s(),
        )


def minor_version(version: str) -> str:
    """Return the part of a version in which a supervisor and its agents must agree: `1.4` of `1.4.2`."""
    return ".".join(version.split(".")[:2])
