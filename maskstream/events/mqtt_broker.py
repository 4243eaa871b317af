"""Address and login of an MQTT broker, and what the connections of all cameras share about it."""

from dataclasses import dataclass
from ssl import SSLContext
from threading import Lock
from typing import Any, Final

from loguru import logger
from paho.mqtt.enums import MQTTProtocolVersion

from maskstream.errors import ConfigError
from maskstream.events.endpoints import parse_address, require_host_name, tls_context

_DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}

# Reason codes of MQTT 5.0, section 2.4; paho maps those of MQTT 3.1.1 to them.
UNSUPPORTED_VERSION: Final = 0x84
_NOT_AUTHORIZED: Final = 0x87
_INVALID_TOPIC: Final = 0x90
_ADVICE: Final = {
    0x85: "allow client identifiers that begin with maskstream- on the broker",
    0x86: "check user and password in events.mqtt",
    _NOT_AUTHORIZED: "check user and password in events.mqtt, and the permissions of this user on the broker",
    0x88: "the broker is starting or stopping",
    0x89: "the broker is busy",
    0x8A: "the broker has banned this client",
    0x97: "this user has reached a quota of the broker",
    0x9F: "the broker limits the rate of connections",
}


@dataclass(frozen=True)
class Broker:
    """Address and login of a broker."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: SSLContext | None

    @classmethod
    def of(cls, url: str, ca_file: str | None) -> "Broker":
        """Return the broker at an address.

        Args:
            url: `events.mqtt`.
            ca_file: `events.ca_file`.

        Raises:
            ConfigError: The address or the file cannot be used.
        """
        address = parse_address(url)
        if address is None or address.scheme not in _DEFAULT_PORTS or address.path.strip("/"):
            raise ConfigError(
                "events.mqtt: not an mqtt:// or mqtts:// address; give one such as mqtt://user:${MQTT_PASSWORD}@host:1883"
            )
        require_host_name(address.host, "events.mqtt")
        return cls(
            host=address.host,
            port=address.port or _DEFAULT_PORTS[address.scheme],
            user=address.user,
            password=address.password,
            tls=tls_context(ca_file) if address.scheme == "mqtts" else None,
        )


class BrokerState:
    """What the connections of all cameras share: the version of MQTT, and the latest failure. Several threads call it."""

    def __init__(self, broker: Broker, name: str) -> None:
        """Begin without a connection.

        Args:
            broker: Its address and login.
            name: Shown in the log.
        """
        self.broker = broker
        self.name = name
        self.version = MQTTProtocolVersion.MQTTv5
        """Used for the next connection."""
        self.supports_mqtt_5 = False
        """Whether the broker has accepted an MQTT 5 connection in this run."""
        self._failure = ""
        self._lock = Lock()
        self._logged_version = False

    def failed(self, reason: str) -> None:
        """Log why there is no connection, once for all cameras."""
        with self._lock:
            if reason != self._failure:
                self._failure = reason
                logger.warning("{}: no connection: {}; trying again", self.name, reason)

    def connected(self, version: MQTTProtocolVersion) -> None:
        """Record a connection; warn once where the broker supports only MQTT 3.1.1."""
        with self._lock:
            self._failure = ""
            self.supports_mqtt_5 |= version is MQTTProtocolVersion.MQTTv5
            if version is MQTTProtocolVersion.MQTTv311 and not self._logged_version:
                self._logged_version = True
                logger.warning("{}: supports only MQTT 3.1.1, which does not report refused records; those are lost", self.name)


def connection_refusal(reason: Any) -> str:
    """Return why the broker refuses a connection, and what to do.

    Args:
        reason: A `ReasonCode` of paho.
    """
    return f"the broker refuses the connection ({reason}); {_ADVICE.get(reason.value, 'see the log of the broker')}"


def topic_refusal(reason: Any, topic: str) -> str:
    """Return why the broker refuses a message on a topic, and what to do.

    Args:
        reason: A `ReasonCode` of paho.
        topic: Of the message.
    """
    advice = _ADVICE.get(reason.value, "see the log of the broker")
    if reason.value == _NOT_AUTHORIZED:
        advice = f"allow this user to publish to {topic}"
    return f"the broker refuses {topic} ({reason}); {advice}"


def is_of_topic(reason: Any) -> bool:
    """Return whether the broker may accept messages on other topics."""
    return reason.value in (_NOT_AUTHORIZED, _INVALID_TOPIC)


def topic_level(name: str) -> str:
    """Return the name of a camera as one level of a topic: `/`, `+`, `#`, `%` and NUL are escaped as in URLs."""
    return name.translate({ord(character): f"%{ord(character):02X}" for character in "%/+#\0"})
