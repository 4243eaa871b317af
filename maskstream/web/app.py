"""Answer the requests of the dashboard: find the route, check the request, call the handler."""

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from loguru import logger
from pydantic import BaseModel, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from uvicorn.protocols.utils import ClientDisconnected

from maskstream.errors import ConfigError, MaskStreamError, StoreError
from maskstream.store.roles import Role
from maskstream.web.access import Gate
from maskstream.web.client import Client, Clients
from maskstream.web.context import WebContext
from maskstream.web.problems import Problem
from maskstream.web.requests import Access, in_thread
from maskstream.web.route import Route, segments_of
from maskstream.web.security import (
    BODY_WITHIN_S,
    MAX_BODY,
    Hosts,
    add_headers,
    require_host,
    require_json,
    require_same_site,
    require_small,
    too_large,
)

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
    """What is known of a request when it ends."""

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
        route, parameters = self._find(scope)
        answered.route = route
        scope["path_params"] = parameters
        if self._only_by_proxy and not (client.by_proxy or client.is_local or route.path in _WITHOUT_SECRETS):
            raise Problem(403, "this connection has no TLS; open the dashboard through its reverse proxy")
        if route.method != "GET":
            by_token = "authorization" in connection.headers
            require_same_site(connection.headers, is_secure=client.is_secure, origin_needed=not by_token)
        found = None if route.access == "none" else await self._gate.identify(connection, client)
        access = self._gate.admit(route, found, client, parameters)
        scope["state"]["access"] = access
        scope["state"]["query"] = None if route.query is None else _query(connection, route.query)
        if route.method == "WS":
            websocket = WebSocket(scope, receive, send)
            if (
                not await self._while_valid(access, route.handler(websocket))
                and websocket.client_state is WebSocketState.CONNECTED
            ):
                await websocket.close(_LOST_RIGHTS, "the session has ended")
            return
        request = Request(scope, receive)
        scope["state"]["body"] = None if route.body is None else await _body(request, route.body)
        response = await route.handler(request)
        assert response is not None
        if route.audit and response.status_code < 400:
            await self._audit(request, route, access, client)
        sending = response(scope, receive, send)
        if isinstance(response, StreamingResponse):
            await self._while_valid(access, sending)
        else:
            await sending

    def _find(self, scope: Scope) -> tuple[Route, dict[str, str]]:
        """Return the route of a request and its parameters.

        Raises:
            Problem: 404, or 405 for another method.
        """
        try:
            segments = segments_of(scope["raw_path"])
        except ValueError:
            raise Problem(400, "the path is not UTF-8") from None
        matching = [(route, found) for route in self._routes if (found := route.match(segments)) is not None]
        method = "WS" if scope["type"] == "websocket" else scope["method"]
        for route, found in matching:
            if route.method == method or (route.method, method) == ("GET", "HEAD"):
                return route, found
        allowed = sorted({route.method for route, _ in matching} - {"WS"})
        if matching and scope["type"] != "websocket" and not allowed:
            raise Problem(426, "this is a WebSocket", headers={"Upgrade": "websocket"})
        if allowed:
            raise Problem(
                405, f"{method} is not allowed here; allowed: {', '.join(allowed)}", headers={"Allow": ", ".join(allowed)}
            )
        raise Problem(404, f"{scope['path']:.100}: no such page")

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

    async def _audit(self, request: Request, route: Route, access: Access | None, client: Client) -> None:
        detail = getattr(request.state, "audit_detail", None) or " ".join(request.path_params.values())
        who = "" if access is None else access.name
        try:
            await in_thread(self._context.store.audit.add, who, route.audit, detail, client.address)
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


def _query(connection: HTTPConnection, kind: type[BaseModel]) -> BaseModel:
    """Return the checked query.

    Raises:
        Problem: 400 for a parameter given twice, 422 for a wrong one.
    """
    pairs = connection.query_params.multi_items()
    values = dict(pairs)
    if len(values) < len(pairs):
        raise Problem(400, "a parameter of the query is given twice")
    return _checked(kind, values, "query")


async def _body(request: Request, kind: type[BaseModel]) -> BaseModel:
    """Return the checked body.

    Raises:
        Problem: 400 where it is not JSON, 408 where it does not arrive, 413, 415, 422.
    """
    require_json(request)
    require_small(request.headers)
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for part in request.stream():
                content += part
                if len(content) > MAX_BODY:
                    raise too_large()
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {BODY_WITHIN_S:g} s") from None
    try:
        return kind.model_validate_json(bytes(content))
    except ValidationError as error:
        raise _problem_of(error, "body") from None


def _checked(kind: type[BaseModel], values: dict[str, str], where: str) -> BaseModel:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _problem_of(error, where) from None


def _problem_of(error: ValidationError, where: str) -> Problem:
    """Return the problem of the first wrong value. The message has no values: one may be a password."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Problem(400, "the body is not JSON")
    name = ".".join(map(str, first["loc"])) or where
    return Problem(422, f"{where}: {name:.100}: {first['msg'][:1].lower()}{first['msg'][1:]:.300}")
