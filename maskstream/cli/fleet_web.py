"""The store and the dashboard of the supervisor of a site."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maskstream.cli.web import open_port_and_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskstream.cli.reporting import Reporting
    from maskstream.config.schema import Config
    from maskstream.fleet.assignments import Assignments
    from maskstream.fleet.forwarding import SavingReceiver
    from maskstream.fleet.status import FleetStatus
    from maskstream.web.live_view import LiveView
    from maskstream.web.server import WebServer


class FleetWeb:
    """The store and the dashboard, where the settings request them.

    Port and store are opened before an agent is started: a wrong setting ends the start at once.
    """

    def __init__(self, config: "Config") -> None:
        """Open the port and the store.

        Args:
            config: The sections `web` and `store`.

        Raises:
            MaskStreamError: A setting is wrong, a package is missing, or the port or the store cannot be opened.
        """
        self._config = config
        self._live: LiveView | None = None
        self._server: WebServer | None = None
        self._listener, self._store = open_port_and_store(config)
        if self._listener is not None:
            from maskstream.config.source_settings import SourceSettings
            from maskstream.web import live_view

            self._live = live_view.LiveView(SourceSettings(config))

    def receivers(self) -> "Iterator[SavingReceiver]":
        """Yield the receivers of committed records: the store, and the clients of the dashboard.

        Raises:
            StoreError: The store cannot be written.
        """
        if self._store is not None:
            from maskstream.store.sink import StoreSink

            yield StoreSink(self._store, self._config.store.keep_days, events_continue=True)
        if self._live is not None:
            from maskstream.web.live_sink import LiveEvents

            yield LiveEvents(self._live)

    def start(self, status: "Callable[[], FleetStatus]", assignments: "Assignments", reporting: "Reporting") -> None:
        """Serve the dashboard, where one is requested.

        Args:
            status: Returns the state of the site. Any thread calls it; it does not wait.
            assignments: Have the nodes that are drained.
            reporting: Has what waits for network receivers.
        """
        if self._listener is None or self._live is None or self._store is None:
            return
        from maskstream.web.context import WebContext
        from maskstream.web.server import WebServer

        context = WebContext(
            self._store,
            self._config,
            live=self._live,
            deliveries=reporting.deliveries,
            folders=(str(assignments.path.parent), *reporting.folders),
            fleet=status,
            drain=lambda node, is_on: (assignments.drain if is_on else assignments.undrain)(node),
        )
        self._server = WebServer(context, self._listener)
        self._server.start()

    def close(self) -> None:
        """End the dashboard and close the store, in bounded time. A second call does nothing."""
        if self._server is not None:
            self._server.stop()
        if self._listener is not None:
            self._listener.socket.close()
        if self._live is not None:
            self._live.close()
        if self._store is not None:
            self._store.close()
