"""Ports of this machine that nobody else gets, neither another test nor a program whose port the system chooses."""

import os
import sys
from contextlib import ExitStack
from itertools import chain, islice
from socket import AF_INET, SO_REUSEADDR, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET, socket
from typing import Final

_UDP: Final = range(2000, 5000, 2)
"""Below the ports that the system and FFmpeg's RTSP choose from. The odd ones are for RTCP."""
_held: list[socket] = []
"""Until this process ends: a test may use its port at any time."""


def free_port() -> int:
    """Return a TCP port without a server.

    A socket that does not listen holds it: connections are refused, and a server may listen there again and again, as long as
    it sets SO_REUSEADDR. On other systems than Linux it could not listen beside this socket, and the port is only free now.
    """
    holder = socket(AF_INET, SOCK_STREAM)
    holder.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = int(holder.getsockname()[1])
    if sys.platform == "linux":
        _held.append(holder)
    else:
        holder.close()
    return port


def free_udp_ports(number: int) -> list[int]:
    """Return even ports that are not in use, nor the ports after them, and that no other test gets."""
    begin = os.getpid() % len(_UDP)
    found = list(islice(filter(_is_claimed, chain(_UDP[begin:], _UDP[:begin])), number))
    assert len(found) == number, "too few UDP ports are free"
    return found


def _is_claimed(port: int) -> bool:
    """Claim a UDP port for this process by the TCP port of the same number; return False where it is taken."""
    claim = socket(AF_INET, SOCK_STREAM)
    try:
        claim.bind(("127.0.0.1", port))
        with ExitStack() as bound:
            for each in (port, port + 1):
                bound.enter_context(socket(AF_INET, SOCK_DGRAM)).bind(("", each))
    except OSError:
        claim.close()
        return False
    _held.append(claim)
    return True
