"""Where a web server sends its clients; FFmpeg follows by itself, and does not say where it has arrived."""

from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from maskstream.sources.limits import Allowance
from maskstream.sources.tls import context_of, scheme_of, with_login_of

_MOVED: Final = (301, 302, 303, 307, 308)


def arrived_at(url: str, allowance: Allowance, ca_file: str | None, most: int) -> str | None:
    """Return the URL to which a server leads from another one, in the end.

    It has the user and the password of the first one where the host is the same.

    Args:
        url: http:// or https://.
        allowance: Has the time that is left.
        ca_file: Whom certificates must come from; None for anybody.
        most: How many redirects are followed.

    Returns:
        None where it leads nowhere, or to what is neither http:// nor https://.
    """
    from http.client import HTTPException

    try:
        for _ in range(most):
            location = _location(url, allowance, ca_file)
            if location is None:
                return url
            target = urljoin(url, location)
            if scheme_of(target) not in ("http", "https"):
                return None
            url = with_login_of(url, target)
    except (OSError, ValueError, HTTPException):
        return None
    return None


def _location(url: str, allowance: Allowance, ca_file: str | None) -> str | None:
    """Return what a server refers to; None where it answers itself."""
    from base64 import b64encode
    from contextlib import closing
    from http.client import HTTPConnection, HTTPSConnection

    parts = urlsplit(url)
    host, port, limit_s = parts.hostname or "", parts.port, float(allowance)
    if parts.scheme == "https":
        connection: HTTPConnection = HTTPSConnection(host, port, timeout=limit_s, context=context_of(ca_file))
    else:
        connection = HTTPConnection(host, port, timeout=limit_s)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
    allowance.connected()
    with closing(connection):
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", headers=headers)
        answer = connection.getresponse()
        return answer.getheader("Location") if answer.status in _MOVED else None
