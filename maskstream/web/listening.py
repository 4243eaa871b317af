"""Open the port of the dashboard, with the checks that an address other than loopback needs."""

import errno
import os
import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from maskstream.config.schema import WebConfig
from maskstream.errors import ConfigError
from maskstream.web.client import is_in, networks, plain_address
from maskstream.web.limited_socket import LimitedSocket
from maskstream.web.tls import Certificate, load_certificate, warn_before_end

DEFAULT_LISTEN: Final = "127.0.0.1:8675"
_ADDRESS: Final = re.compile(r"(?:(?:\[(?P<ipv6>[^\]]+)\]|(?P<host>[^:\[\]]+)):)?(?P<port>\d{1,5})")
_BACKLOG: Final = 128
_UNREAD_MS: Final = 30_000
"""Linux ends a connection whose client has not read sent data for this time. uvicorn alone would wait for it without limit."""


@dataclass(frozen=True)
class Listener:
    """An open port."""

    socket: socket.socket
    names: tuple[str, ...]
    """The host names for browsers, in lower case: of the settings and of the certificate."""
    address: str
    """The IP address; all zeros for every address of this machine."""
    port: int
    certificate: Certificate | None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ip_address(self.address).is_loopback

    @property
    def url(self) -> str:
        """The address for a browser."""
        name = self.names[0]
        if ip_address(self.address).is_unspecified:
            name = next((each for each in self.names[1:] if "*" not in each), "localhost")
        return f"{'http' if self.certificate is None else 'https'}://{f'[{name}]' if ':' in name else name}:{self.port}"


def listen(config: WebConfig) -> Listener:
    """Open the port of `web.listen`.

    Raises:
        ConfigError: The settings are not enough for the address, the TLS files are wrong, or the port cannot be opened.
    """
    text = config.listen or DEFAULT_LISTEN
    host, port = parse_listen(text)
    certificate = _certificate(config)
    family, address = _resolve(text, host, port)
    plain = address[0].partition("%")[0]
    if not ip_address(plain).is_loopback and certificate is None and not config.trusted_proxies:
        raise ConfigError(
            f"web.listen: {text}: other machines could read passwords and images; set web.tls_certificate and web.tls_key, or "
            f"web.trusted_proxies for a reverse proxy with TLS, or listen on {DEFAULT_LISTEN}"
        )
    _require_proxy_settings(config)
    proxies = networks(("127.0.0.0/8", "::1", *config.trusted_proxies))
    opened = LimitedSocket(family, is_shared=lambda peer: is_in(plain_address(peer), proxies))
    _bind(opened, text, address)
    names = (host, *config.hosts, *(certificate.names if certificate is not None else ()))
    return Listener(opened, tuple(name.lower() for name in names), plain, opened.getsockname()[1], certificate)


def _require_proxy_settings(config: WebConfig) -> None:
    names = config.proxy_user_header is not None or config.proxy_role_header is not None
    if names and not (config.trusted_proxies and config.proxy_secret):
        raise ConfigError(
            "web.proxy_user_header and web.proxy_role_header need web.trusted_proxies and web.proxy_secret; set both"
        )


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, `[IPV6]:PORT` or `PORT`.

    Raises:
        ConfigError: The text is none of them.
    """
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or int(found["port"]) > 65535:
        raise ConfigError(f"web.listen: {text}: expected an address and a port, such as {DEFAULT_LISTEN} or [::1]:8675")
    return found["ipv6"] or found["host"] or "127.0.0.1", int(found["port"])


def _certificate(config: WebConfig) -> Certificate | None:
    if config.tls_certificate is None and config.tls_key is None:
        return None
    if config.tls_certificate is None or config.tls_key is None:
        raise ConfigError("web.tls_certificate and web.tls_key belong together; set both")
    certificate = load_certificate(config.tls_certificate, config.tls_key)
    warn_before_end(config.tls_certificate, certificate)
    return certificate


def _resolve(text: str, host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(f"web.listen: {text}: the host {host} is not known; give an address of this machine") from error
    family, _, _, _, address = found[0]
    return family, address  # type: ignore[return-value]  # only IP addresses


def _bind(opened: socket.socket, text: str, address: tuple[str, int]) -> None:
    """Bind a socket, or close it and raise `ConfigError`."""
    try:
        if os.name == "posix":  # elsewhere it would allow two programs on one port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
        opened.bind(address)
        opened.listen(_BACKLOG)
    except OSError as error:
        opened.close()
        advice = {
            errno.EADDRINUSE: "the port is in use by another program; choose another port",
            errno.EADDRNOTAVAIL: "this machine does not have this address; give one of its own, or 0.0.0.0 for all",
            errno.EACCES: "only the administrator may open this port; choose one above 1023",
        }.get(error.errno or 0, f"cannot be opened: {error.strerror}; choose another address")
        raise ConfigError(f"web.listen: {text}: {advice}") from error
