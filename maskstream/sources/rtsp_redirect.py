"""Where an RTSP server sends its clients; FFmpeg would follow as often as it is told to."""

import re
import socket
import ssl
from contextlib import closing
from typing import Final
from urllib.parse import urljoin, urlsplit

from maskstream.sources.limits import Allowance
from maskstream.sources.tls import context_of, scheme_of, with_login_of

_PORTS: Final = {"rtsp": 554, "rtsps": 322}
_LONGEST_ANSWER: Final = 16_384
_MOVED: Final = re.compile(rb"RTSP/1\.\d 3\d\d")
_LOCATION: Final = re.compile(rb"\r?\nLocation:\s*(\S+)", re.IGNORECASE)


def redirected_to(url: str, allowance: Allowance, ca_file: str | None) -> str | None:
    """Return the URL that a server refers to, which has the user and the password of the first one where the host is the same.

    Args:
        url: rtsp:// or rtsps://.
        allowance: Has the time that is left.
        ca_file: Whom its certificate must come from; None for anybody.

    Returns:
        None where the server refers to nothing, or from rtsps:// to rtsp://.
    """
    asked = re.sub(r"(?<=://)[^/]*@", "", url)
    try:
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
        with closing(socket.create_connection(address, float(allowance))) as plain:
            connection = _encrypted(plain, address[0], ca_file) if parts.scheme == "rtsps" else plain
            answers = (_answer(connection, method, asked, allowance) for method in ("OPTIONS", "DESCRIBE"))
            location = next((_location(answer) for answer in answers if _MOVED.match(answer)), None)
    except (OSError, ValueError):
        return None
    if location is None:
        return None
    target = urljoin(asked, location)
    if scheme_of(target) not in (parts.scheme, "rtsps"):
        return None
    return with_login_of(url, target)


def _encrypted(plain: socket.socket, host: str, ca_file: str | None) -> ssl.SSLSocket:
    return context_of(ca_file).wrap_socket(plain, server_hostname=host)


def _location(answer: bytes) -> str | None:
    found = _LOCATION.search(answer)
    if found is None:
        return None
    location: bytes = found[1]
    return location.decode(errors="replace")


def _answer(connection: socket.socket, method: str, url: str, allowance: Allowance) -> bytes:
    """Return the head of an answer, and no more than the longest one that makes sense."""
    number = {"OPTIONS": 1, "DESCRIBE": 2}[method]
    connection.sendall(f"{method} {url} RTSP/1.0\r\nCSeq: {number}\r\nAccept: application/sdp\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _LONGEST_ANSWER:
        connection.settimeout(float(allowance))
        piece = connection.recv(4096)
        if not piece:
            break
        received += piece
    return received
