"""Close connections whose client does not send its request."""

from asyncio import TimerHandle, Transport
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_WITHIN_S: Final = 10.0
"""The time in which a client must have sent the header of a request."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with a limit for the time that a header takes: uvicorn limits only the time without any data."""

    headers_within_s = HEADERS_WITHIN_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See `H11Protocol`."""
        super().__init__(*args, **kwargs)
        self._giving_up: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_request()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._wait_for_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_waiting()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Stop waiting: the connection gets another protocol."""
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def _wait_for_request(self) -> None:
        self._stop_waiting()
        self._giving_up = self.loop.call_later(self.headers_within_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
