"""The messages between the supervisor of a site and the agent of a node: frozen, of plain values, picklable.

There is one call, `agent.beat(Reconcile) -> Heartbeat`. It may be lost, doubled or late in both directions: the agent returns its
records again until the supervisor acknowledges them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

SettingsLayers: TypeAlias = tuple[tuple[str, Mapping[str, Any]], ...]
"""The origin of each layer of settings, for messages, and its values."""


@dataclass(frozen=True)
class Assignment:
    """A camera that a node shall run."""

    camera: str
    epoch: int
    """Grows with each assignment of the camera; a record of a lower epoch comes from a node that no longer has the camera."""
    entry: Mapping[str, Any]
    """The entry of the camera list as it was written: variables and passwords are resolved on the node."""


@dataclass(frozen=True)
class Reconcile:
    """What the supervisor wants of a node: all of its cameras, not a change."""

    supervisor: str
    """Identifies the folder of the supervisor: the same after a restart, another one for another supervisor."""
    term: int
    """Grows with each start of a supervisor on this folder."""
    generation: int
    """Grows with each accepted edit of the site file."""
    assignments: tuple[Assignment, ...]
    lease_s: float
    """For how long the assignments are valid without another call."""
    on_partition: Literal["go_on", "stop"]
    """What the node does when the lease ends: `go_on` or `stop`."""
    acknowledged: int
    """The highest number of a record of `outbox` that is committed; 0 where none is."""
    outbox: str = ""
    """The outbox that `acknowledged` belongs to: `Heartbeat.outbox` of an earlier reply. Empty before the first reply."""
    turn: int = 0
    """The number of the turn of the supervisor in its term. A node applies no call that is older than its last one."""
    echo_s: float | None = None
    """`Heartbeat.sent_s` of the latest reply that came; the lease of the node begins there. None before the first reply."""
    settings: SettingsLayers = ()
    """The layers of the configuration of all cameras, in order. Variables and paths are resolved on the node."""
    overrides: SettingsLayers = ()
    """The layers of the command line, which override the settings of single cameras. They come after `settings`."""
    version: str = ""
    """The version of the supervisor's program. An agent of another minor version refuses it."""


@dataclass(frozen=True)
class CameraHealth:
    """The state of a camera on a node."""

    camera: str
    epoch: int
    state: str
    """A value of `SourceState`."""
    captured_fps: float
    analysed_fps: float
    dropped_share: float
    """Of the captured frames, in [0, 1]."""
    reason: str
    """Why the camera is not online; empty where it is."""
    open_events: int
    first_frame_utc: float | None
    """When the first frame of this epoch was captured, in seconds since 1970 by the clock of the node; None before it."""
    wanted_fps: float = 0.0
    """Frames per second that should be analysed: `captured_fps` divided by `stream.stride`."""


@dataclass(frozen=True)
class Versions:
    """What a node runs; two nodes that differ do not give comparable results."""

    program: str
    weights: Mapping[str, str]
    """The SHA-256 of each weights file, by its name."""
    settings: str
    """A hash of the effective settings."""


@dataclass(frozen=True)
class NodeRecord:
    """An event or counts record that waits on a node until it is committed."""

    number: int
    """Only grows within the outbox of the node, also across restarts. A gap is a record that was lost."""
    camera: str
    epoch: int
    """Of the camera when the event began, or when the minute ended."""
    key: str
    """Unique, and the same whenever the record is sent: EVENT_ID-SEQUENCE or counts-CAMERA-EPOCH-TIME."""
    body: str
    """The JSON of the record, as `event_record` gives it."""


@dataclass(frozen=True)
class Heartbeat:
    """The reply of a node."""

    node: str
    agent: str
    """Identifies the process of the agent."""
    applied_generation: int
    wall_utc: float
    """Seconds since 1970 by the clock of the node, when it replied."""
    capacity_fps: float
    """Frames per second that the node can analyse."""
    busy: float
    """The share of that in use, in [0, 1]."""
    cameras: tuple[CameraHealth, ...]
    records: tuple[NodeRecord, ...]
    """The oldest records after `Reconcile.acknowledged`, in order."""
    waiting: int
    """Records that are not acknowledged, with those in `records`."""
    versions: Versions
    problems: tuple[str, ...]
    """One line each: what does not work on the node."""
    outbox: str = ""
    """Identifies the file with the records; another one begins to count anew."""
    lost: int = 0
    """Records that this outbox has dropped since it was created: it was full."""
    refused: str = ""
    """Why the agent does not accept this supervisor or its settings; empty where it does."""
    applied_turn: int = 0
    """`Reconcile.turn` of the latest call of this term that it has applied; 0 before the first one."""
    sent_s: float = 0.0
    """When it replied, by the clock of the node that `leases.lease_now_s` reads."""
