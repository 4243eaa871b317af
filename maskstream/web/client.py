"""Find the address and the scheme of a client, also behind a trusted reverse proxy."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from maskstream.config.environment import expand
from maskstream.config.schema import WebConfig

PROXY_SECRET_HEADER: Final = "x-maskstream-proxy-secret"  # noqa: S105 (the name of a header)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Client:
    """The client of a request."""

    address: str
    is_secure: bool
    """Whether the browser uses https://."""
    by_proxy: bool
    """Whether a trusted proxy forwarded the request, so that its headers count."""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return not self.by_proxy and bool(self.address) and ip_address(self.address).is_loopback


class Clients:
    """Finds the client of each request by the settings of trusted proxies."""

    def __init__(self, config: WebConfig) -> None:
        """Read the settings.

        Raises:
            ConfigError: The environment variable of `web.proxy_secret` is not set.
        """
        self._proxies = networks(config.trusted_proxies)
        self._secret = None if config.proxy_secret is None else expand(config.proxy_secret, "web.proxy_secret").encode()

    def of(self, scope: Scope) -> Client:
        """Return the client of a request."""
        peer = plain_address(scope["client"][0]) if scope.get("client") else ""
        is_secure = scope["scheme"] in ("https", "wss")
        headers = Headers(scope=scope)
        if not (is_in(peer, self._proxies) and self._has_secret(headers)):
            return Client(peer, is_secure, by_proxy=False)
        protocols = headers.getlist("x-forwarded-proto")
        if protocols:
            is_secure = protocols[-1].rpartition(",")[2].strip().lower() in ("https", "wss")
        return Client(self._forwarded_for(headers) or peer, is_secure, by_proxy=True)

    def _has_secret(self, headers: Headers) -> bool:
        if self._secret is None:
            return True
        given = headers.getlist(PROXY_SECRET_HEADER)
        return len(given) == 1 and hmac.compare_digest(given[0].encode("latin-1"), self._secret)

    def _forwarded_for(self, headers: Headers) -> str:
        """Return the last address that no trusted proxy has: a client can write anything before it."""
        for text in reversed(",".join(headers.getlist("x-forwarded-for")).split(",")):
            address = plain_address(text.strip())
            if not address:
                return ""
            if not is_in(address, self._proxies):
                return address
        return ""


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks of a setting."""
    return tuple(ip_network(text) for text in texts)


def is_in(address: str, among: Sequence[Network]) -> bool:
    """Return whether an address belongs to one of the networks."""
    return bool(address) and any(ip_address(address) in network for network in among)


def plain_address(text: str) -> str:
    """Return an address in its normal form, IPv4 addresses in IPv6 form as IPv4; an empty text for anything else."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
