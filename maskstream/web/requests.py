"""Give handlers the parts of a request: its access, the context, the query and the body."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, ParamSpec, TypeVar

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from maskstream.store.roles import Role
from maskstream.web.client import Client
from maskstream.web.context import WebContext

ModelT = TypeVar("ModelT", bound=BaseModel)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """The user or token of a request, and its rights."""

    name: str
    role: Role
    cameras: tuple[str, ...] | None
    """The cameras that it may see; None: all."""
    by: Literal["session", "token", "proxy", "network"]
    """How it was recognised: cookie, API token, headers of a trusted proxy, or its network."""
    credential: str = field(default="", repr=False)
    """The session id or token."""

    def may_see(self, camera: str) -> bool:
        """Return whether it may see a camera."""
        return self.cameras is None or camera in self.cameras


def context_of(connection: HTTPConnection) -> WebContext:
    """Return the context of the dashboard."""
    context: WebContext = connection.state.context
    return context


def access_of(connection: HTTPConnection) -> Access:
    """Return the user or token of a request. Not for routes that everyone may use."""
    access: Access = connection.state.access
    return access


def client_of(connection: HTTPConnection) -> Client:
    """Return the client, also behind a trusted proxy."""
    client: Client = connection.state.client
    return client


def address_of(connection: HTTPConnection) -> str:
    """Return the address of the client."""
    return client_of(connection).address


def query_of(connection: HTTPConnection, kind: type[ModelT]) -> ModelT:
    """Return the checked query of a route with the query model `kind`."""
    query = connection.state.query
    assert isinstance(query, kind)
    return query


def body_of(connection: HTTPConnection, kind: type[ModelT]) -> ModelT:
    """Return the checked body of a route with the body model `kind`."""
    body = connection.state.body
    assert isinstance(body, kind)
    return body


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that reads or writes files, such as a method of the store, without holding up other requests."""
    return await run_in_threadpool(function, *args, **kwargs)
