"""Answer the requests of the dashboard: find the route, check the request, call the handler."""

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from loguru import logger
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from uvicorn.protocols.utils import ClientDisconnected

from maskstream.errors import ConfigError, MaskStreamError, StoreError
from maskstream.store.roles import Role
from maskstream.web.access import Gate
from maskstream.web.checked_input import checked_body, checked_query
from maskstream.web.client import Client, Clients
from maskstream.web.context import WebContext
from maskstream.web.problems import Problem
from maskstream.web.requests import Access, address_of, in_thread
from maskstream.web.route import Route, find_route
from maskstream.web.security import Hosts, add_headers, require_host, require_same_site

_LEFT: Final = (ClientDisconnect, ClientDisconnected, WebSocketDisconnect)
"""Errors of a connection whose client has left."""
_WARN_EVERY_S: Final = 60.0
_CLIENT_LEFT: Final = 499
"""The status in metrics of a request whose client has left before the answer."""
_WITHOUT_SECRETS: Final = ("/healthz", "/readyz", "/metrics")
"""Routes that other machines may use without TLS."""
_LOST_RIGHTS: Final = 4401
"""The code that closes a WebSocket whose session has ended."""


@dataclass
class _Answered:
    """The route and the status of a request, for the metrics."""

    route: Route | None = None
    status: int = 500
    has_begun: bool = False


class WebApp:
    """The dashboard as an ASGI application."""

    def __init__(
        self, context: WebContext, routes: Iterable[Route], hosts: Hosts, *, only_by_proxy: bool, recheck_s: float
    ) -> None:
        """Begin without requests.

        Args:
            context: What the handlers use.
            routes: The routes.
            hosts: The host names under which it may be opened.
            only_by_proxy: Whether clients on other machines must come through a trusted proxy: the connection has no TLS.
            recheck_s: The interval at which the session or token of an open WebSocket or stream is checked again.
        """
        self._context = context
        self._routes = tuple(routes)
        self._hosts = hosts
        self._only_by_proxy = only_by_proxy
        self._next_warning_s = -float("inf")
        self._recheck_s = recheck_s
        self._clients = Clients(context.config.web)
        self._gate = Gate(context.store, context.config.web)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or WebSocket. An error is a problem of one line; no request ends with a traceback."""
        client = self._clients.of(scope)
        scope["state"] = {"context": self._context, "client": client}
        answered = _Answered()

        async def send_noted(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                answered.status, answered.has_begun = message["status"], True
                add_headers(MutableHeaders(scope=message), is_secure=client.is_secure)
            elif message["type"] == "websocket.accept":
                answered.status, answered.has_begun = 101, True
            await send(message)

        try:
            await self._answer(scope, receive, send_noted, answered)
        except Problem as problem:
            await _refuse(problem, scope, receive, send_noted, answered)
        except MaskStreamError as error:
            await _refuse(self._problem_of(error, scope["state"].get("access")), scope, receive, send_noted, answered)
        except _LEFT as error:
            answered.status = answered.status if answered.has_begun else _CLIENT_LEFT
            logger.debug("web: the client left: {!r}", error)
        except Exception as error:
            logger.opt(exception=error).error("web: internal error in {}", scope["path"])
            await _refuse(Problem(500, "internal error; the log has its cause"), scope, receive, send_noted, answered)
        finally:
            method = scope.get("method", "WS")
            path = "other" if answered.route is None else answered.route.path
            self._context.counts.requests[path, method if answered.route else "other", answered.status] += 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send, answered: _Answered) -> None:
        connection = HTTPConnection(scope)
        client: Client = connection.state.client
        require_host(connection.headers, self._hosts)
        route, scope["path_params"] = find_route(self._routes, scope)
        answered.route = route
        if self._only_by_proxy and not (client.by_proxy or client.is_local or route.path in _WITHOUT_SECRETS):
            raise Problem(403, "this connection has no TLS; open the dashboard through its reverse proxy")
        if route.method != "GET":
            by_token = "authorization" in connection.headers
            require_same_site(connection.headers, is_secure=client.is_secure, origin_needed=not by_token)
        found = None if route.access == "none" else await self._gate.identify(connection, client)
        access = self._gate.admit(route, found, client, scope["path_params"])
        scope["state"]["access"] = access
        scope["state"]["query"] = None if route.query is None else checked_query(connection, route.query)
        if route.method == "WS":
            await self._serve_websocket(route, access, WebSocket(scope, receive, send))
        else:
            await self._respond(route, access, Request(scope, receive), send)

    async def _serve_websocket(self, route: Route, access: Access | None, websocket: WebSocket) -> None:
        is_valid = await self._while_valid(access, route.handler(websocket))
        if not is_valid and websocket.client_state is WebSocketState.CONNECTED:
            await websocket.close(_LOST_RIGHTS, "the session has ended")

    async def _respond(self, route: Route, access: Access | None, request: Request, send: Send) -> None:
        request.state.body = None if route.body is None else await checked_body(request, route.body)
        response = await route.handler(request)
        assert response is not None
        if route.audit and response.status_code < 400:
            await self._audit(request, route, access)
        sending = response(request.scope, request.receive, send)
        if isinstance(response, StreamingResponse):
            await self._while_valid(access, sending)
        else:
            await sending

    async def _while_valid(self, access: Access | None, work: Awaitable[Any]) -> bool:
        """Wait for an open stream, but not longer than its session or token is valid; return whether it was."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=self._recheck_s))[0]:
                if access is not None and not await self._gate.still_valid(access):
                    return False
            task.result()
            return True
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def _problem_of(self, error: MaskStreamError, access: Access | None) -> Problem:
        """Return the problem of an error. Names of files in it are for administrators and, once a minute, for the log."""
        if isinstance(error, ConfigError) or (access is not None and access.role is Role.ADMIN):
            return Problem.of(error)
        now_s = self._context.clock.now_s()
        if now_s >= self._next_warning_s:
            self._next_warning_s = now_s + _WARN_EVERY_S
            logger.warning("web: {}", error)
        return Problem(503, "the program cannot do this now; its log has the cause")

    async def _audit(self, request: Request, route: Route, access: Access | None) -> None:
        detail = getattr(request.state, "audit_detail", None) or " ".join(request.path_params.values())
        who = "" if access is None else access.name
        try:
            await in_thread(self._context.store.audit.add, who, route.audit, detail, address_of(request))
        except StoreError as error:
            raise StoreError(f"done, but the audit cannot be written: {error}") from error


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send, answered: _Answered) -> None:
    """Answer with a problem. Where the answer has begun, the connection ends instead."""
    if answered.has_begun:
        if scope["type"] == "websocket":
            with suppress(*_LEFT, RuntimeError):  # it may be closed already
                await send({"type": "websocket.close", "code": 1011, "reason": ""})
        return
    response = problem.response()
    with suppress(*_LEFT):
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, send)
