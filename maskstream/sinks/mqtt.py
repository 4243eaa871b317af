"""Records published to an MQTT broker, and whether each camera is online."""

from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import paho.mqtt.client as mqtt
from loguru import logger
from paho.mqtt.enums import CallbackAPIVersion

from maskstream.errors import ConfigError
from maskstream.sinks.delivery import NotDelivered
from maskstream.sinks.outbox import Letter
from maskstream.states import SourceState, StateChange

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_AT_LEAST_ONCE: Final = 1
_KEEPALIVE_S: Final = 15
_ACKNOWLEDGED_S: Final = 10.0
_LEAVING_S: Final = 0.3


@dataclass(frozen=True)
class _Broker:
    host: str
    port: int
    has_tls: bool
    user: str | None
    password: str | None

    @classmethod
    def of(cls, url: str) -> "_Broker":
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if parts.scheme not in _PORTS or not host or parts.path.strip("/"):
            raise ConfigError(
                "events.mqtt: no mqtt:// or mqtts:// address; give one such as mqtt://user:${MQTT_PASSWORD}@host:1883"
            )
        user, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "mqtts", user, password)


class Mqtt:
    """Publishes to `maskstream/CAMERA/events` (counts of minutes to `maskstream/CAMERA/counts`), at least once.

    `maskstream/CAMERA/status` is `online` or `offline`, retained. The broker itself says `offline` when the program is gone, as
    last will; a connection has only one, so each camera has its own.
    """

    def __init__(self, url: str) -> None:
        """Remember the broker; cameras connect when they are heard of.

        Raises:
            ConfigError: It is no mqtt:// or mqtts:// URL.
        """
        self._broker = _Broker.of(url)
        self.key = f"mqtt {self._broker.host}:{self._broker.port}"
        self.name = f"MQTT broker {self._broker.host}:{self._broker.port}"
        self._cameras: dict[str, _Camera] = {}
        self._lock = Lock()

    def send(self, letter: Letter) -> None:
        """Publish a letter, and wait until the broker has it."""
        camera = self._camera(letter.camera)
        kind = "counts" if letter.key.startswith("counts-") else "events"
        camera.publish(kind, letter.body)

    def state_changed(self, change: StateChange) -> None:
        """Publish whether a camera is online."""
        self._camera(change.source_id).say("online" if change.state is SourceState.ONLINE else "offline")

    def close(self) -> None:
        """Say that all cameras are offline, and leave."""
        with self._lock:
            cameras = list(self._cameras.values())
        for camera in cameras:
            camera.say("offline")
        leave_by_s = monotonic() + _LEAVING_S
        for camera in cameras:
            camera.close(max(0.0, leave_by_s - monotonic()))

    def _camera(self, name: str) -> "_Camera":
        with self._lock:
            if name not in self._cameras:
                self._cameras[name] = _Camera(self._broker, name)
            return self._cameras[name]


class _Camera:
    """The connection of one camera, kept up by a thread of paho."""

    def __init__(self, broker: _Broker, name: str) -> None:
        self._topic = f"maskstream/{topic_level(name)}"
        self._status = "offline"
        self._last: mqtt.MQTTMessageInfo | None = None
        self._where = f"MQTT broker {broker.host}:{broker.port}"
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, f"maskstream-{uuid4().hex[:12]}")
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if broker.has_tls:
            client.tls_set()
        client.will_set(f"{self._topic}/status", "offline", _AT_LEAST_ONCE, retain=True)
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
        client.loop_start()

    def say(self, status: str) -> None:
        """Publish the status now, or when the broker is there."""
        self._status = status
        if self._client.is_connected():
            self._last = self._client.publish(f"{self._topic}/status", status, _AT_LEAST_ONCE, retain=True)

    def publish(self, kind: str, body: bytes) -> None:
        """Publish a record and wait until the broker has it.

        Raises:
            NotDelivered: It has not.
        """
        if not self._client.is_connected():
            raise NotDelivered("no connection")
        info = self._client.publish(f"{self._topic}/{kind}", body, _AT_LEAST_ONCE)
        try:
            info.wait_for_publish(_ACKNOWLEDGED_S)
        except (RuntimeError, ValueError) as error:  # what paho says of a lost connection, or a full queue
            raise NotDelivered(str(error)) from error
        if not info.is_published():
            raise NotDelivered(f"no answer within {_ACKNOWLEDGED_S:.0f} s")

    def close(self, time_left_s: float) -> None:
        """Disconnect once the status is out, or after a moment."""
        if self._last is not None and self._client.is_connected():
            self._last.wait_for_publish(time_left_s)
        self._client.disconnect()

    def _connected(self, _client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            logger.warning("{}: refused: {}", self._where, reason)
        else:
            self.say(self._status)

    def _disconnected(self, _client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            logger.warning("{}: connection lost: {}; it is opened again", self._where, reason)


def topic_level(name: str) -> str:
    """Return a camera's name as one level of a topic: what has a meaning there is escaped as in URLs."""
    return name.translate({ord(letter): f"%{ord(letter):02X}" for letter in "%/+#\0"})
