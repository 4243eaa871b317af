"""Protect the dashboard in browsers: host names, requests of other sites, cookies, headers, sizes."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response

from maskstream.web.problems import Problem

MAX_BODY: Final = 64 * 1024
"""The maximum size of a body in bytes."""
BODY_WITHIN_S: Final = 10.0
"""The time in which a client must have sent the body."""
_CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_SECURE_ONLY: Final = "max-age=31536000"
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


def add_headers(headers: MutableHeaders, *, is_secure: bool) -> None:
    """Add the headers that protect an answer in a browser. An answer without `cache-control` is not stored."""
    for name, value in _HEADERS.items():
        headers[name] = value
    headers.setdefault("cache-control", "no-store")
    if is_secure:
        headers["strict-transport-security"] = _SECURE_ONLY


@dataclass(frozen=True)
class Hosts:
    """The host names under which the dashboard may be opened. The names of loopback are always allowed."""

    names: Collection[str] = ()
    """In lower case; `*.example` allows all names of one more part."""
    any_address: bool = False
    """Whether every IP address is allowed. An attacker can point a name to this machine, but not an address."""

    def allow(self, name: str) -> bool:
        """Return whether a name in lower case is allowed."""
        if name in self.names or name in _LOOPBACK_NAMES or f"*.{name.partition('.')[2]}" in self.names:
            return True
        return self.any_address and _is_address(name)


def require_host(headers: Headers, hosts: Hosts) -> None:
    """Refuse a request for the host of another site, whose name an attacker may point to this machine (DNS rebinding).

    Raises:
        Problem: 421, or 400 without exactly one host.
    """
    given = headers.getlist("host")
    if len(given) != 1:
        raise Problem(400, "the header Host is missing or given twice")
    if not hosts.allow(host_name(given[0])):
        raise Problem(421, f"{given[0]:.100}: not a host of this dashboard; open it by its address, or add the name to web.hosts")


def host_name(host: str) -> str:
    """Return the name or address of `name:port` in lower case, without brackets; an empty text for anything else."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def require_same_site(headers: Headers, *, is_secure: bool, origin_needed: bool) -> None:
    """Refuse a request that another site made a browser send.

    Args:
        headers: The headers of the request.
        is_secure: Whether the browser uses https://.
        origin_needed: Whether a request that does not name its origin is refused. An API token is sent by no browser.

    Raises:
        Problem: 403.
    """
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site")
    own = f"{'https' if is_secure else 'http'}://{headers.get('host', '')}".lower()
    if site is not None:
        is_same = site in ("same-origin", "none")
    elif origin is not None:
        is_same = origin.lower() == own
    else:
        is_same = not origin_needed
    if not is_same or (origin is not None and origin.lower() != own):
        raise Problem(
            403, f"the request comes from another site: {origin or site or 'it has no Origin'}; open the dashboard itself"
        )


def cookie_name(*, is_secure: bool) -> str:
    """Return the name of the session's cookie. Browsers accept the prefix `__Host-` with https:// only."""
    return "__Host-session" if is_secure else "session"


def set_session(response: Response, session_id: str, *, is_secure: bool, max_age_s: int) -> None:
    """Set the cookie of a session."""
    response.set_cookie(
        cookie_name(is_secure=is_secure),
        session_id,
        max_age=max_age_s,
        path="/",
        secure=is_secure,
        httponly=True,
        samesite="strict",
    )


def clear_session(response: Response, *, is_secure: bool) -> None:
    """Remove the cookie of a session."""
    response.delete_cookie(cookie_name(is_secure=is_secure), path="/", secure=is_secure, httponly=True, samesite="strict")


def require_json(request: Request) -> None:
    """Refuse a body that is not JSON. A form of another site cannot send JSON.

    Raises:
        Problem: 415.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, f"the body is {kind or 'of no type'}; send application/json")


def require_small(headers: Headers) -> None:
    """Refuse a body whose stated size is too large.

    Raises:
        Problem: 413.
    """
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:12]) > MAX_BODY:
        raise too_large()


def too_large() -> Problem:
    """Return the problem of a body that is too large."""
    return Problem(413, f"the body is larger than {MAX_BODY} bytes")
