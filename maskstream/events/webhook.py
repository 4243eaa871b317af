"""Post records to a URL, signed by the Standard Webhooks specification."""

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
from maskstream.events.endpoints import explain_failure, parse_address, require_host_name, tls_context
from maskstream.events.messages import QueuedMessage
from maskstream.stream.states import StateChange

_TIMEOUT_S: Final = (5.0, 10.0)
"""For the connection, and between two bytes of the answer."""
_FINAL_CODES: Final = frozenset({400, 405, 410, 411, 413, 415, 422})
"""Status codes that a retry would not change."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_KEY_PREFIX: Final = "whsec_"
_ADVICE: Final = {
    301: "redirects are not followed; give the address of the redirect",
    401: "check the token in the url",
    403: "check the token in the url",
    404: "check the path in the url",
    407: "the proxy requires a user and a password; give them in the variable",
    429: "it limits the rate of records",
}


class Webhook:
    """Posts each record as JSON, at least once and in order. Any 2xx status acknowledges it.

    `webhook-id` is the same each time a record is posted. `webhook-timestamp` is the time of the attempt in seconds since 1970.
    With a secret, `webhook-signature` signs both and the body, by the Standard Webhooks specification
    (https://www.standardwebhooks.com). `X-Maskstream-Key` repeats `webhook-id`. `X-Maskstream-Signature` is `sha256=` and the
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
        """Parse the address; sends nothing.

        Args:
            url: An http:// or https:// address.
            secret: Signs what is posted: `whsec_` and base64, or any text. None: posts are not signed.
            name: Of the receiver, in the log and in the outbox; None: scheme, host, port and path identify it.
            ca_file: `events.ca_file`: certificates to trust besides those of the system.
            now_s: Returns the seconds since 1970.

        Raises:
            ConfigError: The address, the secret or the file cannot be used.
        """
        address = parse_address(url)
        if address is None or address.scheme not in _DEFAULT_PORTS:
            raise ConfigError("events.webhooks: url is not an http:// or https:// address; give one such as https://host/path")
        scheme, host, port = address.scheme, address.host, address.port or _DEFAULT_PORTS[address.scheme]
        require_host_name(host, "events.webhooks: url")
        without_query = f"{scheme}://{host}:{port}{address.path}"
        self.address_key = f"webhook {host} {_digest(without_query)}"
        """The key of a webhook without a name."""
        self.full_key = f"webhook {host} {_digest(url)}"
        """The key where several webhooks without a name differ only in their query."""
        first_key = f"webhook {_digest(url)}"  # of the first versions of the program
        if name is None:
            self.key = self.address_key
            self.former_keys: tuple[str, ...] = (first_key, self.full_key)
            self.name = f"webhook at {host}"  # the rest of the address may contain a token
        else:
            self.key = f"webhook named {name}"
            self.former_keys = (first_key, self.full_key, self.address_key)
            self.name = f"webhook {name}"
        self._url = url
        self._host = host
        self._secret = secret
        self._signing_key = _signing_key(secret)
        self._now_s = now_s
        self._session = requests.Session()
        if scheme == "https":
            self._session.mount("https://", _TlsAdapter(tls_context(ca_file)))

    def send(self, message: QueuedMessage) -> None:
        """Post a message, and return when the receiver has acknowledged it.

        Raises:
            NotDelivered: The receiver was not reached, or answered with a status that is not 2xx.
        """
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
            reason = f"{self._proxy()}: {explain_failure(error)}; or add {self._host} to no_proxy"
            raise NotDelivered(reason) from error
        except requests.RequestException as error:  # its text contains the URL
            raise NotDelivered(explain_failure(error) + self._through_proxy()) from error
        answer.close()
        if not 200 <= answer.status_code < 300:
            raise NotDelivered(self._refusal(answer), is_final=answer.status_code in _FINAL_CODES)

    def state_changed(self, change: StateChange) -> None:
        """Send nothing: webhooks receive no states."""

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
        """Return the status of an answer, and what to do."""
        code = answer.status_code
        text = f"it answers {code} {answer.reason}"
        advice = _ADVICE.get(301 if 300 <= code < 400 else code)
        if advice is not None:
            text += f"; {advice}"
        return text + self._through_proxy()

    def _through_proxy(self) -> str:
        proxy = self._proxy()
        return f"; sent through {proxy}" if proxy else ""

    def _proxy(self) -> str:
        """Return the address of the proxy, and the environment variable that sets it; empty without a proxy."""
        proxy = select_proxy(self._url, get_environ_proxies(self._url))
        if not proxy:
            return ""
        try:
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            address = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
        except ValueError:
            address = "with an invalid address"
        return f"the proxy {address} ({urlsplit(self._url).scheme}_proxy in the environment)"


class _TlsAdapter(HTTPAdapter):
    """Checks certificates with our TLS context; the certificates that `requests` ships are trusted as well."""

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
    """Return the key of the Standard Webhooks specification: decoded base64 after `whsec_`, or the bytes of another secret."""
    if secret is None or not secret.startswith(_KEY_PREFIX):
        return (secret or "").encode()
    try:
        return b64decode(secret.removeprefix(_KEY_PREFIX), validate=True)
    except NotBase64 as error:
        raise ConfigError("events.webhooks: the text after whsec_ in secret is not base64; copy the complete secret") from error
