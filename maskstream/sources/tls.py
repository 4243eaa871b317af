"""Certificates of cameras and servers: which are trusted, and what is wrong with one that is not."""

import socket
import ssl
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceRefused
from maskstream.io.certificates import Fault, fault_of

_PORTS: Final = {"https": 443, "rtsps": 322, "rtmps": 443}
_ASK_AGAIN_S: Final = 5.0
_ADVICE: Final = "give who signed it with network.ca_file, or set network.verify_tls to false"


def trusted_by(url: str, name: str, config: NetworkConfig) -> str | None:
    """Return the file with the authorities that a server's certificate must come from; None where it is not checked.

    Args:
        url: Of the source.
        name: Of the source.
        config: Where `verify_tls` is auto, all but rtsps:// are checked: cameras nearly always sign their own.

    Raises:
        SourceRefused: `ca_file` cannot be used.
    """
    scheme = scheme_of(url)
    if scheme not in _PORTS or config.verify_tls is False or (config.verify_tls == "auto" and scheme == "rtsps"):
        return None
    if config.ca_file is None:
        return ssl.get_default_verify_paths().cafile or _bundled()
    try:
        ssl.create_default_context(cafile=config.ca_file)
    except OSError as error:  # ssl.SSLError is one
        why = "no certificate is in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise SourceRefused(f"{name}: network.ca_file: {config.ca_file}: {why}; give a PEM file with certificates") from None
    return config.ca_file


def options(ca_file: str | None) -> dict[str, str]:
    """Return FFmpeg's options that check certificates by a file, or do not check them."""
    return {"tls_verify": "0"} if ca_file is None else {"tls_verify": "1", "ca_file": str(Path(ca_file).absolute())}


def scheme_of(url: str) -> str:
    """Return what a URL begins with, in small letters."""
    return url.partition("://")[0].lower()


def host_of(url: str) -> str | None:
    """Return the host of a URL; None where it has none, or is not valid."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def port_of(url: str) -> int | None:
    """Return the port that a URL names; None where it names none, or is not valid."""
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def context_of(ca_file: str | None) -> ssl.SSLContext:
    """Return what Python checks certificates by: a file with authorities; None: they are not checked."""
    context = ssl.create_default_context(cafile=ca_file)
    if ca_file is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def with_login_of(url: str, target: str) -> str:
    """Return where a redirect leads, with the user and the password of the first URL where the host is the same."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    is_same_host = host_of(target) == host_of(url) and not urlsplit(target).username
    return target.replace("://", f"://{login}{at}", 1) if is_same_host else target


def certificate_fault(url: str, ca_file: str) -> str | None:
    """Return what is wrong with the certificate of a server; None where nothing is, or where it does not answer.

    FFmpeg refuses it without saying why.
    """
    context, host = ssl.create_default_context(cafile=ca_file), host_of(url) or ""
    try:
        address = (host, urlsplit(url).port or _PORTS[scheme_of(url)])
        with closing(socket.create_connection(address, _ASK_AGAIN_S)) as plain, context.wrap_socket(plain, server_hostname=host):
            return None
    except ssl.SSLCertVerificationError as error:
        return _said(error, host)
    except ssl.SSLError as error:
        return f"its encryption failed ({(error.reason or 'unknown').replace('_', ' ').lower()}); check the port and the camera"
    except (OSError, ValueError):
        return None


def _said(error: ssl.SSLCertVerificationError, host: str) -> str:
    fault = fault_of(error)
    if fault is Fault.EXPIRED:
        return "its certificate has expired; renew it, or set network.verify_tls to false"
    if fault is Fault.NOT_YET_VALID:
        return "its certificate is not valid yet; check the clocks, or set network.verify_tls to false"
    if fault is Fault.OTHER_NAME:
        return f"its certificate is for another host than {host}; use the name in it, or set network.verify_tls to false"
    return f"its certificate is not trusted ({error.verify_message}); {_ADVICE}"


def _bundled() -> str:
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # takes time, and is rarely needed

    return DEFAULT_CA_BUNDLE_PATH
