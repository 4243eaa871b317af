"""Connections to receivers: whose certificates are trusted, and why a connection cannot be made, with what to do."""

import errno
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from maskstream.errors import ConfigError
from maskstream.io.certificates import Fault, fault_of

_NO_WAY: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that trusts the system's certificate authorities, and those of a file.

    Args:
        ca_file: `events.ca_file`: certificates in PEM, of an authority or of the receiver itself.

    Raises:
        ConfigError: The file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13 sets it, and certificates that people make themselves fail it
    if ca_file is not None:
        try:
            context.load_verify_locations(Path(ca_file).expanduser())
        except OSError as error:  # ssl.SSLError is one
            reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise ConfigError(f"events.ca_file: {ca_file}: {reason}; give a PEM file with the certificate of the CA") from error
    return context


def address_of(url: str) -> tuple[SplitResult, str | None, int | None]:
    """Return the parts of an address, its host and its port; parts that are empty, and None, where it is none."""
    try:
        parts = urlsplit(url)
        return parts, parts.hostname, parts.port
    except ValueError:
        return urlsplit(""), None, None


def require_host(host: str, setting: str) -> None:
    """Refuse what cannot be the name of a host.

    Raises:
        ConfigError: It names the setting.
    """
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise ConfigError(f"{setting}: {host} is no name of a host; check its dots and its length") from error


def why(error: BaseException) -> str:
    """Return why a connection failed, and what to do, without any address."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _of_certificate(cause)
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, TimeoutError):
            said = (getattr(cause, "reason", None) or "no reason given").replace("_", " ").lower()
            return f"TLS could not be agreed on ({said}); check that this port speaks TLS, or leave it out of the address"
        if isinstance(cause, socket.gaierror):
            return "the host is not known; check its name, and the name server (DNS) of this machine"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused; check host and port, and that the receiver is running"
        if isinstance(cause, TimeoutError):
            return "no answer in time; check host and port, and firewalls on the way"
        if isinstance(cause, ConnectionError):
            return "the connection was closed; check that the port is the right one, and whether it wants TLS"
        if isinstance(cause, OSError) and cause.errno in _NO_WAY:
            return "no network leads there; check the address, and the network of this machine"
    return type(error).__name__


def _of_certificate(error: ssl.SSLCertVerificationError) -> str:
    fault = fault_of(error)
    if fault is Fault.OTHER_NAME:
        return "its certificate is for another name; use the name in the certificate as host"
    if fault is Fault.EXPIRED:
        return "its certificate has expired; renew it there, and check the clock of this machine"
    if fault is Fault.NOT_YET_VALID:
        return "its certificate is not valid yet; check the clocks of both machines"
    return f"its certificate is not trusted ({error.verify_message}); set events.ca_file to the certificate of its CA"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it came of, however libraries wrap it."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        within = (getattr(each, "reason", None), each.__cause__, each.__context__, *each.args)
        waiting += [one for one in within if isinstance(one, BaseException)]
