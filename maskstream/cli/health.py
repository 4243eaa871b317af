"""`maskstream health`: ask a dashboard whether its run is alive and ready."""

import argparse
import json
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from maskstream.cli.parser import DEFAULT_LISTEN
from maskstream.errors import ConfigError
from maskstream.redaction import one_line

_TIMEOUT_S: Final = 5.0
_CHECKS: Final = ("/healthz", "/readyz")
_MAX_ANSWER: Final = 4096


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the option of the check."""
    parser.add_argument(
        "--web",
        default=f"http://{DEFAULT_LISTEN}",
        metavar="URL",
        help=f"address of the dashboard; default: http://{DEFAULT_LISTEN}",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the state of the run in one line; 0: alive and ready, 1: not, or no answer."""
    for check in _CHECKS:
        problem = problem_of(arguments.web, check)
        if problem:
            print(f"{arguments.web.rstrip('/')}{check}: {problem}", file=sys.stderr)
            return 1
    print(f"{arguments.web}: alive and ready")
    return 0


def problem_of(url: str, check: str) -> str:
    """Return why a check does not succeed; empty where it does.

    Raises:
        ConfigError: The address is no URL.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"--web: {url}: not an address; give http://{DEFAULT_LISTEN} or similar")
    try:
        connection = _connection(parts.scheme, host, port)
        try:
            connection.request("GET", check)
            answer = connection.getresponse()
            content = answer.read(_MAX_ANSWER)
        finally:
            connection.close()
    except (OSError, HTTPException) as error:
        return f"no answer: {getattr(error, 'strerror', None) or error or type(error).__name__}; is it running?"
    return "" if answer.status == 200 else f"{answer.status}: {_detail(content) or answer.reason}"


def _connection(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=_TIMEOUT_S)
    context = ssl.create_default_context()
    if _is_loopback(host):  # the certificate has the name by which others reach this machine
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _detail(content: bytes) -> str:
    """Return the one-line message of a problem; empty for any other answer."""
    try:
        return one_line(str(json.loads(content)["detail"]))
    except (ValueError, KeyError, TypeError):
        return ""
