"""Records posted to an address."""

import hmac
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import requests

from maskstream.errors import ConfigError
from maskstream.sinks.delivery import NotDelivered
from maskstream.sinks.outbox import Letter
from maskstream.states import StateChange

_TIMEOUT_S: Final = (5.0, 10.0)
"""To connect, and between two bytes of the answer."""
_REFUSED: Final = frozenset({400, 405, 410, 411, 413, 415, 422})
"""Answers that will be the same next time."""


class Webhook:
    """Posts each record as JSON: at least once, in order; any 2xx is an answer that it has arrived.

    `X-Maskstream-Key` is the same whenever a record is posted again. With a secret, `X-Maskstream-Signature` is `sha256=` and the
    HMAC-SHA256 (RFC 2104) of the body in hexadecimal.
    """

    def __init__(self, url: str, secret: str | None) -> None:
        """Remember where to; nothing is sent.

        Raises:
            ConfigError: It is no http:// or https:// URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("events.webhooks: a url is no http:// or https:// address; give one such as https://host/path")
        self.key = f"webhook {sha256(url.encode()).hexdigest()[:16]}"
        self.name = f"webhook at {parts.hostname}"  # what follows may hold a secret
        self._url = url
        self._secret = secret
        self._session = requests.Session()

    def send(self, letter: Letter) -> None:
        """Post a letter."""
        headers = {"Content-Type": "application/json", "X-Maskstream-Key": letter.key}
        if self._secret is not None:
            signature = hmac.new(self._secret.encode(), letter.body, sha256).hexdigest()
            headers["X-Maskstream-Signature"] = f"sha256={signature}"
        try:
            answer = self._session.post(
                self._url, data=letter.body, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False, stream=True
            )
        except requests.RequestException as error:
            raise NotDelivered(type(error).__name__) from error  # its text holds the URL
        answer.close()
        if not 200 <= answer.status_code < 300:
            raise NotDelivered(f"it answers {answer.status_code} {answer.reason}", is_final=answer.status_code in _REFUSED)

    def state_changed(self, change: StateChange) -> None:
        """Leave states out."""

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
