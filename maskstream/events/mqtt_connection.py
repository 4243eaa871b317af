"""The connection of one camera to an MQTT broker: it is kept up, speaks what the broker speaks, and says why it is refused."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext
from threading import Event, Lock, RLock, Thread
from typing import Any, Final
from urllib.parse import unquote
from uuid import uuid4

import paho.mqtt.client as mqtt
from loguru import logger
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from maskstream.errors import ConfigError
from maskstream.events.delivery import NotDelivered
from maskstream.events.endpoints import address_of, require_host, trusting, why
from maskstream.events.messages import QueuedMessage

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_AT_LEAST_ONCE: Final = 1
_KEEPALIVE_S: Final = 15
_CONNECTED_S: Final = 3.0
_ACKNOWLEDGED_S: Final = 10.0
_LONGEST_WAIT_S: Final = 30
_HEADER_BYTES: Final = 64
"""More than what MQTT puts before topic and body."""

# Reason codes of MQTT 5.0, section 2.4; paho gives those of MQTT 3.1.1 as the same ones.
_UNSUPPORTED_VERSION: Final = 0x84
_NOT_AUTHORIZED: Final = 0x87
_OF_TOPIC: Final = (_NOT_AUTHORIZED, 0x90)
"""Not authorized and topic name invalid: other topics may be taken."""
_REFUSALS: Final = {
    0x85: "let the broker take client identifiers that begin with maskstream-",
    0x86: "check user and password in events.mqtt",
    _NOT_AUTHORIZED: "check user and password in events.mqtt, and what the broker lets this user do",
    0x88: "the broker is starting or stopping",
    0x89: "the broker has too much to do",
    0x8A: "the broker has banned this machine or user",
    0x97: "the broker lets this user send no more for now",
    0x9F: "the broker lets nobody connect so often",
}


@dataclass(frozen=True)
class Broker:
    """Where a broker is, and as whom to connect."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: SSLContext | None

    @classmethod
    def of(cls, url: str, ca_file: str | None) -> "Broker":
        """Return the broker of an address.

        Raises:
            ConfigError: The address, or the file of certificates, cannot be used.
        """
        parts, host, port = address_of(url)
        if parts.scheme not in _PORTS or not host or parts.path.strip("/"):
            raise ConfigError(
                "events.mqtt: no mqtt:// or mqtts:// address; give one such as mqtt://user:${MQTT_PASSWORD}@host:1883"
            )
        require_host(host, "events.mqtt")
        user, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
        return cls(host, port or _PORTS[parts.scheme], user, password, trusting(ca_file) if parts.scheme == "mqtts" else None)


class Link:
    """What the connections know of the broker together. Called by several threads."""

    def __init__(self, broker: Broker, name: str) -> None:
        """Begin without a connection; `name` is that of the broker for people."""
        self.broker = broker
        self.name = name
        self.version = MQTTProtocolVersion.MQTTv5
        self.knows_mqtt_5 = False
        """Whether the broker has shown in this run that it speaks MQTT 5."""
        self._trouble = ""
        self._lock = Lock()
        self._said_version = False

    def failed(self, reason: str) -> None:
        """Say why there is no connection, once for all cameras."""
        with self._lock:
            if reason != self._trouble:
                self._trouble = reason
                logger.warning("{}: no connection: {}; trying again", self.name, reason)

    def connected(self, version: MQTTProtocolVersion) -> None:
        """Take note of a connection."""
        with self._lock:
            self._trouble = ""
            self.knows_mqtt_5 |= version is MQTTProtocolVersion.MQTTv5
            if version is MQTTProtocolVersion.MQTTv311 and not self._said_version:
                self._said_version = True
                logger.warning(
                    "{}: speaks MQTT 3.1.1 alone; records that it refuses to take cannot be told from others", self.name
                )


class CameraConnection:
    """The connection of one camera, kept up by a thread of paho."""

    def __init__(self, link: Link, name: str) -> None:
        """Begin to connect; `name` is that of the camera."""
        self._link = link
        self._topic = f"maskstream/{topic_level(name)}"
        self._status = "offline"
        self._last: mqtt.MQTTMessageInfo | None = None
        self._refused: dict[int, Any] = {}
        """Reason codes of messages that the broker has not taken."""
        self._unanswered: tuple[str, mqtt.MQTTMessageInfo] | None = None
        self._why = "no connection yet"
        self._tried = Event()
        self._was_answered = False
        self._most_bytes = sys.maxsize
        self._silent = 0
        """How often in a row the broker has closed the connection without a word."""
        self._closing = Event()
        self._lock = RLock()
        self._client = self._client_of(link.version)
        self._client.loop_start()

    def _client_of(self, version: MQTTProtocolVersion) -> mqtt.Client:
        """Return a client that connects when its thread is started, and again whenever the connection is lost."""
        broker = self._link.broker
        client = mqtt.Client(CallbackAPIVersion.VERSION2, f"maskstream-{uuid4().hex[:12]}", protocol=version)
        client.suppress_exceptions, client.on_log = True, self._log  # of callbacks, which would end the thread
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        client.will_set(f"{self._topic}/status", "offline", _AT_LEAST_ONCE, retain=True)
        client.reconnect_delay_set(1, _LONGEST_WAIT_S)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_connect_fail, client.on_publish = self._not_connected, self._published
        client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
        return client

    def say(self, status: str) -> None:
        """Publish the status now, or when the broker is there."""
        with self._lock:
            self._status = status
            if self._client.is_connected():
                self._last = self._client.publish(f"{self._topic}/status", status, _AT_LEAST_ONCE, retain=True)
                self._say_refused(self._last)

    def publish(self, message: QueuedMessage) -> None:
        """Publish a record and wait until the broker has it.

        Raises:
            NotDelivered: It has not.
        """
        self._tried.wait(_CONNECTED_S)
        client, topic = self._client, f"{self._topic}/{message.channel[1]}"
        if not client.is_connected():
            self._start(client, 0.0)  # does nothing, unless its thread has ended by a mistake
            raise NotDelivered(self._why)
        size = len(message.body) + len(topic.encode()) + _HEADER_BYTES
        if size > self._most_bytes:
            raise NotDelivered(f"the broker takes no more than {self._most_bytes} bytes, it has {size}", is_final=True)
        info = self._sent(client, topic, message)
        try:
            info.wait_for_publish(_ACKNOWLEDGED_S)
            is_published = info.is_published()
        except (RuntimeError, ValueError) as error:  # what paho says of a lost connection, or a full queue
            self._unanswered = None
            raise NotDelivered(str(error)) from error
        if not is_published:
            raise NotDelivered(f"no answer within {_ACKNOWLEDGED_S:.0f} s")
        self._unanswered = None
        reason = self._refused.pop(info.mid, None)
        if reason is not None:
            raise NotDelivered(_refusal(reason, topic), is_of_channel=reason.value in _OF_TOPIC)

    def _sent(self, client: mqtt.Client, topic: str, message: QueuedMessage) -> mqtt.MQTTMessageInfo:
        """Publish a letter, unless paho still has it and sends it again by itself."""
        if self._unanswered is None or self._unanswered[0] != message.key:
            self._unanswered = message.key, client.publish(topic, message.body, _AT_LEAST_ONCE)
        return self._unanswered[1]

    def close(self, time_left_s: float) -> Thread:
        """Disconnect once the status is out, or after a moment; return a thread that ends when the connection's own has ended."""
        with self._lock:
            self._closing.set()
        try:
            if self._last is not None and self._client.is_connected():
                self._last.wait_for_publish(time_left_s)
        except (RuntimeError, ValueError) as error:
            logger.debug("{}: the status could not be published: {}", self._link.name, error)
        finally:
            self._client.disconnect()
        thread = Thread(target=_stop, args=(self._client,), name=f"close {self._topic}", daemon=True)
        thread.start()
        return thread

    # Called by paho's thread.

    def _connected(self, client: mqtt.Client, _data: object, _flags: object, reason: Any, properties: Any) -> None:
        self._was_answered = True
        if client is not self._client:
            return
        if not reason.is_failure:
            self._why, self._silent = "", 0
            self._most_bytes = getattr(properties, "MaximumPacketSize", sys.maxsize)
            self._link.connected(client.protocol)
            self._tried.set()
            self.say(self._status)
        elif reason.value == _UNSUPPORTED_VERSION and client.protocol is MQTTProtocolVersion.MQTTv5:
            self._speak(MQTTProtocolVersion.MQTTv311)
        else:
            self._fail(f"the broker refuses the connection ({reason}); {_advice(reason)}")

    def _disconnected(self, client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if client is not self._client or not reason.is_failure:
            return
        if self._was_answered:
            self._was_answered = False
            if self._why == "":
                self._fail(f"the connection was lost ({reason})")
            return
        self._fail("the broker closed the connection without a word; check that the port speaks MQTT, and whether it wants TLS")
        if self._link.knows_mqtt_5:
            return
        if client.protocol is MQTTProtocolVersion.MQTTv5:  # which some old brokers answer like that
            self._speak(MQTTProtocolVersion.MQTTv311)  # at once: nobody else can have begun to listen there meanwhile
            return
        self._speak(MQTTProtocolVersion.MQTTv5, after_s=min(2.0**self._silent, _LONGEST_WAIT_S))
        self._silent = min(self._silent + 1, 8)

    def _not_connected(self, client: mqtt.Client, _data: object) -> None:
        error = sys.exception()  # paho calls from where it has caught it
        if client is self._client:
            self._fail(why(error) if error is not None else "it cannot be reached")

    def _published(self, _client: mqtt.Client, _data: object, mid: int, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            self._refused[mid] = reason
            if self._last is not None and self._last.mid == mid:
                self._say_refused(self._last)

    def _say_refused(self, status: mqtt.MQTTMessageInfo) -> None:
        """Say that the broker has refused a status; called when the answer comes, and when it is known which message it is of."""
        reason = self._refused.pop(status.mid, None)
        if reason is not None:
            logger.warning("{}: {}", self._link.name, _refusal(reason, f"{self._topic}/status"))

    def _log(self, _client: mqtt.Client, _data: object, level: int, text: str) -> None:
        if level == mqtt.MQTT_LOG_ERR and text.startswith("Caught exception"):
            logger.error("{}: {}", self._link.name, text)

    def _fail(self, reason: str) -> None:
        self._why = reason
        self._link.failed(reason)
        self._tried.set()

    def _speak(self, version: MQTTProtocolVersion, after_s: float = 0.0) -> None:
        """Go on with another client, which speaks another version; the present one ends with its callback."""
        with self._lock:
            if self._closing.is_set():
                return
            before, self._unanswered, self._was_answered = self._client, None, False
            self._link.version = version
            self._client = self._client_of(version)
        before.disconnect()
        _stop(before)
        Thread(target=self._start, args=(self._client, after_s), name=f"connect {self._topic}", daemon=True).start()

    def _start(self, client: mqtt.Client, after_s: float) -> None:
        self._closing.wait(after_s)
        with self._lock:  # two callers at once would give the client two threads, which wait for each other
            if client is self._client and not self._closing.is_set():
                client.loop_start()


def _stop(client: mqtt.Client) -> None:
    """End the thread of a client; while it is connecting, it overlooks that it shall disconnect, and goes on for ever."""
    with suppress(AttributeError):  # it has ended meanwhile
        client.loop_stop()


def _refusal(reason: Any, topic: str) -> str:
    return f"the broker refuses {topic} ({reason}); {_advice(reason, f'let this user publish to {topic}')}"


def _advice(reason: Any, not_authorized: str = _REFUSALS[_NOT_AUTHORIZED]) -> str:
    return not_authorized if reason.value == _NOT_AUTHORIZED else _REFUSALS.get(reason.value, "see the log of the broker")


def topic_level(name: str) -> str:
    """Return a camera's name as one level of a topic: what has a meaning there is escaped as in URLs."""
    return name.translate({ord(message): f"%{ord(message):02X}" for message in "%/+#\0"})
