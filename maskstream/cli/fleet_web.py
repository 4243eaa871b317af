"""The store and the dashboard of the supervisor of a site."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maskstream.cli.reporting import Reporting
from maskstream.cli.web import close_in_order, open_port_and_store
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.fleet.assignments import Assignments
from maskstream.fleet.forwarding import SavingReceiver
from maskstream.fleet.supervisor import Supervisor
from maskstream.stream.states import StateChange

if TYPE_CHECKING:
    from maskstream.web.live_view import LiveView
    from maskstream.web.server import WebServer


class FleetWeb:
    """The store and the dashboard, where the settings request them. Images stay on the nodes."""

    def __init__(self, config: Config) -> None:
        """Open the port and the store: a wrong setting ends the start before an agent is started.

        Raises:
            MaskStreamError: A package is missing, or the port or the store cannot be opened.
        """
        self._config = config
        self._live: LiveView | None = None
        self._server: WebServer | None = None
        self._listener, self._store = open_port_and_store(config)
        if self._listener is not None:
            from maskstream.web import live_view

            self._live = live_view.LiveView(SourceSettings(config))

    def receivers(self) -> Iterator[SavingReceiver]:
        """Yield the receivers that fill the store and the pages.

        Raises:
            StoreError: The store cannot be written.
        """
        if self._store is None:
            return
        from maskstream.store.sink import StoreSink

        yield StoreSink(self._store, self._config.store.keep_days, events_continue=True)
        if self._live is not None:
            from maskstream.web.live_sink import LiveEvents

            yield LiveEvents(self._live)

    def state_changed(self, change: StateChange) -> None:
        """Pass the state of a camera on to the pages."""
        if self._live is not None:
            self._live.state_changed(change)

    def start(self, supervisor: Supervisor, assignments: Assignments, reporting: Reporting) -> None:
        """Serve the dashboard, where one is requested.

        Args:
            supervisor: Of the site.
            assignments: Keep which nodes are drained.
            reporting: The receivers of events.
        """
        if self._listener is None or self._live is None or self._store is None:
            return
        from maskstream.web.context import WebContext
        from maskstream.web.server import WebServer

        def drain(node: str, is_on: bool) -> None:
            (assignments.drain if is_on else assignments.undrain)(node)

        context = WebContext(
            self._store,
            self._config,
            live=self._live,
            deliveries=reporting.deliveries,
            folders=(*reporting.folders, str(assignments.path.parent)),
            fleet=supervisor.status,
            drain=drain,
        )
        self._server = WebServer(context, self._listener)
        self._server.start()

    def close(self) -> None:
        """End the dashboard and close the store, in bounded time. A second call does nothing."""
        close_in_order(self._server, self._listener, self._live, self._store)
