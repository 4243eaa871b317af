"""Serve live images: the WebSocket of the dashboard, the newest image of a camera, and MJPEG streams."""

import asyncio
from contextlib import suppress
from time import thread_time
from typing import Final, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from maskstream.store.roles import Role
from maskstream.web.context import WebContext
from maskstream.web.live_view import LiveView
from maskstream.web.problems import Problem
from maskstream.web.requests import access_of, context_of, query_of
from maskstream.web.route import QueryModel, Route
from maskstream.web.tile_images import Tile
from maskstream.web.tiles import Viewer

_IMAGE_WITHIN_S: Final = 10.0
"""The time in which a frame must have been encoded for `latest.jpg`: longer than the interval of images on overload."""
_BOUNDARY: Final = "frame"


class _ImageQuery(QueryModel):
    width: Literal["320", "640", "960", "0"] = Field(default="0", description="The width in pixels; 0: that of the camera.")


class _StreamQuery(_ImageQuery):
    rate: float = Field(default=5.0, ge=0.1, le=30.0, description="The maximum number of images per second.")


async def live(websocket: WebSocket) -> None:
    """Send tiles, states and events until the client leaves."""
    context = context_of(websocket)
    await _live_of(context).clients.serve(websocket, access_of(websocket), context)


async def latest(request: Request) -> Response:
    """Return the newest annotated image of a camera, with its age."""
    camera, view = _camera_of(request), _live_of(context_of(request))
    query = query_of(request, _ImageQuery)
    viewer = view.hub.viewer()
    try:
        viewer.watch({camera: int(query.width)}, 1.0)
        async with asyncio.timeout(_IMAGE_WITHIN_S):
            tile = await _next_tile(viewer)
    except TimeoutError:
        raise Problem(
            503, f"{camera}: no image is available; see the state of the camera", headers={"Retry-After": "5"}
        ) from None
    finally:
        viewer.close()
    header = tile.header(view.clock.now_s())
    headers = {
        "X-Frame-Age": str(header["age_s"]),
        "X-Frame-Time": str(header["time_utc"] or ""),
        "X-Frame": str(header["frame"]),
    }
    return Response(tile.jpeg, media_type="image/jpeg", headers=headers)


async def mjpeg(request: Request) -> Response:
    """Send annotated images of a camera until the client leaves."""
    context = context_of(request)
    camera, view = _camera_of(request), _live_of(context)
    if view.clients.streams >= context.config.web.max_mjpeg:
        raise Problem(
            503, f"{view.clients.streams} MJPEG streams are open, the maximum of web.max_mjpeg", headers={"Retry-After": "30"}
        )
    query = query_of(request, _StreamQuery)
    return _MjpegResponse(view, camera, int(query.width), query.rate)


class _MjpegResponse(StreamingResponse):
    """An MJPEG stream. An image is sent when the connection has accepted the one before."""

    def __init__(self, view: LiveView, camera: str, width: int, rate: float) -> None:
        super().__init__(iter(()), media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self._view, self._camera, self._width, self._rate = view, camera, width, rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client leaves, or accepts nothing for too long."""
        if scope["method"] == "HEAD":
            await Response(media_type=self.media_type)(scope, receive, send)
            return
        clients, viewer = self._view.clients, self._view.hub.viewer()
        clients.streams += 1
        sending = asyncio.ensure_future(self._send_all(viewer, send))
        leaving = asyncio.ensure_future(_until_left(receive))
        try:
            done, _ = await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            with suppress(TimeoutError):
                for task in done:
                    task.result()
        finally:
            clients.streams -= 1
            viewer.close()
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, viewer: Viewer, send: Send) -> None:
        hub = self._view.hub
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        viewer.watch({self._camera: self._width}, self._rate)
        while True:
            tile = await _next_tile(viewer)
            began_s = thread_time()
            async with asyncio.timeout(self._view.clients.send_within_s):
                await send({"type": "http.response.body", "body": _part(tile), "more_body": True})
            viewer.acknowledge(self._camera, tile.painted.frame)
            hub.sent_one(began_s)


def _part(tile: Tile) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(tile.jpeg)}\r\n\r\n"
    return b"".join((head.encode(), tile.jpeg, b"\r\n"))


async def _next_tile(viewer: Viewer) -> Tile:
    while (tile := viewer.take()) is None:
        await viewer.wait()
    return tile


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _live_of(context: WebContext) -> LiveView:
    if context.live is None:
        raise Problem(503, "no camera runs here: this is `maskstream dashboard`; use the dashboard of `maskstream run`")
    return context.live


def _camera_of(request: Request) -> str:
    camera: str = request.path_params["camera"]
    context = context_of(request)
    if context.fleet is not None and any(placed.name == camera for placed in context.fleet().cameras):
        raise Problem(404, f"{camera:.100}: its images stay on its node")
    if context.fleet is not None or not _live_of(context).knows(camera):
        raise Problem(404, f"{camera:.100}: no such camera")
    return camera


ROUTES: Final = (
    Route("WS", "/api/v1/live", Role.DISPLAY, live, "Live images, states of cameras, and events"),
    Route(
        "GET",
        "/api/v1/cameras/{camera}/latest.jpg",
        Role.DISPLAY,
        latest,
        "The newest annotated image of a camera; X-Frame-Age has its age in seconds",
        query=_ImageQuery,
        answer="image/jpeg",
    ),
    Route(
        "GET",
        "/api/v1/cameras/{camera}/mjpeg",
        Role.DISPLAY,
        mjpeg,
        "Annotated images of a camera as MJPEG; at most web.max_mjpeg streams",
        query=_StreamQuery,
        answer=f"multipart/x-mixed-replace; boundary={_BOUNDARY}",
    ),
)
