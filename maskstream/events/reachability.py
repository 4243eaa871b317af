"""Connect to receivers of events once, without sending a record."""

from socket import create_connection
from ssl import SSLContext
from threading import Event
from typing import Any, Final
from uuid import uuid4

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from requests.utils import get_environ_proxies, select_proxy

from maskstream.events.endpoints import explain_failure, parse_address, tls_context
from maskstream.events.mqtt_broker import UNSUPPORTED_VERSION, Broker, connection_refusal

_LIMIT_S: Final = 5.0
_VERSIONS: Final = (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NO_ANSWER: Final = "it does not answer; check that the port speaks MQTT, and whether it requires TLS"


def broker_problem(broker: Broker, limit_s: float = _LIMIT_S) -> str:
    """Log in to a broker, and return why that fails; empty where it succeeds.

    Args:
        broker: Its address and login.
        limit_s: The maximum time for an answer.
    """
    reason: Any = None
    for version in _VERSIONS:
        try:
            if broker.tls is not None:  # paho leaves its socket open where the handshake fails
                _connect(broker.host, broker.port, broker.tls, limit_s)
            reason = _answer_of(broker, version, limit_s)
        except (OSError, ValueError) as error:
            return explain_failure(error)
        if reason is not None and not reason.is_failure:
            return ""
        if reason is not None and reason.value != UNSUPPORTED_VERSION:
            return connection_refusal(reason)
    return _NO_ANSWER if reason is None else connection_refusal(reason)


def _answer_of(broker: Broker, version: MQTTProtocolVersion, limit_s: float) -> Any:
    """Return the `ReasonCode` with which a broker answers a login; None where it closes the connection or is silent."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, f"maskstream-check-{uuid4().hex[:12]}", protocol=version)
    client.connect_timeout = limit_s
    if broker.user is not None:
        client.username_pw_set(broker.user, broker.password)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    answers: list[Any] = []
    ended = Event()

    def connected(_client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        answers.append(reason)
        ended.set()

    def disconnected(*_: object) -> None:
        ended.set()

    client.on_connect, client.on_disconnect = connected, disconnected
    client.connect(broker.host, broker.port)
    client.loop_start()
    ended.wait(limit_s)
    client.disconnect()
    client.loop_stop()
    return answers[0] if answers else None


def webhook_problem(url: str, ca_file: str | None) -> str:
    """Connect to the server of a webhook, and return why that fails; empty where it succeeds. A proxy is not tried.

    Args:
        url: An http:// or https:// address.
        ca_file: `events.ca_file`.
    """
    address = parse_address(url)
    if address is None or select_proxy(url, get_environ_proxies(url)):
        return ""
    try:
        port = address.port or _DEFAULT_PORTS[address.scheme]
        _connect(address.host, port, tls_context(ca_file) if address.scheme == "https" else None, _LIMIT_S)
    except (OSError, ValueError) as error:
        return explain_failure(error)
    return ""


def _connect(host: str, port: int, tls: SSLContext | None, limit_s: float) -> None:
    """Connect, with a TLS handshake where there is a context, and disconnect."""
    with create_connection((host, port), limit_s) as connection:
        if tls is not None:
            tls.wrap_socket(connection, server_hostname=host).close()
