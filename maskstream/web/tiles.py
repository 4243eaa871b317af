"""Encode annotated frames as JPEG tiles for the viewers of the dashboard.

    thread that renders --newest frame per camera--> encoder thread --tiles--> event loop --newest tile per camera--> viewer

A frame is painted only where a viewer is ready for a tile of its camera, and encoded once per width. The thread that renders
reads and writes single dictionary entries here. It never waits for a lock of the other threads.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from time import thread_time
from typing import Final

import cv2
from loguru import logger

from maskstream.clock import MONOTONIC, Clock
from maskstream.web.tile_budget import TileBudget
from maskstream.web.tile_images import Painted, Tile, encoded

_EARLY_S: Final = 0.005
"""A tile may be this much earlier than the rate of its viewer."""
_MAX_SEND_S: Final = 2e-3
_WAIT_S: Final = 1.0


@dataclass(eq=False)
class Watch:
    """One camera that a viewer watches. Only the event loop uses it."""

    width: int
    interval_s: float
    next_s: float = 0.0
    """Monotonic clock: when the next tile is due."""
    unacknowledged: Tile | None = None
    last: Painted | None = None


@dataclass(eq=False)
class Viewer:
    """A client that receives tiles. At most one tile per camera is on its way to it. Only the event loop uses it."""

    hub: "TileHub"
    watches: dict[str, Watch] = field(default_factory=dict)
    _waiting: dict[str, Tile] = field(default_factory=dict)
    """Tiles that are not sent yet, at most one per camera, in order."""
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self, wanted: Mapping[str, int], rate: float) -> None:
        """Watch these cameras, by width, and no others. A tile on its way still has to be acknowledged."""
        before, now_s = self.watches, self.hub.clock.now_s()
        self.watches = {}
        for camera, width in wanted.items():
            former = before.get(camera)
            unacknowledged = None if former is None else former.unacknowledged
            last = former.last if former is not None and former.width == width else None
            self.watches[camera] = Watch(width, 1 / rate, now_s, unacknowledged, last)
        for camera in list(self._waiting):
            if camera not in self.watches:
                del self._waiting[camera]
        self.hub.changed(self, before)

    def acknowledge(self, camera: str, frame: int) -> bool:
        """Take the acknowledgement of a tile, and return whether it was expected."""
        watch = self.watches.get(camera)
        if watch is None or watch.unacknowledged is None or watch.unacknowledged.painted.frame != frame:
            return False
        if camera in self._waiting:  # a client cannot acknowledge what was not sent
            return False
        watch.unacknowledged = None
        self.hub.ready(camera, watch)
        return True

    def offer(self, tile: Tile, now_s: float) -> bool:
        """Take a tile, unless the viewer is not ready for it. Returns whether it was taken."""
        camera = tile.painted.camera
        watch = self.watches[camera]
        if camera in self._waiting:  # the connection is slow: the newer tile replaces the older one
            self._waiting[camera] = watch.unacknowledged = tile
            watch.last = tile.painted
            return True
        if watch.unacknowledged is not None or watch.last is tile.painted or now_s < watch.next_s - _EARLY_S:
            return False
        watch.next_s = max(watch.next_s + watch.interval_s, now_s)
        watch.unacknowledged, watch.last = tile, tile.painted
        self._waiting[camera] = tile
        self._arrived.set()
        return True

    def take(self) -> Tile | None:
        """Return the next tile to send; None where none waits. A tile that may not be shown any more is dropped."""
        while self._waiting:
            camera = next(iter(self._waiting))
            tile = self._waiting.pop(camera)
            if tile.painted.is_allowed():
                self.hub.sent += 1
                return tile
            watch = self.watches[camera]
            watch.unacknowledged = None
            self.hub.ready(camera, watch)
        return None

    def wake(self) -> None:
        """Let `wait` return."""
        self._arrived.set()

    async def wait(self) -> None:
        """Wait until another tile arrives, or until `wake`. Then take all tiles before the next call."""
        await self._arrived.wait()
        self._arrived.clear()

    def close(self) -> None:
        """Leave the hub. A second call does nothing."""
        self.watch({}, 1.0)
        self._waiting.clear()


class TileHub:
    """Passes the newest annotated frame of each watched camera to its viewers."""

    def __init__(self, quality: int = 80, clock: Clock = MONOTONIC, budget: TileBudget | None = None) -> None:
        """Begin without viewers.

        Args:
            quality: The JPEG quality, 1 to 100.
            clock: The clock of `Frame.captured_at_s`.
            budget: Limits the processor time for tiles.
        """
        self.clock = clock
        self.budget = budget or TileBudget()
        self.sent = 0
        """Tiles that were sent, to all viewers."""
        self.skipped_unacknowledged = self.skipped_overload = 0
        """Tiles that were not sent: the viewer had not acknowledged the last one; the machine is overloaded."""
        self.encoded = 0
        """Tiles that were encoded."""
        self.painted = 0
        """Frames that were painted."""
        self.overloaded_at_s = -float("inf")
        """When a frame was last dropped because of overload; set by the thread that renders."""
        self.asked: set[str] = set()
        """Cameras of which a viewer wants the latest frame at once, as no tile of it was sent to the viewer yet."""
        self._quality = quality
        self._viewers: dict[str, list[Viewer]] = {}
        """By camera. Only the event loop uses it."""
        self._due: dict[str, dict[int, float]] = {}
        """By camera and width: when the first viewer that is ready wants a tile. The event loop replaces the inner dictionaries,
        and never changes them, as other threads read them."""
        self._painted_at_s: dict[str, float] = {}
        self._newest: dict[str, Painted] = {}
        """Frames that are not encoded yet, at most one per camera."""
        self._busy: set[str] = set()
        """Cameras with a frame that is being encoded or delivered."""
        self._has_work = Event()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._paint_s = self._encode_s = self._send_s = 0.0

    # Called by the thread that renders.

    def wants(self, camera: str) -> bool:
        """Return whether a frame of the camera should be painted now."""
        due = self._due.get(camera)
        if not due or self._closing:
            return False
        now_s = self.clock.now_s()
        if now_s < min(due.values()) - _EARLY_S or camera in self._busy:
            return False
        if now_s - self._painted_at_s.get(camera, -float("inf")) < self.budget.interval_s:
            self.skipped_overload += 1
            return False
        return True

    def put(self, painted: Painted, paint_s: float) -> None:
        """Pass on the newest annotated frame of a camera, after `wants`.

        Args:
            painted: The frame.
            paint_s: Processor time that its painting took.
        """
        self.asked.discard(painted.camera)
        self.painted += 1
        self._paint_s += paint_s
        self._painted_at_s[painted.camera] = self.clock.now_s()
        self._busy.add(painted.camera)
        self._newest[painted.camera] = painted
        self._has_work.set()

    # Called by the encoder thread.

    def _encode_all(self) -> None:
        while not self._closing:
            self._has_work.wait(_WAIT_S)
            self._has_work.clear()
            for camera in list(self._newest):
                self._encode(camera, self._newest.pop(camera))

    def _encode(self, camera: str, painted: Painted) -> None:
        """Encode a frame in each width that is due, and pass it to the event loop."""
        began_s, now_s = thread_time(), self.clock.now_s()
        due = self._due.get(camera, {})
        widths = [width for width, at_s in due.items() if now_s >= at_s - _EARLY_S] if painted.is_allowed() else []
        try:
            for width in widths:
                painted.tiles[width] = encoded(painted, width, self._quality)
                self.encoded += 1
        except (cv2.error, MemoryError) as error:  # such as a frame that is too large for a JPEG: other cameras continue
            logger.debug("{}: no tile: {!r}", camera, error)
        self._encode_s += thread_time() - began_s
        with suppress(RuntimeError):  # the loop is closed: the program ends
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._deliver, camera, painted)

    # Called by the event loop.

    def viewer(self) -> Viewer:
        """Return a viewer without cameras. The first call starts the encoder thread. Called in the event loop."""
        self._loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = Thread(target=self._encode_all, name="tiles", daemon=True)
            self._thread.start()
        return Viewer(self)

    def changed(self, viewer: Viewer, before: Iterable[str]) -> None:
        """Take over the cameras of a viewer."""
        for camera in {*before, *viewer.watches}:
            among = [each for each in self._viewers.get(camera, ()) if each is not viewer]
            if camera in viewer.watches:
                among.append(viewer)
                if viewer.watches[camera].last is None:
                    self.asked.add(camera)
            if among:
                self._viewers[camera] = among
            else:
                self._viewers.pop(camera, None)
                self.asked.discard(camera)
            self._refresh(camera)

    def ready(self, camera: str, watch: Watch) -> None:
        """Note that a viewer is ready for the next tile of a camera."""
        due = self._due.get(camera, {})
        self._due[camera] = {**due, watch.width: min(due.get(watch.width, watch.next_s), watch.next_s)}

    def watched(self) -> list[str]:
        """Return the cameras that are watched."""
        return list(self._viewers)

    @property
    def spent_s(self) -> float:
        """Processor time since the start for painting, encoding and sending."""
        return self._paint_s + self._encode_s + self._send_s

    def sent_one(self, since_s: float) -> None:
        """Count the processor time of the event loop for a tile that was sent.

        Args:
            since_s: `thread_time()` before the tile was sent. At most 2 ms count: the loop may have served others meanwhile.
        """
        self._send_s += min(thread_time() - since_s, _MAX_SEND_S)
        self.measure()

    def measure(self) -> None:
        """Adapt the budget to the measured cost."""
        self.budget.update(
            self.clock.now_s(),
            overloaded_at_s=self.overloaded_at_s,
            spent_s=self.spent_s,
            painted=self.painted,
            cameras=len(self._viewers),
        )

    def close(self) -> Thread | None:
        """End the encoder thread, and return it. May be called from any thread."""
        self._closing = True
        self._has_work.set()
        return self._thread

    def _deliver(self, camera: str, painted: Painted) -> None:
        now_s = self.clock.now_s()
        for viewer in self._viewers.get(camera, ()):
            watch = viewer.watches[camera]
            tile = painted.tiles.get(watch.width)
            if tile is not None and not viewer.offer(tile, now_s) and watch.unacknowledged is not None:
                self.skipped_unacknowledged += 1
        self._refresh(camera)
        self._busy.discard(camera)

    def _refresh(self, camera: str) -> None:
        due: dict[int, float] = {}
        for viewer in self._viewers.get(camera, ()):
            watch = viewer.watches[camera]
            if watch.unacknowledged is None:
                due[watch.width] = min(due.get(watch.width, watch.next_s), watch.next_s)
        if due:
            self._due[camera] = due
        else:
            self._due.pop(camera, None)
