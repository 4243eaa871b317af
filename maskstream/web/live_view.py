"""Collect what the dashboard shows of the cameras: states, rates, people, and the newest annotated frames."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock, Thread
from typing import Any, Final

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.source_settings import SourceSettings
from maskstream.events.event_records import event_record
from maskstream.events.types import MaskEvent
from maskstream.io.text_file import iso_8601
from maskstream.stream.engine import Engine, Progress
from maskstream.stream.health import SourceHealth, SourceTotals
from maskstream.stream.states import SILENT, SourceState, StateChange
from maskstream.types import Output
from maskstream.web.live_clients import LiveClients
from maskstream.web.live_counts import CameraCounts, CountsSnapshot
from maskstream.web.tiles import TileHub

_HEALTH_S: Final = 0.5
"""Health that is younger is used again, however many clients ask."""


@dataclass(frozen=True)
class Outage:
    """The time in which a camera sent no frames."""

    began: datetime
    """UTC."""
    ended: datetime | None
    """UTC; None while it lasts."""
    cause: str

    def record(self) -> dict[str, Any]:
        """Return the outage for JSON."""
        return {"began_utc": iso_8601(self.began), "ended_utc": iso_8601(self.ended), "cause": self.cause}


@dataclass(frozen=True)
class CameraView:
    """The state of one camera at one moment."""

    health: SourceHealth
    people: dict[str, int]
    """People in the latest frame, by label."""
    zones: dict[str, list[list[float]]]
    """Corners as fractions of width and height, by the names of the zones."""
    blur: str
    """The value of `privacy.blur`."""
    width: int
    """Of the latest frame; 0 before the first."""
    height: int
    last_outage: Outage | None
    """The latest outage of this run."""

    @property
    def camera(self) -> str:
        """The name of the camera."""
        return self.health.source_id

    def record(self) -> dict[str, Any]:
        """Return the state for JSON."""
        health = self.health
        age_s = health.frame_age_s
        return {
            "camera": health.source_id,
            "state": health.state.value,
            "state_s": round(health.state_s, 1),
            "cause": health.cause,
            "fps_in": round(health.fps_in, 2),
            "fps_out": round(health.fps_out, 2),
            "dropped": dict(health.dropped),
            "frame_age_s": None if age_s is None else round(age_s, 3),
            "reconnects_last_hour": health.reconnects_last_hour,
            "stage_ms": {stage: round(ms, 2) for stage, ms in health.stage_ms.items()},
            "people": dict(self.people),
            "zones": [{"name": name, "polygon": polygon} for name, polygon in self.zones.items()],
            "privacy": {"blur": self.blur},
            "width": self.width,
            "height": self.height,
            "last_outage": None if self.last_outage is None else self.last_outage.record(),
        }


@dataclass(eq=False)
class _Camera:
    """What the thread that renders writes about a camera. Each value is replaced and never changed."""

    counts: CameraCounts = field(default_factory=CameraCounts)
    state: StateChange | None = None
    """None after the camera was removed."""
    was_online: bool = False
    reconnects: int = 0
    outage: Outage | None = None
    size: tuple[int, int] = (0, 0)
    dropped: int = 0


class LiveView:
    """The cameras of a run as the dashboard shows them.

    The thread that renders writes through `LiveSink` and `LiveEvents`; the threads of the web server read.
    """

    def __init__(
        self, settings: SourceSettings, *, quality: int = 80, clock: Clock = MONOTONIC, hub: TileHub | None = None
    ) -> None:
        """Begin without cameras.

        Args:
            settings: The zones and the `privacy` section of each camera.
            quality: The JPEG quality of tiles, 1 to 100.
            clock: The clock of the run.
            hub: Passes tiles to viewers.
        """
        self.settings = settings
        self.clock = clock
        self.hub = hub or TileHub(quality, clock)
        self._cameras: dict[str, _Camera] = {}
        self._engine: Engine | None = None
        self._health: Sequence[SourceHealth] = ()
        self._health_at_s = -float("inf")
        self._health_lock = Lock()
        self.clients = LiveClients(self.hub, self.knows)

    def watch(self, engine: Engine) -> None:
        """Read health and progress from an engine."""
        self._engine = engine

    # Called by the thread that renders, through LiveSink and LiveEvents.

    def count(self, output: Output) -> None:
        """Count an analysed frame."""
        camera = self._camera(output.frame.source_id)
        now_s = self.clock.now_s()
        camera.size = output.frame.width, output.frame.height
        camera.counts.add(output, now_s)
        is_fast_file = output.frame.wall_time is None and not self.settings.common.stream.realtime
        if output.dropped > camera.dropped or is_fast_file:  # such files are read as fast as possible
            self.hub.overloaded_at_s = now_s
        camera.dropped = output.dropped

    def state_changed(self, change: StateChange) -> None:
        """Take the new state of a camera."""
        camera = self._camera(change.source_id)
        if change.state is SourceState.ONLINE:
            after_loss = change.before in (SourceState.RECONNECTING, SourceState.OFFLINE)
            camera.reconnects += camera.was_online and after_loss
            camera.was_online = True
            if camera.outage is not None and camera.outage.ended is None:
                camera.outage = Outage(camera.outage.began, change.wall_time, camera.outage.cause)
        elif change.state in SILENT:
            began = change.wall_time if camera.outage is None or camera.outage.ended is not None else camera.outage.began
            camera.outage = Outage(began, None, change.cause)
        if change.state is not SourceState.ONLINE:
            camera.counts.nobody_present()
        camera.state = change
        self.clients.changed()

    def removed(self, name: str) -> None:
        """Forget the state of a camera. Its counts are kept: they continue where it is added again."""
        camera = self._camera(name)
        camera.state, camera.was_online, camera.outage, camera.dropped = None, False, None, 0
        camera.counts.nobody_present()
        self.clients.changed()

    def event(self, event: MaskEvent) -> None:
        """Count an event, and pass on its record without the image of the face."""
        self._camera(event.source_id).counts.add_event(event)
        if len(self.clients):
            self.clients.event(public_record(event))

    def _camera(self, name: str) -> _Camera:
        return self._cameras.setdefault(name, _Camera())

    # Called by the threads of the web server.

    def knows(self, name: str) -> bool:
        """Return whether the run has, or had, a camera of this name."""
        return name in self._cameras

    def cameras(self) -> list[CameraView]:
        """Return the cameras of the run, also those that are being opened."""
        views = {health.source_id: self._view(health) for health in self.health()}
        now_s = self.clock.now_s()
        for name, camera in list(self._cameras.items()):
            state = camera.state
            if name not in views and state is not None and state.state is not SourceState.ENDED:
                views[name] = self._view(_opening(state, now_s))
        return list(views.values())

    def camera(self, name: str) -> CameraView | None:
        """Return one camera; None where the run has none of this name."""
        return next((view for view in self.cameras() if view.camera == name), None)

    def snapshots(self) -> dict[str, CountsSnapshot]:
        """Return the counts of all cameras, removed ones included."""
        return {name: camera.counts.snapshot() for name, camera in list(self._cameras.items())}

    def reconnects(self) -> dict[str, int]:
        """Return how many times each camera reconnected, removed ones included."""
        return {name: camera.reconnects for name, camera in list(self._cameras.items())}

    def health(self) -> Sequence[SourceHealth]:
        """Return the health of each source, at most half a second old."""
        engine = self._engine
        if engine is None:
            return ()
        with self._health_lock:
            now_s = self.clock.now_s()
            if now_s - self._health_at_s >= _HEALTH_S:
                self._health, self._health_at_s = engine.health(), now_s
            return self._health

    def totals(self) -> dict[str, SourceTotals]:
        """Return the totals of all sources, removed ones included."""
        return {} if self._engine is None else self._engine.totals()

    def progress(self) -> Progress | None:
        """Return whether the threads of the engine advance; None before `watch`."""
        return None if self._engine is None else self._engine.progress()

    def close(self) -> list[Thread]:
        """End the encoder thread, and return the threads to join. May be called from any thread."""
        thread = self.hub.close()
        return [] if thread is None else [thread]

    def _view(self, health: SourceHealth) -> CameraView:
        camera = self._camera(health.source_id)
        config = self.settings.of(health.source_id)
        return CameraView(
            health=health,
            people=camera.counts.people(),
            zones={name: [[*corner] for corner in corners] for name, corners in config.zones.items()},
            blur=config.privacy.blur,
            width=camera.size[0],
            height=camera.size[1],
            last_outage=camera.outage,
        )


def _opening(state: StateChange, now_s: float) -> SourceHealth:
    """Return the health of a camera that is not open yet."""
    return SourceHealth(
        source_id=state.source_id,
        state=state.state,
        state_s=now_s - state.at_s,
        cause=state.cause,
        fps_in=0.0,
        fps_out=0.0,
        dropped={},
        frame_age_s=None,
        reconnects_last_hour=0,
        stage_ms={},
    )


def public_record(event: MaskEvent) -> dict[str, Any]:
    """Return the record of an event without the image of the face."""
    record = event_record(event)
    record["best"] = {name: value for name, value in record["best"].items() if name != "crop_jpeg"}
    return record
