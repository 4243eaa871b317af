"""Run the dashboard in a thread of its own."""

import asyncio
import logging
from threading import Thread
from typing import Any, Final

from loguru import logger
from uvicorn import Config, Server

from maskstream.errors import StoreError
from maskstream.web.app import WebApp
from maskstream.web.certificate_watch import CertificateWatch
from maskstream.web.context import WebContext
from maskstream.web.http_protocol import PatientProtocol
from maskstream.web.listening import Listener
from maskstream.web.requests import in_thread
from maskstream.web.routes import ROUTES
from maskstream.web.security import Hosts

RECHECK_S: Final = 30.0
"""The interval at which the session or token of an open WebSocket or stream is checked again."""
CERTIFICATE_EVERY_S: Final = 30.0
"""The interval of the checks for a renewed certificate."""
_FINISH_WITHIN_S: Final = 0.5
"""The time that requests get to finish when the server stops."""
_STOP_WITHIN_S: Final = 4.0
_MAX_MESSAGE: Final = 64 * 1024
"""The maximum size of a WebSocket message from a client, in bytes."""


class WebServer:
    """Serves the dashboard on an open port. It installs no signal handlers."""

    def __init__(self, context: WebContext, listener: Listener) -> None:
        """Begin without a thread.

        Args:
            context: What the handlers use.
            listener: The open port, which `stop` closes.
        """
        self._context = context
        self._listener = listener
        certificate = listener.certificate
        hosts = Hosts(frozenset(listener.names), any_address=not listener.is_loopback)
        only_by_proxy = certificate is None and not listener.is_loopback
        config = Config(
            WebApp(context, ROUTES, hosts, only_by_proxy=only_by_proxy, recheck_s=RECHECK_S),
            http=PatientProtocol,
            ws="websockets-sansio",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # maskstream.web.client reads them
            timeout_graceful_shutdown=_FINISH_WITHIN_S,  # type: ignore[arg-type]  # asyncio takes fractions
            ws_max_size=_MAX_MESSAGE,
            ws_per_message_deflate=False,
            ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
        )
        self._server = Server(config)
        self._thread = Thread(target=self._serve, name="web", daemon=True)

    @property
    def url(self) -> str:
        """The address for a browser."""
        return self._listener.url

    def start(self) -> None:
        """Begin to serve, and log the address."""
        _forward_log()
        self._thread.start()
        logger.info("dashboard: {}", self.url)
        try:
            has_users = bool(self._context.store.users.list())
        except StoreError as error:
            logger.warning("{}", error)
            return
        if not has_users and self._context.config.web.proxy_user_header is None:
            logger.warning("no user can log in yet; add the first administrator with: maskstream user add NAME --role admin")

    @property
    def is_running(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Close the port and all connections, and end the thread in bounded time. A second call does nothing."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_STOP_WITHIN_S)
        self._listener.socket.close()

    def _serve(self) -> None:
        try:
            asyncio.run(self._serve_in_loop())
        except Exception as error:
            logger.opt(exception=error).error("the dashboard ended by an internal error; the run continues without it")

    async def _serve_in_loop(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_log_debug)
        watching = asyncio.create_task(self._watch_certificate())
        await self._server.serve([self._listener.socket])
        watching.cancel()
        state = self._server.server_state
        if state.tasks:  # which were cancelled
            await asyncio.wait(state.tasks, timeout=_FINISH_WITHIN_S)
        for connection in tuple(state.connections):  # of clients that do not read
            connection.transport.abort()
        await asyncio.sleep(0)  # in which they are closed

    async def _watch_certificate(self) -> None:
        certificate = self._listener.certificate
        if certificate is not None:
            watch = CertificateWatch(self._context.config.web, certificate, self._context.clock)
            while True:
                await asyncio.sleep(CERTIFICATE_EVERY_S)
                await in_thread(watch.check)


def _log_debug(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error of a connection, such as a broken TLS handshake: clients cause it, and must not fill the log."""
    logger.debug("web: {}: {!r}", context["message"], context.get("exception"))


class _Forward(logging.Handler):
    """Forwards log records of uvicorn, which describe errors of clients."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.opt(exception=record.exc_info).debug("web: {}", record.getMessage())


def _forward_log() -> None:
    log = logging.getLogger("uvicorn")
    log.propagate = False
    if not any(isinstance(handler, _Forward) for handler in log.handlers):
        log.addHandler(_Forward())
