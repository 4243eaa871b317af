"""Check TLS certificates of cameras and servers, and report why one is not trusted."""

import socket
import ssl
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from maskstream.config.schema import NetworkConfig
from maskstream.errors import SourceRefused
from maskstream.io.certificates import Fault, fault_of
from maskstream.sources.url_parts import DEFAULT_PORTS, TLS_SCHEMES, host_of, scheme_of

_CHECK_TIMEOUT_S: Final = 5.0


def ca_file_for(url: str, name: str, config: NetworkConfig) -> str | None:
    """Return the file with the certificate authorities that are trusted for a URL; None if certificates are not checked.

    Args:
        url: URL of the source.
        name: Name of the source.
        config: With `verify_tls: auto`, all schemes but rtsps:// are checked: most cameras have self-signed certificates.

    Raises:
        SourceRefused: `ca_file` cannot be read, or contains no certificate.
    """
    scheme = scheme_of(url)
    if scheme not in TLS_SCHEMES or config.verify_tls is False or (config.verify_tls == "auto" and scheme == "rtsps"):
        return None
    if config.ca_file is None:
        if own := ssl.get_default_verify_paths().cafile:
            return own
        from requests.utils import DEFAULT_CA_BUNDLE_PATH  # slow import, rarely needed

        return DEFAULT_CA_BUNDLE_PATH
    try:
        ssl.create_default_context(cafile=config.ca_file)
    except OSError as error:  # ssl.SSLError is a subclass
        why = "contains no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise SourceRefused(f"{name}: network.ca_file: {config.ca_file}: {why}; give a PEM file with certificates") from None
    return config.ca_file


def ffmpeg_options(ca_file: str | None) -> dict[str, str]:
    """Return FFmpeg's options that check certificates against a file; with None, that do not check them."""
    return {"tls_verify": "0"} if ca_file is None else {"tls_verify": "1", "ca_file": str(Path(ca_file).absolute())}


def ssl_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that checks certificates against a file; with None, that does not check them."""
    context = ssl.create_default_context(cafile=ca_file)
    if ca_file is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def certificate_fault(url: str, ca_file: str) -> str | None:
    """Connect again and return why the certificate of a server is not accepted: FFmpeg does not report it.

    Returns:
        None if the certificate is accepted, or the server does not answer.
    """
    context, host = ssl.create_default_context(cafile=ca_file), host_of(url) or ""
    try:
        address = (host, urlsplit(url).port or DEFAULT_PORTS[scheme_of(url)])
        with closing(socket.create_connection(address, _CHECK_TIMEOUT_S)) as plain:
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        return _fault_message(error, host)
    except ssl.SSLError as error:
        return f"the encryption failed ({(error.reason or 'unknown').replace('_', ' ').lower()}); check the port and the camera"
    except (OSError, ValueError):
        pass
    return None


def _fault_message(error: ssl.SSLCertVerificationError, host: str) -> str:
    fault = fault_of(error)
    if fault is Fault.EXPIRED:
        return "its certificate has expired; renew it, or set network.verify_tls to false"
    if fault is Fault.NOT_YET_VALID:
        return "its certificate is not valid yet; check the clocks, or set network.verify_tls to false"
    if fault is Fault.OTHER_NAME:
        return f"its certificate is for another host than {host}; use the name in it, or set network.verify_tls to false"
    return (
        f"its certificate is not trusted ({error.verify_message}); "
        "set network.ca_file to the certificate of its issuer, or network.verify_tls to false"
    )
