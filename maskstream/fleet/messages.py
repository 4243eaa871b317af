"""Pickled messages over a Unix socket between a program and its local workers."""

import os
import pickle
from contextlib import suppress
from multiprocessing.connection import Connection
from socket import SHUT_RDWR, socket
from typing import Any, Final


class MessageSocket:
    """A connected socket that sends and receives whole objects. One thread may receive while another one sends or closes."""

    def __init__(self, connected: socket) -> None:
        """Take over a connected socket, which blocks."""
        self._socket: Final = connected
        self._connection: Final[Connection[Any, Any]] = Connection(os.dup(connected.fileno()))

    def send_bytes(self, pickled: bytes) -> None:
        """Send an object that is pickled already; this waits until the other side reads.

        Raises:
            OSError: The other side is gone.
        """
        self._connection.send_bytes(pickled)

    def receive(self) -> Any:
        """Wait for the next object and return it.

        Raises:
            EOFError: The other side closed the connection.
            OSError: The other side is gone, or `close` was called.
        """
        return pickle.loads(self._connection.recv_bytes())  # noqa: S301  both sides are processes of the same user

    def close(self) -> None:
        """End the connection; a thread that waits in it goes on with an error. A second call does nothing."""
        with suppress(OSError):
            self._socket.shutdown(SHUT_RDWR)
        self._socket.close()
