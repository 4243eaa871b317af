"""Identify the user or token of a request, and check whether it may use a route."""

import re
from typing import Final

from starlette.requests import HTTPConnection

from maskstream.config.schema import WebConfig
from maskstream.store.roles import Role, name_key
from maskstream.store.store import Store
from maskstream.web.client import Client, is_in, networks
from maskstream.web.problems import Problem
from maskstream.web.requests import Access, in_thread
from maskstream.web.route import Need, Route
from maskstream.web.security import cookie_name

_BEARER: Final = re.compile(r"Bearer +([\x21-\x7e]{1,256})", re.IGNORECASE)
_LONGEST_ID: Final = 256


class Gate:
    """Identifies users and API tokens, and refuses what they may not do."""

    def __init__(self, store: Store, config: WebConfig) -> None:
        """Use the users, sessions and tokens of a store."""
        self._store = store
        self._config = config
        self._metrics_networks = networks(config.metrics_networks)

    async def identify(self, connection: HTTPConnection, client: Client) -> Access | None:
        """Return the user or token of a request; None without a valid token, session or user of a trusted proxy.

        A request with the header Authorization is identified by it alone.
        """
        authorization = connection.headers.get("authorization")
        if authorization is not None:
            found = _BEARER.fullmatch(authorization.strip())
            return None if found is None else await in_thread(self._by_token, found[1])
        session_id = connection.cookies.get(cookie_name(is_secure=client.is_secure), "")
        if 0 < len(session_id) <= _LONGEST_ID:
            access = await in_thread(self._by_session, session_id)
            if access is not None:
                return access
        if client.by_proxy and self._config.proxy_user_header is not None:
            name = connection.headers.get(self._config.proxy_user_header, "").strip()
            role = None
            if self._config.proxy_role_header is not None:
                role = connection.headers.get(self._config.proxy_role_header, "").strip().lower()
            return await in_thread(self._by_proxy, name, role) if name else None
        return None

    async def still_valid(self, access: Access) -> bool:
        """Return whether a session or token has neither expired nor been revoked, and has the same rights.

        An open stream does not renew its session: the user may have left.
        """
        if access.by == "session":
            return await in_thread(self._by_session, access.credential, False) == access
        if access.by == "token":
            return await in_thread(self._by_token, access.credential) == access
        return True

    def admit(self, route: Route, access: Access | None, client: Client, parameters: dict[str, str]) -> Access | None:
        """Return the access with which a request may use a route.

        Raises:
            Problem: 401 for a request that is not identified, 403 for one without the rights.
        """
        if route.access == "none":
            return access
        if route.access == "metrics" and access is None and is_in(client.address, self._metrics_networks):
            return Access("", Role.VIEWER, None, "network")
        if access is None:
            raise Problem(401, "log in first, or send an API token that is valid", headers={"WWW-Authenticate": "Bearer"})
        if not _suffices(access, route.access):
            raise Problem(403, f"{access.name}: the role {access.role.value} may not do this; ask an administrator")
        camera = parameters.get("camera")
        if camera is not None and not access.may_see(camera):
            raise Problem(403, f"{access.name} may not see {camera:.100}; ask an administrator")
        return access

    def _by_token(self, text: str) -> Access | None:
        token = self._store.tokens.find(text)
        return None if token is None else Access(token.name, token.role, token.cameras, "token", text)

    def _by_session(self, session_id: str, renew: bool = True) -> Access | None:
        session = self._store.sessions.find(session_id, renew=renew)
        if session is None:
            return None
        return Access(session.user.name, session.user.role, session.user.cameras, "session", session_id)

    def _by_proxy(self, name: str, role: str | None) -> Access | None:
        """Return a user of the proxy. A local user of the same name limits the cameras, and has the role without its header."""
        local = next((user for user in self._store.users.list() if name_key(user.name) == name_key(name)), None)
        cameras = None if local is None else local.cameras
        if role is None:
            return None if local is None else Access(name, local.role, cameras, "proxy")
        return Access(name, Role(role), cameras, "proxy") if role in set(Role) else None


def _suffices(access: Access, need: Need) -> bool:
    if need in ("none", "self"):
        return True
    if need == "metrics":
        return access.role.includes(Role.VIEWER) and access.cameras is None
    return access.role.includes(Role(need))
