"""Decide when a node is lost, and which supervisor a node obeys.

A node answers each call of the supervisor with the time of its own clock, and the next call returns that time to it (the echo).
The lease of a node begins at the newest of its own times that came back. So it never ends later than `lease_s` after an answer
that the supervisor has received, however long calls and answers take, and whatever the two clocks show.
"""

import time
from dataclasses import dataclass
from typing import Final

from maskstream.fleet.site import OnPartition

MARGIN_S: Final = 5.0
"""The time after the end of a lease until cameras are placed on other nodes: clocks may run at different speeds."""
_SILENT_SHARE: Final = 0.5
"""The part of the lease without an answer after which a node gets no more cameras."""


def lease_now_s() -> float:
    """Return the seconds of a clock that never decreases, and that also runs while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(eq=False)
class _Contact:
    """The contact of the supervisor to a node."""

    heard_at_s: float
    """When the latest answer came, by the clock of the supervisor."""
    until_s: float
    """When the last lease that the node may have ends."""
    echo_s: float | None = None
    """The time in the latest answer, by the clock of the node."""
    has_answered: bool = False


class NodeLeases:
    """The leases of all nodes, as the supervisor knows them. All times are of the clock of the supervisor, in seconds."""

    def __init__(self) -> None:
        """Begin without nodes."""
        self._contacts: dict[str, _Contact] = {}

    def expect(self, node: str, now_s: float, lease_s: float) -> None:
        """Take a node that an earlier supervisor gave cameras to for one that was heard just now."""
        self._contacts.setdefault(node, _Contact(now_s, now_s + lease_s))

    def heard(self, node: str, sent_s: float, now_s: float) -> None:
        """Note an answer of a node.

        Args:
            node: The node.
            sent_s: The time in the answer, by the clock of the node.
            now_s: The time of the supervisor.
        """
        contact = self._contacts.setdefault(node, _Contact(now_s, now_s))
        contact.heard_at_s, contact.echo_s, contact.has_answered = now_s, sent_s, True

    def grant(self, node: str, lease_s: float) -> float | None:
        """Return the time that the next call returns to the node, which renews its lease with it. None: it has not answered."""
        contact = self._contacts.get(node)
        if contact is None or contact.echo_s is None:
            return None
        contact.until_s = max(contact.until_s, contact.heard_at_s + lease_s)
        return contact.echo_s

    def ended(self, node: str) -> None:
        """Note that the agent of a node has certainly ended: its cameras may be placed on other nodes at once."""
        self._contacts.pop(node, None)

    def is_lost(self, node: str, now_s: float, lease_s: float) -> bool:
        """Return whether the cameras of a node may be placed on other nodes; also for a node that never answered."""
        contact = self._contacts.get(node)
        return contact is None or now_s >= max(contact.until_s, contact.heard_at_s + lease_s) + MARGIN_S

    def is_silent(self, node: str, now_s: float, lease_s: float) -> bool:
        """Return whether a node has not answered for half of the lease: it should get no more cameras."""
        contact = self._contacts.get(node)
        return contact is None or not contact.has_answered or now_s - contact.heard_at_s > lease_s * _SILENT_SHARE

    def heard_age_s(self, node: str, now_s: float) -> float | None:
        """Return the time since the latest answer of a node; None before the first one."""
        contact = self._contacts.get(node)
        return now_s - contact.heard_at_s if contact is not None and contact.has_answered else None


class Lease:
    """The lease of a node, as its agent knows it. All times are of the clock of the node (`lease_now_s`), in seconds."""

    def __init__(self, began_s: float) -> None:
        """Begin without a lease.

        Args:
            began_s: The current time. Echoes of earlier times belong to an earlier agent on this node.
        """
        self._began_s = began_s
        self._renewed_s: float | None = None
        self._until_s = began_s

    def renewed(self, echo_s: float | None, lease_s: float, now_s: float) -> None:
        """Renew the lease with the echo in a call of the supervisor. An older echo than the last one changes nothing."""
        if echo_s is None or not self._began_s <= echo_s <= now_s:
            return
        if self._renewed_s is None or echo_s >= self._renewed_s:
            self._renewed_s, self._until_s = echo_s, echo_s + lease_s

    def is_valid(self, now_s: float) -> bool:
        """Return whether the supervisor has been in contact within the lease."""
        return self._renewed_s is not None and now_s < self._until_s

    def may_run(self, on_partition: OnPartition, now_s: float) -> bool:
        """Return whether the cameras of the node run: with `go_on` they also run without a lease."""
        return on_partition == "go_on" or self.is_valid(now_s)


class AcceptedSupervisor:
    """Decides in an agent which calls it obeys: those of one supervisor, and none that is older than the last one."""

    def __init__(self) -> None:
        """Begin without a supervisor."""
        self._supervisor: str | None = None
        self._latest = (0, 0)

    def refusal(self, supervisor: str, term: int, turn: int, *, has_lease: bool) -> str:
        """Return why a call is refused; empty where it is accepted, and from then on older calls are refused.

        Args:
            supervisor: The identity of the state folder of the supervisor, `Assignments.authority`.
            term: The number of its start.
            turn: The number of its turn since that start.
            has_lease: Whether the lease from the supervisor so far is valid.
        """
        if self._supervisor not in (None, supervisor):
            if has_lease:
                return f"this node belongs to supervisor {self._supervisor}; stop that one first"
            self._latest = (0, 0)
        if (term, turn) < self._latest:
            return f"term {term}, turn {turn} is older than term {self._latest[0]}, turn {self._latest[1]}"
        self._supervisor, self._latest = supervisor, (term, turn)
        return ""
