"""A dashboard on a free port of this machine, with a store of its own, and clients for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, Final

import httpx

from maskstream.config.loading import Layer, load_config
from maskstream.config.source_settings import SourceSettings
from maskstream.fleet.status import FleetStatus
from maskstream.store.passwords import ScryptCost
from maskstream.store.roles import Role
from maskstream.store.store import Store
from maskstream.web.context import WebContext
from maskstream.web.listening import listen
from maskstream.web.live_view import LiveView
from maskstream.web.server import WebServer
from tests.slowness import LONGEST_S

PASSWORD: Final = "correct horse battery"
QUICK: Final = ScryptCost(n=2**4, r=8, p=1)
"""Hashes that cost nothing."""
_PLAIN: Final[dict[str, Any]] = {"trust_env": False, "verify": False, "timeout": LONGEST_S}
"""No proxy; reading the authorities of the system would take longer than the requests. Not the five seconds of httpx."""


@dataclass(frozen=True)
class Site:
    """A running dashboard."""

    url: str
    store: Store
    context: WebContext
    server: WebServer
    closing: ExitStack
    """Closes the clients."""

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    def client(self, name: str | None = None, password: str = PASSWORD, **options: Any) -> httpx.Client:
        """Return a browser on this site; with a name it has logged in."""
        client = httpx.Client(base_url=self.url, headers={"origin": self.url}, **(_PLAIN | options))
        self.closing.callback(client.close)
        if name is not None:
            answer = client.post("/api/v1/session", json={"name": name, "password": password})
            assert answer.status_code == 200, answer.text
        return client

    def program(self, role: Role = Role.VIEWER, cameras: tuple[str, ...] | None = None, name: str = "program") -> httpx.Client:
        """Return a program with an API token."""
        token = self.store.tokens.add(name, role, cameras, None)
        client = httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {token}"}, **_PLAIN)
        self.closing.callback(client.close)
        return client


@contextmanager
def running_site(
    folder: Path,
    settings: Mapping[str, object] | None = None,
    now_s: Callable[[], float] = time,
    cost: ScryptCost = QUICK,
    users: bool = True,
    **context: Any,
) -> Iterator[Site]:
    """Run a dashboard with a user of each role, named as the role, whose password is `PASSWORD`.

    Args:
        folder: Of the store.
        settings: Of the section `web`.
        now_s: The clock of the store.
        cost: Of the hashes of passwords.
        users: Whether there are users.
        context: Fields of `WebContext`.
    """
    web = {"listen": "127.0.0.1:0", **(settings or {})}
    config = load_config(None, [Layer("test", {"web": web})])
    with Store(folder, now_s, cost=cost) as store, ExitStack() as closing:
        for role in Role if users else ():
            store.users.add(role.value, role, None, PASSWORD)
        if users:
            store.users.add("ward", Role.VIEWER, ("ward",), PASSWORD)
        server = WebServer(made := WebContext(store, config, **context), listen(config.web))
        server.start()
        try:
            yield Site(server.url, store, made, server, closing)
        finally:
            server.stop()


def fleet_context(
    status: Callable[[], FleetStatus], drain: Callable[[str, bool], None] = lambda _node, _is_on: None
) -> dict[str, Any]:
    """Return the fields of `WebContext` of the supervisor of a fleet."""
    return {"fleet": status, "drain": drain, "live": LiveView(SourceSettings(load_config()))}
