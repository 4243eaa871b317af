"""Connect a run with the store and the dashboard."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING, Final

from maskstream.errors import ConfigError

if TYPE_CHECKING:
    from maskstream.cli.reporting import Reporting
    from maskstream.cli.request import StreamRequest
    from maskstream.clock import Clock
    from maskstream.config.schema import Config
    from maskstream.config.source_settings import SourceSettings
    from maskstream.protocols import Sink
    from maskstream.store.store import Store
    from maskstream.stream.engine import Engine
    from maskstream.web.listening import Listener
    from maskstream.web.live_sink import LiveSink
    from maskstream.web.live_view import LiveView
    from maskstream.web.server import WebServer

_PACKAGES: Final = ("starlette", "uvicorn", "websockets", "prometheus_client", "ruamel.yaml")


def require_web_packages() -> None:
    """Refuse the dashboard where its packages are not installed.

    Raises:
        ConfigError: A package of `requirements-web.txt` is missing.
    """
    missing = [name for name in _PACKAGES if not _is_installed(name)]
    if missing:
        raise ConfigError(f"--web needs {', '.join(missing)}; pip install 'maskstream[web]'")


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that contains it
        return False


def open_store(config: "Config") -> "Store":
    """Open the store of the settings, or the default one.

    Raises:
        MaskStreamError: It cannot be opened.
    """
    from maskstream.store.store import Store, default_folder

    return Store(config.store.folder or default_folder())


def wants_store(config: "Config") -> bool:
    """Return whether a run has a store: with a dashboard, or where its folder is set."""
    return config.web.listen is not None or config.store.folder is not None


def open_port_and_store(config: "Config") -> "tuple[Listener | None, Store | None]":
    """Open the port of the dashboard and the store, where the settings request them.

    Raises:
        MaskStreamError: A package is missing, or the port or the store cannot be opened.
    """
    listener: Listener | None = None
    with ExitStack() as closing:
        if config.web.listen is not None:
            require_web_packages()
            from maskstream.web.listening import listen

            listener = listen(config.web)
            closing.callback(listener.socket.close)
        store = open_store(config) if wants_store(config) else None
        closing.pop_all()
    return listener, store


def close_in_order(
    server: "WebServer | None", listener: "Listener | None", live: "LiveView | None", store: "Store | None"
) -> None:
    """Close those parts of a dashboard that exist: first what lets viewers in, and the store last."""
    if server is not None:
        server.stop()
    if listener is not None:
        listener.socket.close()
    if live is not None:
        live.close()
    if store is not None:
        store.close()


class WebRun:
    """The store and the dashboard of a run, where the settings request them.

    Port and store are opened before the models are loaded: a wrong setting ends the start at once.
    """

    def __init__(self, config: "Config", settings: "SourceSettings", clock: "Clock") -> None:
        """Open the port and the store.

        Args:
            config: The sections `web` and `store`.
            settings: The settings of each camera.
            clock: The clock of the run.

        Raises:
            MaskStreamError: A setting is wrong, a package is missing, or the port or the store cannot be opened.
        """
        self._config = config
        self._clock = clock
        self._live: LiveView | None = None
        self._live_sink: LiveSink | None = None
        self._server: WebServer | None = None
        self._listener, self._store = open_port_and_store(config)
        if self._listener is not None:
            from maskstream.web import live_sink, live_view

            self._live = live_view.LiveView(settings, quality=config.web.tile_quality, clock=clock)
            self._live_sink = live_sink.LiveSink(self._live)

    def sinks(self, reporting: "Reporting") -> "Iterator[Sink]":
        """Yield the sinks that fill the store and the live view.

        Raises:
            StoreError: The store cannot be written.
        """
        if self._store is None:
            return
        from maskstream.store.sink import StoreSink

        yield reporting.event_sink(StoreSink(self._store, self._config.store.keep_days))
        if self._live is not None and self._live_sink is not None:
            from maskstream.web.live_sink import LiveEvents

            yield reporting.event_sink(LiveEvents(self._live))
            yield self._live_sink

    def attend(self) -> None:
        """Paint frames for which viewers wait. Called several times a second by the thread that renders."""
        if self._live_sink is not None:
            self._live_sink.attend()

    def start(
        self, engine: "Engine", request: "StreamRequest", reporting: "Reporting", check: "Callable[[Config], None]"
    ) -> None:
        """Serve the dashboard, where one is requested.

        Args:
            engine: The engine of the run.
            request: The sources and outputs, and the settings of the command line.
            reporting: The receivers of events.
            check: Raises `MaskStreamError` where the loaded models do not allow the settings of a camera.
        """
        if self._listener is None or self._live is None or self._store is None:
            return
        from maskstream.web.camera_lists import CameraLists
        from maskstream.web.context import WebContext
        from maskstream.web.server import WebServer

        self._live.watch(engine)
        cameras = CameraLists(request.sources, self._config, request.command_line, check)
        context = WebContext(
            self._store,
            self._config,
            live=self._live,
            cameras=cameras,
            deliveries=reporting.deliveries,
            folders=(*request.folders, *reporting.folders),
            clock=self._clock,
        )
        self._server = WebServer(context, self._listener)
        self._server.start()

    def leave(self) -> Sequence[Thread]:
        """Begin to close everything, and return the threads to join."""
        if self._store is None:
            return []
        closing = Thread(target=self.close, name="web end", daemon=True)
        closing.start()
        return [closing, *(self._live.close() if self._live is not None else ())]

    def close(self) -> None:
        """End the dashboard and close the store, in bounded time. A second call does nothing."""
        close_in_order(self._server, self._listener, self._live, self._store)
