"""Addresses of network receivers: parse them, trust their certificates, and explain why a connection failed."""

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from maskstream.errors import ConfigError
from maskstream.io.certificates import Fault, fault_of

_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
_EXPLANATIONS: Final = (
    (socket.gaierror, "the host is not known; check its name, and the name server (DNS) of this machine"),
    (ConnectionRefusedError, "the connection was refused; check host and port, and that the receiver is running"),
    (TimeoutError, "no answer in time; check host, port and firewalls"),
    (ConnectionError, "the connection was closed; check the port, and whether it requires TLS"),
)
"""By the type of an error; the first one that fits counts."""


@dataclass(frozen=True)
class Address:
    """The parts of a URL."""

    scheme: str
    host: str
    port: int | None
    path: str
    user: str | None
    password: str | None


def parse_address(url: str) -> Address | None:
    """Return the parts of a URL, or None where it is not one or names no host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return Address(parts.scheme, host, port, parts.path, user, password)


def require_host_name(host: str, setting: str) -> None:
    """Refuse text that cannot be a host name.

    Raises:
        ConfigError: The text cannot be one; the message begins with `setting`.
    """
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise ConfigError(f"{setting}: {host} is not a host name; check its dots and its length") from error


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that trusts the certificate authorities of the system, and the certificates in a file.

    Args:
        ca_file: `events.ca_file`: certificates in PEM, of an authority or of the receiver itself.

    Raises:
        ConfigError: The file cannot be read, or contains no certificate.
    """
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # set by Python 3.13; self-made certificates often fail it
    if ca_file is not None:
        try:
            context.load_verify_locations(Path(ca_file).expanduser())
        except OSError as error:  # ssl.SSLError is one
            reason = "it contains no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"events.ca_file: {ca_file}: {reason}; give a PEM file with the certificate of the CA") from error
    return context


def explain_failure(error: BaseException) -> str:
    """Return why a connection failed, and what to do. The text contains no address."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _explain_certificate(cause)
    for cause in causes:
        explanation = _explain_cause(cause)
        if explanation is not None:
            return explanation
    return type(error).__name__


def _explain_cause(cause: BaseException) -> str | None:
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, TimeoutError):
        reason = (getattr(cause, "reason", None) or "no reason given").replace("_", " ").lower()
        return f"the TLS handshake failed ({reason}); check that this port uses TLS, or give an address without TLS"
    for kind, explanation in _EXPLANATIONS:
        if isinstance(cause, kind):
            return explanation
    if isinstance(cause, OSError) and cause.errno in _NO_ROUTE:
        return "no route to the host; check the address, and the network of this machine"
    return None


def _explain_certificate(error: ssl.SSLCertVerificationError) -> str:
    fault = fault_of(error)
    if fault is Fault.OTHER_NAME:
        return "its certificate is for another name; use the name in the certificate as host"
    if fault is Fault.EXPIRED:
        return "its certificate has expired; renew it on the receiver, and check the clock of this machine"
    if fault is Fault.NOT_YET_VALID:
        return "its certificate is not valid yet; check the clocks of both machines"
    return f"its certificate is not trusted ({error.verify_message}); set events.ca_file to the certificate of its CA"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all errors inside it, however libraries wrap them."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        within = (getattr(each, "reason", None), each.__cause__, each.__context__, *each.args)
        waiting += [one for one in within if isinstance(one, BaseException)]
