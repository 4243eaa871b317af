"""Hold what the handlers of the dashboard use: the store, the settings, the live view and the lists of cameras."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.schema import Config
from maskstream.events.delivery import DeliveryStatus
from maskstream.fleet.status import FleetStatus
from maskstream.store.store import Store

if TYPE_CHECKING:
    from maskstream.web.camera_lists import CameraLists
    from maskstream.web.live_view import LiveView


@dataclass
class WebCounts:
    """Counts of requests and logins since the start. Only the thread of the web server changes and reads them."""

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """By path of the route, method and status. The path of a request without a route is `other`."""
    logins: Counter[str] = field(default_factory=Counter)
    """By outcome: `success`, `failure`, `limited`."""


@dataclass
class LoginTurns:
    """Limits how many passwords are checked at the same time: a check takes much memory and time."""

    checking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Held while a password is checked."""
    waiting: int = 0
    """The number of logins whose password is being checked, or waits for that."""


@dataclass(frozen=True)
class WebContext:
    """The parts of the program that handlers use."""

    store: Store
    config: Config
    live: "LiveView | None" = None
    """None in `maskstream dashboard`, which shows the store without running cameras. In the supervisor of a fleet, one without
    an engine: it passes the states of the cameras and events to the clients."""
    cameras: "CameraLists | None" = None
    """The lists of cameras of the run; None without any."""
    deliveries: Callable[[], Sequence[DeliveryStatus]] = tuple
    """Returns what waits for each network receiver of events."""
    folders: Sequence[str] = ()
    """The folders that the run writes to, the one of the store left out."""
    fleet: Callable[[], FleetStatus] | None = None
    """Returns the state of the fleet; None where the program is not the supervisor of one."""
    drain: Callable[[str, bool], None] | None = None
    """Begins or ends to empty a node; set together with `fleet`. It raises `MaskStreamError` where that cannot be written."""
    clock: Clock = MONOTONIC
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """UTC."""
    counts: WebCounts = field(default_factory=WebCounts)
    logins: LoginTurns = field(default_factory=LoginTurns)
    probes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Held while a camera is probed."""

    def __post_init__(self) -> None:
        """Check that a fleet has what its pages need."""
        if self.fleet is not None and (self.live is None or self.drain is None):
            raise ValueError("a context with a fleet needs live and drain")
