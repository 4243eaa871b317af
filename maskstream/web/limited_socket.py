"""Limit the connections of clients, so that they never use up the file descriptors that cameras and outputs need."""

import socket
import sys
from collections.abc import Callable
from typing import Any, Final

MAX_CONNECTIONS: Final = 512
_FRACTION_OF_ONE_ADDRESS: Final = 4
"""One address may have this part of the connections."""


class LimitedSocket(socket.socket):
    """A listening socket that closes a new connection at once while too many are open, also during their TLS handshake."""

    def __init__(self, family: socket.AddressFamily, is_shared: Callable[[str], bool], limit: int | None = None) -> None:
        """Begin without connections.

        Args:
            family: The address family.
            is_shared: Whether many clients share an address, as that of a reverse proxy. It may have all connections.
            limit: The maximum number of connections; None: 512, or half of the file descriptors of this process.
        """
        super().__init__(family, socket.SOCK_STREAM)
        self._limit = max_connections() if limit is None else limit
        self._is_shared = is_shared
        self._open: dict[socket.socket, str] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection.

        Raises:
            ConnectionAbortedError: It was closed, because too many are open.
        """
        connection, address = super().accept()
        self._open = {each: peer for each, peer in self._open.items() if each.fileno() >= 0}
        of_address = sum(peer == address[0] for peer in self._open.values())
        too_many = of_address >= max(1, self._limit // _FRACTION_OF_ONE_ADDRESS) and not self._is_shared(address[0])
        if too_many or len(self._open) >= self._limit:
            connection.close()
            raise ConnectionAbortedError("too many connections")
        self._open[connection] = address[0]
        return connection, address


def max_connections() -> int:
    """Return the maximum number of connections of the dashboard in this process."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    import resource

    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if descriptors == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, descriptors // 2)
