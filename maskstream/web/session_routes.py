"""Log in and out, and tell who is logged in."""

from datetime import UTC, datetime
from math import ceil
from typing import Annotated, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from maskstream.io.text_file import iso_8601
from maskstream.store.roles import Role, User
from maskstream.store.sessions import ABSOLUTE_S
from maskstream.web.context import WebContext
from maskstream.web.problems import Problem
from maskstream.web.requests import Access, access_of, address_of, body_of, client_of, context_of, in_thread
from maskstream.web.route import BodyModel, Route
from maskstream.web.security import clear_session, set_session

_MAX_WAITING: Final = 16
"""The maximum number of logins that wait for the check of their password."""


class Login(BodyModel):
    """A name and its password."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    password: Annotated[str, Field(min_length=1, max_length=1000, repr=False)]


class WhoAmI(TypedDict):
    """The user of a session or API token."""

    name: str
    role: Role
    cameras: Annotated[list[str] | None, Field(description="The cameras that the user may see. null: all.")]
    expires_utc: Annotated[str | None, Field(description="The end of the session. null: it has none, or an API token asks.")]
    fleet: Annotated[bool, Field(description="Whether this is the dashboard of a fleet: see /api/v1/nodes.")]


async def log_in(request: Request) -> Response:
    """Check name and password, and set the cookie of a session."""
    context, address, login = context_of(request), address_of(request), body_of(request, Login)
    wait_s = await in_thread(context.store.logins.begin, login.name, address)
    if wait_s > 0:
        context.counts.logins["limited"] += 1
        seconds = str(ceil(wait_s))
        raise Problem(429, f"too many attempts to log in; try again in {seconds} s", headers={"Retry-After": seconds})
    if context.logins.waiting >= _MAX_WAITING:
        raise Problem(503, "too many logins at the same time; try again in a few seconds", headers={"Retry-After": "5"})
    context.logins.waiting += 1
    try:
        async with context.logins.checking:
            user = await in_thread(context.store.users.verify, login.name, login.password)
    finally:
        context.logins.waiting -= 1
    if user is None:
        context.counts.logins["failure"] += 1
        name = await in_thread(context.store.users.audit_name, login.name)
        await in_thread(context.store.audit.add, name, "login.failed", "", address)
        raise Problem(401, "the name or the password is wrong")
    return await _begin_session(request, user)


async def _begin_session(request: Request, user: User) -> Response:
    context, address, client = context_of(request), address_of(request), client_of(request)
    await in_thread(context.store.logins.succeeded, user.name, address)
    session_id = await in_thread(context.store.sessions.create, user.name, address)
    await in_thread(context.store.audit.add, user.name, "login", "", address)
    context.counts.logins["success"] += 1
    session = await in_thread(context.store.sessions.find, session_id)
    access = Access(user.name, user.role, user.cameras, "session", session_id)
    response = JSONResponse(_who(access, None if session is None else session.expires_s, context))
    set_session(response, session_id, is_secure=client.is_secure, max_age_s=round(ABSOLUTE_S))
    return response


async def who_am_i(request: Request) -> Response:
    """Return the user that asks."""
    access, context = access_of(request), context_of(request)
    session = None
    if access.by == "session":
        session = await in_thread(context.store.sessions.find, access.credential)
    return JSONResponse(_who(access, None if session is None else session.expires_s, context))


async def log_out(request: Request) -> Response:
    """Revoke the session."""
    access = access_of(request)
    if access.by == "session":
        await in_thread(context_of(request).store.sessions.revoke, access.credential)
    response = Response(status_code=204)
    clear_session(response, is_secure=client_of(request).is_secure)
    return response


def _who(access: Access, expires_s: float | None, context: WebContext) -> WhoAmI:
    return {
        "name": access.name,
        "role": access.role,
        "cameras": None if access.cameras is None else list(access.cameras),
        "expires_utc": None if expires_s is None else iso_8601(datetime.fromtimestamp(expires_s, UTC)),
        "fleet": context.fleet is not None,
    }


ROUTES: Final = (
    Route("POST", "/api/v1/session", "none", log_in, "Log in with name and password", body=Login, answer=WhoAmI),
    Route("GET", "/api/v1/session", "self", who_am_i, "Tell who is logged in", answer=WhoAmI),
    Route("DELETE", "/api/v1/session", "self", log_out, "Log out", audit="logout"),
)
