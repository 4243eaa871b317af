"""Records posted to an address."""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable
from hashlib import sha256
from ssl import SSLContext
from time import time
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy

from maskstream.errors import ConfigError
from maskstream.events.delivery import NotDelivered
from maskstream.events.endpoints import address_of, require_host, trusting, why
from maskstream.events.messages import QueuedMessage
from maskstream.stream.states import StateChange

_TIMEOUT_S: Final = (5.0, 10.0)
"""To connect, and between two bytes of the answer."""
_REFUSED: Final = frozenset({400, 405, 410, 411, 413, 415, 422})
"""Answers that will be the same next time."""
_PORTS: Final = {"http": 80, "https": 443}
_KEY_PREFIX: Final = "whsec_"
_HINTS: Final = {
    301: "redirects are not followed, give the address that it leads to",
    401: "check the token in the url",
    403: "check the token in the url",
    404: "check the path in the url",
    407: "the proxy wants a user and a password, give them in the variable",
    429: "it wants fewer records",
}


class Webhook:
    """Posts each record as JSON: at least once, in order; any 2xx is an answer that it has arrived.

    `webhook-id` is the same whenever a record is posted again, `webhook-timestamp` is the time of the attempt in seconds since
    1970, and with a secret `webhook-signature` signs both and the body, by the Standard Webhooks specification
    (https://www.standardwebhooks.com). `X-Maskstream-Key` is `webhook-id` again; `X-Maskstream-Signature` is `sha256=` and the
    HMAC-SHA256 (RFC 2104) of the body alone in hexadecimal.
    """

    def __init__(
        self,
        url: str,
        secret: str | None,
        name: str | None = None,
        ca_file: str | None = None,
        now_s: Callable[[], float] = time,
    ) -> None:
        """Remember where to; nothing is sent.

        Args:
            url: An http:// or https:// address.
            secret: Signs what is posted; `whsec_` and base64, or any text.
            name: Of the receiver, in the log and in the queue; None: it is known by scheme, host, port and path.
            ca_file: Certificates to trust besides the system's.
            now_s: Seconds since 1970.

        Raises:
            ConfigError: The address, the secret or the file cannot be used.
        """
        parts, host, port = address_of(url)
        if parts.scheme not in _PORTS or not host:
            raise ConfigError("events.webhooks: a url is no http:// or https:// address; give one such as https://host/path")
        require_host(host, "events.webhooks: url")
        whole = f"webhook {_digest(url)}"
        self.address_key = f"webhook {host} {_digest(f'{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}{parts.path}')}"
        self.full_key = f"webhook {host} {_digest(url)}"
        self.key = self.address_key if name is None else f"webhook named {name}"
        self.former_keys: tuple[str, ...] = (whole, self.full_key, *(() if name is None else (self.address_key,)))
        self.name = f"webhook at {host}" if name is None else f"webhook {name}"  # what follows the host may hold a secret
        self._url = url
        self._host = host
        self._secret = secret
        self._signing_key = _signing_key(secret)
        self._now_s = now_s
        self._session = requests.Session()
        if parts.scheme == "https":
            self._session.mount("https://", _Trusting(trusting(ca_file)))

    def send(self, message: QueuedMessage) -> None:
        """Post a letter."""
        try:
            answer = self._session.post(
                self._url,
                data=message.body,
                headers=self._headers(message),
                timeout=_TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            )
        except requests.exceptions.ProxyError as error:
            raise NotDelivered(f"{self._proxy()}: {why(error)}; or let no_proxy name {self._host}") from error
        except requests.RequestException as error:
            proxy = self._proxy()
            raise NotDelivered(f"{why(error)}{f'; asked through {proxy}' if proxy else ''}") from error  # its text holds the URL
        answer.close()
        if not 200 <= answer.status_code < 300:
            raise NotDelivered(self._refusal(answer), is_final=answer.status_code in _REFUSED)

    def state_changed(self, change: StateChange) -> None:
        """Leave states out."""

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _headers(self, message: QueuedMessage) -> dict[str, str]:
        stamp = str(int(self._now_s()))
        headers = {
            "Content-Type": "application/json",
            "X-Maskstream-Key": message.key,
            "webhook-id": message.key,
            "webhook-timestamp": stamp,
        }
        if self._secret is not None:
            signed = f"{message.key}.{stamp}.".encode() + message.body
            signature = b64encode(hmac.digest(self._signing_key, signed, sha256)).decode()
            headers["webhook-signature"] = f"v1,{signature}"
            headers["X-Maskstream-Signature"] = f"sha256={hmac.new(self._secret.encode(), message.body, sha256).hexdigest()}"
        return headers

    def _refusal(self, answer: requests.Response) -> str:
        code, proxy = answer.status_code, self._proxy()
        hint = _HINTS.get(301 if 300 <= code < 400 else code)
        said = f"it answers {code} {answer.reason}"
        return f"{said}{f'; {hint}' if hint else ''}{f'; asked through {proxy}' if proxy else ''}"

    def _proxy(self) -> str:
        """Return which proxy is asked, and what says so; nothing where there is none."""
        proxy = select_proxy(self._url, get_environ_proxies(self._url))
        if not proxy:
            return ""
        try:
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            address = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
        except ValueError:
            address = "of no valid address"
        return f"the proxy {address} ({urlsplit(self._url).scheme}_proxy in the environment)"


class _Trusting(HTTPAdapter):
    """Checks certificates by a context of ours; those that come with `requests` are trusted as well."""

    def __init__(self, context: SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        return super().proxy_manager_for(proxy, **named, ssl_context=self._context)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _signing_key(secret: str | None) -> bytes:
    """Return what signs by the Standard Webhooks specification: the bytes behind `whsec_`, or any other secret as it is."""
    if secret is None or not secret.startswith(_KEY_PREFIX):
        return (secret or "").encode()
    try:
        return b64decode(secret.removeprefix(_KEY_PREFIX), validate=True)
    except NotBase64 as error:
        raise ConfigError("events.webhooks: what follows whsec_ in a secret is no base64; copy it as a whole") from error
