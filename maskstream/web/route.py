"""Describe a route of the dashboard: the role that it needs, its handler, and the models of its query, body and answer."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response
from starlette.types import Scope

from maskstream.store.roles import Role
from maskstream.web.problems import Problem

Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE", "WS"]
"""An HTTP method; `WS` is the handshake of a WebSocket."""
Need: TypeAlias = Role | Literal["none", "self", "metrics"]
"""The users of a route: those of this role or a higher one; everyone; all who have logged in; those who may read /metrics."""
Handler: TypeAlias = Callable[..., Awaitable[Response | None]]
"""`async def handler(request: Request) -> Response`, and `async def handler(websocket: WebSocket) -> None` for `WS`."""

_JSON: Final = "application/json"


class QueryModel(BaseModel):
    """The query of a route. Its values are converted from text; unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BodyModel(BaseModel):
    """The JSON body of a route. Unknown keys are refused, and types are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class Route:
    """A route. The permission check, the checks of query and body, and /openapi.json are made from it."""

    method: Method
    path: str
    """Segments in braces are parameters: `/api/v1/cameras/{camera}`. A user must be allowed to see the camera `{camera}`."""
    access: Need
    handler: Handler
    """Gets `request.state.context`, `.access`, `.query` and `.body`; see `maskstream.web.requests`."""
    summary: str
    query: type[QueryModel] | None = None
    body: type[BodyModel] | None = None
    answer: Any = None
    """The type of the JSON answer: a model or `TypedDict`. A text is the media type of another answer. None: no content."""
    audit: str = ""
    """The name of the action in the audit log, such as `camera.change`, for requests that succeed; empty: they are not logged.
    The detail is `request.state.audit_detail`, by default the parameters of the path."""

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments of the path."""
        return tuple(self.path.split("/")[1:])

    @property
    def media_type(self) -> str:
        """The media type of the answer."""
        return self.answer if isinstance(self.answer, str) else _JSON

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """Return the parameters in the segments of a requested path; None where the path is another one."""
        if len(segments) != len(self.segments):
            return None
        parameters: dict[str, str] = {}
        for own, given in zip(self.segments, segments, strict=True):
            if own.startswith("{"):
                if not given:
                    return None
                parameters[own.strip("{}")] = given
            elif own != given:
                return None
        return parameters


def segments_of(raw_path: bytes) -> tuple[str, ...]:
    """Return the decoded segments of a requested path. An escaped slash stays within its segment, as in the name of a camera.

    Raises:
        ValueError: A segment is not UTF-8.
    """
    path = raw_path.partition(b"?")[0]
    return tuple(unquote_to_bytes(segment).decode() for segment in path.split(b"/")[1:])


def find_route(routes: Iterable[Route], scope: Scope) -> tuple[Route, dict[str, str]]:
    """Return the route of a request, and the parameters in its path.

    Raises:
        Problem: 400, 404, 405 for another method, or 426 for a WebSocket that is requested as a page.
    """
    try:
        segments = segments_of(scope["raw_path"])
    except ValueError:
        raise Problem(400, "the path is not UTF-8") from None
    is_websocket = scope["type"] == "websocket"
    method = "WS" if is_websocket else scope["method"]
    methods: set[str] = set()
    for route in routes:
        parameters = route.match(segments)
        if parameters is not None:
            is_method = route.method == method or (route.method, method) == ("GET", "HEAD")
            if is_method and (route.method == "WS") == is_websocket:
                return route, parameters
            methods.add(route.method)
    if methods == {"WS"}:
        raise Problem(426, "this is a WebSocket", headers={"Upgrade": "websocket"})
    if methods:
        allowed = ", ".join(sorted(methods - {"WS"}))
        raise Problem(405, f"{method} is not allowed here; allowed: {allowed}", headers={"Allow": allowed})
    raise Problem(404, f"{scope['path']:.100}: no such page")
