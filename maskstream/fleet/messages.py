"""Messages over a Unix socket between a program and its local workers."""

import os
from contextlib import suppress
from multiprocessing.connection import Connection
from socket import SHUT_RDWR, socket
from typing import Any, Final


class MessageSocket:
    """A connected socket that sends and receives whole messages. One thread may receive while another one sends or closes."""

    def __init__(self, connected: socket) -> None:
        """Take over a connected socket, which blocks."""
        self._socket: Final = connected
        self._connection: Final[Connection[Any, Any]] = Connection(os.dup(connected.fileno()))

    def send(self, message: bytes) -> None:
        """Send a message; this waits until the other side reads.

        Raises:
            OSError: The other side is gone.
        """
        self._connection.send_bytes(message)

    def receive(self) -> bytes:
        """Wait for the next message and return it.

        Raises:
            EOFError: The other side closed the connection.
            OSError: The other side is gone, or `close` was called.
        """
        return self._connection.recv_bytes()

    def close(self) -> None:
        """End the connection; a thread that waits in it goes on with an error. A second call does nothing."""
        with suppress(OSError):
            self._socket.shutdown(SHUT_RDWR)
        self._socket.close()
