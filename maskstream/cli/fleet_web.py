"""Connect the supervisor of a fleet with the store and the dashboard."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from maskstream.cli.web import open_port_and_store

if TYPE_CHECKING:
    from maskstream.clock import Clock
    from maskstream.config.schema import Config
    from maskstream.events.delivery import DeliveryStatus
    from maskstream.events.sink import Receiver
    from maskstream.fleet.status import FleetStatus
    from maskstream.web.live_view import LiveView
    from maskstream.web.server import WebServer


class FleetWeb:
    """The store and the dashboard of a fleet, where the settings request them.

    Port and store are opened at once: a wrong setting ends the start before a node is started.
    """

    def __init__(self, config: "Config", clock: "Clock") -> None:
        """Open the port and the store.

        Args:
            config: The sections `web` and `store`.
            clock: The clock of the supervisor.

        Raises:
            MaskStreamError: A setting is wrong, a package is missing, or the port or the store cannot be opened.
        """
        self._config = config
        self._clock = clock
        self._live: LiveView | None = None
        self._server: WebServer | None = None
        self._listener, self._store = open_port_and_store(config)
        if self._listener is not None:
            from maskstream.config.source_settings import SourceSettings
            from maskstream.web import live_view

            self._live = live_view.LiveView(SourceSettings(config), clock=clock)

    def receivers(self) -> "Iterator[Receiver]":
        """Yield the receivers of committed events and counts: the store, and the clients of the dashboard.

        Raises:
            StoreError: The store cannot be written.
        """
        if self._store is not None:
            from maskstream.store.sink import StoreSink

            yield StoreSink(self._store, self._config.store.keep_days, events_continue=True)
        if self._live is not None:
            from maskstream.web.live_sink import LiveEvents

            yield LiveEvents(self._live)

    def start(
        self,
        status: "Callable[[], FleetStatus]",
        drain: Callable[[str, bool], None],
        deliveries: "Callable[[], Sequence[DeliveryStatus]]",
        folders: Sequence[str],
    ) -> None:
        """Serve the dashboard, where one is requested.

        Args:
            status: Returns the state of the fleet; any thread calls it, and it does not block.
            drain: Begins (True) or ends to empty a node; any thread calls it.
            deliveries: Returns what waits for each network receiver of events.
            folders: The folders that the supervisor writes to, the one of the store left out.
        """
        if self._listener is None or self._live is None or self._store is None:
            return
        from maskstream.web.context import WebContext
        from maskstream.web.server import WebServer

        context = WebContext(
            self._store,
            self._config,
            live=self._live,
            deliveries=deliveries,
            folders=folders,
            fleet=status,
            drain=drain,
            clock=self._clock,
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
