"""Send tiles, states of cameras and events to the browsers that have a live connection."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import thread_time
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from maskstream.store.roles import Role
from maskstream.web.camera_records import CameraRecords, shown_to
from maskstream.web.context import WebContext
from maskstream.web.problems import Problem
from maskstream.web.requests import Access, in_thread
from maskstream.web.route import BodyModel
from maskstream.web.tile_images import Tile
from maskstream.web.tiles import TileHub

SEND_WITHIN_S: Final = 20.0
"""A client that takes longer to accept a message is disconnected."""
CAMERAS_EVERY_S: Final = 2.0
_CLOSE_WITHIN_S: Final = 1.0
_MAX_EVENTS: Final = 200
"""Events that wait for one client. The oldest ones are dropped: the client finds them in the list of events."""
_MAX_USELESS: Final = 100
"""By this number a client may send more messages that acknowledge no tile than messages that do."""
_POLICY: Final = 1008
_BAD_DATA: Final = 1007


class Watched(BodyModel):
    """A camera in a message `watch`."""

    camera: str = Field(min_length=1, max_length=200)
    width: Literal[320, 640, 960, 0] = 320


class WatchMessage(BodyModel):
    """The cameras that a client wants to see, in place of those before."""

    type: Literal["watch"]
    cameras: list[Watched] = Field(max_length=256)
    rate: float = Field(default=8.0, ge=0.1, le=30.0)


class AckMessage(BodyModel):
    """The acknowledgement of a tile."""

    type: Literal["ack"]
    camera: str
    frame: int


class BadMessage(ValueError):
    """A message of a client that is not in the protocol; its text is shown to the client."""


_MESSAGE: Final[TypeAdapter[WatchMessage | AckMessage]] = TypeAdapter(
    Annotated[WatchMessage | AckMessage, Field(discriminator="type")]
)


def parsed(text: str) -> WatchMessage | AckMessage:
    """Return a message of a client.

    Raises:
        BadMessage: It is not in the protocol.
    """
    try:
        return _MESSAGE.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadMessage(f"{where:.40}: {first['msg']}"[:110].lstrip(": ")) from None


def packed(tile: Tile, now_s: float) -> bytes:
    """Return the message of a tile: the length of the header as 4 bytes, big-endian; the header as JSON; the JPEG."""
    header = json.dumps(tile.header(now_s)).encode()
    return b"".join((len(header).to_bytes(4, "big"), header, tile.jpeg))


class LiveClient:
    """One live connection. All methods are called in the event loop."""

    def __init__(self, websocket: WebSocket, access: Access, clients: "LiveClients") -> None:
        """Begin without cameras."""
        self.access = access
        self._websocket = websocket
        self._clients = clients
        self._viewer = clients.hub.viewer()
        self._events: deque[str] = deque(maxlen=_MAX_EVENTS)
        self._cameras: str | None = None
        self._useless = 0

    @property
    def sees_events(self) -> bool:
        """Whether it gets events: a display gets tiles and states alone."""
        return self.access.role.includes(Role.VIEWER)

    def put_event(self, text: str) -> None:
        """Send an event soon."""
        self._events.append(text)
        self._viewer.wake()

    def put_cameras(self, text: str) -> None:
        """Send the states of cameras soon, in place of earlier ones that were not sent yet."""
        self._cameras = text
        self._viewer.wake()

    async def run(self) -> None:
        """Serve the client until it leaves."""
        tasks = {asyncio.ensure_future(self._send_all()), asyncio.ensure_future(self._receive_all())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except WebSocketDisconnect:
            pass
        except BadMessage as error:
            await self._close(_BAD_DATA, str(error))
        except TimeoutError:
            await self._close(_POLICY, "a message was not read for too long")
        finally:
            self._viewer.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive_all(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                raise BadMessage("binary messages are not expected; send JSON as text")
            self._obey(parsed(text))

    def _obey(self, message: WatchMessage | AckMessage) -> None:
        if isinstance(message, WatchMessage):
            wanted = {each.camera: each.width for each in message.cameras}
            allowed = {name: width for name, width in wanted.items() if self._may_watch(name)}
            self._viewer.watch(allowed, message.rate)
            is_expected = False
        else:
            is_expected = self._viewer.acknowledge(message.camera, message.frame)
        self._useless = max(0, self._useless - 1) if is_expected else self._useless + 1
        if self._useless > _MAX_USELESS:
            raise BadMessage("too many messages that acknowledge no tile")

    def _may_watch(self, camera: str) -> bool:
        return self.access.may_see(camera) and self._clients.knows(camera)

    async def _send_all(self) -> None:
        while True:
            await self._viewer.wait()
            await self._send_texts()
            hub = self._clients.hub
            while (tile := self._viewer.take()) is not None:
                began_s = thread_time()
                await self._send(self._websocket.send_bytes(packed(tile, hub.clock.now_s())))
                hub.sent_one(began_s)
                await self._send_texts()

    async def _send_texts(self) -> None:
        while self._events:
            await self._send(self._websocket.send_text(self._events.popleft()))
        if self._cameras is not None:
            text, self._cameras = self._cameras, None
            await self._send(self._websocket.send_text(text))

    async def _send(self, sending: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._clients.send_within_s):
                await sending
        except RuntimeError as error:  # uvicorn has closed the connection, as after a malformed frame
            raise WebSocketDisconnect(1006) from error

    async def _close(self, code: int, reason: str) -> None:
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError, OSError):  # the client has left, or does not read
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await self._websocket.close(code, reason)


class LiveClients:
    """All live connections. The thread that renders calls `changed` and `event`; the event loop calls the rest."""

    def __init__(self, hub: TileHub, knows: Callable[[str], bool]) -> None:
        """Begin without clients.

        Args:
            hub: Has the tiles.
            knows: Returns whether the run has, or had, a camera of this name.
        """
        self.hub = hub
        self.knows = knows
        self.send_within_s = SEND_WITHIN_S
        self.cameras_every_s = CAMERAS_EVERY_S
        self.streams = 0
        """Clients that watch an MJPEG stream."""
        self._clients: set[LiveClient] = set()
        self._records: CameraRecords | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sending: asyncio.Task[None] | None = None
        self._is_due = asyncio.Event()

    def __len__(self) -> int:
        return len(self._clients)

    def changed(self) -> None:
        """Send the states of the cameras at once. Does not block; called by any thread."""
        if self._clients:
            self._in_loop(self._note_change)

    def event(self, record: dict[str, Any]) -> None:
        """Send the record of an event. Does not block; called by any thread."""
        if self._clients:
            self._in_loop(lambda: self._put_event(record))

    async def serve(self, websocket: WebSocket, access: Access, context: WebContext) -> None:
        """Serve a client until it leaves.

        Raises:
            Problem: 503, if the maximum number of clients is connected.
        """
        if len(self) >= context.config.web.max_clients:
            raise Problem(
                503, f"{len(self)} clients are connected, the maximum of web.max_clients", headers={"Retry-After": "30"}
            )
        self._loop = asyncio.get_running_loop()
        self._records = self._records or CameraRecords(context)
        client = LiveClient(websocket, access, self)
        self._clients.add(client)
        try:
            await websocket.accept()
            self._is_due.set()
            if self._sending is None or self._sending.done():
                self._sending = asyncio.ensure_future(self._send_cameras(self._records))
            await client.run()
        finally:
            self._clients.discard(client)
            if not self._clients and self._sending is not None:
                self._sending.cancel()
                self._sending = None

    async def _send_cameras(self, records: CameraRecords) -> None:
        """Send the states of the cameras every two seconds, and when one changes."""
        while True:
            self._is_due.clear()
            current = await in_thread(records.all)
            texts: dict[tuple[object, ...], str] = {}
            for client in self._clients:
                key = (client.access.role, client.access.cameras)
                if key not in texts:
                    texts[key] = json.dumps({"type": "cameras", "cameras": shown_to(current, client.access)})
                client.put_cameras(texts[key])
            with suppress(TimeoutError):
                async with asyncio.timeout(self.cameras_every_s):
                    await self._is_due.wait()

    def _note_change(self) -> None:
        if self._records is not None:
            self._records.forget()
        self._is_due.set()

    def _put_event(self, record: dict[str, Any]) -> None:
        text = json.dumps({"type": "event", "event": record})
        for client in self._clients:
            if client.sees_events and client.access.may_see(record["source"]):
                client.put_event(text)

    def _in_loop(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the program ends
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call)
