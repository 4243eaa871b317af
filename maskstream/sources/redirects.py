"""Find where HTTP and RTSP servers redirect to: FFmpeg follows redirects without reporting the target."""

import re
import socket
from contextlib import closing
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from maskstream.sources.limits import Allowance
from maskstream.sources.tls import ssl_context
from maskstream.sources.url_parts import DEFAULT_PORTS, HTTP_SCHEMES, host_of, scheme_of

MAX_REDIRECTS: Final = 8
_HTTP_MOVED: Final = (301, 302, 303, 307, 308)
_MAX_ANSWER: Final = 16_384
_RTSP_MOVED: Final = re.compile(rb"RTSP/1\.\d 3\d\d")
_RTSP_LOCATION: Final = re.compile(rb"\r?\nLocation:\s*(\S+)", re.IGNORECASE)


def http_target(url: str, allowance: Allowance, ca_file: str | None) -> str | None:
    """Follow the redirects of a web server and return the last URL.

    User and password of the first URL are kept while the host is the same.

    Args:
        url: http:// or https://.
        allowance: Limits the time and counts the connections.
        ca_file: File with trusted certificate authorities; None: certificates are not checked.

    Returns:
        None if the server cannot be reached, redirects more than `MAX_REDIRECTS` times, or to another scheme.
    """
    from http.client import HTTPException

    try:
        for _ in range(MAX_REDIRECTS):
            location = _http_location(url, allowance, ca_file)
            if location is None:
                return url
            target = urljoin(url, location)
            if scheme_of(target) not in HTTP_SCHEMES:
                return None
            url = _with_login_of(url, target)
    except (OSError, ValueError, HTTPException):
        return None
    return None


def _http_location(url: str, allowance: Allowance, ca_file: str | None) -> str | None:
    """Return the `Location` of a redirect; None if the server answers the request itself."""
    from base64 import b64encode
    from http.client import HTTPConnection, HTTPSConnection

    parts = urlsplit(url)
    host, port, timeout_s = parts.hostname or "", parts.port, float(allowance)
    if parts.scheme == "https":
        connection: HTTPConnection = HTTPSConnection(host, port, timeout=timeout_s, context=ssl_context(ca_file))
    else:
        connection = HTTPConnection(host, port, timeout=timeout_s)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
    allowance.connected()
    with closing(connection):
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", headers=headers)
        answer = connection.getresponse()
        return answer.getheader("Location") if answer.status in _HTTP_MOVED else None


def rtsp_target(url: str, allowance: Allowance, ca_file: str | None) -> str | None:
    """Ask an RTSP server for one redirect and return its target.

    User and password are kept if the host is the same.

    Args:
        url: rtsp:// or rtsps://.
        allowance: Limits the time.
        ca_file: File with trusted certificate authorities; None: certificates are not checked.

    Returns:
        None if the server does not redirect, or redirects from rtsps:// to rtsp://.
    """
    without_login = re.sub(r"(?<=://)[^/]*@", "", url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
        location = None
        connection = socket.create_connection((host, port), float(allowance))
        if parts.scheme == "rtsps":
            connection = ssl_context(ca_file).wrap_socket(connection, server_hostname=host)
        with closing(connection):
            for number, method in enumerate(("OPTIONS", "DESCRIBE"), start=1):
                request = f"{method} {without_login} RTSP/1.0\r\nCSeq: {number}\r\nAccept: application/sdp\r\n\r\n"
                connection.sendall(request.encode())
                answer = _rtsp_answer(connection, allowance)
                if _RTSP_MOVED.match(answer):
                    location = _RTSP_LOCATION.search(answer)
                    break
    except (OSError, ValueError):
        return None
    if location is None:
        return None
    target = urljoin(without_login, location[1].decode(errors="replace"))
    if scheme_of(target) not in (parts.scheme, "rtsps"):
        return None
    return _with_login_of(url, target)


def _rtsp_answer(connection: socket.socket, allowance: Allowance) -> bytes:
    """Return the headers of an answer, at most `_MAX_ANSWER` bytes."""
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _MAX_ANSWER:
        connection.settimeout(float(allowance))
        chunk = connection.recv(4096)
        if not chunk:
            break
        received += chunk
    return received


def _with_login_of(url: str, target: str) -> str:
    """Return the target of a redirect, with user and password of the first URL if the host is the same."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    is_same_host = host_of(target) == host_of(url) and not urlsplit(target).username
    return target.replace("://", f"://{login}{at}", 1) if is_same_host else target
